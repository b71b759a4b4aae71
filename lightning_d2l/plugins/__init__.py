"""What is your own: registering it, and loading the files and packages that do."""

from lightning_d2l.plugins.loading import LOADED, Ended, attach, is_loading, load, load_installed, start
from lightning_d2l.plugins.origin import Plugin
from lightning_d2l.plugins.registering import REGISTERED, register

__all__ = [
    "LOADED", "REGISTERED", "Ended", "Plugin", "attach", "is_loading", "load", "load_installed", "register", "start",
]  # fmt: skip
