"""What is printed when a sweep ends: how many runs did what, a table, the report's answer, how to resume."""

from __future__ import annotations

import signal
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.text import duration
from lightning_d2l.sweeps.folder import FINISHED
from lightning_d2l.sweeps.progress import status_table
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec

MOST_LINES = 30  # of the table


def tell(folder: Path, fields: dict[str, Any], records: Mapping[RunSpec, RunRecord], stopped: int) -> None:
    """Print the end of a sweep, and write its report beside the runs unless it was stopped.

    `fields` are those of sweep.json, `stopped` is the number of the signal that ended the sweep, or 0.
    """
    from lightning_d2l.studies import report, tables
    from lightning_d2l.studies.collect import of_runs
    from lightning_d2l.studies.findings import find_in
    from lightning_d2l.training.console import from_here

    shown = from_here(folder)
    print(f"\n{status_table(records)}\n\nsweep folder  {shown}  ({duration(fields['seconds'])})")
    runs = [record for record in records.values() if record.fields]
    try:
        if runs:
            findings = find_in([of_runs(folder, fields, runs)])
            lines = tables.text(findings).splitlines()
            more = [f"... {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
            print("\n".join([*lines[:MOST_LINES], *more]))
            if findings.counts["completed"] and not stopped:
                made = report.write(findings, folder)
                print(f"\n{textwrap.fill(made.answer, 80)}\n\nreport        {shown / made.paths['html'].name}")
    except (RequestError, OSError) as error:  # the runs are recorded even if there is no report
        print(f"\nno report: {error}", file=sys.stderr)
    if any(record.state not in FINISHED for record in records.values()):
        what = f"stopped by {signal.Signals(stopped).name}; resume with" if stopped else "train the rest"
        print(f"{what:12}  python train.py sweep.resume={shown}")
