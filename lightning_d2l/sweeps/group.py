"""A group of runs that train together, from what is built to their run folders."""

from __future__ import annotations

import functools
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from lightning_d2l.compat_lightning import continue_from
from lightning_d2l.config.program import from_here
from lightning_d2l.data.streams import generator
from lightning_d2l.engine.chunks import hyperparameters
from lightning_d2l.engine.ensemble import Ensemble
from lightning_d2l.engine.members import Member, Snapshot
from lightning_d2l.modules.callbacks import EarlyStopping, LearningRateMonitor
from lightning_d2l.modules.schedule import parts
from lightning_d2l.sweeps.lean import Lean
from lightning_d2l.sweeps.leavers import Leavers
from lightning_d2l.sweeps.pruning import Rungs
from lightning_d2l.sweeps.saver import Saver
from lightning_d2l.sweeps.structure import CannotStack
from lightning_d2l.sweeps.work import Progress
from lightning_d2l.training import console, extras, fit, pruned
from lightning_d2l.training.build import NOISE, BuiltRun
from lightning_d2l.training.checkpoint import load_checkpoint, random_states, write_checkpoint
from lightning_d2l.training.files import BEST, LAST, MetricsFile, remove_unfinished, replacing_together
from lightning_d2l.training.predictions import save_predictions
from lightning_d2l.training.record import RunRecord, versions
from lightning_d2l.training.resume import place_to_resume
from lightning_d2l.training.signals import Stopped
from lightning_d2l.training.summary import first_line, summary
from lightning_d2l.training.trainer import fast_settings, flags_kept


def member_of(built: BuiltRun) -> Member:
    """The member that a run becomes; raises RequestError if it is resumed and its checkpoint can't be used."""
    spec, module = built.spec, built.supervised
    if module is None:
        raise CannotStack(f"{built.model} is a LightningModule of its own")
    optimizer, schedule = parts(module.configure_optimizers())
    member = Member(module, optimizer, built.data, generator(NOISE, spec.config["seed"]), schedule=schedule)
    member.stoppers = [callback for callback in built.callbacks if isinstance(callback, EarlyStopping)]
    member.logs_rate = any(isinstance(callback, LearningRateMonitor) for callback in built.callbacks)
    if spec.resuming:
        member.start, member.rows = place_to_resume(spec.folder, module, built.points)
        remove_unfinished(spec.folder)
        checkpoint = load_checkpoint(spec.folder / LAST)
        member.loops = checkpoint["loops"]
        module.load_state_dict(checkpoint["state_dict"])
        member.optimizer.load_state_dict(checkpoint["optimizer_states"][0])
        if member.schedule:
            member.schedule["scheduler"].load_state_dict(checkpoint["lr_schedulers"][0])
        recorded = checkpoint["callbacks"]["Recorder"]
        member.best = dict(recorded["best"])
        for stopper in member.stoppers:
            if state := checkpoint["callbacks"].get(stopper.state_key):
                stopper.load_state_dict(state)
        member.stopped = member.start if any(stopper.reason for stopper in member.stoppers) else 0
        member.stoppers_at_best = member.states_of_stoppers()
        member.noise.set_state(recorded["torch"])
        weights = load_checkpoint(spec.folder / BEST)["state_dict"] if member.best else checkpoint["state_dict"]
        member.best_parameters = [weights[name] for name, _ in module.named_parameters()]
    return member


