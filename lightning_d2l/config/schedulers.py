"""The settings of each learning-rate schedule, by `_target_`."""

from lightning_d2l.config.rules import Settings

SCHEDULERS: dict[str, Settings] = {}
