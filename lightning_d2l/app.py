"""The command `python train.py`: compose, check, then run one job or the jobs of a sweep."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from lightning_d2l import plugins
from lightning_d2l.book.demos import DEMOS
from lightning_d2l.compat_hydra import (
    BASIC_SWEEPER,
    ConfigLoader,
    answer,
    get_args_parser,
    multirun,
    run,
    words_of,
)
from lightning_d2l.config.check import RequestError, check, flat
from lightning_d2l.config.compose import (
    command_of_run,
    composed,
    hydra_with,
    is_multirun,
    keys_of,
    literal,
    parse,
    plain,
    with_literal_paths,
)
from lightning_d2l.config.explain import explained, with_dashes
from lightning_d2l.config.help import help_text
from lightning_d2l.config.lines import columns
from lightning_d2l.config.loader import SafeLoader
from lightning_d2l.config.options import CONF, NAME
from lightning_d2l.config.places import LAUNCHER, PLACES_OF_DATA
from lightning_d2l.config.program import PLUGIN, Program, program, train_words, without_plugins
from lightning_d2l.config.pruning import is_asked
from lightning_d2l.config.records import require_same_streams
from lightning_d2l.config.references import safe_references, variables_named_in
from lightning_d2l.config.text import exit_code, print_error
from lightning_d2l.training.caller import caller, is_silent

# Flags of Hydra that would name another configuration, or load one that can run code.
UNSUPPORTED = ("config_path", "config_name", "experimental_rerun")
# Wrong calls from Python.
ONE = "train: these are the settings of several runs; call lightning_d2l.sweep or lightning_d2l.study"
SEVERAL = "sweep: these are the settings of a single run; call lightning_d2l.train"


def main(arguments: list[str] | None = None, started: Program | None = None) -> int:
    """Run `python train.py ARGUMENTS`; returns the exit code (0 done, 1 failed or diverged, 2 a wrong request).

    `started` is the program that the user started, if it is another one.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    return exit_code(lambda: _main(arguments, started or Program()), verbose="verbose=true" in arguments)


def _main(arguments: list[str], started: Program) -> int:
    return done(arguments, started)[0]


def done(arguments: list[str], started: Program, *, several: bool | None = None) -> tuple[int, Path | None]:
    """Do what a command line asks for; returns the exit code, and the folder of the run or sweep if one was written.

    `several` says whether it must be a sweep or must be a single run, as a Python program's calls say. Raises
    RequestError, with nothing written, if the request is wrong.
    """
    arguments = plugins.start([*arguments, *_plugins_of_completion(arguments)], started)
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    args = parser.parse_intermixed_args(arguments)
    _check_flags(args)
    args.overrides = with_literal_paths(args.overrides)
    if resumed := _overrides_of_sweep(args):
        args.overrides, args.multirun = [*resumed, *args.overrides], True
    from lightning_d2l.training.record import require_plugins_of_resumed

    require_plugins_of_resumed(args.overrides)
    overrides = args.overrides
    with hydra_with(args.config_dir, overrides) as hydra:
        if args.help:
            shown = composed(overrides, multirun=args.multirun, complete=False)
            print(help_text(shown, [Path(args.config_dir)] if args.config_dir else [], columns()))
            return 0, None
        config = None
        if not args.shell_completion and (overrides or not _asks(args)):
            config = composed(overrides, multirun=args.multirun)
        if config is None or _asks(args):
            with safe_references():
                answer(hydra, NAME, parser, args)
            return 0, None
        if several is not None and is_multirun(config) != several:
            raise RequestError(ONE if several is False else SEVERAL)
        task = Task(shlex.join([*train_words(), *arguments]), args.config_dir, program=program())
        loader = SafeLoader(hydra.config_loader, keys_of(parse(overrides)))
        try:
            if is_multirun(config):
                _check_number(config, hydra.config_loader)
                code = _exit_code(multirun(config, loader, task))
                return code, None if config.sweep.dry_run else Path(config.hydra.sweep.dir)
            return _run(config, loader, task), Path(config.hydra.run.dir)
        except (HydraException, OmegaConfBaseException) as error:
            raise explained(error, parse(overrides)) from error


