"""Overrides of all kinds compose in a sweep as they do in a single run: compared with Hydra's own loader."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from omegaconf.errors import OmegaConfBaseException

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.compose import plain
from lightning_d2l.sweeps.compose import Composer
from lightning_d2l.sweeps.grid import grid, meaning
from tests.sweeps.test_compose import hydra

SCALARS = ("1", "1.0", "2", "1e0", "true", "null", "x", "'x'", '"1"', "${seed}", "'${seed}'", "a\\,b", "'a b'", "[1,2]")
DICTS = ("{name:zeros}", "{std:0.5}", "{name:normal,std:0.1}", "{name:'zeros'}", "{a:{b:1}}", "{}")
KEYS = ("data.noise", "model.init", "model.init.std", "model.init.name", "optimizer.lr", "seed", "data", "new", "new.a")
GROUPS = {"optimizer": ("sgd", "adam", "'adam'"), "model": ("mlp", "polynomial_regression"), "logger": ("none",)}
QUICK = (Phase.explicit, Phase.generate)  # a failure is not shrunk, which takes minutes
PREFIXES = ("", "", "", "", "+", "++")


def choices(values: tuple[str, ...]) -> st.SearchStrategy[str]:
    several = st.lists(st.sampled_from(values), min_size=2, max_size=2)
    return st.one_of(
        st.sampled_from(values),
        st.sampled_from(values),
        several.map(",".join),
        several.map(lambda given: f"choice({','.join(given)})"),
    )


@st.composite
def overrides(draw: Any) -> str:
    kind = draw(st.sampled_from(("key", "key", "key", "dict", "dict", "group", "delete", "range", "glob")))
    if kind == "group":
        name = draw(st.sampled_from(sorted(GROUPS)))
        return f"{draw(st.sampled_from(('', '', '', '+')))}{name}={draw(choices(GROUPS[name]))}"
    if kind == "delete":
        return "~" + draw(st.sampled_from((*KEYS, "new=1", "seed=1", "logger", "model.init.std=0.5")))
    if kind == "range":
        return (
            f"{draw(st.sampled_from(('seed', 'data.noise')))}={draw(st.sampled_from(('range(2)', 'range(0,1,0.5)')))}"
        )
    if kind == "glob":
        return f"optimizer={draw(st.sampled_from(('glob(a*)', 'glob([s*,adam])')))}"
    prefix, key = draw(st.sampled_from(PREFIXES)), draw(st.sampled_from(KEYS))
    return f"{prefix}{key}={draw(choices(SCALARS if kind == 'key' else DICTS))}"


def composed(loader: ConfigLoader, words: Sequence[str]) -> Any:
    """The configuration of a single run as Hydra composes it, or None if it refuses."""
    try:
        return plain(loader.load_configuration("train", [*words], RunMode.RUN))
    except (HydraException, OmegaConfBaseException, RequestError, ValueError, TypeError, AssertionError):
        return None


def every_combination(loader: ConfigLoader, words: list[str]) -> list[list[str]]:
    """Each override with each of its values, none left out."""
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(words)
    values = [
        [f"{word.partition('=')[0]}={value}" for value in override.sweep_string_iterator()]
        if override.is_sweep_override()
        else [word]
        for override, word in zip(parsed, words, strict=True)
    ]
    return [list(chosen) for chosen in itertools.product(*values)]


def check(words: list[str]) -> None:
    with hydra() as (loader, master):
        try:
            combinations = every_combination(loader, words)
        except HydraException:  # such as choice(null,1), which Hydra's grammar lacks
            return
        if len(combinations) > 8:
            return
        alone = functools.cache(lambda *words: composed(loader, words))  # 0.1 s
        singles = [alone(*combination) for combination in combinations]
        jobs = list(grid(words, loader).jobs.values())
        composer = Composer(loader, master)
        ours = []
        for job in jobs:
            try:
                ours.append(composer.settings(job))
            except (HydraException, OmegaConfBaseException, RequestError, ValueError, TypeError, AssertionError):
                ours.append(None)
            # The very values, their types and their order, as Hydra composes them from the job's own overrides.
            assert repr(ours[-1]) == repr(alone(*job)), job
        # Nothing that was asked for is left out, and nothing else is trained.
        assert {meaning(config) for config in ours} == {meaning(config) for config in singles}


CASES = [
    ["model.init={name:zeros}", "model.init={std:0.5}", "seed=0,1"],
    ["model.init={std:0.5},{std:0.1}", "model.init={name:zeros},{name:normal}"],
    ["model.init={name:zeros}", "model.init.std=1,2", "model.init={std:3}"],
    ["model.init={name:zeros},{name:normal}", "model.init=normal", "model.init={std:3}"],
    ["model.init=normal", "model.init={name:normal,std:1}", "model.init=zeros,normal"],
    ["data.noise=1,2", "~data.noise", "+data.noise=3"],
    ["data.noise=1,2", "~data.noise=2", "+data.noise=3"],
    ["optimizer=sgd,adam", "optimizer.lr=1", "optimizer=adam"],
    ["optimizer=sgd,adam", "optimizer={lr:7}"],
    ["optimizer={lr:7}", "optimizer=sgd,adam"],
    ["seed=1,2", "data.seed=${seed}", "seed=3,4"],
    ["+new=1,2", "new=3"],
    ["++new=1", "++new=2,3"],
    ["model.init=1.0,true,[1,2]"],
    ["data.noise=1", "++data.noise=2,3", "data.noise=4"],
]


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_repeated_overrides_compose_as_those_of_a_single_run(words):
    check(words)


@pytest.mark.slow
@pytest.mark.apart
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), phases=QUICK)
@given(st.lists(overrides(), min_size=1, max_size=5))
@example(["model.init={name:zeros}", "model.init.std=0.5", "model.init={name:normal},{name:zeros}"])
def test_overrides_compose_as_those_of_a_single_run(words):
    check(words)
