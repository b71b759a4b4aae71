"""Whatever a recorded configuration holds, and whatever is typed as an override, is accepted or refused in a line."""

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_d2l.config.check import RequestError, check
from lightning_d2l.config.compose import composed, hydra_with, with_literal_paths
from lightning_d2l.config.records import up_to_date
from lightning_d2l.config.text import lines_of
from tests.runs import config

BASES = [
    ["model=mlp"],
    ["model=polynomial_regression"],
    ["model=phm_mlp"],
    ["model=linear_regression", "optimizer=exact"],
]
VALUES: list[Any] = [
    None, True, 0, -1, 10**30, 1e308, float("inf"), float("nan"), "", "x", "${a}", [], {}, [[1]], {"_target_": [1]},
    {"_target_": None}, {"_target_": "os.system"}, {1: 2}, [None], "torch.optim.SGD", b"x", 3.5, [1, 2, 3], "train",
]  # fmt: skip


def places(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield (*above, key)
        yield from places(node[key], (*above, key))


def refusal(work: Callable[[], Any]) -> list[str]:
    """The lines that say why work is refused; none if it is not."""
    try:
        work()
    except RequestError as error:
        return "\n".join(lines_of(error)).splitlines()
    return []


@pytest.mark.parametrize("base", BASES, ids=" ".join)
def test_a_damaged_configuration_is_refused_in_a_line(base):
    chance, good, refused = random.Random(0), config(*base), 0
    for _ in range(1500):
        damaged = copy.deepcopy(good)
        for _ in range(chance.randint(1, 3)):
            *above, last = chance.choice(list(places(damaged)))
            node = damaged
            for key in above:
                node = node[key]
            if chance.random() < 0.2 and isinstance(node, dict):
                del node[last]
            else:
                node[last] = copy.deepcopy(chance.choice(VALUES))
        lines = refusal(lambda damaged=damaged: check(up_to_date(damaged)))
        assert len(lines) <= 2
        refused += bool(lines)
    assert refused > 1000


KEYS = st.sampled_from(
    ["seed", "model", "model.init", "model.num_hiddens", "data.seed", "data.root", "optimizer", "study",
     "hydra.run.dir", "hydra/launcher", "hydra.launcher.memory", "hydra.job.name", "hydra.callbacks", "sweep", "x",
     "a.b", "experiment", "hydra.sweep.dir", "resume", "", "@", "model@x", "model@_global_"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["1", "-1", "1e400", "nan", "null", "true", "mlp", "tied_mlp", "zeros", "[1,2]", "{a:1}", "{_target_:os.system}",
     "${seed}", "${oc.create:{a:1}}", "${", "}", "'", '"', "range(3)", "interval(1,2)", "glob(*)", "choice(1,2)", "1,2",
     "sort(3,1)", "int(1.5)", "\\", "\x00", "\x1b[31m", "é", "\ud800", "[" * 200, "exact", "capacity", "extend_list(1)"]
)  # fmt: skip
OVERRIDE = st.builds(
    lambda sign, key, equals, words: sign + key + equals + "".join(words),
    st.sampled_from(["", "", "", "+", "++", "~"]), KEYS,
    st.sampled_from(["=", "=", "=", ""]), st.lists(WORDS, max_size=3),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(overrides=st.lists(OVERRIDE | st.text(max_size=20), min_size=1, max_size=3), several=st.booleans())
def test_any_words_are_composed_or_refused_in_a_line(overrides, several):
    overrides = with_literal_paths(overrides)

    def compose() -> None:
        with hydra_with(None, overrides):
            composed(overrides, multirun=several)

    assert len(refusal(compose)) <= 2
