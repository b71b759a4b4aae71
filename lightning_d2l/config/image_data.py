"""The settings of data that are images in files, by `_target_`."""

from lightning_d2l.config.rules import Settings

IMAGE_DATA: dict[str, Settings] = {}
