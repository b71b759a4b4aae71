"""A group of a sweep's jobs that train at once, from their configurations to their run folders."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor

from lightning_d2l.data.batches import stream
from lightning_d2l.engine.ensemble import StackedModule
from lightning_d2l.engine.members import Member, Snapshot
from lightning_d2l.sweeps.progress import SweepProgress
from lightning_d2l.training import console, job
from lightning_d2l.training.build import NOISE, SHUFFLING, Prepared
from lightning_d2l.training.checkpoint import finished_epochs, load_checkpoint, random_states
from lightning_d2l.training.files import BEST, LAST, MetricsFile, remove_unfinished, replacing, replacing_together
from lightning_d2l.training.predictions import save_predictions
from lightning_d2l.training.record import STOPPED, Record, read_record, versions
from lightning_d2l.training.signals import Stopped
from lightning_d2l.training.spec import RunSpec
from lightning_d2l.training.tensorboard import write_events

SHARE_OF_TIME = 10  # what was trained is written when training took so many times as long as the last writing
SECONDS_A_MEMBER = 2e-3  # of writing, as is thought before the first time


@dataclass(eq=False)
class Candidate:
    """A job that may train with others: its request, what that builds, and where it starts."""

    job: RunSpec
    request: RunSpec
    prepared: Prepared
    member: Member
    start: int = 0  # epochs that are behind it
    loops: dict[str, Any] | None = None  # Lightning's, from its checkpoint
    best: list[Tensor] = field(default_factory=list)  # the parameters at its best epoch so far
    before: dict[str, Any] = field(default_factory=dict)  # its record so far


def candidate(work: RunSpec, request: RunSpec, prepared: Prepared) -> Candidate:
    """A member made of a job, or one that goes on from its own checkpoint.

    Raises RequestError if there is no usable checkpoint to go on from.
    """
    config, data, module = request.config, prepared.data, prepared.module
    noise = torch.Generator().manual_seed(stream(config["seed"], NOISE))
    shuffle_seed = stream(config["seed"], SHUFFLING)
    member = Member(module, module.configure_optimizers(), data.splits, data.batch_size, shuffle_seed, noise)
    found = Candidate(work, request, prepared, member)
    if request.resuming:
        remove_unfinished(request.folder)
        checkpoint = load_checkpoint(request.folder / LAST)
        found.start, found.loops = finished_epochs(checkpoint), checkpoint["loops"]
        module.load_state_dict(checkpoint["state_dict"])
        member.optimizer.load_state_dict(checkpoint["optimizer_states"][0])
        recorded = checkpoint["callbacks"]["Recorder"]
        member.best = dict(recorded["best"])
        noise.set_state(recorded["torch"])
        weights = load_checkpoint(request.folder / BEST)["state_dict"] if member.best else checkpoint["state_dict"]
        found.best = [weights[name] for name, _ in module.named_parameters()]
        member.rows = [row for row in MetricsFile(request.folder).rows() if row["epoch"] <= found.start]
    return found


class Group:
    """Candidates of one structure, which train at once and leave what each would leave by itself."""

    def __init__(self, candidates: Sequence[Candidate], progress: SweepProgress) -> None:
        self.candidates, self.progress = list(candidates), progress
        self.first = candidates[0]
        self.stack = StackedModule([candidate.member for candidate in candidates], self._tell)
        self.records: list[Record] = []
        self.began = time.monotonic()

    def _tell(self, epoch: int) -> None:
        self.progress.going_on(len(self.candidates), epoch, self.first.prepared.max_epochs)

    def train(self) -> None:
        """Train, test and record; the members' folders must exist.

        Raises Stopped, with what was trained so far on the disk, and whatever a step of the stack raises.
        """
        with replacing_together():
            self.records = [self._record(each) for each in self.candidates]
        config, first = self.first.request.config, self.first
        trainer = pl.Trainer(
            **job.trainer_settings(config, first.prepared.max_epochs),
            logger=False,
            callbacks=[_Saver(self, config["trainer"]["checkpoint_every_n_seconds"])],
            default_root_dir=str(first.request.folder),
        )
        if first.loops:
            trainer.fit_loop.load_state_dict(first.loops["fit_loop"])
            self.stack.go_on([each.best for each in self.candidates])
        try:
            trainer.fit(self.stack)
            if self.stack.last is None:  # an earlier attempt was ended after the last epoch
                self.stack.end()
        except Stopped as stop:
            self.save()
            for each, record in zip(self.candidates, self.records, strict=True):
                error = f"{STOPPED} {signal.Signals(stop.signum).name}; go on with: {job.resume_command(each.request)}"
                record.update(status="failed", error=error, seconds=self._seconds(each))
            raise
        with replacing_together():
            self._save()
            for each, record in zip(self.candidates, self.records, strict=True):
                self._finish(each, record)

    def _record(self, each: Candidate) -> Record:
        each.before = read_record(each.request.folder) if each.request.resuming else {}
        record = Record(each.request.folder, each.before or job.first_fields(each.request))
        config = {**each.request.config, "resume": None}
        record.update(
            status="running", error=None, config=config, members=len(self.candidates), **each.prepared.fields()
        )
        return record

    def _seconds(self, each: Candidate) -> float:
        """A member's share of the time."""
        share = (time.monotonic() - self.began) / len(self.candidates)
        return round(float(each.before.get("seconds", 0.0)) + share, 3)

    def save(self) -> None:
        """Write what each member needs to go on by itself, and its metrics so far."""
        with replacing_together():
            self._save()

    def _save(self) -> None:
        stack, states = self.stack, random_states()
        if stack.last is None or stack.best is None:
            return  # stopped before the first step
        for number, each in enumerate(self.candidates):
            member, folder = each.member, each.request.folder
            if member.rows:
                MetricsFile(folder).write(member.rows)
                self._write_checkpoint(folder / BEST, number, stack.best, int(member.best["epoch"]), states)
            last = int(member.rows[-1]["epoch"]) if member.rows else each.start
            self._write_checkpoint(folder / LAST, number, stack.last, last, states)

    def _write_checkpoint(
        self, path: Path, number: int, snapshot: Snapshot, epoch: int, states: dict[str, Any]
    ) -> None:
        """A checkpoint as Lightning writes it for the run by itself."""
        member = self.candidates[number].member
        if epoch not in self.stack.points:  # the best one came before this process, and is on the disk
            return
        point = self.stack.points[epoch]
        member.restore(snapshot, number, point.optimizer)
        checkpoint = {
            "epoch": max(epoch - 1, 0),
            "global_step": point.step,
            "pytorch-lightning_version": versions()["pytorch-lightning"],
            "state_dict": member.module.state_dict(),
            "loops": point.loops,
            "callbacks": {"Recorder": {**states, "best": dict(member.best), "torch": snapshot.noise[number]}},
            "optimizer_states": [member.optimizer.state_dict()],
            "lr_schedulers": [],
        }
        with replacing(path) as file:
            torch.save(checkpoint, file)

    def _finish(self, each: Candidate, record: Record) -> None:
        """Leave what a run leaves at its end."""
        member, folder, config = each.member, each.request.folder, each.request.config
        ended: dict[str, Any] = {"status": "completed", "seconds": self._seconds(each)}
        test, words = {}, [job.first_line(each.prepared, config["seed"])]
        words += [console.epoch_line(int(row["epoch"]), each.prepared.max_epochs, row) for row in member.rows]
        if member.diverged:
            ended |= {"status": "diverged", "error": f"diverged: {member.diverged}"}
            words.append(ended["error"])
        else:
            test, final = member.test[0], member.rows[-1]
            at_best = test if member.best["epoch"] == final["epoch"] else member.test[-1]
            ended |= each.prepared.outcome(final | test, member.best | at_best)
            words.append(f"\n{job.summary(ended)}\n")
            if config["trainer"]["save_predictions"]:
                save_predictions(folder / "predictions.csv", each.prepared.data, member.module)
        if config["logger"] is not None:
            hparams = job.hyperparameters(each.request, each.prepared.data, member.module)
            step = each.prepared.max_epochs
            write_events(folder, hparams, member.module.metric_names, member.rows, test, step)
        words.append(f"run folder  {console.from_here(folder)}")
        console.write_log(folder, words)
        record.update(**ended)


class _Saver(Checkpoint):
    """At logging points, writes what the members need to go on, in no more than a tenth of the time."""

    def __init__(self, group: Group, interval: float) -> None:
        self.group, self.interval = group, interval
        self.last, self.cost = time.monotonic(), SECONDS_A_MEMBER * len(group.candidates)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        began = time.monotonic()
        due = began - self.last >= max(self.interval, SHARE_OF_TIME * self.cost)
        if due and trainer.current_epoch + 1 in self.group.stack.points:
            self.group.save()
            self.last = time.monotonic()
            self.cost = self.last - began
