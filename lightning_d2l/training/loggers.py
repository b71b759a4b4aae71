"""The loggers of a run beside TensorBoard's: those of Lightning, and registered ones."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from pytorch_lightning.loggers import CSVLogger, MLFlowLogger, WandbLogger
from pytorch_lightning.loggers.logger import Logger

from lightning_d2l.compat_lightning import without_anonymous
from lightning_d2l.config import loggers as known
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.program import from_here
from lightning_d2l.modules.build import named
from lightning_d2l.training.files import METRICS, Row
from lightning_d2l.training.run_logger import Ids, RunLogger, waiting
from lightning_d2l.training.spec import RunSpec

log = logging.getLogger(__name__)

CSV_LOGS, HPARAMS = "csv_logs", "hparams.yaml"  # the folder of CSVLogger inside a run's, and a file of it
PATIENCE = 120.0  # seconds to wait for another process that makes the tables of a store
SWEEP_FILE = "sweep.json"  # in the folder of a sweep


class RunCSV(RunLogger):
    """Lightning's CSVLogger; a resumed run continues its file, which the class itself would remove."""

    def __init__(self, label: str, spec: RunSpec, settings: Mapping[str, Any]) -> None:
        super().__init__(label, waiting(CSVLogger)(spec.folder, CSV_LOGS, version="", **settings))
        self.folder = spec.folder / CSV_LOGS

    def start(self, history: Sequence[Row]) -> Ids:
        path, last = self.folder / METRICS, history[-1]["step"] if history else 0
        kept: Sequence[Mapping[str, Any]] = []
        if history and path.exists():
            with path.open(newline="") as file:
                kept = [row for row in csv.DictReader(file) if float(row["step"]) <= last]
        for name in (METRICS, HPARAMS):
            (self.folder / name).unlink(missing_ok=True)
        for row in kept or history:
            metrics = {name: value for name, value in row.items() if value != "" and name != "step"}
            self.send("log_metrics", metrics, int(row["step"]))
        return {}


class RunWandb(RunLogger):
    """Lightning's WandbLogger. A resumed run has the same id; offline it is logged anew, with its rows so far."""

    def __init__(self, label: str, spec: RunSpec, settings: Mapping[str, Any], recorded: Ids) -> None:
        given = {name: value for name, value in settings.items() if name != "offline"}
        given["name"] = given["name"] or spec.name
        given["group"] = given["group"] or sweep_of(spec)
        quiet = {"silent": not spec.config["verbose"], "console": "off", "symlink": False}
        self.offline, self.url = bool(settings["offline"]), ""
        mode = "offline" if self.offline else None  # None: as WANDB_MODE says
        logger = waiting(WandbLogger)(save_dir=spec.folder, id=recorded.get("id"), mode=mode, settings=quiet, **given)
        without_anonymous(logger)
        super().__init__(label, logger)
        self.folder = spec.folder / "wandb"

    def start(self, history: Sequence[Row]) -> Ids:
        with contextlib.ExitStack() as stack:
            if self.offline:
                os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
                stack.enter_context(_environment("WANDB_CACHE_DIR", str(self.folder.parent)))
                stack.enter_context(contextlib.redirect_stderr(io.StringIO()))  # notices on the offline mode
            run = self.logger.experiment
        self.folder, self.url = Path(run.dir).parent, "" if self.offline else str(run.url or "")
        if self.url:
            log.info("%s  %s", self.label, self.url)
        if run.resumed:
            self.known_until = int(run.summary.get("trainer/global_step", -1))
        for row in () if run.resumed else history:
            self.log_row(row)
        return {"id": str(run.id), "project": str(run.project)}

    def end(self, code: int) -> None:
        if self.folder.name != "wandb":  # it was started
            self.logger.experiment.finish(exit_code=code)

    def look(self) -> str:
        if not self.offline or self.folder.name == "wandb":
            return self.url
        return shlex.join(["wandb", "sync", str(from_here(self.folder))])