def _plugins_of_completion(arguments: Sequence[str]) -> list[str]:
    """The --plugin flags of the line that a shell completes, which Hydra does not know and so must not see there."""
    line = os.environ.get("COMP_LINE", "")
    if not {"-sc", "--shell-completion"} & {*arguments} or PLUGIN not in line:
        return []
    words, names = without_plugins(line.split())
    os.environ["COMP_LINE"] = " ".join([*words, *[""] * line.endswith(" ")])
    return [f"{PLUGIN}={name}" for name in names if name]


def _run(config: DictConfig, loader: SafeLoader, task: Task) -> int:
    """Do a single run; nothing is left of one that is refused."""
    from lightning_d2l.training.folders import missing_folders, remove_empty

    _check_single(config)
    above = missing_folders(Path(config.hydra.run.dir).parent)
    folder = _folder(config, words_of(config).hydra)
    with read_write(config.hydra):  # the task writes these files, once the run has its folder for itself
        task, config.hydra.output_subdir = replace(task, subdir=config.hydra.output_subdir), None
        config.hydra.run.dir = str(folder)
    try:
        return int(run(config, loader, task))
    finally:
        remove_empty([folder, *above])


def _check_number(config: DictConfig, loader: ConfigLoader) -> None:
    """Raise RequestError on more runs than there may be, which Hydra's own sweeper would list without end."""
    from lightning_d2l.sweeps.grid import grid

    sweeper = config.hydra.sweeper
    if sweeper.get("_target_") == BASIC_SWEEPER:
        grid(words_of(config).task, loader, [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()])


def _asks(args: argparse.Namespace) -> bool:
    """Whether a command line asks for information and for no training."""
    return bool(args.hydra_help or args.info or args.cfg)


