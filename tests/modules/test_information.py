import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import rel_entr
from scipy.stats import entropy as scipy_entropy
from torch.nn import functional

from lightning_d2l.modules.information import (
    cross_entropy,
    entropy,
    information_metrics,
    kl_divergence,
    prediction_information,
    surprisal,
)

# zeros and tiny probabilities included
weights = arrays(float, 5, elements=st.one_of(st.just(0.0), st.floats(1e-12, 1.0))).filter(lambda w: w.sum() > 0)
distributions = weights.map(lambda w: torch.from_numpy(w / w.sum()))


@settings(max_examples=50, deadline=None)
@given(distributions, distributions)
def test_equals_scipy(p, q):
    for unit, base in (("nats", math.e), ("bits", 2)):
        assert entropy(p, unit).item() == pytest.approx(scipy_entropy(p, base=base), abs=1e-12)
        divergence = rel_entr(p.numpy(), q.numpy()).sum() / math.log(base)
        assert kl_divergence(p, q, unit).item() == pytest.approx(divergence, rel=1e-12, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(distributions, distributions)
def test_cross_entropy_is_entropy_plus_divergence_which_is_never_negative(p, q):
    assert kl_divergence(p, q) >= 0
    assert kl_divergence(p, p) == 0
    expected = entropy(p) + kl_divergence(p, q)
    assert cross_entropy(p, q).item() == pytest.approx(expected.item(), rel=1e-12, abs=1e-12)
    assert 0 <= entropy(p) <= math.log(5) + 1e-12


def test_known_values():
    assert entropy(torch.full((8,), 1 / 8), "bits").item() == pytest.approx(3, abs=1e-6)
    assert entropy(torch.tensor([0.5, 0.5]), "bits").item() == pytest.approx(1, abs=1e-6)
    assert surprisal(torch.tensor([1.0, 0.25, 0.0]), "bits").tolist() == pytest.approx([0, 2, math.inf])
    certain, fair = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])
    assert entropy(certain) == 0
    assert kl_divergence(certain, fair, "bits").item() == pytest.approx(1, abs=1e-6)
    assert kl_divergence(fair, certain) == cross_entropy(fair, certain) == math.inf


def test_leading_dimensions_are_kept():
    p = torch.rand(3, 4, 6, generator=torch.Generator().manual_seed(0)).softmax(-1)
    q = p.flip(-1)
    for values in (entropy(p), cross_entropy(p, q), kl_divergence(p, q)):
        assert values.shape == (3, 4)
    np.testing.assert_allclose(kl_divergence(p, q), rel_entr(p.numpy(), q.numpy()).sum(-1), atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(arrays(float, (4, 5), elements=st.floats(-20, 20)), arrays(int, 4, elements=st.integers(0, 4)))
def test_from_logits_equals_from_their_softmax(logits, y):
    logits, y = torch.from_numpy(logits), torch.from_numpy(y)
    p, label = logits.softmax(1), functional.one_hot(y, 5).double()
    expected = {
        "surprisal": surprisal(p.gather(1, y[:, None])[:, 0], "bits"),
        "entropy": entropy(p, "bits"),
        "cross_entropy": cross_entropy(label, p, "bits"),
        "kl": kl_divergence(label, p, "bits"),
    }
    torch.testing.assert_close(prediction_information(logits, y, "bits"), expected, rtol=1e-9, atol=1e-9)


def test_logits_that_overflow_exp_are_exact():
    logits = torch.tensor([[1000.0, 0.0], [0.0, 1000.0], [0.0, -math.inf]])
    found = prediction_information(logits, torch.tensor([1, 1, 0]))
    assert found["surprisal"].tolist() == [1000, 0, 0]
    assert found["entropy"].tolist() == [0, 0, 0]


def test_metrics_are_the_loss_of_classification_in_nats_and_bits():
    rng = torch.Generator().manual_seed(0)
    logits, y = torch.randn(50, 10, generator=rng), torch.randint(10, (50,), generator=rng)
    metrics = information_metrics(logits, y)
    loss = functional.cross_entropy(logits, y).item()
    for name in ("surprisal", "cross_entropy", "kl"):
        assert metrics[name].item() == pytest.approx(loss, rel=1e-6)
        assert metrics[f"{name}_bits"].item() == pytest.approx(loss / math.log(2), rel=1e-6)
    spread = scipy_entropy(logits.softmax(1).numpy(), axis=1)
    assert metrics["entropy"].item() == pytest.approx(spread.mean(), rel=1e-5)
    assert metrics["entropy_bits"].item() == pytest.approx(spread.mean() / math.log(2), rel=1e-5)
