"""The parameters of a network in words."""

from __future__ import annotations

from torch import nn

WEIGHTS = ("weight", "S")
"""What makes a module a layer; S is the weight of a hypercomplex one."""


def parameter_names(net: nn.Module) -> dict[str, str]:
    """The names of a network's parameters in words: `1.weight` of a sequence is `hidden 1 weight`.

    The last layer of a network is `output`. Layers that have names keep them: `encoder.fc.weight` is `encoder.fc
    weight`. What is not a layer, such as an activation with parameters, has the name of its class and the
    number of layers before it.
    """
    modules = dict(net.named_modules())
    parameters = dict(net.named_parameters())
    layers = [
        name.rpartition(".")[0] for name, p in parameters.items() if name.rpartition(".")[2] in WEIGHTS and p.dim() > 1
    ]
    numbered = [path for path in layers if _is_numbered(path)]
    found: dict[str, str] = {}
    before = 0
    for name in parameters:
        path, _, leaf = name.rpartition(".")
        owner = modules.get(path)
        if path in numbered:
            before = numbered.index(path) + 1
            place = "output" if path == layers[-1] else f"hidden {before}"
        elif isinstance(owner, nn.ParameterList):
            place, leaf = path.removeprefix("net."), str(int(leaf) + 1)
        elif _is_numbered(path) and leaf in ("weight", "bias"):
            place = f"{type(owner).__name__} {before}"
        else:
            place = path.removeprefix("net.") if path != "net" else ""
        found[name] = f"{place} {leaf}".strip()
    return found if len({*found.values()}) == len(found) else {name: name for name in parameters}


def _is_numbered(path: str) -> bool:
    """Whether a module is only numbered, as the items of a sequence are."""
    return bool(path) and all(part.isdigit() or part == "net" for part in path.split("."))
