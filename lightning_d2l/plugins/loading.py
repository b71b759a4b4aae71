"""Loading plugins: files and modules that the user names, and installed packages by their entry points."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.config_dir import MOST_FILES
from lightning_d2l.config.options import CONF, PLUGIN_FOLDERS
from lightning_d2l.config.program import PLUGIN, Program, program, use_program, without_plugins
from lightning_d2l.plugins.origin import Plugin, distribution_of, is_installed, is_site, sha256, sha256_of_all, shown
from lightning_d2l.plugins.registering import REGISTERED, remove, under_load

GROUP = "lightning_d2l.plugins"
"""The group of entry points by which an installed package registers what it adds."""
VARIABLE = "LIGHTNING_D2L_PLUGINS"
"""The environment variable with the names of plugins, separated as those of PATH or by commas."""

LOADED: dict[str, Plugin] = {}
"""The loaded plugins by the paths of their files."""
_looked_for_installed = False


class Ended(BaseException):
    """Ends the loading of a program that calls `lightning_d2l.main()`: what it registers stands before that."""


def start(arguments: Sequence[str], started: Program, *, installed: bool = True) -> list[str]:
    """Load the plugins of a command line, those of the environment, and the installed ones; returns the other words.

    From then on `started` is the program of printed commands, which name the plugins. Raises RequestError that names
    the plugin that can't be loaded.
    """
    words, named = without_plugins(arguments)
    if "" in named:
        raise RequestError(f"{PLUGIN}: must come with a file or the name of a module")
    use_program(started)
    if installed:
        load_installed()
    there = [name for name in re.split(f"[,{re.escape(os.pathsep)}]", os.environ.get(VARIABLE, "")) if name.strip()]
    given = list(dict.fromkeys([*map(str.strip, there), *named]))
    for name in given:
        load(name, PLUGIN if name in named else VARIABLE)
    use_program(Program(started.train, started.tool, tuple(given), os.getcwd(), started.file))
    return words


def attach(started: Program) -> None:
    """Load the plugins of a program in a process that it started, such as a worker's, if they are not there yet.

    Raises RequestError if one can't be loaded; the next call tries again.
    """
    if started == (before := program()):
        return
    use_program(started)
    try:
        load_installed()
        for name in started.plugins:
            path = Path(started.folder, os.path.expanduser(name))
            load(str(path) if path.exists() else name, folder=started.folder)
        if started.file:
            load(started.file, folder=started.folder)
    except RequestError:
        use_program(before)
        raise


def load(name: str, option: str = PLUGIN, folder: str = "") -> Plugin:
    """Load a plugin by the path of its file or the name of its module; one that is loaded already stays as it is.

    Modules are also looked for in `folder`, by default the current one.

    Raises RequestError, of one or two lines that begin with `option`, if it can't be loaded or registers nothing.
    """
    what = f"{option} {name}"
    path = Path(name).expanduser()
    if path.is_dir() and (path / "__init__.py").is_file():
        path /= "__init__.py"
    if path.is_file():
        return _file(path.resolve(), what)
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name) or name.endswith(".py"):
        raise RequestError(f"{what}: no such file; it must be a Python file or the name of a module")
    return _module(name, what, Path(folder or os.getcwd()))


def load_installed() -> None:
    """Load the installed plugins, once; one that is broken is named on the error stream, and left out."""
    global _looked_for_installed  # noqa: PLW0603
    if _looked_for_installed:
        return
    _looked_for_installed = True
    for entry in importlib.metadata.entry_points(group=GROUP):
        package = entry.dist.name if entry.dist else entry.module
        try:
            _module(entry.module, f"the installed plugin {entry.name} of {package}", None, entry)
        except RequestError as error:
            print(f"warning: {error}; it is left out", file=sys.stderr)


def is_loading() -> bool:
    """Whether a plugin is being loaded."""
    return bool(under_load)


def _file(path: Path, what: str) -> Plugin:
    """Load a file as a module of a name that does not change, with its folder on the path of imports meanwhile."""
    if there := _loaded(path):
        return there
    try:
        source = path.read_bytes()
    except OSError as error:
        raise RequestError(f"{what}: can't be read ({error.strerror})") from error
    stem = path.parent.name if path.name == "__init__.py" else path.stem
    key = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    module = ModuleType(f"lightning_d2l_plugin_{re.sub(r'[^0-9A-Za-z_]', '_', stem)}_{key}")
    module.__file__ = str(path)
    if path.name == "__init__.py":
        module.__path__ = [str(path.parent)]
    plugin = Plugin(stem, path, sha256=hashlib.sha256(source).hexdigest())

    def execute() -> ModuleType:
        sys.modules[module.__name__] = module  # as dataclasses and pickle expect
        try:
            with _importable(path.parent):
                exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
        except Ended:
            pass
        except BaseException:
            del sys.modules[module.__name__]
            raise
        return module

    return _run(execute, plugin, what, path.parent)


def _module(name: str, what: str, folder: Path | None, entry: importlib.metadata.EntryPoint | None = None) -> Plugin:
    """Import a module, with `folder` on the path of imports meanwhile."""
    with _importable(folder):
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            found = None
        except Exception as error:  # a package above it fails
            raise _failed(what, error, None) from error
    if found is None:
        raise RequestError(f"{what}: no file and no module of this name is found")
    file = Path(found.origin).resolve() if found.origin and found.has_location else None
    if file and (there := _loaded(file)):
        return there
    distribution = entry.dist if entry else distribution_of(name)
    plugin = Plugin(entry.name if entry else name, file, name, distribution.name if distribution else None)
    plugin.version = distribution.version if distribution else None
    plugin.sha256 = sha256(file) if file else ""

    def execute() -> ModuleType:
        with _importable(folder):
            try:
                return importlib.import_module(name)
            except Ended:
                return ModuleType(name)

    return _run(execute, plugin, what, file.parent if file else None)


def _run(execute: Callable[[], ModuleType], plugin: Plugin, what: str, folder: Path | None) -> Plugin:
    """Load a plugin; what it registered is taken back if it fails."""
    before, modules = dict(REGISTERED), set(sys.modules)
    under_load.append(plugin)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what a command prints is for other programs
            module = execute()
        _adopt(plugin, folder)
        ours = ("lightning_d2l", "hydra_plugins")  # a file in a clone lies beside this package, which is no part of it
        new = {name for name in set(sys.modules) - modules if name.partition(".")[0] not in ours}
        beside = _beside(plugin, folder, new)
        if not any(made.plugin is plugin for made in REGISTERED.values()):
            hint = (
                "decorate a class or function with @register.model or another of `from lightning_d2l import register`"
            )
            raise RequestError(f"{what}: registers nothing; {hint}")
        _add_conf(plugin, folder, what)
    except BaseException as error:
        for key in [key for key, made in REGISTERED.items() if before.get(key) is not made]:
            remove(REGISTERED[key])
        if isinstance(error, KeyboardInterrupt):
            raise
        raise _failed(what, error, plugin.file) from error
    finally:
        under_load.pop()
    version = getattr(module, "__version__", None)
    plugin.version = plugin.version or (version if isinstance(version, str) else None)
    conf = sorted(plugin.conf.rglob("*.yaml"))[:MOST_FILES] if plugin.conf else []
    if folder is not None:
        plugin.beside = sha256_of_all([*beside, *conf], plugin.conf.parent if plugin.conf and not beside else folder)
    LOADED[str(plugin.file or plugin.name)] = plugin
    return plugin


def _adopt(plugin: Plugin, folder: Path | None) -> None:
    """Let a package that was imported before it is loaded as a plugin have what it registered then."""
    for key, made in REGISTERED.items():
        path = Path(made.file)
        if made.plugin is plugin or made.plugin.module or not plugin.module or not path.is_file():
            continue
        inside = folder is not None and (folder / "__init__.py").is_file() and path.resolve().is_relative_to(folder)
        if inside or path.resolve() == plugin.file:
            REGISTERED[key] = replace(made, plugin=plugin)


def _loaded(path: Path) -> Plugin | None:
    """The plugin of a file: loaded before, or the program that runs."""
    registering = (made.plugin for made in REGISTERED.values() if made.plugin.file == path)
    return LOADED.get(str(path)) or next(registering, None)


def _failed(what: str, error: BaseException, file: Path | None) -> RequestError:
    """Why a plugin can't be loaded: the error, and the line of the plugin, or of a file beside it, that raised it."""
    if isinstance(error, RequestError):
        return error if str(error).startswith(what) else RequestError(f"{what}: {error}")
    place = ""
    folder = file.parent if file else None
    for frame in traceback.extract_tb(error.__traceback__):
        if folder and Path(frame.filename).resolve().is_relative_to(folder):
            place = f"{shown(frame.filename)}:{frame.lineno}: "
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{shown(error.filename)}:{error.lineno}: "
    reason = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())[:300]
    if isinstance(error, SystemExit):
        reason = f"{reason}: a plugin must not end the program"
    return RequestError(f"{what}: {place}{type(error).__name__}{f': {reason}' if reason else ''}")