class _MLFlowLogger(MLFlowLogger):
    """Connects to its store in `start`, so that a request that is refused writes nothing; `save_dir` is the run's."""

    name, version, save_dir = "mlflow", None, None  # properties of Lightning's class, which would connect

    def __init__(self, folder: Path) -> None:
        Logger.__init__(self)
        self.save_dir = str(folder)

    def start(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.name, self.version = self.experiment_id, self.run_id  # type: ignore[assignment]


class RunMLflow(RunLogger):
    """Lightning's MLFlowLogger. A resumed run continues the same run of MLflow, where the store still has it."""

    def __init__(self, label: str, spec: RunSpec, settings: Mapping[str, Any], recorded: Ids) -> None:
        super().__init__(label, waiting(_MLFlowLogger)(spec.folder))
        self.store = folder_of_sweep(spec).absolute()
        local = f"sqlite:///{(self.store / known.MLFLOW_STORE).as_posix()}"
        self.uri = settings["tracking_uri"] or os.environ.get("MLFLOW_TRACKING_URI") or local
        self.file = Path(self.uri.removeprefix("sqlite:///")) if self.uri.startswith("sqlite:///") else None
        if self.file and self.uri != local and not os.access(self.file.parent, os.W_OK):
            # MLflow would try for minutes.
            raise RequestError(f"logger.{label}.tracking_uri={self.uri}: {self.file.parent} can't be written")
        self.alone = self.store == spec.folder.absolute() and self.uri == local
        self.local, self.run_id, self.continued = self.uri == local, recorded.get("run_id"), False
        sweep = sweep_of(spec)
        tags = {**({"sweep": sweep} if sweep else {}), **(settings["tags"] or {})}
        self.settings = {**settings, "run_name": settings["run_name"] or spec.name, "tags": tags}

    def start(self, history: Sequence[Row]) -> Ids:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # the default of 7 blocks for minutes
        with _environment("MLFLOW_TRACKING_URI", self.uri):  # which Lightning's class sets for good
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException

            for chatty in ("mlflow", "alembic"):
                logging.getLogger(chatty).setLevel(logging.WARNING)
            logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # a warning for each retry
            with self._making():
                client = MlflowClient(self.uri)
            if self.run_id is not None:
                try:
                    client.update_run(self.run_id, status="RUNNING")
                    logged = client.get_metric_history(self.run_id, f"{self._prefix}epoch")
                    self.known_until = max((metric.step for metric in logged), default=-1)
                except MlflowException:  # another store, or it was deleted there
                    self.run_id = None
            name = self.settings["experiment_name"]
            if self.run_id is None and client.get_experiment_by_name(name) is None:
                with contextlib.suppress(MlflowException):  # another process was faster
                    place = (self.store / "mlartifacts").as_uri() if self.local else None
                    client.create_experiment(name, artifact_location=place)
            self.continued = self.run_id is not None
            self.logger.start(**{**self.settings, "tracking_uri": self.uri, "run_id": self.run_id})
            self.run_id = self.logger.run_id
            for row in () if self.continued else history:
                self.log_row(row)
        return {"run_id": str(self.run_id), "experiment": name}

    def _making(self) -> contextlib.AbstractContextManager[object]:
        """A lock for making the tables of a SQLite store that processes share: MLflow has none."""
        if self.alone or not self.file:
            return contextlib.nullcontext()
        return FileLock(f"{self.file}.lock", timeout=PATIENCE)

    def send_parameters(self, parameters: Mapping[str, Any]) -> None:
        if not self.continued:  # parameters of a run can't change there
            super().send_parameters(parameters)

    @property
    def _prefix(self) -> str:
        return f"{self.settings['prefix']}-" if self.settings["prefix"] else ""

    def status(self, code: int) -> str:
        return "KILLED" if code > 128 else super().status(code)

    def look(self) -> str:
        if not self.local or self.run_id is None:
            return ""
        return shlex.join(
            ["mlflow", "ui", "--backend-store-uri", f"sqlite:///{from_here(self.store / known.MLFLOW_STORE)}"]
        )


def build_loggers(spec: RunSpec, recorded: Mapping[str, Ids]) -> list[RunLogger]:
    """The loggers that a configuration asks for, but TensorBoard's; nothing is written before they are opened.

    `recorded` is what an earlier attempt of the run returned when they were opened. Raises RequestError if an extra is
    not installed, or if a registered logger can't be built.
    """
    if wrong := known.missing_extra(spec.config):
        raise RequestError(wrong)
    found: list[RunLogger] = []
    for label, group in spec.config["logger"].items():
        settings = {name: value for name, value in group.items() if name != "_target_"}
        target, ids = group["_target_"], recorded.get(label, {})
        if target == known.CSV:
            found.append(RunCSV(label, spec, settings))
        elif target == known.WANDB:
            found.append(RunWandb(label, spec, settings, ids))
        elif target == known.MLFLOW:
            found.append(RunMLflow(label, spec, settings, ids))
        elif target != known.TENSORBOARD:
            found.append(RunLogger(label, _registered(label, spec, target, settings)))
    return found


def _registered(label: str, spec: RunSpec, target: str, settings: dict[str, Any]) -> Logger:
    """A registered logger; its `save_dir`, if it takes one, is the run's folder unless it is set."""
    if settings.get("save_dir", "") is None:
        settings["save_dir"] = str(spec.folder)
    try:
        logger = named(target)(**settings)
    except Exception as error:
        reason = (str(error).strip() or "no reason").splitlines()[0]
        raise RequestError(f"logger={label}: {type(error).__name__}: {reason[:200]}") from error
    if not isinstance(logger, Logger):
        raise RequestError(
            f"logger={label}: {target} makes a {type(logger).__name__}, which is no Logger of Lightning's"
        )
    if isinstance(getattr(type(logger), "experiment", None), property):
        logger.__class__ = waiting(type(logger))
    return logger


def sweep_of(spec: RunSpec) -> str | None:
    """What the runs of a sweep have in common: its id, or the name of the folder above; None for a single run."""
    return (spec.sweep or spec.folder.absolute().parent.name) if spec.part_of_sweep else None


def folder_of_sweep(spec: RunSpec) -> Path:
    """The folder of a run's sweep, or that of a single run."""
    above = [folder for folder in spec.folder.parents if (folder / SWEEP_FILE).exists()] if spec.part_of_sweep else []
    return above[0] if above else spec.folder


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
