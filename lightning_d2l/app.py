"""The command people type: compose, check, run one job (or the jobs of a Hydra multirun)."""

from __future__ import annotations

import itertools
import os
import sys
import traceback
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig, OmegaConf

from lightning_d2l.config.check import RequestError, check
from lightning_d2l.config.compose import CONF, compose_checked, plain, quote

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
    except KeyboardInterrupt:
        return INTERRUPTED


def _main(arguments: list[str]) -> int:
    parser = get_args_parser()
    args = parser.parse_args(arguments)
    only_asks = args.help or args.hydra_help or args.info or args.shell_completion
    extra: list[str] = []
    if not only_asks:
        if args.config_path or args.config_name:
            raise RequestError("--config-path, --config-name: not supported; add options with --config-dir FOLDER")
        config = compose_checked(args.overrides, config_dir=args.config_dir, multirun=args.multirun)
        if not args.cfg:
            extra = _folder(config, args.overrides, multirun=args.multirun)
    codes: list[int] = []

    def job(config: DictConfig) -> int:
        codes.append(_job(config))
        return codes[-1]

    sys.argv[1:] = [*arguments, *extra]
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach main() above instead of Hydra's own printer
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(job)()
    return next((code for code in codes if code > 2), max(codes, default=0))
