"""The book's functions by their names: its own listings train with them, and the docstrings say what they take."""

import doctest
import importlib
import inspect
import re

import pytest
import torch

from lightning_d2l import scratch
from lightning_d2l.scratch import (
    accuracy,
    cross_entropy,
    data_iter,
    dropout_layer,
    linreg,
    relu,
    sgd,
    softmax,
    squared_loss,
    synthetic_data,
)

FUNCTIONS = [
    accuracy,
    cross_entropy,
    data_iter,
    dropout_layer,
    linreg,
    relu,
    sgd,
    softmax,
    squared_loss,
    synthetic_data,
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_docstrings_name_every_parameter_and_their_examples_run(function):
    documented = re.findall(r"^([\w, ]+) : ", inspect.getdoc(function), re.M)
    assert ", ".join(documented).split(", ") == [*inspect.signature(function).parameters]
    found = inspect.unwrap(function)
    module = importlib.import_module(found.__module__)
    (test,) = doctest.DocTestFinder(recurse=False).find(found, function.__name__, module=module)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


def test_every_name_is_that_of_its_object():
    for name in scratch.__all__:
        assert getattr(scratch, name).__name__ == name


def test_the_books_linear_regression_reaches_least_squares():
    """The loop of d2l 3.2.7: the last epoch's loss is that of the noise, 0.01^2 / 2."""
    torch.manual_seed(0)
    true_w, true_b = torch.tensor([2, -3.4]), 4.2
    features, labels = synthetic_data(true_w, true_b, 1000)
    w = torch.normal(0, 0.01, size=(2, 1), requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    for _ in range(3):
        for X, y in data_iter(10, features, labels):
            squared_loss(linreg(X, w, b), y).sum().backward()
            sgd([w, b], 0.03, 10)
    with torch.no_grad():
        assert squared_loss(linreg(features, w, b), labels).mean() == pytest.approx(0.01**2 / 2, rel=0.1)
    design = torch.cat([features, torch.ones(1000, 1)], 1)
    expected = torch.linalg.lstsq(design, labels).solution
    assert torch.cat([w.detach(), b.detach()[:, None]]).flatten().tolist() == pytest.approx(
        expected.flatten().tolist(), abs=2e-3
    )


def test_the_books_mlp_trains_on_probabilities_as_torchs_on_logits():
    """One step of d2l 4.2 with dropout 0 equals that of torch's functions in the parameters."""
    torch.manual_seed(0)
    X, y = torch.randn(8, 5), torch.randint(3, (8,))
    both = []
    for mine in (True, False):
        torch.manual_seed(1)
        params = [torch.nn.Parameter(torch.randn(shape)) for shape in ((5, 4), (4,), (4, 3), (3,))]
        W1, b1, W2, b2 = params
        if mine:
            y_hat = softmax(dropout_layer(relu(X @ W1 + b1), 0.0) @ W2 + b2)
            loss = cross_entropy(y_hat, y)
            assert accuracy(y_hat, y) == (y_hat.argmax(1) == y).float().mean().item()
        else:
            loss = torch.nn.functional.cross_entropy(torch.relu(X @ W1 + b1) @ W2 + b2, y, reduction="none")
        loss.sum().backward()
        if mine:
            sgd(params, 0.1, len(X))
        else:
            torch.optim.SGD([{"params": params}], 0.1 / len(X)).step()
        both.append(params)
    for ours, theirs in zip(*both, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1])), "cross_entropy_with_logits takes logits"),
        (lambda: cross_entropy(torch.tensor([[2.0, -1.0]]), torch.tensor([0])), "cross_entropy_with_logits"),
        (lambda: cross_entropy(torch.full((2, 2), 0.5), torch.zeros(2, 1).long()), r"must have the shape \(2,\)"),
        (lambda: accuracy(torch.zeros(2, 3), torch.zeros(2, 1)), r"must have the shape \(2,\), not \(2, 1\)"),
        (lambda: next(data_iter(0, torch.zeros(2), torch.zeros(2))), "batch_size=0: must be at least 1"),
        (lambda: next(data_iter(1, torch.zeros(2), torch.zeros(3))), "as many as features, 2, not 3"),
    ],
)
def test_what_the_books_functions_take_silently_is_an_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()
