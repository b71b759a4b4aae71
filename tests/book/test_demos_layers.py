"""The demos of layers, blocks and parameters, against the published facts."""

import math

import pytest
import torch
from scipy import stats

from lightning_d2l.book.demos import run_demo
from lightning_d2l.book.demos.xavier import SIZES, draws

SEEDS = (0, 1)


@pytest.mark.parametrize("name", ["blocks", "parameters", "phm", "xavier"])
def test_a_demo_depends_only_on_its_seed(name):
    before = torch.get_rng_state()
    first, second, other = (run_demo(name, seed) for seed in (3, 3, 4))
    assert (first.text, first.numbers) == (second.text, second.numbers)
    assert first.numbers != other.numbers or name == "phm"  # its numbers are counts and rounding errors
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seed", SEEDS)
def test_blocks(seed):
    numbers = run_demo("blocks", seed).numbers
    for block in ("MLPBlock", "MySequential", "NestedMLP"):
        assert (numbers[f"rows, {block}"], numbers[f"columns, {block}"]) == (2, 10)
    assert 0 < numbers["|FixedHiddenMLP|"] <= 1
    assert 0 < numbers["|chimera|"] <= 1
    facts = {
        member: tuple(numbers[f"{fact}, {member}"] for fact in ("trained", "saved", "moved"))
        for member in (
            "layer as an attribute",
            "layer in a plain list",
            "constant as a buffer",
            "constant as an attribute",
        )
    }
    assert list(facts.values()) == [(1, 1, 1), (0, 0, 0), (0, 1, 1), (0, 0, 0)]


@pytest.mark.parametrize("seed", SEEDS)
def test_parameters(seed):
    demo = run_demo("parameters", seed)
    numbers = demo.numbers
    sizes = [numbers[name] for name in numbers if name.startswith("size ")]
    assert sizes == [8, 4, 8, 1, 8, 1]
    assert '"2.bias" and state_dict()["2.bias"]: one tensor' in demo.text
    assert (numbers["gradients before backward"], numbers["gradients after backward"]) == (0, 4)
    assert numbers["largest |w|, constant"] == 1
    assert numbers["largest |w|, normal"] < 0.06
    assert numbers["largest |w|, xavier_uniform"] <= math.sqrt(6 / 12)
    assert 5 <= numbers["smallest |w| above 0, thresholded_uniform"] <= 10
    assert numbers["difference of tied weights"] == 0
    assert numbers["relative error of the summed gradient"] < 1e-6
    assert numbers["parameters, untied"] - numbers["parameters, tied"] == 8 * 8 + 8


def test_phm():
    numbers = run_demo("phm").numbers
    published = {1: 200_704, 2: 100_360, 4: 50_240, 8: 25_600, 16: 16_640}
    assert {n: numbers[f"weights n={n}"] for n in published} == published
    assert max(numbers[f"error of H n={n}"] for n in published) < 1e-6


def test_xavier():
    numbers = run_demo("xavier").numbers
    assert numbers["bound Linear(4, 8)"] == pytest.approx(0.7071, abs=5e-5)
    for n_in, n_out in SIZES:
        name = f"Linear({n_in}, {n_out})"
        bound = numbers[f"bound {name}"]
        assert 0.999 * bound < numbers[f"largest |w| {name}"] <= bound * (1 + 1e-6)
        assert numbers[f"variance {name}"] == pytest.approx(bound**2 / 3)  # of U(-bound, bound)
        for form in ("uniform", "normal"):
            assert numbers[f"variance of {form} weights {name}"] == pytest.approx(numbers[f"variance {name}"], rel=0.03)


def test_draws_have_the_distributions_of_scipy():
    torch.manual_seed(0)
    bound = math.sqrt(6 / 12)
    for scheme, law in (
        ("xavier_uniform", stats.uniform(-bound, 2 * bound)),
        ("xavier_normal", stats.norm(0, math.sqrt(2 / 12))),
    ):
        assert stats.kstest(draws(4, 8, scheme).numpy(), law.cdf).pvalue > 1e-3
