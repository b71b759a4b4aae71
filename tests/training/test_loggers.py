"""Each logger holds the rows of a run, read back by what its makers give: their client, their file format, pandas."""

import json
import os
import shutil
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
import yaml
from filelock import FileLock, Timeout
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.logger import Logger

from lightning_d2l import app
from lightning_d2l.config import loggers as known
from lightning_d2l.config import registry
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.compose import compose_checked
from lightning_d2l.config.rules import ANYTHING
from lightning_d2l.sweeps.folder import read_sweep
from lightning_d2l.training import fit
from lightning_d2l.training.extras import Loggers
from lightning_d2l.training.files import MetricsFile
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec
from lightning_d2l.training.tensorboard import TensorBoard
from tests.runs import config, run_here

SMALL = ["model=polynomial_regression", "data.n_train=20", "data.n_val=10", "data.n_test=10", "trainer.accelerator=cpu"]
ROWS = [*SMALL, "trainer.log_every_n_epochs=1", "trainer.checkpoint_every_n_seconds=0"]
ALL = "logger=[csv,wandb,mlflow]"
History = dict[str, list[tuple[int, float]]]


@pytest.fixture(scope="module", autouse=True)
def _services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing is set for the services, and a home that they must leave alone."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("WANDB_", "MLFLOW_", "XDG_")):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        yield home
    assert not [path for path in home.rglob("*") if "mlflow" in path.name or "wandb" in path.name]


