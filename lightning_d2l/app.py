"""The command people type: compose, check, run one job (or the jobs of a Hydra multirun)."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from lightning_d2l.book.demos import DEMOS
from lightning_d2l.config.check import RequestError, check, flat
from lightning_d2l.config.compose import CONF, command_of_run, compose_checked, is_multirun, parse, plain, quote
from lightning_d2l.config.text import print_error

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run `python train.py ARGUMENTS`; returns the exit code (0 done, 1 failed or diverged, 2 a wrong request)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return _main(arguments)
    except RequestError as error:
        if "verbose=true" in arguments or "HYDRA_FULL_ERROR" in os.environ:
            traceback.print_exc()
        print_error(error)
        return 2
    except OSError as error:  # such as a full disk, met before a run begins to handle it
        print_error(error)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


def _main(arguments: list[str]) -> int:
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    args = parser.parse_args(arguments)
    if args.config_path or args.config_name:
        raise RequestError("--config-path, --config-name: not supported; add options with --config-dir FOLDER")
    if resumed := _command_of_sweep(args.overrides):
        return _main([*resumed, *arguments])
    only_asks = args.help or args.hydra_help or args.info or args.cfg
    extra: list[str] = []
    multirun = args.multirun
    for demo in DEMOS:
        if f"experiment={demo}" in args.overrides and not (CONF / "experiment" / f"{demo}.yaml").exists():
            raise RequestError(f"experiment={demo}: nothing is trained there; see lightning-d2l demo {demo}")
    if not args.shell_completion and (args.overrides or not only_asks):
        config = compose_checked(args.overrides, config_dir=args.config_dir, multirun=args.multirun)
        multirun = multirun or is_multirun(config)
        if not only_asks and not multirun:
            _check_single(config)
            extra = _folder(config, args.overrides)
    sys.argv[1:] = [*arguments, *extra]
    with _errors_reach_main():
        return _sweep() if multirun and not only_asks else _single_run()


def _single_run() -> int:
    codes: list[int] = []
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(lambda c: codes.append(_job(c)))()
    return max(codes, default=0)


def _sweep() -> int:
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(_job)()
    except SystemExit as end:  # Hydra hands on no result of a sweep, so ours comes this way
        return int(end.code or 0)
    return 0


def _command_of_sweep(overrides: list[str]) -> list[str]:
    """The arguments that began a sweep, where sweep.resume=FOLDER comes without what the sweep is of."""
    given = {o.key_or_group: o for o in parse(overrides)}
    if "sweep.resume" not in given or any(key.partition(".")[0] not in ("sweep", "verbose") for key in given):
        return []
    from lightning_d2l.sweeps.folder import find_sweep, read_sweep

    command: str = read_sweep(find_sweep(str(given["sweep.resume"].value())))["command"]
    return shlex.split(command)[2:]


@contextmanager
def _errors_reach_main() -> Iterator[None]:
    """They do where Hydra is asked for full errors; otherwise it prints them itself and ends the program."""
    wanted = "HYDRA_FULL_ERROR" in os.environ
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        yield
    finally:
        if not wanted:
            del os.environ["HYDRA_FULL_ERROR"]


def _refuse(message: str) -> NoReturn:
    raise RequestError(f"{message} (see --help)")


def _check_single(config: DictConfig) -> None:
    from lightning_d2l.training.machine import check_accelerator

    check_accelerator(plain(config))
    given = {"resume": config.sweep.resume, "dry_run": config.sweep.dry_run}
    for key in [key for key, value in given.items() if value]:
        raise RequestError(f"sweep.{key}: must come with several runs: -m before the overrides, or a study")


def _folder(config: DictConfig, overrides: list[str]) -> list[str]:
    """The override that places a run in a folder that no other run has."""
    from lightning_d2l.training.files import new_folder
    from lightning_d2l.training.machine import garments_stand_in

    if config.resume is not None:
        _check_resumable(config)
        return [f"hydra.run.dir={quote(config.resume)}"]
    wanted = Path(config.hydra.run.dir)
    given = any(override.lstrip("+").startswith("hydra.run.dir=") for override in overrides)
    if given and (wanted / "run.json").exists():
        raise RequestError(f"hydra.run.dir={wanted}: holds a run already; choose another folder, or resume={wanted}")
    if not given and garments_stand_in([plain(config)]):
        wanted = wanted.with_name(f"{wanted.name}-generated")
    try:
        return [f"hydra.run.dir={quote(str(new_folder(wanted, exact=given)))}"]
    except OSError as error:
        raise RequestError(f"hydra.run.dir={wanted}: cannot be written ({error.strerror})") from error


def _check_resumable(config: DictConfig) -> None:
    """Raise RequestError unless `resume` is the folder of a run with this very configuration."""
    from lightning_d2l.training.files import LAST
    from lightning_d2l.training.record import read_record

    folder = Path(config.resume)
    if not (folder / LAST).exists():
        raise RequestError(f"resume={folder}: no {LAST} in it, so there is nothing to go on with")
    before, now = (flat(c) for c in (read_record(folder)["config"], plain(config)))
    free = ("resume", "verbose", "trainer.max_epochs", "trainer.checkpoint_every_n_seconds", "logger")
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key) and not key.startswith(free):
            raise RequestError(
                f"resume={folder}: another run's folder: {key} is {before.get(key)} there and {now.get(key)} here\n"
                f"go on with the overrides of that run"
            )


def _job(config: DictConfig) -> int:
    """What Hydra calls for a run, and its own launchers for each run of a sweep; returns the exit code.

    Raises SystemExit if a signal stopped a run of a sweep, since it is meant for the rest too.
    """
    from lightning_d2l.training.job import run
    from lightning_d2l.training.spec import RunSpec

    settings = HydraConfig.get()
    in_sweep = settings.mode == RunMode.MULTIRUN
    overrides = list(settings.overrides.task)
    try:
        check(own := plain(config))
        code = run(
            RunSpec(
                config=own,
                folder=Path(settings.runtime.output_dir),
                overrides=overrides,
                command=command_of_run(config, overrides),
                number=int(settings.job.num) if in_sweep else None,
                silent=in_sweep,
            )
        )
    except RequestError as error:
        print_error(error)
        return 2
    if in_sweep:
        print({0: "completed", 1: "diverged or failed"}.get(code, "stopped"), Path(settings.runtime.output_dir).name)
    if in_sweep and code > 128:
        raise SystemExit(code)
    return code