@contextlib.contextmanager
def _importable(folder: Path | None) -> Iterator[None]:
    """Put a folder first on the path of imports for a while."""
    if folder is None:
        yield
        return
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def _beside(plugin: Plugin, folder: Path | None, modules: set[str]) -> list[Path]:
    """The files that a plugin uses beside its own: modules of its folder, or all those of its package."""
    if folder is None:
        return []
    if plugin.module or (plugin.file and plugin.file.name == "__init__.py"):
        files = list(folder.rglob("*.py"))[:MOST_FILES] if (folder / "__init__.py").is_file() else []
    else:
        origins = (getattr(sys.modules.get(name), "__file__", None) for name in modules)
        files = [Path(origin).resolve() for origin in origins if origin and os.path.isabs(origin)]
        program = Path(getattr(sys.modules["__main__"], "__file__", None) or folder).resolve()  # is there for itself
        files = [path for path in files if path.is_relative_to(folder) and path != program and not is_installed(path)]
    return [path for path in files if path != plugin.file]


def _add_conf(plugin: Plugin, folder: Path | None, what: str) -> None:
    """Add the conf/ folder beside a plugin, if there is one; raises RequestError if a file there belongs to another."""
    if folder is None or not (conf := folder / "conf").is_dir() or conf == CONF or is_site(folder):
        return
    plugin.conf = conf
    if conf in PLUGIN_FOLDERS:
        return
    for path in conf.rglob("*.yaml"):
        name = path.relative_to(conf)
        for other in (CONF, *PLUGIN_FOLDERS):
            if (other / name).exists():
                whose = "lightning_d2l" if other == CONF else shown(other)
                raise RequestError(f"{what}: {shown(path)}: an option of this name belongs to {whose}; rename the file")
    PLUGIN_FOLDERS.append(conf)
