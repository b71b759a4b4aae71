"""What SLURM says: whether it takes a task, which tasks there are, and the end of them, by its own commands."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_d2l.config.check import RequestError

PATIENCE = 30.0  # seconds for the answer of a command
FOLDER = ".slurm"  # in the sweep's: the scripts that SLURM runs, and what the tasks print
LAUNCHER = "hydra/launcher=slurm"
# The option of sbatch for each setting of the launcher.
OPTIONS = {
    "partition": "partition", "account": "account", "qos": "qos", "constraint": "constraint", "exclude": "exclude",
    "timeout_min": "time", "cpus_per_task": "cpus-per-task", "gpus_per_node": "gpus-per-node",
    "gres": "gres", "mem_gb": "mem", "mem_per_cpu": "mem-per-cpu", "comment": "comment",
}  # fmt: skip
# What the settings are called in the messages of sbatch.
_WORDS = {
    "partition": ("partition",), "account": ("account",), "qos": ("qos",), "constraint": ("feature",),
    "timeout_min": ("time limit",), "gpus_per_node": ("gres", "generic resource"), "gres": ("gres",),
    "mem_gb": ("memory",),
}  # fmt: skip
# Reasons of SLURM for which a task waits for its turn, or until other tasks have ended.
TURN = ("", "None", "Priority", "Resources", "BeginTime", "JobArrayTaskLimit", "Dependency")
# The settings that a node may not have.
_OF_A_NODE = ("cpus_per_task", "gpus_per_node", "gres", "mem_gb", "mem_per_cpu", "constraint")


@dataclass(frozen=True)
class Task:
    """A task that SLURM has: its state in two letters (PD waits, R runs, CG ends), and why it waits."""

    state: str
    reason: str


class SlurmError(Exception):
    """A command of SLURM failed; the text is the last line of what it said."""


def ask(*words: str, script: str = "") -> str:
    """What a command of SLURM prints; raises SlurmError if it fails or does not answer."""
    try:
        done = subprocess.run(
            words, input=script, capture_output=True, text=True, timeout=PATIENCE, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{words[0]} gave no answer in {PATIENCE:.0f} seconds") from None
    except OSError as error:
        raise SlurmError(f"{words[0]}: {error.strerror}") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"{words[0]} failed"]
        raise SlurmError(re.sub(r"^\w+: (error: )?", "", said[0 if "invalid" in said[0].lower() else -1])[:200])
    return done.stdout


def check(settings: Mapping[str, Any]) -> None:
    """Raise RequestError, one line, if SLURM would not take a task with these settings of the launcher."""
    if importlib.util.find_spec("submitit") is None:
        raise RequestError(f"{LAUNCHER}: submitit is not installed: pip install 'lightning_d2l[slurm]'")
    for program in ("sbatch", "srun", "squeue", "scancel"):
        if shutil.which(program) is None:
            raise RequestError(f"{LAUNCHER}: SLURM is not installed here: no command {program}")
    try:
        largest_array()
    except SlurmError as error:
        raise RequestError(f"{LAUNCHER}: SLURM's controller does not answer: {error}") from error
    try:
        ask("sbatch", "--test-only", *options(settings), script="#!/bin/sh\ntrue\n")
    except SlurmError as error:
        if not _are_nodes_down(settings, str(error)):
            raise RequestError(_refused(settings, str(error))) from error
    _check_time(settings)


def _are_nodes_down(settings: Mapping[str, Any], error: str) -> bool:
    """Whether sbatch would say the same of the smallest task, since no node is there now; a real task waits for one."""
    smallest = {name: settings.get(name) for name in ("partition", "account", "qos")}
    try:
        ask("sbatch", "--test-only", *options(smallest), script="#!/bin/sh\ntrue\n")
    except SlurmError as other:
        return "configuration is not available" in error and str(other) == error
    return False


def options(settings: Mapping[str, Any]) -> list[str]:
    """The options of sbatch for settings of the launcher; those that are null are left out."""
    given = {name: settings.get(name) for name in OPTIONS}
    if given["mem_gb"] is not None:
        given["mem_gb"] = f"{int(given['mem_gb'] * 1024)}M"
    more = {**(settings.get("additional_parameters") or {})}
    found = [f"--{OPTIONS[name]}={value}" for name, value in given.items() if value is not None]
    found += [f"--{name}" if value is True else f"--{name}={value}" for name, value in more.items()]
    return found


def _refused(settings: Mapping[str, Any], error: str) -> str:
    """The message for what sbatch said."""
    asked = {name: settings[name] for name in OPTIONS if settings.get(name) is not None}
    named = [name for name in asked if any(word in error.lower() for word in _WORDS.get(name, ()))]
    if not named and "configuration" in error:
        named = [name for name in asked if name in _OF_A_NODE]
    key = ", ".join(f"hydra.launcher.{name}={asked[name]}" for name in named) or LAUNCHER
    hint = ""
    if named == ["partition"]:
        with contextlib.suppress(SlurmError):
            hint = f"; it has {', '.join(partitions())}"
    return f"{key}: SLURM refuses it: {error}{hint}"


def partitions() -> dict[str, str]:
    """The partitions, each with its time limit as SLURM writes it; the default one comes first."""
    lines = [line.split("|") for line in ask("sinfo", "-h", "-o", "%P|%l").splitlines()]
    lines.sort(key=lambda line: not line[0].endswith("*"))
    return {name.rstrip("*"): limit for name, limit in lines}


def _check_time(settings: Mapping[str, Any]) -> None:
    """Raise RequestError if the time limit is above that of the partition, where a task would wait for ever."""
    try:
        known = partitions()
    except SlurmError:
        return
    for name in (settings.get("partition") or next(iter(known), "")).split(","):
        if (limit := minutes(known.get(name, ""))) is None or settings["timeout_min"] <= limit:
            return
    asked = f"hydra.launcher.timeout_min={settings['timeout_min']}"
    raise RequestError(f"{asked}: must be at most {limit:g}, the limit of partition {name}")


def minutes(limit: str) -> float | None:
    """A time limit such as 2-12:00:00, 30:00 or 15:00:00 in minutes; None if there is none."""
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", limit):
        return None
    days, _, rest = limit.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if days:
        parts += [0] * (3 - len(parts))
    seconds = 0
    for part in parts if len(parts) > 1 else [*parts, 0]:  # one number alone is minutes
        seconds = seconds * 60 + part
    return (int(days or 0) * 86400 + seconds) / 60


def largest_array() -> int:
    """The most tasks of an array here; raises SlurmError if the controller does not answer."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", ask("scontrol", "show", "config"), re.MULTILINE)
    return max(int(found[1]) if found else 1, 1)