class Group:
    """Runs of one structure, which train together and leave what single runs leave, or lean records.

    Those whose settings stop at one of the `rungs` leave the group there; with `waits` all do that must be compared.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[BuiltRun, Member]],
        progress: Progress,
        lean: Lean,
        rungs: Rungs | None = None,
        *,
        waits: bool = False,
    ) -> None:
        self.lean, self.first = lean, pairs[0][0]
        tell = functools.partial(progress.going_on, len(pairs), max_epochs=self.first.max_epochs)
        self.leavers = Leavers(rungs, pairs, waits) if rungs else None
        leaving = self._leaving if rungs else lambda epoch: ()
        self.ensemble = Ensemble([member for _, member in pairs], self.first.points, tell, leaving)
        self.runs = [(built, member, RunRecord.of(built.spec)) for built, member in pairs]
        self.began, self._before = time.monotonic(), 0.0
        self.logged: dict[BuiltRun, dict[str, Any]] = {}  # what the loggers return, of runs that have ended

    @flags_kept()
    def train(self) -> None:
        """Train, test and record; raises Stopped, with what was trained on the disk, and what a step raises."""
        with replacing_together():
            for built, _, record in self.runs:
                record.fields |= {"members": len(self.runs), **built.fields()}
                if not self.lean.on or built.spec.resuming:
                    _in_folder(record)
        config = self.first.spec.config
        trainer = pl.Trainer(
            **fast_settings(config, self.first.max_epochs),
            logger=False,
            callbacks=[Saver(self.ensemble, self.save, config["trainer"]["checkpoint_every_n_seconds"])],
            default_root_dir=str(self.first.spec.folder),
        )
        if loops := self.ensemble.members[0].loops:
            continue_from(trainer, loops)
        try:
            trainer.fit(self.ensemble)
            if not self.ensemble.memory.began:  # an earlier attempt was ended after the last epoch
                self.ensemble.end()
        except Stopped as stop:
            with replacing_together():
                if self.ensemble.whole:
                    self._stay()
                    self._save()
                for built, _, record in self.runs:
                    if record.folder.exists() and record.status == "running":  # else no epoch had ended, or it left
                        record.end("failed", fit.stopped(built.spec, stop), self._share())
            raise
        self._stay()
        before = [record.fields for _, _, record in self.runs]
        try:
            self._end()
        except Stopped:  # nothing was written, and no second signal raises
            for (_, _, record), fields in zip(self.runs, before, strict=True):
                record.fields = fields
            self._end()
            raise

    def _leaving(self, epoch: int) -> Collection[int]:
        """The members that leave after an epoch, when what they leave is on the disk."""
        assert self.leavers is not None
        self._stay()
        numbers = self.leavers.after(epoch, [member for _, member, _ in self.runs])
        if numbers:
            waiting = [number for number in numbers if self.runs[number][1] in self.leavers.waiting]
            self._end([number for number in numbers if number not in waiting])
            with replacing_together():
                self._save(waiting)
                for number in waiting:
                    self.runs[number][2].end("failed", pruned.WAITS, self._share())
            self._before, self.began = self._share(), time.monotonic()
        return numbers

    def _stay(self) -> None:
        """Forget the runs that have left the ensemble."""
        here = {*self.ensemble.members}
        self.runs = [run for run in self.runs if run[1] in here]

    def _end(self, numbers: Sequence[int] | None = None) -> None:
        """Write what the members with these numbers leave at their end, or all of them."""
        numbers = range(len(self.runs)) if numbers is None else numbers
        if self.lean.on:
            self._end_lean(numbers)
            return
        with replacing_together():
            self._save(numbers)
            for number in numbers:
                self._finish(*self.runs[number])

    def _end_lean(self, numbers: Sequence[int]) -> None:
        """Write the records of members in columns, and the folders of those that keep one."""
        kept = []
        with replacing_together():
            for number in numbers:
                built, member, record = self.runs[number]
                if built.exact and self.ensemble.memory.began:  # the solution is compared with the last weights
                    last = int(member.rows[-1]["epoch"]) if member.rows else member.start
                    member.restore(self.ensemble.memory.last, number, self.ensemble.memory.points[last].optimizer)
                ended = self._ended(built, member, record)
                if self.lean.keeps(record.name or built.spec.name, ended):
                    _in_folder(record)
                    kept.append(number)
                else:
                    record.fields = ended
            self._save(kept)
            for number in kept:
                self._finish(*self.runs[number])
        runs = [self.runs[number] for number in numbers]
        self.lean.write([(built.spec, record.fields, member.rows) for built, member, record in runs])

    def _share(self) -> float:
        """A member's share of the time, in seconds."""
        return self._before + (time.monotonic() - self.began) / max(len(self.runs), 1)

    def save(self) -> None:
        """Write what each member needs to be resumed, and its metrics so far."""
        self._stay()
        with replacing_together():
            self._save()

    def _save(self, numbers: Sequence[int] | None = None) -> None:
        """The checkpoints and metrics of the members with these numbers, or of all."""
        ensemble, states = self.ensemble, random_states()
        if not ensemble.memory.began:
            return  # stopped before the first step
        for number in range(len(self.runs)) if numbers is None else numbers:
            built, member, record = self.runs[number]
            folder = built.spec.folder
            if self.lean.on and not folder.exists():
                _in_folder(record)
            last = int(member.rows[-1]["epoch"]) if member.rows else member.start
            best = int(member.best["epoch"]) if member.rows else None
            if member.rows:
                MetricsFile(folder).write(member.rows)
            if best is not None and best != last:
                at_best = {"Recorder": states, **member.stoppers_at_best}
                self._write_checkpoint(number, ensemble.memory.best, best, at_best, folder / BEST)
            at_last = {"Recorder": states, **member.states_of_stoppers()}
            paths = [folder / BEST] * (best == last) + [folder / LAST]
            self._write_checkpoint(number, ensemble.memory.last, last, at_last, *paths)

    def _write_checkpoint(
        self, number: int, snapshot: Snapshot, epoch: int, callbacks: dict[str, Any], *paths: Path
    ) -> None:
        """A checkpoint as Lightning writes it for a single run, with the states of its callbacks."""
        member = self.ensemble.members[number]
        own = {"best": dict(member.best), "torch": snapshot.noise[number]}
        if (
            epoch not in self.ensemble.memory.points
        ):  # the best epoch was that of an earlier process, and is on the disk
            return
        point = self.ensemble.memory.points[epoch]
        member.restore(snapshot, number, point.optimizer)
        if point.schedules:
            member.restore_schedule(point.schedules[number])
        checkpoint = {
            "epoch": max(epoch - 1, 0),
            "global_step": point.step,
            "pytorch-lightning_version": versions()["pytorch-lightning"],
            "state_dict": member.module.state_dict(),
            "loops": point.loops,
            "callbacks": {**callbacks, "Recorder": callbacks["Recorder"] | own},
            "optimizer_states": [member.optimizer.state_dict()],
            "lr_schedulers": [member.schedule["scheduler"].state_dict()] if member.schedule else [],
            **hyperparameters(member.module),
        }
        write_checkpoint(checkpoint, *paths)

    def _outcome(self, built: BuiltRun, member: Member) -> tuple[str, str, dict[str, float], dict[str, Any]]:
        """How a run ends: its status, error, metrics on the test split, and other fields of its record."""
        if member.diverged:
            return "diverged", f"diverged: {member.diverged}", {}, {}
        final = member.rows[-1]
        if self.leavers and (stop := self.leavers.stops.get(member)):
            return "pruned", "", {}, {"pruned": stop, "metrics": {"final": final, "best": member.best}}
        test = member.test[0]
        at_best = test if member.best["epoch"] == final["epoch"] else member.test[-1]
        return "completed", "", test, built.outcome(final | test, member.best | at_best)

    def _ended(self, built: BuiltRun, member: Member, record: RunRecord) -> dict[str, Any]:
        """The fields of the record of a run at its end."""
        status, error, _, outcome = self._outcome(built, member)
        return record.ended(status, error, self._share(), **outcome)

    def _finish(self, built: BuiltRun, member: Member, record: RunRecord) -> None:
        """Write what a run leaves at its end."""
        folder, config, words = built.spec.folder, built.spec.config, [first_line(built)]
        status, error, test, outcome = self._outcome(built, member)
        words += [console.epoch_line(int(row["epoch"]), built.max_epochs, row) for row in member.rows]
        if error:
            words.append(error)
        elif status == "pruned":
            words.append(console.pruned_line(outcome["pruned"]))
        else:
            words.append(f"\n{summary(outcome)}\n")
            if config["trainer"]["save_predictions"]:
                with extras.optional("predictions.csv"):
                    save_predictions(folder / "predictions.csv", built.data, member.module)
        extras.write_board(built, member.rows, test)
        if built not in self.logged:
            code, recorded = int(bool(error)), record.fields.get("loggers")
            self.logged[built] = extras.log_member(built, member.rows, test, code, recorded)
        if ids := self.logged[built]:
            outcome = {**outcome, "loggers": ids}
        words.append(f"run folder  {from_here(folder)}")
        console.write_log(folder, words)
        record.end(status, error, self._share(), **outcome)


def _in_folder(record: RunRecord) -> None:
    """Let a run that trains have a folder, with its record."""
    (record.folder / LAST.parent).mkdir(parents=True, exist_ok=True)
    record.update()