def _check_flags(args: argparse.Namespace) -> None:
    for name in UNSUPPORTED:
        if getattr(args, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise RequestError(f"{flag}: not supported; add options with --config-dir FOLDER")
    if sum(map(bool, (args.run, args.multirun, args.cfg, args.info, args.shell_completion))) > 1:
        raise RequestError("--run, --multirun, --cfg, --info, --shell-completion: must be one of them at most")
    for demo in DEMOS:
        if f"experiment={demo}" in args.overrides and not (CONF / "experiment" / f"{demo}.yaml").exists():
            raise RequestError(f"experiment={demo}: nothing is trained there; see lightning-d2l demo {demo}")


def _exit_code(result: Any) -> int:
    """The exit code of a sweep, from what its sweeper returned: ours a code, Hydra's own the jobs of each batch."""
    if isinstance(result, int):
        return result
    return max((int(job.return_value) for batch in result for job in batch), default=0)


def _overrides_of_sweep(args: argparse.Namespace) -> list[str]:
    """The overrides that a sweep recorded, if `sweep.resume=FOLDER` comes without any setting of its runs."""
    given = {o.key_or_group: o for o in parse(args.overrides)}
    beside = [f"data.{name}" for name in PLACES_OF_DATA]  # where the data lie now
    launcher = [key for key in given if key.startswith(LAUNCHER)]
    others = [key for key in given if key.partition(".")[0] not in ("sweep", "verbose")]
    others = [key for key in others if key not in (*beside, *launcher)]
    if "sweep.resume" not in given or others:
        return []
    from lightning_d2l.sweeps.folder import check_command, find_sweep, read_sweep

    folder = find_sweep(literal(str(given["sweep.resume"].value())))
    record = read_sweep(folder)
    if (there := record.get("config_dir")) and args.config_dir is None:
        raise RequestError(
            f"sweep.resume={folder}: the sweep was started with --config-dir={there}; "
            "give --config-dir with a folder that you trust, beside sweep.resume"
        )
    overrides: list[str] = record["overrides"]
    check_command(record, f"sweep.resume={folder}")
    for override in parse(overrides):
        if override.key_or_group in ("sweep.resume", "resume"):
            raise RequestError(f"sweep.resume={folder}: its record must not hold {override.key_or_group}")
    if launcher:  # another one, with other settings
        overrides = [text for text in overrides if not text.lstrip("+").startswith(LAUNCHER)]
    return overrides


def _refuse(message: str) -> NoReturn:
    raise RequestError(f"{with_dashes(message)} (see --help)")


def _check_single(config: DictConfig) -> None:
    from lightning_d2l.training.machine import check_accelerator

    check_accelerator(plain(config))
    given = {"resume": config.sweep.resume, "dry_run": config.sweep.dry_run, "prune": is_asked(config.sweep.prune)}
    for key in [key for key, value in given.items() if value]:
        raise RequestError(f"sweep.{key}: must come with several runs: -m before the overrides, or a study")


def _folder(config: DictConfig, overrides: list[str]) -> Path:
    """The folder of a run: a new one, or that of the run that is resumed."""
    from lightning_d2l.sweeps.folder import place
    from lightning_d2l.training.machine import uses_generated_garments

    if config.resume is not None:
        return _resumable(config)
    return place("run", config.hydra.run.dir, overrides, lambda: uses_generated_garments([plain(config)]))


def _resumable(config: DictConfig) -> Path:
    """The folder that `resume` names; raises RequestError unless its run has the same configuration."""
    from lightning_d2l.config.trainer import FREE
    from lightning_d2l.sweeps.ownership import difference
    from lightning_d2l.training.record import RUN_FILE, to_resume

    folder = Path(config.resume)
    if not (folder / RUN_FILE).exists():
        raise RequestError(f"resume={folder}: not a run folder (it has no {RUN_FILE})")
    record = to_resume(folder)
    require_same_streams(record.fields, f"resume={folder}")
    free: tuple[str, ...] = ("resume", "verbose", "logger", "reference", *(f"trainer.{name}" for name in FREE))
    free += ("callbacks",)  # such as a longer patience
    free += tuple(f"data.{name}" for name in PLACES_OF_DATA)  # data may have moved; the run's own are looked for
    if different := difference(flat(record.config), flat(plain(config)), free):
        raise RequestError(f"resume={folder}: another run's folder: {different}\nrepeat the overrides of that run")
    return folder


@dataclass(frozen=True)
class Task:
    """What Hydra calls for a run, and its own launchers for each run of a sweep.

    Our sweepers record the `command` that the user typed, and the `config_dir` of --config-dir, in sweep.json.
    After a single run Hydra's config.yaml, hydra.yaml and overrides.yaml are written to `subdir` of its folder.
    """

    command: str
    config_dir: str | None = None
    subdir: str | None = None
    program: Program = field(default_factory=Program)

    def __call__(self, config: DictConfig) -> int:
        """Train; returns the exit code, or raises SystemExit if a signal stopped a run of a sweep and so the rest."""
        plugins.attach(self.program)
        from lightning_d2l.studies.single import judged
        from lightning_d2l.training import fit
        from lightning_d2l.training.spec import RunSpec

        whole: Any = HydraConfig.instance().cfg
        settings, given = whole.hydra, words_of(whole)
        in_sweep = settings.mode == RunMode.MULTIRUN
        overrides = given.task
        folder = Path(settings.runtime.output_dir)
        try:
            with variables_named_in([*given.task, *given.hydra]):
                check(own := plain(config, settings.runtime.cwd))
            command = command_of_run(config, overrides)
            number = int(settings.job.num) if in_sweep else None
            spec = RunSpec(own, folder, overrides, command, number, silent=in_sweep or is_silent())
            code = fit.run(spec, judge=judged)
        except RequestError as error:
            if (program := caller()) is None:
                print_error(error)
            else:
                program.error = error  # the job is Hydra's, which would print it
            return 2
        if self.subdir is not None and code != 2:
            files = {"config": config, "hydra": whole, "overrides": OmegaConf.create(overrides)}
            with contextlib.suppress(OSError):  # such as a full disk; run.json holds the same
                (folder / self.subdir).mkdir(exist_ok=True)
                for name, content in files.items():
                    (folder / self.subdir / f"{name}.yaml").write_text(OmegaConf.to_yaml(content))
        if in_sweep:
            print({0: "completed", 1: "diverged or failed"}.get(code, "stopped"), folder.name)
        if in_sweep and code > 128:
            raise SystemExit(code)
        return code