@pytest.fixture(scope="module")
def single(_services: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that every logger has logged."""
    pytest.importorskip("mlflow")
    pytest.importorskip("wandb")
    folder = tmp_path_factory.mktemp("single") / "run"
    words = [*ROWS, ALL, "trainer.max_epochs=3", "logger.wandb.project=garments", "logger.mlflow.tags={team: vision}"]
    assert run_here(folder, *words, part_of_sweep=False) == 0
    return folder


@pytest.fixture
def store(single: Path, tmp_path: Path) -> Path:
    """A folder with a store of MLflow, which takes seconds to make."""
    (tmp_path / "run").mkdir()
    return Path(shutil.copy(single / "mlflow.db", tmp_path / "run")).parent


def mlflow_run(store: Path, run_id: str) -> tuple[Any, History]:
    """The run in a store, and its metrics as steps and values."""
    client = pytest.importorskip("mlflow").MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    run = client.get_run(run_id)
    names = list(run.data.metrics)
    return run, {name: [(m.step, m.value) for m in client.get_metric_history(run_id, name)] for name in names}


def wandb_run(file: Path) -> tuple[dict[str, Any], dict[str, Any], History, int]:
    """Run, config, metrics and exit code in a .wandb file: records of LevelDB's log format, each a protocol buffer."""
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, part, found = file.read_bytes(), 7, b"", []
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if (left := 2**15 - at % 2**15) < 7:  # the rest of a block is empty
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(part)
            found.append(record)
            part = b""
    history: History = {}
    settings: dict[str, Any] = {}
    code, run = -1, {}
    for record in found:
        kind = record.WhichOneof("record_type")
        if kind == "history":
            row = {
                item.nested_key[0] if item.nested_key else item.key: json.loads(item.value_json)
                for item in record.history.item
            }
            for name, value in row.items():
                history.setdefault(name, []).append((row["trainer/global_step"], value))
        elif kind == "config":
            settings |= {item.key: json.loads(item.value_json) for item in record.config.update}
        elif kind == "run" and not run:
            run = {name: getattr(record.run, name) for name in ("run_id", "project", "display_name", "run_group")}
        elif kind == "exit":
            code = record.exit.exit_code
    return run, settings, history, code


def expected(folder: Path) -> History:
    """The metrics of a run by its own files: each row's, then those of the test split."""
    rows, final = MetricsFile(folder).rows(), RunRecord.read(folder).fields["metrics"]["final"]
    found: History = {}
    for row in [*rows, {k: v for k, v in final.items() if k in ("epoch", "step") or k.endswith("/test")}]:
        for name in row.keys() - {"step"}:
            found.setdefault(name, []).append((int(row["step"]), row[name]))
    return found


def csv_rows(folder: Path) -> History:
    table = pd.read_csv(folder / "csv_logs" / "metrics.csv")
    columns = [name for name in table.columns if name != "step"]
    return {name: list(table[["step", name]].dropna().itertuples(index=False, name=None)) for name in columns}


def logged(folder: Path, store: Path) -> tuple[dict[str, History], dict[str, Any]]:
    """The metrics that each logger holds of a run, and how the services say that it ended."""
    record = RunRecord.read(folder).fields["loggers"]
    run, metrics = mlflow_run(store, record["mlflow"]["run_id"])
    *_, file = sorted((folder / "wandb").glob(f"offline-run-*/run-{record['wandb']['id']}.wandb"))
    about, settings, history, code = wandb_run(file)
    found = {"csv": csv_rows(folder), "mlflow": metrics, "wandb": history}
    assert {name: value for name, value in found["wandb"].items() if name not in metrics}.keys() == {
        "_runtime", "_step", "_timestamp", "trainer/global_step",
    }  # fmt: skip
    found["wandb"] = {name: value for name, value in history.items() if name in metrics}
    return found, {"mlflow": run, "wandb": about, "settings": settings, "code": code}


def approximately(history: History) -> Any:
    return {name: [(step, pytest.approx(value, rel=1e-9)) for step, value in rows] for name, rows in history.items()}


def test_each_logger_holds_the_rows_of_a_run_and_its_test_metrics(single):
    found, about = logged(single, single)
    for name in found:
        assert found[name] == approximately(expected(single)), name
    assert about["mlflow"].info.status == "FINISHED"
    assert about["mlflow"].data.tags["team"] == "vision"
    assert about["mlflow"].data.params["model"] == about["settings"]["model"] == "LinearRegression"
    assert about["mlflow"].data.params["data.n_train"] == str(about["settings"]["data.n_train"]) == "20"
    assert yaml.safe_load((single / "csv_logs/hparams.yaml").read_text())["trainer.max_epochs"] == 3
    assert about["wandb"] | {"run_id": ""} == {
        "run_id": "",
        "project": "garments",
        "display_name": "run",
        "run_group": "",
    }
    assert about["code"] == 0
    text = (single / "train.log").read_text()
    assert f"mlflow ui --backend-store-uri sqlite:///{single / 'mlflow.db'}" in text
    assert f"wandb sync {single / 'wandb/offline-run-'}" in text


def test_lightnings_own_loop_logs_the_same_numbers(store, capfd):
    words = [*ROWS, ALL, "trainer.max_epochs=3", "trainer.engine=lightning", "logger.mlflow.run_name=mine"]
    assert run_here(store, *words) == 0
    found, about = logged(store, store)
    rows = expected(store)
    rows["epoch"] = sorted([*rows["epoch"], *rows["epoch"][:-1]])  # its validation is logged by itself
    for name in found:
        assert found[name] == approximately(rows), name
    assert about["mlflow"].info.run_name == "mine"
    assert "wandb:" not in "".join(capfd.readouterr())


def test_a_resumed_run_is_continued(single, tmp_path):
    folder = Path(shutil.copytree(single, tmp_path / "run"))
    before = RunRecord.read(folder).fields["loggers"]
    words = [*ROWS, ALL, "trainer.max_epochs=5", "logger.wandb.project=garments"]
    again = {**config(*words), "resume": str(folder)}
    assert fit.run(RunSpec(again, folder, words)) == 0
    assert RunRecord.read(folder).fields["loggers"] == before
    found, about = logged(folder, folder)
    for name in ("csv", "mlflow"):  # both keep the test metrics of the first attempt
        assert found[name]["loss/test"].pop(0)[0] == 6
        found[name]["epoch"].remove((6, 3))
    for name in found:
        assert found[name] == approximately(expected(folder)), name
    assert about["mlflow"].info.status == "FINISHED"


def test_a_run_that_diverges_is_failed_and_the_next_one_has_runs_of_its_own(store, single):
    assert run_here(store, *ROWS, ALL, "trainer.max_epochs=3", "optimizer.lr=1e30") == 1
    about, before = logged_about(store), logged_about(single)
    assert (about["mlflow"].info.status, about["code"]) == ("FAILED", 1)
    assert (before["mlflow"].info.status, before["code"]) == ("FINISHED", 0)
    assert about["wandb"]["run_id"] != before["wandb"]["run_id"]


def logged_about(folder: Path) -> dict[str, Any]:
    record = RunRecord.read(folder).fields["loggers"]
    (file,) = (folder / "wandb").glob(f"offline-run-*/run-{record['wandb']['id']}.wandb")
    about, _, _, code = wandb_run(file)
    return {"mlflow": mlflow_run(folder, record["mlflow"]["run_id"])[0], "wandb": about, "code": code}


def test_a_member_of_a_group_leaves_in_each_logger_what_it_leaves_by_itself(store, tmp_path, capsys):
    words = ["-m", *ROWS, ALL, "trainer.max_epochs=3", "logger.wandb.name=a,b", "trainer.precision=64-true"]
    together = Path(shutil.copytree(store, tmp_path / "together"))
    assert app.main([*words, f"hydra.sweep.dir={together}"]) == 0
    printed = capsys.readouterr().out
    assert "mlflow ui --backend-store-uri sqlite:///together/mlflow.db" in printed
    assert "wandb sync together/*/wandb/offline-run-*" in printed
    for number, job in enumerate(read_sweep(together)["jobs"]):
        record, alone = RunRecord.read(together / job["folder"]), tmp_path / "alone" / job["folder"]
        assert record.fields["members"] == 2
        sweep = record.fields["sweep"]
        shutil.copytree(store, alone)
        spec = RunSpec(dict(record.config), alone, record.fields["overrides"], number=number, sweep=sweep, silent=True)
        assert fit.run(spec) == 0
        (found, about), (theirs, other) = logged(record.folder, together), logged(alone, alone)
        for name in found:
            assert found[name] == approximately(theirs[name]), name
        assert about["mlflow"].data.params == other["mlflow"].data.params
        settings = [{k: v for k, v in each["settings"].items() if k != "_wandb"} for each in (about, other)]
        assert settings[0] == settings[1]
        for each in (about, other):
            assert each["wandb"]["run_group"] == each["mlflow"].data.tags["sweep"] == sweep
            assert each["wandb"]["display_name"] == "ab"[number]
            assert (each["mlflow"].info.status, each["code"]) == ("FINISHED", 0)


class Calls(Logger):
    """A logger with Lightning's methods and no more."""

    name, version = "calls", "0"
    made: ClassVar[list["Calls"]] = []

    def __init__(self, fail_at: int = 0, stop_at: int = 0, save_dir: str | None = None) -> None:
        super().__init__()
        self.fail_at, self.stop_at, self.folder = fail_at, stop_at, save_dir
        self.rows: list[tuple[dict[str, float], int]] = []
        self.parameters: dict[str, Any] = {}
        self.ended: list[str] = []
        self.made.append(self)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        assert step is not None
        if len(self.rows) + 1 == self.fail_at:
            raise ConnectionError("the service is down\nat all")
        self.rows.append((dict(metrics), step))
        if len(self.rows) == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.parameters |= params

    def finalize(self, status: str) -> None:
        self.ended.append(status)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Calls]:
    monkeypatch.setattr(Calls, "made", [])
    monkeypatch.setitem(known.LOGGERS, "Calls", ANYTHING)
    monkeypatch.setitem(registry.OBJECTS, "Calls", Calls)
    return Calls.made


