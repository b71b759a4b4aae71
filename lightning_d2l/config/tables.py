"""The settings of data from a table, by `_target_`."""

from lightning_d2l.config.rules import Settings

TABLES_DATA: dict[str, Settings] = {}
