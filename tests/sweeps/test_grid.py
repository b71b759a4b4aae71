"""The jobs of a command line are the product of its axes, and their names tell them apart."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps.grid import grid


def names(*words: str) -> list[str]:
    return list(grid(words).jobs)


def test_the_product_in_order_with_the_last_key_fastest():
    varied, jobs, _ = grid(["model=mlp", "data.degree=1,3", "seed=range(3)", "sweep.on_error=stop"])
    assert varied == ["data.degree", "seed"]
    pairs = list(itertools.product((1, 3), range(3)))
    assert list(jobs) == [f"degree={d},seed={s}" for d, s in pairs]
    assert list(jobs.values()) == [["model=mlp", f"data.degree={d}", f"seed={s}"] for d, s in pairs]


def test_the_command_line_changes_an_axis_of_a_study_in_its_place():
    study = ["data.degree=range(20)", "optimizer=sgd,exact", "seed=range(5)"]
    varied, jobs, _ = grid(["data.degree=1,3", "seed=2"], params=study)
    assert varied == ["data.degree", "optimizer"]
    assert list(jobs) == [f"degree={d},optimizer={o}" for d in (1, 3) for o in ("sgd", "exact")]
    assert list(jobs.values())[-1] == ["optimizer=exact", "data.degree=3", "seed=2"]  # applied in the order given


@pytest.mark.parametrize(
    ("axis", "names", "repeated"),
    [
        ("data.noise=1,1.0", ["noise=1"], ["data.noise=1.0 (as 1)"]),
        ("lr=0.1,1e-1,2", ["lr=0.1", "lr=2"], ["lr=0.1"]),
        (
            "model.init=zeros,\"zeros\",'zeros'",
            ["init=zeros"],
            ['model.init="zeros" (as zeros)', "model.init='zeros' (as zeros)"],
        ),
        ("w=[1,2],[1.0,2]", ["w=[1,2]"], ["w=[1.0,2] (as [1,2])"]),
        ("i={a:1,b:2},{b:2,a:1}", ["i={a_1,b_2}"], ["i={b:2,a:1} (as {a:1,b:2})"]),
        ("x=1,true", ["x=1", "x=True"], []),
        ("x=0,false,null", ["x=0", "x=False", "x=null"], []),
        ("x=1,'1'", ["x=1-0", "x=1-1"], []),
        ("x=null,'null'", ["x=null-0", "x=null-1"], []),
        ("x=9007199254740993,9007199254740992.0", ["x=9007199254740993", "x=9007199254740992.0"], []),
    ],
)
def test_values_that_mean_the_same_are_one_value(axis, names, repeated):
    _, jobs, found = grid([axis])
    assert list(jobs) == names
    assert found == repeated


def test_a_shuffled_axis_has_one_order_and_leaves_other_random_numbers_alone():
    state = random.getstate()
    first = grid(["seed=shuffle(range(20))"]).jobs
    assert random.getstate() == state
    assert list(first) == list(grid(["seed=shuffle(range(20))"]).jobs) != list(grid(["seed=range(20)"]).jobs)
    assert sorted(first.values()) == sorted(grid(["seed=range(20)"]).jobs.values())


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
    assert all(len(name.encode()) < 220 and "/" not in name and "\0" not in name for name in found)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("seed=range(0)", "no value"),
        ("optimizer.lr=interval(0,1)", "for hydra/sweeper=optuna"),
        ("sweep.on_error=continue,stop", "one value"),
        ("study=a,b", "one value"),
        ("resume=x", "sweep.resume"),
    ],
)
def test_axes_that_make_no_sweep_are_refused(words, said):
    with pytest.raises(RequestError, match=said):
        grid(["seed=1,2", words])


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (["seed=range(99999999)"], "99,999,999"),
        (["seed=shuffle(range(0,1,1e-9))"], "1,000,000,000"),
        (["a=range(1,1001)", "b=range(1001)"], "1,001,000"),
        ([f"k{n}=range(1000)" for n in range(4)], "1,000,000,000,000"),
    ],
)
def test_more_jobs_than_can_be_are_refused_at_once(words, number):
    with pytest.raises(RequestError, match=rf"{number} runs; must be at most 1,000,000"):
        grid(words)
