"""What a person is told when a sweep ends: how many runs did what, a table, the report's answer, how to go on."""

from __future__ import annotations

import signal
import sys
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lightning_d2l.config.check import RequestError
from lightning_d2l.config.text import duration
from lightning_d2l.sweeps.folder import FINISHED, State
from lightning_d2l.sweeps.progress import status_table
from lightning_d2l.training.spec import RunSpec

if TYPE_CHECKING:
    from lightning_d2l.sweeps.sweep import Sweep

MOST_LINES = 30


def tell(sweep: Sweep, states: Mapping[RunSpec, State], stopped: int) -> None:
    """Print the end of a sweep, whose records are in `states`, and leave its report beside the runs.

    `stopped` is the signal that ended it, or 0. There is no report of a sweep that was stopped.
    """
    from lightning_d2l.studies import report, tables
    from lightning_d2l.studies.collect import of_records
    from lightning_d2l.studies.findings import find_in
    from lightning_d2l.training.console import from_here

    facts, shown = sweep.record.fields, from_here(sweep.folder)
    print(f"\n{status_table(states)}\n\nsweep folder  {shown}  ({duration(facts['seconds'])})")
    records = {job.name: state.record for job, state in states.items() if state.record}
    try:
        if records:
            findings = find_in([of_records(sweep.folder, facts, records)])
            lines = tables.text(findings).splitlines()
            more = [f"... {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
            print("\n".join([*lines[:MOST_LINES], *more]))
            if findings.counts["completed"] and not stopped:
                made = report.write(findings, sweep.folder)
                print(f"\n{textwrap.fill(made.answer, 80)}\n\nreport        {shown / made.paths['html'].name}")
    except (RequestError, OSError) as error:  # the runs are done and recorded, whatever becomes of their report
        print(f"\nno report: {error}", file=sys.stderr)
    if any(state.status not in FINISHED for state in states.values()):
        what = f"stopped by {signal.Signals(stopped).name}; go on with" if stopped else "train the rest"
        print(f"{what:12}  python train.py sweep.resume={shown}")
