"""The files of a `--config-dir` folder, checked before Hydra reads them: their kind, size and growth."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import yaml

from lightning_d2l.config.check import RequestError

MOST_FILES = 2_000
MOST_BYTES = 1_000_000  # of one file
MOST_NODES = 20_000  # of one file, an alias counted as all that it repeats
DEEPEST = 50  # nested lists and mappings
MOST_REFERENCES = 1_000  # in one file, as ${seed}; the time to parse them grows with their square


def check_config_dir(text: str, option: str = "--config-dir") -> None:
    """Raise RequestError unless `text` names a folder in which every .yaml file can be read in bounded time."""
    folder = Path(text)
    try:
        if not text or not folder.is_dir():
            raise RequestError(f"{option}={text}: no such folder")
        number = 0
        for at, _, names in os.walk(folder):
            for name in names:
                if name.endswith((".yaml", ".yml")):
                    number += 1
                    _check_file(Path(at, name), option)
            if number > MOST_FILES:
                raise RequestError(f"{option}={text}: must hold at most {MOST_FILES:,} .yaml files")
    except (OSError, ValueError) as error:  # such as a name with a null byte
        raise RequestError(f"{option}={text}: can't be read ({error})") from error


def _check_file(path: Path, option: str) -> None:
    where = f"{option}: {path}"
    if not stat.S_ISREG(path.stat().st_mode):
        raise RequestError(f"{where}: must be a regular file")
    if path.stat().st_size > MOST_BYTES:
        raise RequestError(f"{where}: must be at most {MOST_BYTES:,} bytes")
    try:
        text = path.read_bytes().decode()
        if text.count("${") > MOST_REFERENCES:
            raise RequestError(f"{where}: must hold at most {MOST_REFERENCES:,} references")
        _check_growth(text, where)
    except UnicodeDecodeError as error:
        raise RequestError(f"{where}: must be text in UTF-8 ({error.reason} at byte {error.start})") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise RequestError(f"{where}: no valid YAML: {' '.join(str(error).split())[:200]}") from error


def _check_growth(text: str, where: str) -> None:
    """Count the nodes of a YAML text with its aliases written out, without writing them out."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # the anchor and the size before each node that is not closed yet
    total = 0
    for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:  # of a node around it, or of none
                raise RequestError(f"{where}: the alias *{event.anchor} must name a node that ended before it")
            total += sizes[event.anchor]
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            open_nodes.append((event.anchor, total))
            total += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor:
                sizes[event.anchor] = 1
        if total > MOST_NODES or len(open_nodes) > DEEPEST:
            raise RequestError(f"{where}: must hold at most {MOST_NODES:,} values, nested at most {DEEPEST} deep")
