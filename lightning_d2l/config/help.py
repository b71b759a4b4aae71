"""What `python train.py --help` prints: options, flags, and each setting with its value and what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightning_d2l.config.escape import terminal
from lightning_d2l.config.lines import LOG, cells, fill, shortened
from lightning_d2l.config.options import CONF, LISTS, NAME, PLUGIN_FOLDERS, names
from lightning_d2l.config.references import safe_references

LEFT = 36  # columns of key=value
EXAMPLES = """\
Train a model, test it, and look at what it learnt:

  python train.py model=mlp
  python train.py model=mlp optimizer=adam 'model.num_hiddens=[512,128]' seed=1
  python train.py -m model.num_hiddens=16,64,256 'seed=range(5)'
  python train.py study=capacity
  python train.py ... resume=RUN_FOLDER
  python train.py --plugin my_project.py model=MyNet  # which my_project.py has"""
FLAGS = {
    "-m": "several runs: every combination of the values that are given, as above",
    "--cfg job": "print the configuration of a command, and train nothing",
    "--config-dir FOLDER": "a folder with options of yours, such as FOLDER/study/mine.yaml",
    "--plugin FILE": "a Python file or module that registers what a run uses",
    "--help": "this text, for the options and settings beside it",
    "--hydra-help": "the flags of Hydra",
}
GROUPS = ("model", "data", "optimizer", "scheduler", "callbacks", "trainer", "logger")
"""The groups of a run, in the order in which their settings are listed."""
PHRASES = {
    "optimizer.lr": "learning rate",
    "lr": "learning rate",
    "optimizer.weight_decay": "L2 penalty of weights, not of biases; 0: none",
    "momentum": "share of the previous step that is added; 0: none",
    "nesterov": "true: the gradient ahead, after the momentum",
    "maximize": "true: climb the loss",
    "differentiable": "true: autograd keeps the step",
    "foreach": "all parameters in one call; null: torch chooses",
    "fused": "one kernel updates all parameters; null: torch chooses",
    "capturable": "true: in a CUDA graph",
    "betas": "of the running means of the gradient and of its square",
    "eps": "added to what a step is divided by",
    "initial_accumulator_value": "of the sum of squared gradients",
    "tolerance_grad": "end a step when no gradient is larger",
    "tolerance_change": "end a step when the loss or the weights change less",
    "history_size": "earlier steps that the curvature is estimated from",
    "ns_steps": "iterations of Newton and Schulz",
    "momentum_decay": "how fast the momentum nears its final value",
    "base_momentum": "the lowest momentum",
    "max_momentum": "the highest momentum",
    "three_phase": "true: a third phase for the fall to the last rate",
    "threshold_mode": "rel or abs",
    "min_lr": "the lowest rate",
    "n_train": "training samples",
    "n_val": "validation samples",
    "n_test": "test samples",
    "batch_size": "samples of a minibatch",
    "data.seed": "draws the data, or the splits",
    "test_size": "as val_size, for the test",
    "b": "the constant of the true function",
    "num_hiddens": "hidden units",
    "num_features": "random features",
    "activation": "relu, prelu, leaky_relu, sigmoid, tanh, identity",
    "bias": "true: add a constant that is learnt",
    "std": "standard deviation of the initial weights",
    "init": "initial weights: default, normal, xavier_uniform, xavier_normal, kaiming, zeros, constant, "
    "thresholded_uniform, or registered ones; the numbers are for those that need them",
    "num_nodes": "machines",
    "min_steps": "no callback stops training earlier",
    "limit_val_batches": "the same for validation",
    "limit_test_batches": "the same for the test",
    "limit_predict_batches": "the same for predictions",
    "reload_dataloaders_every_n_epochs": "0: never",
    "model_registry": "of Lightning's cloud",
    "project": "the project's name",
    "experiment_name": "the experiment's name",
    "job_type": "a label of the run",
    "notes": "a text on the run",
    "tags": "labels of the run",
    "study.name": "of the sweep's folder, and of the rule of the answer",
    "study.question": "the title of the report and of its figure",
    "study.x": "the key along the axis",
    "study.curves": "the keys that make a curve each",
    "study.metrics": "the metrics of the panels",
    "study.replicates": "the keys that repeat a setting",
    "scale": "linear or log; null: as the values are spread",
    "study.theory": "the theory that the figure shows",
    "study.panels": "metric or curve: what each panel is of",
    "study": "of the study's figure and answer",
    "input_noise": "standard deviation of noise added to the inputs in training",
    "dropout": "probability with which a value is set to 0 in training",
}
"""What a setting is where its file does not say it: by full key, or by the last part of it."""


def help_text(config: DictConfig, folders: Sequence[Path] = (), width: int = LOG) -> str:
    """The help for a configuration, with its `hydra` node; `folders` are further ones with options."""
    width = min(width, 120)
    lines = [EXAMPLES, "", "Options, one of each group (group=option); a list of callbacks and loggers:", ""]
    for group in (*GROUPS, "experiment", "study", "debug", "hydra/launcher", "hydra/sweeper"):
        lines.append(fill(f"{group}: {', '.join(names(group))}", width, rest="  "))
    lines += ["", "Flags:", "", *_beside(FLAGS.items(), width, 24), ""]
    lines += ["Settings (key=value), as the options above set them:"]
    phrases = _phrases(config, [*folders, *PLUGIN_FOLDERS, CONF])
    for title, node in _nodes(config):
        rows = list(_rows(node, phrases))
        lines += ["", *([title] if title else []), *_beside(rows, width, LEFT)]
    lines += ["", *_beside(PLACES.items(), width, LEFT)]
    return "\n".join(terminal(line) for line in "\n".join(lines).splitlines())