def name_of(sweep: str) -> str:
    """The name of all jobs of the sweep with an id; by it they are found again, and cancelled."""
    return f"d2l-{sweep[:16]}"


def tasks(name: str) -> dict[str, Task]:
    """The tasks of the jobs of this name that wait or run, by their ids such as 12_3; raises SlurmError."""
    lines = [line.split("|") for line in ask("squeue", "-h", "-r", "-n", name, "-o", "%i|%t|%r").splitlines()]
    return {number: Task(state, reason) for number, state, reason in lines}


def job(number: str) -> dict[str, str]:
    """What SLURM knows of a job or a task, such as JobState, ExitCode and BatchHost, for some minutes after its end.

    Raises SlurmError if it knows none, or does not answer.
    """
    lines = ask("scontrol", "--oneliner", "show", "job", number).splitlines()
    return dict(re.findall(r"(\w+)=(\S*)", lines[0] if lines else ""))


def described(tasks: Mapping[str, Task]) -> str:
    """How many tasks run and wait, and why those wait that do."""
    states = Counter("run" if task.state in ("R", "CG") else "wait" for task in tasks.values())
    reasons = Counter(task.reason for task in tasks.values() if task.state == "PD" and task.reason not in ("", "None"))
    why = f" ({reasons.most_common(1)[0][0]})" if reasons else ""
    return f"{states['run']} tasks run, {states['wait']} wait{why}"


def blocked(tasks: Mapping[str, Task]) -> str:
    """Why all tasks wait, and which nodes are down or drained, if it is not for their turn or for others' tasks."""
    reasons = Counter(task.reason for task in tasks.values() if task.state == "PD" and task.reason not in TURN)
    if not reasons or any(task.state != "PD" for task in tasks.values()):
        return ""
    nodes = []
    with contextlib.suppress(SlurmError):
        lines = [line.split("|") for line in ask("sinfo", "-h", "-R", "-o", "%N|%E").splitlines()]
        nodes = [f"{node} ({reason})" for node, reason, *_ in lines]
    return "; ".join([reasons.most_common(1)[0][0], *nodes])


def cancel(name: str, *, waiting: bool = False) -> None:
    """Cancel the jobs of a name, or those `waiting` alone; one that runs gets SIGTERM first. Raises SlurmError."""
    ask("scancel", f"--name={name}", f"--user={os.getuid()}", *(["--state=PENDING"] if waiting else []))
