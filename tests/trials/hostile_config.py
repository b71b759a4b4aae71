"""Configurations from elsewhere, and overrides, that try to run something, to wait for ever, or to write elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from pathlib import Path

from tests.trials.children import CANARY, Room, real, run
from tests.trials.trial import Case, Fault

SMALL = ["model=polynomial_regression", "data.n_train=20", "trainer.max_epochs=1", "logger=none"]
WAYS = [
    [],
    ["-m"],
    ["-m", "sweep.dry_run=true"],
    ["--cfg", "job", "--resolve"],
    ["-m", "hydra/launcher=sequential"],
    ["--cfg", "all"],
    ["-m", "hydra/sweeper=basic"],
    ["--info", "config"],
    ["--help"],
    ["--cfg", "hydra", "--resolve"],
    ["-m", "hydra/launcher=basic"],
    ["--info", "all"],
]

# What is put in a place of a configuration; {pickle}, {executed} and {precious} are paths of the case.
BUILT = f"{{_target_: {CANARY}.touch}}"
VALUES = {
    "a target": BUILT,
    "oc.create": f"'${{oc.create:{BUILT}}}'",
    "oc.create of a pickle": "'${{oc.create:{{_target_:joblib.load,filename:{pickle}}}}}'",
    "os.system": "{{_target_: os.system, command: touch {executed}}}",
    "a pickle": "{{_target_: pickle.loads, data: {{_target_: pathlib.Path.read_bytes, self: {pickle}}}}}",
    "by reference": "'${{evil}}'",
    "by reference to a key": "'${{evil.x}}'",
    "a hidden target": "{{_target_: '${{loss}}'}}",
    "a target in a list": f"[{BUILT}, [{BUILT}]]",
    "oc.decode": f"\"${{{{oc.decode:'{{{BUILT}}}'}}}}\"".replace("{{_", "{_").replace("touch}}", "touch}"),
    "oc.env's default": f"'${{oc.env:NO_SUCH,${{oc.create:{BUILT}}}}}'",
    "oc.select's default": f"'${{oc.select:no.such,${{oc.create:{BUILT}}}}}'",
    "oc.dict.values": "'${{oc.dict.values:evil}}'",
    "oc.deprecated": "'${{oc.deprecated:evil}}'",
    "hydra's node": "'${{hydra:callbacks}}'",
    "now of an object": f"'${{now:${{oc.create:{BUILT}}}}}'",
    "a target with _partial_": f"{{_target_: {CANARY}.touch, _partial_: true, _convert_: object, _args_: [1]}}",
    "get_method": f"{{_target_: hydra.utils.get_method, path: {CANARY}.touch}}",
    "instantiate": f"{{_target_: hydra.utils.instantiate, config: {{_target_: {CANARY}.touch}}}}",
    "a reference to another file's target": "'${{model}}'",
    "ext": f"'ext://{CANARY}.touch'",
}


def _value(name: str) -> str:
    """A value, whose double braces are single ones, with the places of paths left."""
    text = VALUES[name]
    if "{pickle}" in text or "{executed}" in text or "{{" in text:
        text = text.replace("{{", "\0").replace("}}", "\1")
        return text.replace("\0", "{").replace("\1", "}")
    return text


# Where it is put: a file of the folder, and the text around the value.
PLACES = {
    "hydra.callbacks": ("experiment/x.yaml", "hydra: {callbacks: @}"),
    "hydra.callbacks.x": ("experiment/x.yaml", "hydra: {callbacks: {x: @}}"),
    "hydra.sweeper": ("experiment/x.yaml", "hydra: {sweeper: @}"),
    "hydra.sweeper.max_batch_size": ("experiment/x.yaml", "hydra: {sweeper: {max_batch_size: @}}"),
    "hydra.sweeper.params": ("study/x.yaml", "hydra: {mode: MULTIRUN, sweeper: {params: @}}"),
    "a swept value": ("study/x.yaml", "hydra: {mode: MULTIRUN, sweeper: {params: {seed: @}}}"),
    "hydra.launcher": ("experiment/x.yaml", "hydra: {launcher: @}"),
    "hydra.launcher.x": ("experiment/x.yaml", "hydra: {launcher: {x: @}}"),
    "a launcher's option": (
        "hydra/launcher/x.yaml",
        "_target_: hydra_plugins.lightning_d2l_sweeps.SequentialLauncher\nx: @",
    ),
    "a launcher's target": ("hydra/launcher/x.yaml", "_target_: @"),
    "a sweeper's option": (
        "hydra/sweeper/x.yaml",
        "_target_: hydra_plugins.lightning_d2l_sweeps.GridSweeper\nparams: @",
    ),
    "hydra.job_logging": (
        "experiment/x.yaml",
        "hydra: {job_logging: {version: 1, handlers: {x: @}, root: {handlers: [x]}}}",
    ),
    "hydra.hydra_logging": ("experiment/x.yaml", "hydra: {hydra_logging: {version: 1, formatters: {x: {(): @}}}}"),
    "a logging file": ("hydra/job_logging/x.yaml", "version: 1\nfilters: {x: {(): @}}"),
    "hydra.job.env_set": ("experiment/x.yaml", "hydra: {job: {env_set: {PATH: @}}}"),
    "hydra.job.name": ("experiment/x.yaml", "hydra: {job: {name: @}}"),
    "hydra.job.config": ("experiment/x.yaml", "hydra: {job: {config: {override_dirname: {exclude_keys: @}}}}"),
    "hydra.run.dir": ("experiment/x.yaml", "hydra: {run: {dir: @}}"),
    "hydra.sweep.dir": ("experiment/x.yaml", "hydra: {sweep: {dir: @}}"),
    "hydra.sweep.subdir": ("experiment/x.yaml", "hydra: {sweep: {subdir: @}}"),
    "hydra.output_subdir": ("experiment/x.yaml", "hydra: {output_subdir: @}"),
    "hydra.help.template": ("experiment/x.yaml", "hydra: {help: {template: @}}"),
    "hydra.runtime.choices": ("experiment/x.yaml", "hydra: {runtime: {choices: @}}"),
    "hydra.overrides.task": ("experiment/x.yaml", "hydra: {overrides: {task: @}}"),
    "hydra.verbose": ("experiment/x.yaml", "hydra: {verbose: @}"),
    "seed": ("experiment/x.yaml", "seed: @"),
    "model": ("model/x.yaml", "@"),
    "model._target_": ("model/x.yaml", "_target_: @"),
    "model.init": ("experiment/x.yaml", "model: {init: @}"),
    "data.root": ("experiment/x.yaml", "data: {root: @}"),
    "data._target_": ("data/x.yaml", "_target_: @"),
    "optimizer._target_": ("optimizer/x.yaml", "_target_: @"),
    "logger": ("logger/x.yaml", "x: @"),
    "trainer.x": ("trainer/x.yaml", "x: @"),
    "study.name": ("study/x.yaml", "study: {name: @}\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}"),
    "study.question": (
        "study/x.yaml",
        "study: {question: @}\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}",
    ),
    "sweep.resume": ("experiment/x.yaml", "sweep: {resume: @}"),
    "resume": ("experiment/x.yaml", "resume: @"),
    "a node of no name": ("experiment/x.yaml", "nothing: @"),
    "penalty": ("experiment/x.yaml", "penalty: @"),
}

ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
REFERENCES = "a0: xxxxxxxxxx\n" + "".join(f"a{n}: {f'${{a{n - 1}}}' * 10}\n" for n in range(1, 12)) + "loss: ${a11}\n"
HELP_REFERENCES = (
    "hydra: {help: {"
    + ", ".join(
        [f"a{n}: '{f'${{hydra.help.a{n - 1}}}' * 10}'" for n in range(1, 12)]
        + ["a0: xxxxxxxxxx", "template: '${hydra.help.a11}'"]
    )
    + "}}"
)
MERGES = "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], k{n}: 1}}\n" for n in range(1, 12))
FILES: dict[str, tuple[str, str | bytes]] = {
    "aliases of aliases": ("experiment/x.yaml", ALIASES),
    "aliases in a model": ("model/x.yaml", ALIASES),
    "aliases nobody chose": ("experiment/other.yaml", ALIASES),
    "merged aliases": ("experiment/x.yaml", f"a0: &a0 {{k: 1}}\n{MERGES}"),
    "an alias of itself": ("experiment/x.yaml", "a: &a {b: *a}\n"),
    "a list in itself": ("experiment/x.yaml", "a: &a [*a]\n"),
    "references of references": ("experiment/x.yaml", REFERENCES),
    "references in the help": ("experiment/x.yaml", HELP_REFERENCES),
    "a reference to itself": ("experiment/x.yaml", "seed: ${seed}\n"),
    "a circle of references": ("experiment/x.yaml", "seed: ${data.seed}\ndata: {seed: '${seed}'}\n"),
    "a circle of nodes": ("experiment/x.yaml", "penalty: ${optimizer}\noptimizer: ${penalty}\n"),
    "a node in itself": ("experiment/x.yaml", "penalty: {x: '${penalty}'}\n"),
    "a deep reference": ("experiment/x.yaml", "loss: " + "${" * 3000 + "seed" + "}" * 3000 + "\n"),
    "many references": ("experiment/x.yaml", "loss: '" + "${seed}" * 100_000 + "'\n"),
    "itself": ("experiment/x.yaml", "defaults: [x, _self_]\n"),
    "itself by override": ("experiment/x.yaml", "defaults: [{override /experiment: x}, _self_]\n"),
    "itself by another": ("experiment/x.yaml", "defaults: [/experiment@_global_: x]\n"),
    "itself by reference": ("experiment/x.yaml", "defaults: ['/experiment@_global_: ${experiment}']\n"),
    "a chain of 3,000": ("experiment/x.yaml", "defaults: [y0, _self_]\n"),
    "the primary configuration": ("experiment/x.yaml", "defaults: [/train@nested]\n"),
    "a train.yaml of its own": ("train.yaml", f"evil: {BUILT}\nhydra: {{callbacks: {{x: {BUILT}}}}}\n"),
    "a hydra config of its own": ("hydra/config.yaml", f"callbacks: {{x: {BUILT}}}\n"),
    "a hydra default of its own": ("hydra/default.yaml", f"callbacks: {{x: {BUILT}}}\n"),
    "a data file in place of ours": ("data/polynomial.yaml", f"_target_: {CANARY}.touch\n"),
    "a schema": ("hydra/env/default.yaml", f"callbacks: {{x: {BUILT}}}\n"),
    "deep lists": ("experiment/x.yaml", "a: " + "[" * 20_000 + "]" * 20_000),
    "deep mappings": ("experiment/x.yaml", "a: " + "{a: " * 20_000 + "1" + "}" * 20_000),
    "deep blocks": ("experiment/x.yaml", "".join(f"{' ' * n}a:\n" for n in range(1000))),
    "Latin-1": ("experiment/x.yaml", "loss: f\xfcr".encode("latin-1")),
    "UTF-16": ("experiment/x.yaml", "loss: mse".encode("utf-16")),
    "bytes": ("experiment/x.yaml", bytes(range(256)) * 10),
    "null bytes": ("experiment/x.yaml", b"loss: \x00\x00"),
    "a lone surrogate": ("experiment/x.yaml", 'loss: "\\ud800"\n'),
    "a byte-order mark": ("experiment/x.yaml", b"\xef\xbb\xbf# @package _global_\nseed: 3\n"),
    "no YAML": ("experiment/x.yaml", "a: [\n"),
    "two documents": ("experiment/x.yaml", "seed: 1\n---\nseed: 2\n"),
    "a list": ("experiment/x.yaml", "- a\n- b\n"),
    "a number": ("experiment/x.yaml", "17"),
    "null": ("experiment/x.yaml", "null"),
    "a key twice": ("experiment/x.yaml", "seed: 1\nseed: 2\n"),
    "keys of other kinds": ("experiment/x.yaml", "{1: 2, null: 3, true: 4, [1, 2]: 5, 1.5: 6}\n"),
    "a key with a dot": ("experiment/x.yaml", "data.seed: 1\n"),
    "a key that is a reference": ("experiment/x.yaml", "'${loss}': {_target_: os.system}\nloss: model\n"),
    "defaults of another kind": ("experiment/x.yaml", "defaults: {a: 1}\n"),
    "defaults of lists": ("experiment/x.yaml", "defaults: [[a], [b]]\n"),
    "defaults of numbers": ("experiment/x.yaml", "defaults: [1, null]\n"),
    "a package of another kind": ("experiment/x.yaml", "# @package ${loss}\nseed: 1\n"),
    "a package header of code": ("experiment/x.yaml", "# @package _global_.__class__\nseed: 1\n"),
    "a huge file": ("experiment/x.yaml", "a: " + "x" * 50_000_000),
    "a huge number": ("experiment/x.yaml", "seed: " + "9" * 100_000),
    "a huge float": ("experiment/x.yaml", "optimizer: {lr: 1e999999999}\n"),
    "a sexagesimal number": ("experiment/x.yaml", "seed: 1:30:00\n"),
    "a date": ("experiment/x.yaml", "seed: 2001-01-01\n"),
    "binary": ("experiment/x.yaml", "loss: !!binary gASV\n"),
    "a set": ("experiment/x.yaml", "loss: !!set {a, b}\n"),
    "a tag of Python": ("experiment/x.yaml", "seed: !!python/object/apply:os.system ['touch {executed}']\n"),
    "a Python name": ("experiment/x.yaml", f"seed: !!python/name:{CANARY}.touch\n"),
    "a Python module": ("experiment/x.yaml", f"seed: !!python/module:{CANARY}\n"),
    "a new Python object": ("experiment/x.yaml", f"seed: !!python/object/new:{CANARY}.touch []\n"),
    "a tag of its own": ("experiment/x.yaml", "seed: !evil {a: 1}\n"),
    "a secret": ("experiment/x.yaml", "loss: ${{oc.env:SECRET_TOKEN}}\n".replace("{{", "{").replace("}}", "}")),
    "searchpath of a package": ("experiment/x.yaml", f"hydra: {{searchpath: ['pkg://{CANARY}']}}\n"),
    "searchpath in a train.yaml": ("train.yaml", f"hydra: {{searchpath: ['pkg://{CANARY}']}}\n"),
    "a log file that is emptied": (
        "experiment/x.yaml",
        "hydra: {job_logging: {version: 1, root: {handlers: [x]}, handlers: "
        "{x: {class: logging.FileHandler, filename: '{precious}', mode: w}}}}",
    ),
    "a log file that is extended": (
        "experiment/x.yaml",
        "hydra: {hydra_logging: {version: 1, root: {handlers: [x]}, handlers: "
        "{x: {class: logging.FileHandler, filename: '{precious}', mode: a}}}}",
    ),
    "a rotating log file": (
        "experiment/x.yaml",
        "hydra: {job_logging: {version: 1, root: {handlers: [x]}, handlers: {x: "
        "{class: logging.handlers.RotatingFileHandler, filename: '{precious}', maxBytes: 1}}}}",
    ),
    "a log on the network": (
        "experiment/x.yaml",
        "hydra: {job_logging: {version: 1, root: {handlers: [x]}, handlers: "
        "{x: {class: logging.handlers.SocketHandler, host: 127.0.0.1, port: 9}}}}",
    ),
    "PATH": ("experiment/x.yaml", "hydra: {job: {env_set: {PATH: '{input}/bin'}}}"),
    "git's editor": ("experiment/x.yaml", "hydra: {job: {env_set: {GIT_CONFIG_GLOBAL: '{input}/gitconfig'}}}"),
    "PYTHONPATH": ("experiment/x.yaml", "hydra: {job: {env_copy: [PYTHONPATH]}}"),
    "chdir above": ("experiment/x.yaml", "hydra: {job: {chdir: true}, run: {dir: outputs/x}, output_subdir: ../../..}"),
    "an absolute output_subdir": ("experiment/x.yaml", "hydra: {output_subdir: '{room}/elsewhere'}"),
    "a study's name above": (
        "study/x.yaml",
        "study: {name: ../../x}\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}",
    ),
    "a study's absolute name": (
        "study/x.yaml",
        "study: {name: '{room}/x'}\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}",
    ),
    "a study's name of codes": (
        "study/x.yaml",
        'study: {name: "\\e[31m\\a\\b"}\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: "0,1"}}}',
    ),
    "a question of codes": (
        "study/x.yaml",
        'study: {question: "\\e]0;x\\a \\e[2J"}\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: "0,1"}}}',
    ),
    "a job's name above": ("experiment/x.yaml", "hydra: {job: {name: ../../x}}"),
    "a folder of codes": ("experiment/x.yaml", 'hydra: {run: {dir: "outputs/\\e[31mred"}}'),
    "a name of codes": ("experiment/x.yaml", 'loss: "\\e[31mred\\x07"'),
    "a key of codes": ("experiment/x.yaml", '"\\e[31mred\\x07": 1'),
    "endless epochs": ("experiment/x.yaml", "trainer: {max_epochs: 99999999999}\n"),
    "endless logging": ("experiment/x.yaml", "trainer: {max_epochs: 9999999999999999999999, log_every_n_epochs: 1}\n"),
    "a large model": ("experiment/x.yaml", "model: {_target_: lightning_d2l.nets.mlp.MLP, num_hiddens: [99999999]}\n"),
    "much data": ("experiment/x.yaml", "data: {n_train: 99999999999}\n"),
    "a large degree": ("experiment/x.yaml", "data: {degree: 99999999}\n"),
    "many jobs": ("study/x.yaml", "hydra: {mode: MULTIRUN, sweeper: {params: {seed: 'range(99999999)'}}}"),
    "many jobs of axes": (
        "study/x.yaml",
        "hydra: {mode: MULTIRUN, sweeper: {params: {"
        + ", ".join(f"{k}: 'range(1,999)'" for k in ("seed", "data.seed", "data.n_test", "data.n_val"))
        + "}}}",
    ),
    "a shuffled range": (
        "study/x.yaml",
        "hydra: {mode: MULTIRUN, sweeper: {params: {seed: 'shuffle(range(99999999))'}}}",
    ),
    "a nested choice": (
        "study/x.yaml",
        "hydra: {mode: MULTIRUN, sweeper: {params: {seed: '" + "choice(" * 500 + "1" + ")" * 500 + "'}}}",
    ),
}

OVERRIDES = [
    f"+hydra.callbacks.x=${{oc.create:{{_target_:{CANARY}.touch}}}}",
    f"+hydra.callbacks={{x:{{_target_:{CANARY}.touch}}}}",
    f"++hydra.callbacks.x._target_={CANARY}.touch",
    f"+hydra.sweeper.max_batch_size=${{oc.create:{{_target_:{CANARY}.touch}}}}",
    f"hydra.sweeper._target_={CANARY}.touch",
    f"hydra.launcher._target_={CANARY}.touch",
    f"hydra.launcher={{_target_:{CANARY}.touch}}",
    f"+hydra.launcher.x=${{oc.create:{{_target_:{CANARY}.touch}}}}",
    f"model._target_={CANARY}.touch",
    f"+model.init.x={{_target_:{CANARY}.touch}}",
    f"loss=${{oc.create:{{_target_:{CANARY}.touch}}}}",
    f"+evil={{_target_:{CANARY}.touch}}",
    f"seed=${{oc.decode:'{{_target_:{CANARY}.touch}}'}}",
    f"hydra.searchpath=[pkg://{CANARY}]",
    f"++hydra.searchpath=[pkg://{CANARY}]",
    f"hydra.job_logging.handlers.x.class={CANARY}.touch",
    f"+hydra.job_logging={{version:1,handlers:{{x:{{():{CANARY}.touch}}}}}}",
    "+hydra.job.env_set.PATH=/tmp",
    "++hydra.job.env_set={GIT_SSH:/x/y}",
    "hydra.output_subdir=../..",
    "hydra.job.name=../x",
    "hydra.run.dir=",
    "hydra.run.dir='o/${x}'",
    "hydra.run.dir='o/${oc.env:NO_SUCH}'",
    "seed=" + "[" * 5000 + "]" * 5000,
    "seed=" + "${" * 2000 + "seed" + "}" * 2000,
    "seed=range(99999999999)",
    "trainer.max_epochs=99999999999",
    "model.num_hiddens=[99999999999]",
    "loss=\x1b[31mred",
    "\x1b[31mred=1",
    "data.n_train=1e400",
    "hydra/launcher=../../x",
    "model=../experiment/kfold",
    "experiment=/etc/passwd",
    f"--experimental-rerun={CANARY}",
    "--config-path=/tmp",
    "--config-name=x",
    "--package=x",
]
FOLDERS = [
    "/none",
    "1",
    "",
    "a\nb",
    "\x1b[31m",
    "/dev/null",
    "/dev/zero",
    "/proc/self/mem",
    "x" * 5000,
    "${oc.env:HOME}",
    f"pkg://{CANARY}",
    "/proc/self",
    ".",
]
EVIL = f"evil: {{x: {BUILT}, _target_: {CANARY}.touch}}\nloss: {CANARY}.touch\n"


def cases() -> list[Case]:
    """All of them: each value in a place, each file, override and folder, in ways that take turns."""
    made, ways = [], cycle(WAYS)
    names = cycle(VALUES)
    for place, (path, around) in PLACES.items():
        for name in (next(names) for _ in range(4)):
            made.append(_in_file(f"{place}: {name}", path, around, _value(name), next(ways)))
    for name, (path, text) in FILES.items():
        made.append(_of_file(name, path, text, next(ways)))
    made.append(Case("a file of a config folder that is a FIFO", lambda room: _special(room, os.mkfifo)))
    made.append(Case("a file that is /dev/zero", lambda room: _special(room, lambda at: at.symlink_to("/dev/zero"))))
    made.append(Case("a file that is a folder", lambda room: _special(room, Path.mkdir)))
    made.append(Case("a file that is a link to itself", lambda room: _special(room, lambda at: at.symlink_to(at))))
    made.append(Case("5,000 files", lambda room: _special(room, _many)))
    made.append(
        Case("folders in a circle", lambda room: _special(room, lambda at: at.with_name("y").symlink_to(at.parent)))
    )
    made += [_of_words(override, next(ways)) for override in OVERRIDES]
    made += [_of_words(f"--config-dir={folder}", []) for folder in FOLDERS]
    return made


def real_cases() -> list[Case]:
    """A few of them as new processes of Python."""
    few = ["a train.yaml of its own", "a tag of Python", "a log file that is emptied", "aliases of aliases", "PATH"]
    return [_of_file(f"{name}, as a program", *FILES[name], ["-m"], as_program=True) for name in few]


def _many(at: Path) -> None:
    for number in range(5000):
        at.with_name(f"y{number}.yaml").write_text("seed: 1\n")


def _in_file(name: str, path: str, around: str, value: str, way: list[str]) -> Case:
    text = around.replace("@", value)
    # What is referred to and the place in one file; a file of a group has the first part in an experiment beside it.
    return _of_file(f"{name} {' '.join(way)}", path, text, way, evil=True)


def _of_file(
    name: str, path: str, text: str | bytes, way: list[str], *, evil: bool = False, as_program: bool = False
) -> Case:
    def work(room: Room) -> Iterator[Fault]:
        conf = room.folder / "input"
        choices = _write(room, conf / path, text)
        if evil:
            choices += [c for c in _write(room, conf / "experiment/evil.yaml", EVIL) if "experiment" not in choices[:1]]
        if name.startswith("a chain"):
            for number in range(3000):
                link = f"# @package _global_\ndefaults: [y{number + 1}, _self_]\n" if number < 2999 else "seed: 1\n"
                (conf / f"experiment/y{number}.yaml").write_text(link)
        (conf / "bin").mkdir(exist_ok=True)
        (conf / "bin/git").write_text(f"#!/bin/sh\ntouch {room.executed}\n")
        (conf / "bin/git").chmod(0o755)
        (conf / "gitconfig").write_text(f"[core]\n\tfsmonitor = touch {room.executed}\n")
        if any("experiment=x" in c for c in choices):
            choices = [c for c in choices if c != "experiment=evil"]
        words = [*way, "--config-dir", str(conf), *SMALL, *choices]
        environment = {"SECRET_TOKEN": "swordfish"}
        if as_program:
            paths = {"PYTHONPATH": str(room.folder / "modules")}
            outcome = real(room, ["train", *words], env={**os.environ, **environment, **paths})
        else:
            outcome = run(room, words, environment=environment)
        yield from outcome.faults()
        yield from room.outside()
        if "swordfish" in outcome.text:
            yield "executed", "a secret of the environment was shown"
        if outcome.code == 2:
            yield from outcome.refused()
            if room.written():
                yield "other", f"refused, and wrote {room.written()[:3]}"
        elif outcome.code not in (0, None):
            yield "other", f"exit code {outcome.code}: {outcome.last_line()}"

    return Case(name, work)


def _write(room: Room, at: Path, text: str | bytes) -> list[str]:
    """Write a file of a config folder; returns the words that choose it."""
    at.parent.mkdir(parents=True, exist_ok=True)
    group = "/".join(at.parent.parts[at.parts.index("input") + 1 :])
    if isinstance(text, str):
        for key, path in (
            ("pickle", room.pickle),
            ("executed", room.executed),
            ("precious", room.precious),
            ("input", room.folder / "input"),
            ("room", room.folder),
        ):
            text = text.replace(f"{{{key}}}", str(path))
        if group in ("experiment", "study") and not text.startswith("#"):
            text = f"# @package _global_\n{text}"
        text = text.encode(errors="surrogatepass")
    at.write_bytes(text)
    return [f"{group}={at.stem}"] if at.stem in ("x", "evil") else []


def _special(room: Room, make: Callable[[Path], object]) -> Iterable[Fault]:
    at = room.folder / "input" / "experiment" / "x.yaml"
    at.parent.mkdir(parents=True)
    make(at)
    choice = [] if at.with_name("y").is_symlink() else ["experiment=x"]
    outcome = run(room, ["--config-dir", str(room.folder / "input"), *SMALL, *choice])
    yield from outcome.faults()
    if choice or outcome.code:
        yield from outcome.refused()


def _of_words(override: str, way: list[str]) -> Case:
    def work(room: Room) -> Iterator[Fault]:
        outcome = run(room, [*way, *SMALL, override])
        yield from outcome.faults()
        yield from room.outside()
        if outcome.code == 2:
            yield from outcome.refused()
            if room.written():
                yield "other", f"refused, and wrote {room.written()[:3]}"
        elif outcome.code not in (0, None):
            yield "other", f"exit code {outcome.code}: {outcome.last_line()}"

    return Case(f"{override[:80]} {' '.join(way)}", work)
