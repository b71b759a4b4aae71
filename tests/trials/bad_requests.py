"""Requests that are wrong: exit code 2, one or two lines that name the key and the value, nothing written, quickly."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.trials.children import Room, real
from tests.trials.results import PLAIN, SEQUENTIAL, undisturbed
from tests.trials.trial import Case, Fault

OWN_TIME = 1.0  # seconds of processor time
P = ("model=polynomial_regression", "logger=none")
# The words, and what the answer has to name. RUN is the folder of a finished run, SWEEP that of a finished sweep.
TRAIN: list[tuple[list[str], list[str]]] = [
    (["modle=mlp"], ["modle"]),
    (["model=mpl"], ["model", "mpl"]),
    (["model="], ["model"]),
    (["model=null"], ["model"]),
    (["data=none"], ["data", "none"]),
    (["optimizer=adamm"], ["optimizer", "adamm"]),
    (["logger=comet"], ["logger", "comet"]),
    (["experiment=x"], ["experiment", "x"]),
    (["study=x"], ["study", "x"]),
    (["trainer=fast"], ["trainer", "fast"]),
    (["seed=-1"], ["seed", "-1"]),
    (["seed=1.5"], ["seed", "1.5"]),
    (["seed=one"], ["seed", "one"]),
    (["seed=null"], ["seed", "null"]),
    (["seed=[1]"], ["seed", "1"]),
    (["seed={a:1}"], ["seed"]),
    (["seed=1,2"], ["seed", "-m"]),
    (["seed=range(3)"], ["seed", "-m"]),
    (["seed=99999999999999999999999"], ["seed", "99999999999999999999999"]),
    (["loss=l2"], ["loss", "l2"]),
    ([*P, "loss=cross_entropy"], ["loss", "cross_entropy"]),
    (["penalty=1"], ["penalty", "1"]),
    (["penalty.l1=-1"], ["penalty.l1", "-1"]),
    (["penalty.l3=1"], ["penalty.l3"]),
    (["gradients=maybe"], ["gradients", "maybe"]),
    ([*P, "information=true"], ["information", "true"]),
    (["optimizer.lr=0"], ["optimizer.lr", "0"]),
    (["optimizer.lr=-0.1"], ["optimizer.lr", "-0.1"]),
    (["optimizer.lr=nan"], ["optimizer.lr", "nan"]),
    (["optimizer.lr=inf"], ["optimizer.lr", "inf"]),
    (["optimizer.lr=fast"], ["optimizer.lr", "fast"]),
    (["optimizer.learning_rate=0.1"], ["optimizer.learning_rate"]),
    (["optimizer.nesterov=true"], ["nesterov", "true"]),
    (["optimizer.weight_decay=-1"], ["optimizer.weight_decay", "-1"]),
    (["optimizer=exact"], ["exact"]),
    (["model.num_hiddens=0"], ["model.num_hiddens", "0"]),
    (["model.num_hiddens=[64,-1]"], ["model.num_hiddens", "-1"]),
    (["model.num_hiddens=1.5"], ["model.num_hiddens", "1.5"]),
    (["model.dropout=1"], ["model.dropout", "1"]),
    (["model.dropout=[0.1,0.2]"], ["model.dropout", "0.1"]),
    (["model.activation=swish"], ["model.activation", "swish"]),
    (["model.init=he"], ["model.init", "he"]),
    (["model.init.name=x"], ["model.init", "x"]),
    (["model.init.std=-1"], ["model.init.std", "-1"]),
    (["model._target_=os.system"], ["_target_", "os.system"]),
    (["model.x=1"], ["model.x"]),
    (["+model.x=1"], ["model.x"]),
    (["+x=1"], ["x"]),
    (["~model"], ["model"]),
    (["~seed"], ["seed"]),
    (["model=phm_mlp", "model.n=5"], ["model.n", "5"]),
    (["data.batch_size=0"], ["data.batch_size", "0"]),
    (["data.batch_size=big"], ["data.batch_size", "big"]),
    (["data.val_size=-1"], ["data.val_size", "-1"]),
    (["data.n_train=60001"], ["data.n_train", "60001"]),
    (["data.source=official", "data.root=/none"], ["data.root", "/none"]),
    (["data.root=/dev/null"], ["data.root", "/dev/null"]),
    (["data.source=web"], ["data.source", "web"]),
    (["data.resize=0"], ["data.resize", "0"]),
    (["data.fold=1"], ["data.fold", "1"]),
    (["data.folds=5"], ["data.fold"]),
    ([*P, "data.degree=-1"], ["data.degree", "-1"]),
    ([*P, "data.degree=two"], ["data.degree", "two"]),
    ([*P, "data.noise=-1"], ["data.noise", "-1"]),
    ([*P, "data.n_train=0"], ["data.n_train", "0"]),
    ([*P, "data=fashion_mnist"], ["model", "data"]),
    (["trainer.max_epochs=0"], ["trainer.max_epochs", "0"]),
    (["trainer.max_epochs=1.5"], ["trainer.max_epochs", "1.5"]),
    (["trainer.max_epochs=99999999999"], ["trainer.max_epochs", "99999999999"]),
    (["trainer.log_every_n_epochs=0"], ["trainer.log_every_n_epochs", "0"]),
    (["trainer.accelerator=tpu"], ["trainer.accelerator", "tpu"]),
    (["trainer.precision=8"], ["trainer.precision", "8"]),
    (["trainer.engine=slow"], ["trainer.engine", "slow"]),
    (["trainer.evaluate=[all]"], ["trainer.evaluate", "all"]),
    (["trainer.num_nodes=2"], ["trainer.num_nodes", "must be 1"]),
    (["resume=/none"], ["resume", "/none"]),
    (["resume="], ["resume"]),
    (["resume=2024"], ["resume", "2024"]),
    (["resume=RUN", "model=linear_regression"], ["resume", "RUN"]),
    (["resume=RUN", "RUNWORDS", "trainer.max_epochs=2"], ["trainer.max_epochs", "2"]),
    (["sweep.resume=/none"], ["sweep.resume", "/none"]),
    (["sweep.resume=latest"], ["latest"]),
    (["sweep.resume=RUN"], ["sweep.resume", "RUN"]),
    (["sweep.dry_run=true"], ["sweep.dry_run", "-m"]),
    (["-m", "seed=1,2", "sweep.on_error=panic"], ["sweep.on_error", "panic"]),
    (["-m", "seed=1,x"], ["seed", "x"]),
    (["-m", "seed=1,2", "hydra/launcher=slurn"], ["hydra/launcher", "slurn"]),
    (["-m", "seed=1,2", "hydra/sweeper=nevergrad"], ["hydra/sweeper", "nevergrad"]),
    (["-m", "seed=range(99999999)"], ["seed", "99999999"]),
    (["-m", "seed=interval(0,1)"], ["seed", "interval"]),
    (["-m", *P, "seed=0,1", "hydra.sweep.subdir=x"], ["hydra.sweep.subdir", "x"]),
    ([*P, "hydra.run.dir=RUN"], ["hydra.run.dir", "RUN"]),
    ([*P, "hydra.run.dir=/dev/null/x"], ["hydra.run.dir", "/dev/null/x"]),
    ([*P, "hydra.run.dir="], ["hydra.run.dir"]),
    (["-m", *P, "seed=0,1", "hydra.sweep.dir=SWEEP"], ["hydra.sweep.dir", "SWEEP"]),
    (["-m", *P, "seed=0,1", "hydra.sweep.dir="], ["hydra.sweep.dir"]),
    (["hydra.output_subdir=../.."], ["hydra.output_subdir", "../.."]),
    (["--config-dir=/none"], ["--config-dir", "/none"]),
    (["--config-dir="], ["--config-dir"]),
    (["--config-name=x"], ["--config-name"]),
    (["--experimental-rerun=x"], ["--experimental-rerun"]),
    (["--nothing"], ["--nothing"]),
    (["--cfg", "nothing"], ["--cfg", "nothing"]),
    (["seed"], ["seed"]),
    (["="], ["="]),
    ([""], ["key=value"]),
    (["seed=1 2 ["], ["seed"]),
    (["seed='"], ["seed"]),
]
OTHERS: list[tuple[list[str], list[str]]] = [
    ([], ["COMMAND"]),
    (["trian"], ["trian"]),
    (["predict"], ["RUN_FOLDER"]),
    (["predict", "/none"], ["/none"]),
    (["predict", "RUN", "/none.csv"], ["/none.csv"]),
    (["predict", "RUN", "RUN"], ["RUN"]),
    (["predict", "RUN", "--format", "xml"], ["--format", "xml"]),
    (["predict", "RUN", "--figure", "x.pdf"], ["--figure", "x.pdf"]),
    (["predict", "RUN", "--figure", "/dev/null/x.png"], ["--figure", "/dev/null/x.png"]),
    (["predict", "RUN", "data.root=/none"], ["data.root", "/none"]),
    (["predict", "SWEEP"], ["SWEEP"]),
    (["evaluate", "/none"], ["/none"]),
    (["evaluate", "RUN", "extra"], ["extra"]),
    (["inspect", "/none"], ["/none"]),
    (["inspect", "RUN", "nothing"], ["nothing"]),
    (["inspect", "RUN", "--checkpoint", "first"], ["--checkpoint", "first"]),
    (["export", "/none"], ["/none"]),
    (["export", "RUN", "--as", "pickle"], ["--as", "pickle"]),
    (["export", "RUN", "--into", "/dev/null/x"], ["--into", "/dev/null/x"]),
    (["export", "RUN", "--into", "."], ["--into"]),
    (["rerun", "/none"], ["/none"]),
    (["rerun", "RUN", "--into", "RUN"], ["--into", "RUN"]),
    (["rerun", "RUN", "--into", "/dev/null/x"], ["--into", "/dev/null/x"]),
    (["demo", "nothing"], ["nothing"]),
    (["demo", "phm", "--seed", "-1"], ["--seed", "-1"]),
    (["demo", "phm", "--seed", "one"], ["--seed", "one"]),
    (["demo", "xavier", "--into", "/dev/null/x"], ["--into", "/dev/null/x"]),
    (["reproduce", "nothing"], ["nothing"]),
    (["reproduce", "--seeds", "0"], ["--seeds", "0"]),
    (["reproduce", "poly-normal", "--seeds", "1", "--into", "/dev/null/x"], ["/dev/null/x"]),
    (["report", "/none"], ["/none"]),
    (["report", "latest"], ["latest"]),
    (["report", "SWEEP", "SWEEP"], ["SWEEP"]),
    (["report", "SWEEP", "--into", "/dev/null/x"], ["--into", "/dev/null/x"]),
    (["report", "SWEEP", "--format", "xml"], ["--format", "xml"]),
]
own_time: dict[str, float] = {}
"""The processor time of each request that needs no torch, in seconds, by its words."""
# Commands that read weights, draw, or check the data.
NEED_TORCH = ("predict", "evaluate", "inspect", "export", "demo", "rerun", "reproduce poly-normal", "report SWEEP")


def cases() -> list[Case]:
    train = [_case(["train", *words], names) for words, names in TRAIN]
    return train + [_case(words, names) for words, names in OTHERS]


def _case(words: list[str], names: list[str]) -> Case:
    name = " ".join(words) or "(nothing)"

    def work(room: Room) -> Iterator[Fault]:
        folders = {"RUN": undisturbed(PLAIN).folder, "SWEEP": undisturbed(SEQUENTIAL).folder}
        for key, folder in folders.items():
            shutil.copytree(folder, room.work / key)
        given = [part for word in words for part in (PLAIN.words if word == "RUNWORDS" else [word])]
        before = _digest(room.work)
        outcome = real(room, given)
        yield from outcome.faults()
        yield from outcome.refused()
        if missing := [text for text in names if text not in outcome.err]:
            yield "other", f"does not name {missing[0]}: {outcome.err[:300]!r}"
        if _digest(room.work) != before:
            yield "other", f"wrote {sorted(set(_digest(room.work)) ^ set(before))[:3]}"
        if (name.startswith(NEED_TORCH) and "/none" not in name) or "resume=RUN" in name or "source=official" in name:
            return
        own_time[name] = outcome.cpu
        if outcome.cpu > OWN_TIME:
            yield "other", f"took {outcome.cpu:.2f} s of its own"

    return Case(name, work)


def _digest(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}
