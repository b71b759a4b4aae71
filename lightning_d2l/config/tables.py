"""The settings of data from a table, by `_target_`."""

from lightning_d2l.config.rules import (
    COUNT,
    FLAG,
    NULL,
    SEED,
    TEXT,
    Rule,
    Settings,
    choice,
    either,
    list_of,
    one_or_list,
    real,
    whole,
)

CSV = "lightning_d2l.data.table.TableData"
_FILE = Rule("the path of a CSV file", TEXT.accepts)
_COLUMN = Rule(  # such as 2024
    "the name of a column", lambda v: isinstance(v, (str, int, float)) and not isinstance(v, bool) and v != ""
)
_SHARE = Rule("a fraction in [0, 1) or a whole number of rows", either(real("[0, 1)"), whole(0)).accepts)
_SEPARATOR = Rule("one character, such as ';', or null", lambda v: v is None or (isinstance(v, str) and len(v) == 1))

TABLES_DATA: dict[str, Settings] = {
    CSV: Settings(
        {
            "path": _FILE,
            "target": _COLUMN,
            "task": either(choice("regression", "classification"), NULL),
            "features": either(one_or_list(_COLUMN), NULL),
            "drop": either(_COLUMN, list_of(_COLUMN, min_length=0)),
            "categories": either(_COLUMN, list_of(_COLUMN, min_length=0)),
            "max_categories": whole(1, 10_000),
            "log_target": FLAG,
            "standardize_target": FLAG,
            "val_size": _SHARE,
            "test_size": _SHARE,
            "test_path": either(_FILE, NULL),
            "group": either(_COLUMN, NULL),
            "encoding": either(TEXT, NULL),
            "separator": _SEPARATOR,
            "decimal": choice(".", ","),
            "batch_size": COUNT,
            "seed": SEED,
            "folds": either(whole(2), NULL),
            "fold": either(whole(0), NULL),
        }
    ),
}
