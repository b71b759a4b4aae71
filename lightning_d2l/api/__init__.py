"""What the commands do, with Python objects in and out: train, sweep, study, fit, and what can be done with results."""

from lightning_d2l.api.calls import study, sweep, train
from lightning_d2l.api.ended import RunFailed
from lightning_d2l.api.finished import Run, load_run
from lightning_d2l.api.listing import runs
from lightning_d2l.api.objects import fit
from lightning_d2l.api.swept import Sweep, load_sweep, report

__all__ = ["Run", "RunFailed", "Sweep", "fit", "load_run", "load_sweep", "report", "runs", "study", "sweep", "train"]
