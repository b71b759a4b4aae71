"""The command `rerun`: a run again from its record, which in a sweep may be a lean one."""

from __future__ import annotations

import itertools
from pathlib import Path

from lightning_d2l.config.places import require_new_folder
from lightning_d2l.studies.collect import RERUN
from lightning_d2l.studies.lean import run_of
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.same_data import configuration, located


def rerun(folder: Path, name: str | None, into: Path | None, root: str | None) -> int:
    """Do the run in a folder again, or the run `name` of the sweep in it; returns the exit code of `reuse.rerun`.

    Without `into` a run that has no folder gets it in the folder of its sweep, and any other a new one beside it, which
    reports of the sweep leave out.
    Raises RequestError, with nothing written, if there is no such run or it can't be done.
    """
    if into:
        require_new_folder("--into", into)
    before = run_of(folder, name) if name else RunRecord.read(folder)
    located(configuration(before), before, root)  # without the seconds that torch takes
    from lightning_d2l.studies.single import judged
    from lightning_d2l.training import reuse

    base = before.folder.resolve()
    ends = itertools.chain([""] if name else [], [RERUN], (f"{RERUN}-{n}" for n in itertools.count(2)))
    places = (base.with_name(f"{base.name}{end}") for end in ends)
    return reuse.rerun(before, into or next(place for place in places if not place.exists()), root, judged)
