"""The jobs of a command line are the product of its axes, and their names tell them apart."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps.grid import LONGEST_NAME, grid


def names(*words: str) -> list[str]:
    return list(grid(words)[1])


def test_the_product_in_order_with_the_last_key_fastest():
    varied, jobs = grid(["model=mlp", "data.degree=1,3", "seed=range(3)", "sweep.on_error=stop"])
    assert varied == ["data.degree", "seed"]
    pairs = list(itertools.product((1, 3), range(3)))
    assert list(jobs) == [f"degree={d},seed={s}" for d, s in pairs]
    assert list(jobs.values()) == [["model=mlp", f"data.degree={d}", f"seed={s}"] for d, s in pairs]


def test_the_command_line_changes_an_axis_of_a_study_in_its_place():
    varied, jobs = grid(["data.degree=range(20)", "optimizer=sgd,exact", "seed=range(5)", "data.degree=1,3", "seed=2"])
    assert varied == ["data.degree", "optimizer"]
    assert list(jobs.values())[-1] == ["data.degree=3", "optimizer=exact", "seed=2"]
    assert len(jobs) == 4


def test_names_use_the_full_key_where_the_last_part_is_not_enough():
    assert names("seed=1,2", "data.seed=3") == ["seed=1", "seed=2"]
    assert names("seed=1", "data.seed=3", "trainer.seed=4,5") == ["seed=4", "seed=5"]
    assert names("model.seed=1,2", "data.seed=3,4")[0] == "model.seed=1,data.seed=3"
    assert names("model=mlp") == ["0"]


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=300), min_size=2, unique=True))
def test_names_are_distinct_names_of_single_folders(values):
    quoted = ["'" + value.replace("\\", "").replace("'", "") + "x'" for value in values]
    if len(set(quoted)) < 2:
        return
    found = names(f"data.root={','.join(dict.fromkeys(quoted))}")
    assert len(found) == len(set(quoted))
    assert all(len(name.encode()) < LONGEST_NAME + 20 and "/" not in name and "\0" not in name for name in found)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("seed=range(0)", "no value"),
        ("seed=1,2,1", "1 is there twice"),
        ("optimizer.lr=interval(0,1)", "for hydra/sweeper=optuna"),
        ("sweep.on_error=continue,stop", "one value"),
        ("study=a,b", "one value"),
        ("resume=x", "sweep.resume"),
    ],
)
def test_axes_that_make_no_sweep_are_refused(words, said):
    with pytest.raises(RequestError, match=said):
        grid(["seed=1,2", words])