PLACES = {
    "hydra.run.dir=FOLDER": "where a run is written; by default outputs/DATE/TIME-MODEL",
    "hydra.sweep.dir=FOLDER": "the same for a sweep; by default outputs/DATE/TIME-STUDY",
}


def _nodes(config: DictConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """A title and the settings by full key, for each group and for those that belong to none."""
    choices = config.hydra.runtime.choices
    for group in GROUPS:
        found = _flat(config.get(group), f"{group}.")
        several = dict.fromkeys(key.split(".")[1] for key in found)
        options = f"[{','.join(several)}]" if group in LISTS else str(choices.get(group) or "null")
        yield f"{group}={options}", found
    rest = {str(key): config[key] for key in config if key not in (*GROUPS, "hydra", "reference", "sweep", "study")}
    yield "", {key: value for name, node in rest.items() for key, value in _flat(node, name).items()}
    yield "", {**_flat(config.get("study"), "study."), **_flat(config.get("sweep"), "sweep.")}


def _flat(node: Any, prefix: str) -> dict[str, Any]:
    """Settings by full key, with references resolved where they can be; a flat mapping at the lowest level is split."""
    if not isinstance(node, DictConfig):
        return {} if node is None and prefix.endswith(".") else {prefix.rstrip("."): node}
    found: dict[str, Any] = {}
    prefix = prefix if prefix.endswith(".") else f"{prefix}."
    for key in map(str, node):
        if key == "_target_":
            continue
        try:
            with safe_references():
                value = "???" if OmegaConf.is_missing(node, key) else node[key]
        except OmegaConfBaseException:
            value = OmegaConf.to_container(node, resolve=False)[key]  # type: ignore[index, call-overload]
        if isinstance(value, DictConfig) and len(value):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    return found


def _rows(found: Mapping[str, Any], phrases: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """`key=value` of each setting and what it is; settings that share a phrase have it beside the first."""
    before = ("", "")
    for key, value in found.items():
        said = (key.rpartition(".")[0], phrase_of(key, phrases))
        yield f"{key}={typed(value)}", "" if said == before else said[1]
        before = said


def phrase_of(key: str, phrases: Mapping[str, str]) -> str:
    """What a setting is, by the files of the options, or those of its group; or no text."""
    parent, _, name = key.rpartition(".")
    return phrases.get(key) or PHRASES.get(key) or PHRASES.get(name) or PHRASES.get(parent.rpartition(".")[2]) or ""


def _beside(rows: Any, width: int, left: int) -> list[str]:
    """Words with what they mean to their right, or below them where they are long."""
    lines: list[str] = []
    room = max(width - left, 20)
    for words, phrase in rows:
        start = shortened(f"  {words}", width)
        meant = fill(phrase, room).splitlines() if phrase else []
        if cells(start) + 2 > left and meant:
            lines.append(start)
            start = ""
        for first, said in zip_longest([start], meant, fillvalue=""):
            lines.append(f"{first}{' ' * (left - cells(first))}{said}".rstrip())
    return lines


def typed(value: Any) -> str:
    """A value as it is typed on a command line."""
    if isinstance(value, list):
        return f"[{','.join(map(typed, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{typed(each)}' for key, each in value.items())}}}"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else "''" if value == "" else str(value)


def _phrases(config: DictConfig, folders: Sequence[Path]) -> dict[str, str]:
    """What settings and groups are by full key: the comments in train.yaml and in the files of the chosen options."""
    found = comments(CONF / f"{NAME}.yaml", "")
    choices = config.hydra.runtime.choices
    for group in GROUPS:
        node = config.get(group)
        chosen = list(node or {}) if group in LISTS else [choices.get(group)]
        for option in chosen:
            found |= _of_option(group, str(option), folders)
    return found


def _of_option(group: str, option: str, folders: Sequence[Path]) -> dict[str, str]:
    """The comments on the settings of a group in the file of an option, and in those that it is based on."""
    path = next((path for folder in folders if (path := folder / group / f"{option}.yaml").is_file()), None)
    if path is None:
        return {}
    text = path.read_text(encoding="utf-8")
    is_global = "@package _global_" in text.partition("\n")[0]
    found: dict[str, str] = {}
    node = yaml.safe_load(text)
    for base in (node or {}).get("defaults") or [] if isinstance(node, dict) else []:
        if isinstance(base, str) and base != option:
            found |= _of_option(group, base, folders)
    own = comments(path, "" if is_global else f"{group}.")
    return found | {key: phrase for key, phrase in own.items() if key.startswith(f"{group}.")}


def comments(path: Path, prefix: str) -> dict[str, str]:
    """The comment behind each setting of a YAML file, and behind each group that is written in one line, by full key.

    Lines of comment alone that follow, and begin in the same column, continue it.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    found: dict[str, str] = {}

    def comment(line: int, column: int) -> str:
        """The comment behind a column of a line."""
        rest = lines[line][column:]
        if not (found := re.match(r"[\s,}\]]*#\s*", rest)):
            return ""
        said = [rest[found.end() :].strip()]
        for further in lines[line + 1 :]:
            words = further.strip()
            if not words.startswith("#") or len(further) - len(further.lstrip()) < 8:
                break
            said.append(words.lstrip("# "))
        return " ".join(said)

    def walk(node: yaml.Node | None, above: str) -> None:
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            name = f"{above}{key.value}"
            if isinstance(value, yaml.MappingNode) and not value.flow_style:
                walk(value, f"{name}.")
            elif said := comment(value.end_mark.line, value.end_mark.column):
                inside = (
                    [f"{name}.{each.value}" for each, _ in value.value] if isinstance(value, yaml.MappingNode) else []
                )
                found.update(dict.fromkeys([name, *inside], said))

    walk(yaml.compose("\n".join(lines)), prefix)
    return found