def calls_of(**settings: Any) -> str:
    words = ", ".join(f"{name}: {value}" for name, value in {"_target_": "Calls", **settings}.items())
    return f"+logger.calls={{{words}}}"


def test_a_registered_logger_needs_lightnings_methods_only(tmp_path, calls):
    assert run_here(tmp_path, *ROWS, "logger=none", calls_of(save_dir="null"), "trainer.max_epochs=2") == 0
    (logger,) = calls
    rows, final = MetricsFile(tmp_path).rows(), RunRecord.read(tmp_path).fields["metrics"]["final"]
    test = {"epoch": 2, "loss/test": final["loss/test"]}
    assert logger.rows == [*(({k: v for k, v in row.items() if k != "step"}, row["step"]) for row in rows), (test, 4)]
    assert logger.parameters["data.n_train"] == 20
    assert logger.folder == str(tmp_path)
    assert logger.ended == ["success"]


def test_a_logger_that_fails_is_a_warning_and_the_others_go_on(tmp_path, calls, caplog):
    assert run_here(tmp_path, *ROWS, "logger=csv", calls_of(fail_at=2), "trainer.max_epochs=4") == 0
    assert len(calls[0].rows) == 1
    assert [text for text in caplog.messages if "calls" in text] == [
        "calls: nothing more is logged: the service is down"
    ]
    assert csv_rows(tmp_path) == approximately(expected(tmp_path))


