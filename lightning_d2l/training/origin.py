"""What a run was made with: the versions of packages, and the commit of this one."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning_d2l


@functools.cache
def versions() -> dict[str, str]:
    """Versions of the installed packages that a run depends on."""
    packages = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "tensorboard", "numpy")
    own = {"lightning_d2l": lightning_d2l.__version__, "python": platform.python_version()}
    return own | {package: version(package) for package in packages}


# Found when the program starts, so that a later change of PATH runs no other program.
_GIT = shutil.which("git", path=os.defpath) or shutil.which("git")
_GIT_ENVIRONMENT = {
    "PATH": os.defpath,
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
_NO_PROGRAMS = ("core.fsmonitor=", f"core.hooksPath={os.devnull}", "core.pager=cat")


@functools.cache
def git_revision() -> str | None:
    """The commit of the checkout that this package runs from, with "+" if tracked files differ, or None.

    No program that the repository's configuration names is run: no hook, no monitor, no filter.
    """
    root = Path(lightning_d2l.__file__).parents[1]
    settings = list(_NO_PROGRAMS)

    def git(*words: str) -> str:
        given = [part for setting in settings for part in ("-c", setting)]
        command = [str(_GIT), *given, "-C", str(root), *words]
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
        done = subprocess.run(command, env=_GIT_ENVIRONMENT, timeout=10, check=False, **pipes)
        if done.returncode > 1:  # 1: no such setting
            raise OSError(done.stderr)
        return str(done.stdout).strip()

    try:
        if _GIT is None or not os.path.isabs(_GIT) or not (root / ".git").exists():
            return None
        settings += [f"{name}=" for name in git("config", "--name-only", "--get-regexp", r"^filter\.").splitlines()]
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
