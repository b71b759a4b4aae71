"""The settings of registered classes and functions, from their signatures."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import pytest
import torch

from lightning_d2l.config.check import RequestError, check_settings
from lightning_d2l.config.signature import SignatureError, defaults_of, settings_of


def checked(target: Callable[..., Any], **values: Any) -> str:
    """The message about the first wrong value, or an empty string."""
    try:
        check_settings(values, settings_of(target), "model.")
    except RequestError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("kind", "right", "wrong", "allowed"),
    [
        (int, [0, -3], [True, 1.5, "six", None], "a whole number"),
        (float, [1, 0.5], [True, "x", float("nan")], "a number"),
        (bool, [True], [1, "true"], "true or false"),
        (str, ["", "x"], [1, None], "text"),
        (Path, ["x"], [1], "text"),
        (Literal["a", "b"], ["a"], ["c", None], "one of a, b"),
        (Literal[1, True, None], [1, True, None], ["c", 2, False], "one of 1, true, null"),
        (Optional[int], [None, 3], ["x"], "a whole number or null"),  # noqa: UP045
        (Union[int, str], [3, "x"], [None, 0.5], "a whole number or text"),  # noqa: UP007
        (int | None, [None, 3], ["x"], "a whole number or null"),
        (list[int], [[], [1, 2]], [1, [0.5], "x"], "a list, each a whole number"),
        (Sequence[float], [[1, 0.5]], [["x"]], "a list, each a number"),
        (tuple[int, ...], [[1, 2, 3]], [["x"], 1], "a list, each a whole number"),
        (tuple[int, float], [[1, 0.5]], [[1], [0.5, 1], 1], "a list of 2: a whole number, a number"),
        (list, [[1, "x"]], [1], "a list"),
        (dict[str, int], [{"a": 1}], [1, []], "a group of settings"),
        (Annotated[int, "of channels"], [1], ["x"], "a whole number"),
        ("int", [1], ["x"], "a whole number"),
        ("Decimal", [1, "x", None], [], ""),  # imported for type checkers alone
        (Any, [1, "x", None, [1]], [], ""),
        (torch.nn.Module | int, [1], ["x"], "a whole number"),
    ],
)
def test_values_of_annotations(kind, right, wrong, allowed):
    def model(x): ...

    model.__annotations__["x"] = kind
    assert [checked(model, x=value) for value in right] == [""] * len(right)
    for value in wrong:
        assert f"must be {allowed}" in checked(model, x=value)


def test_defaults_are_settings_that_may_be_left_out():
    def model(num_inputs, width: int = 6, rate: int = None, sizes=(1, 2), act=torch.nn.ReLU, *rest, name): ...  # noqa: RUF013

    assert defaults_of(model, ["num_inputs"]) == {"width": 6, "rate": None, "sizes": [1, 2], "name": "???"}
    settings = settings_of(model, ["num_inputs"])
    assert [*settings.rules] == ["name"]
    assert [*settings.optional] == ["width", "rate", "sizes"]
    check_settings({"name": "x", "rate": None}, settings, "model.")
    with pytest.raises(RequestError, match=r"model.name: missing"):
        check_settings({}, settings, "model.")
    with pytest.raises(RequestError, match=r"model.act: unknown key"):
        check_settings({"name": "x", "act": "relu"}, settings, "model.")


def test_further_settings_are_open_only_by_kwargs_of_ones_own():
    class Open:
        def __init__(self, width: int = 3, **more): ...

    class Plain(torch.nn.Module): ...

    assert checked(Open, width=3, more="x") == ""
    assert "must be a whole number" in checked(Open, width="x")
    assert not settings_of(Plain).open  # torch.nn.Module.__init__(*args, **kwargs) refuses all


def test_what_no_configuration_can_give():
    def needs_module(net: torch.nn.Module): ...
    def needs_place(net, /): ...

    for target in (needs_module, needs_place):
        with pytest.raises(SignatureError, match="net"):
            settings_of(target)
    with pytest.raises(SignatureError, match="not known"):
        settings_of(dict)


def test_torchs_own_classes_and_partials():
    """The names and defaults that torch documents for Adam."""
    found = defaults_of(torch.optim.Adam, ["params"])
    assert (found["lr"], found["betas"], found["eps"]) == (1e-3, [0.9, 0.999], 1e-8)
    assert "must be" in checked(torch.optim.Adam, params=[], betas=[0.9])
    fixed = functools.partial(torch.optim.Adam, eps=0.5)
    assert defaults_of(fixed, ["params"])["eps"] == 0.5
    assert "must be a number" in checked(fixed, params=[], eps="x")