def test_a_service_that_is_not_there_is_a_warning(tmp_path, caplog):
    pytest.importorskip("mlflow")
    words = [*ROWS, "logger=[csv,mlflow]", "logger.mlflow.tracking_uri=nowhere://x", "trainer.max_epochs=2"]
    assert run_here(tmp_path, *words) == 0
    assert [text for text in caplog.messages if text.startswith("mlflow: nothing more is logged: ")]
    assert csv_rows(tmp_path) == approximately(expected(tmp_path))
    assert "loggers" not in RunRecord.read(tmp_path).fields
    with pytest.raises(RequestError, match=r"^logger\.mlflow\.tracking_uri=sqlite:///no/such/x\.db: "):
        run_here(tmp_path / "b", *words, "logger.mlflow.tracking_uri=sqlite:///no/such/x.db", part_of_sweep=False)
    assert not (tmp_path / "b").exists()


def test_a_run_that_a_signal_stops_is_killed(store, calls):
    assert run_here(store, *ROWS, ALL, calls_of(stop_at=2), "trainer.max_epochs=50") == 128 + signal.SIGTERM
    about = logged_about(store)
    assert (about["mlflow"].info.status, about["code"]) == ("KILLED", 128 + signal.SIGTERM)
    assert calls[0].ended == ["failed"]
    assert 2 <= len(csv_rows(store)["loss/val"]) < 50


@pytest.mark.parametrize("words", [{"_target_": "Calls", "no_such": 1}, {"_target_": "NotOne"}])
def test_a_registered_logger_that_cannot_be_built_is_refused(words, tmp_path, calls, monkeypatch):
    monkeypatch.setitem(known.LOGGERS, "NotOne", ANYTHING)
    monkeypatch.setitem(registry.OBJECTS, "NotOne", dict)
    settings = config(*ROWS, "logger=none") | {"logger": {"mine": words}}
    with pytest.raises(RequestError, match=r"^logger=mine: "):
        fit.run(RunSpec(settings, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_missing_extra_is_named_with_its_command_and_nothing_is_written(package, tmp_path, monkeypatch, capsys):
    real = known.importlib.util.find_spec  # type: ignore[attr-defined]
    monkeypatch.setattr(known.importlib.util, "find_spec", lambda name: None if name == package else real(name))  # type: ignore[attr-defined]
    line = f"logger={package}: {package} is not installed: pip install 'lightning_d2l[{package}]'"
    for words in ([], ["-m", "seed=0,1"]):
        assert app.main([*SMALL, f"logger=[csv,{package}]", *words]) == 2
        assert line in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    compose_checked([*SMALL, "logger=csv"])


def test_a_folder_of_the_name_of_a_package_is_not_that_package(tmp_path, monkeypatch):
    (tmp_path / "no_package_of_this_name").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(known.EXTRAS, known.CSV, "no_package_of_this_name")
    with pytest.raises(RequestError, match="no_package_of_this_name is not installed"):
        compose_checked([*SMALL, "logger=csv"])


def test_the_trainer_is_given_lightnings_own_classes_in_the_order_that_is_asked_for(tmp_path):
    loggers = Loggers(RunSpec(config(*SMALL, "logger=[csv,tensorboard]"), tmp_path / "run"), {})
    first, second = loggers.of_trainer
    assert isinstance(first, CSVLogger)
    assert isinstance(second, TensorBoard)
    assert first.experiment is second.experiment is None  # nothing is written before the run is checked
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["logger=wandb", "logger.wandb.offline=maybe"], "logger.wandb.offline"),
        (["logger=wandb", "logger.wandb.projekt=x"], "did you mean logger.wandb.project?"),
        (["logger=mlflow", "logger.mlflow.tags=[x]"], "logger.mlflow.tags"),
        (["logger=wanbd"], "wandb"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused(words, message, capsys):
    assert app.main([*SMALL, *words]) == 2
    assert message in capsys.readouterr().err


def test_one_process_at_a_time_makes_the_tables_of_a_store(store, tmp_path, monkeypatch):
    import mlflow

    held, real = [], mlflow.MlflowClient

    def client(uri: str) -> Any:
        with pytest.raises(Timeout):
            FileLock(f"{store / 'mlflow.db'}.lock").acquire(timeout=0)
        held.append(uri)
        return real(uri)

    words = [*ROWS, "logger=mlflow", f"logger.mlflow.tracking_uri=sqlite:///{store / 'mlflow.db'}"]
    with monkeypatch.context() as patch:
        patch.setattr(mlflow, "MlflowClient", client)
        assert run_here(tmp_path / "own", *words, "trainer.max_epochs=1") == 0
    assert len(held) == 1
    assert mlflow_run(store, RunRecord.read(tmp_path / "own").fields["loggers"]["mlflow"]["run_id"])
