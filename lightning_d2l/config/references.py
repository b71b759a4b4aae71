"""What a reference in a configuration, such as ${seed} or ${oc.env:USER}, may do: look up a value, and nothing else."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from omegaconf.errors import InterpolationResolutionError

from lightning_d2l.compat_hydra import resolved_by

RESOLVERS = {"hydra", "now", "oc.env", "oc.select"}
"""Names of the resolvers that a configuration may use; none of them can build an object."""
# Environment variables that a configuration file may read, beside those that the command line names.
VARIABLES = re.compile(r"LIGHTNING_D2L_\w+|USER|USERNAME|LOGNAME|HOME|HOSTNAME|SCRATCH|TMPDIR|SLURM_\w+")
MOST_REFERENCES = 10_000  # resolved for one configuration; a reference to a reference counts twice
MOST_CHARACTERS = 1_000_000  # of all their values
_named: ContextVar[frozenset[str]] = ContextVar("_named", default=frozenset())


class ReferenceRefused(InterpolationResolutionError):
    """A reference that is not resolved."""


@contextmanager
def variables_named_in(words: Iterable[str]) -> Iterator[None]:
    """In this block configuration files may also read the environment variables that these words name."""
    found = {name for word in words for name in re.findall(r"oc\.env:\s*(\w+)", word)}
    token = _named.set(_named.get() | found)
    try:
        yield
    finally:
        _named.reset(token)


@contextmanager
def safe_references() -> Iterator[None]:
    """In this block a reference that may not be resolved, or too many of them, raise ReferenceRefused."""
    number = characters = 0

    def watch(resolver: str | None, value: Any) -> None:
        nonlocal number, characters
        if resolver is not None:
            _check_resolver(resolver, value)
            return
        number += 1
        characters += len(value) if isinstance(value, str) else 0
        if number > MOST_REFERENCES or characters > MOST_CHARACTERS:
            raise ReferenceRefused("references of references of references: more than a configuration may have")

    with resolved_by(watch):
        yield


def _check_resolver(name: str, arguments: tuple[Any, ...]) -> None:
    if name not in RESOLVERS:
        raise ReferenceRefused(f"${{{name}:...}}: not resolved; must be one of {', '.join(sorted(RESOLVERS))}")
    if name == "oc.env" and arguments:
        variable = str(arguments[0])
        if variable not in _named.get() and not VARIABLES.fullmatch(variable):
            raise ReferenceRefused(f"${{oc.env:{variable}}}: only the command line may name this environment variable")
        if len(arguments) == 1 and variable not in os.environ:
            raise ReferenceRefused(f"${{oc.env:{variable}}}: the environment variable {variable} is not set")
