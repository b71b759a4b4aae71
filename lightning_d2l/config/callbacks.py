"""The settings of each callback, by `_target_`."""

from lightning_d2l.config.rules import Settings

CALLBACKS: dict[str, Settings] = {}
