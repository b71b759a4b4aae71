"""The command people type: compose, check, run one job (or the jobs of a Hydra multirun)."""

from __future__ import annotations

import itertools
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
from omegaconf import DictConfig

from lightning_d2l.book.demos import DEMOS
from lightning_d2l.config.check import RequestError, check
from lightning_d2l.config.compose import CONF, compose_checked, parse, plain, quote

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run `python train.py ARGUMENTS`; returns the exit code (0 done, 1 failed or diverged, 2 a wrong request)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return _main(arguments)
    except RequestError as error:
        if "verbose=true" in arguments or "HYDRA_FULL_ERROR" in os.environ:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # such as a full disk, met before a run begins to handle it
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


def _main(arguments: list[str]) -> int:
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    args = parser.parse_args(arguments)
    if args.config_path or args.config_name:
        raise RequestError("--config-path, --config-name: not supported; add options with --config-dir FOLDER")
    only_asks = args.help or args.hydra_help or args.info or args.cfg
    extra: list[str] = []
    for demo in DEMOS:
        if f"experiment={demo}" in args.overrides and not (CONF / "experiment" / f"{demo}.yaml").exists():
            raise RequestError(f"experiment={demo}: nothing is trained there; see lightning-d2l demo {demo}")
    if not args.shell_completion and (args.overrides or not only_asks):
        config = compose_checked(args.overrides, config_dir=args.config_dir, multirun=args.multirun)
        if not only_asks:
            _check_accelerator(config.trainer.accelerator)
            extra = _folder(config, args.overrides, multirun=args.multirun)
            extra += _names_of_what_varies(args.overrides) if args.multirun else []
    codes: list[int] = []
    sweep = Path()

    def job(config: DictConfig) -> int:
        nonlocal sweep
        sweep = Path(HydraConfig.get().sweep.dir)
        codes.append(_job(config))
        if codes[-1] > 128:  # stopped by a signal, which is meant for the rest of a sweep too
            raise SystemExit(codes[-1])
        return codes[-1]

    sys.argv[1:] = [*arguments, *extra]
    with _errors_reach_main():
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(job)()
    if args.multirun and codes:
        from lightning_d2l.sweeps.summary import summary

        varied = [o.key_or_group for o in parse(args.overrides, multirun=True) if o.is_sweep_override()]
        print(f"\nsweep folder  {sweep}\n{summary(sweep, varied)}")
    return max(codes, default=0)


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


def _check_accelerator(name: str) -> None:
    if name in ("gpu", "mps"):
        import torch

        if not (torch.cuda.is_available() if name == "gpu" else torch.backends.mps.is_available()):
            raise RequestError(f"trainer.accelerator={name}: this machine has none; must be auto or cpu here")


def _folder(config: DictConfig, overrides: list[str], *, multirun: bool) -> list[str]:
    """The overrides that place a run, or a sweep, in a folder that no other run has."""
    kind = "sweep" if multirun else "run"
    source = ""
    if config.data["_target_"].endswith("FashionMNISTData"):
        from lightning_d2l.data.download import official_folder

        source = "" if official_folder(config.data.root, config.data.source)[0] else "-generated"
    key = f"hydra.{kind}.dir"
    if config.resume is not None:
        _check_resumable(config)
        return [f"{key}={quote(config.resume)}"]
    wanted = Path(config.hydra[kind].dir)
    try:
        if any(override.lstrip("+").startswith(f"{key}=") for override in overrides):
            if (wanted / "run.json").exists():
                raise RequestError(f"{key}={wanted}: holds a run already; choose another folder, or resume={wanted}")
            wanted.mkdir(parents=True, exist_ok=True)
            return []
        for number in itertools.count(1):
            folder = wanted.with_name(f"{wanted.name}{source}{f'-{number}' if number > 1 else ''}")
            try:
                folder.mkdir(parents=True)
                return [f"{key}={quote(str(folder))}"]
            except FileExistsError:
                continue
    except OSError as error:
        raise RequestError(f"{key}={wanted}: cannot be written ({error.strerror})") from error
    raise AssertionError("unreachable")


def _names_of_what_varies(overrides: list[str]) -> list[str]:
    """The override by which the folders of a sweep's jobs are named after the swept keys alone."""
    parsed = parse(overrides, multirun=True)
    fixed = [quote(o.key_or_group) for o in parsed if not o.is_sweep_override()]
    return [f"hydra.job.config.override_dirname.exclude_keys=[{','.join(fixed)}]"] if len(fixed) < len(parsed) else []


def _check_resumable(config: DictConfig) -> None:
    """Raise RequestError unless `resume` is the folder of a run with this very configuration."""
    from lightning_d2l.training.record import LAST, read_record

    folder = Path(config.resume)
    if not (folder / LAST).exists():
        raise RequestError(f"resume={folder}: no {LAST} in it, so there is nothing to go on with")
    before, now = (_flat(c) for c in (read_record(folder)["config"], plain(config)))
    free = ("resume", "verbose", "trainer.max_epochs", "trainer.checkpoint_every_n_seconds", "logger")
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key) and not key.startswith(free):
            raise RequestError(
                f"resume={folder}: another run's folder: {key} is {before.get(key)} there and {now.get(key)} here\n"
                f"go on with the overrides of that run"
            )


def _flat(node: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(node, dict):
        return {prefix[:-1]: node}
    return {key: value for name in node for key, value in _flat(node[name], f"{prefix}{name}.").items()}


def _job(config: DictConfig) -> int:
    """One job of Hydra's: check its configuration once more (a sweep's jobs differ) and run it."""
    from hydra.types import RunMode

    from lightning_d2l.training.job import Request, run

    settings = HydraConfig.get()
    try:
        check(own := plain(config))
        return run(
            Request(
                config=own,
                folder=Path(settings.runtime.output_dir),
                overrides=list(settings.overrides.task),
                command=shlex.join(["python", "train.py", *settings.overrides.task]),
                part_of_sweep=settings.mode == RunMode.MULTIRUN,
            )
        )
    except RequestError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
