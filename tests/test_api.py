"""The commands from Python: the same records, objects as results, and a process that is left as it was."""

import asyncio
import csv
import doctest
import importlib
import inspect
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

import lightning_d2l as d2l
from lightning_d2l import app
from lightning_d2l.plugins import registering
from lightning_d2l.training.predictions import outputs

SMALL: dict[str, Any] = {"model": "polynomial_regression", "data": {"n_train": 20, "n_val": 10, "n_test": 10},
                         "trainer.max_epochs": 3, "logger": "none"}  # fmt: skip
QUIET: dict[str, Any] = {**SMALL, "verbose": False}
WORDS = ["model=polynomial_regression", "data.n_train=20", "data.n_val=10", "data.n_test=10", "trainer.max_epochs=3",
         "logger=none"]  # fmt: skip


def test_importing_costs_no_torch() -> None:
    heavy = ("torch", "pytorch_lightning", "hydra", "pandas", "matplotlib", "numpy")
    code = f"import sys, lightning_d2l; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_records_of_a_sweep_equal_those_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "data.degree=1,3", "seed=0,1"]
    assert app.main(["-m", *words, "hydra.sweep.dir=command"]) == 0
    sweep = d2l.sweep(*words, "hydra.sweep.dir=python", verbose=False)
    assert sweep is not None
    own = ("started", "seconds", "process", "sweep", "id")

    def record(path: Path) -> dict[str, Any]:
        text = path.read_text().replace("hydra.sweep.dir=python", "hydra.sweep.dir=command")
        return {key: value for key, value in json.loads(text).items() if key not in own}

    there, here = sorted(Path("command").rglob("*.json")), sorted(Path("python").rglob("*.json"))
    assert [p.relative_to("command") for p in there] == [p.relative_to("python") for p in here]
    assert len(there) == 5
    for a, b in zip(there, here, strict=True):
        assert record(a) == record(b)
    tables = [path.relative_to("command") for path in Path("command").rglob("*.csv")]
    assert len(tables) == 6
    for name in tables:
        assert Path("command", name).read_bytes() == Path("python", name).read_bytes()
    with open("python/results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(sweep.results.columns) == list(rows[0])
    assert sweep.results["loss/test"].tolist() == [float(row["loss/test"]) for row in rows]
    assert d2l.load_sweep("python").answer == sweep.answer
    assert sweep.verdict in ("yes", "no", "undecided", "")
    assert sweep.answer in sweep.report(into="elsewhere").paths["markdown"].read_text().replace("\\", "")
    assert "data:image/png" in sweep._repr_html_()
    assert sorted(d2l.runs(".")["loss/test"]) == sorted([*sweep.results["loss/test"]] * 2)
    capsys.readouterr()


def test_keywords_are_words() -> None:
    by_words = d2l.train(*WORDS, "optimizer.lr=0.2", verbose=False)
    by_keywords = d2l.train(**QUIET, optimizer={"lr": np.float64(0.2)})
    assert by_words.config == by_keywords.config
    assert by_words.metrics == by_keywords.metrics
    assert by_keywords.folder != by_words.folder


def test_a_run_is_its_record() -> None:
    run = d2l.train(**QUIET)
    record = json.loads((run.folder / "run.json").read_text())
    assert run.status == "completed" == record["status"]
    assert run.config == record["config"]
    final = record["metrics"]["final"]
    assert run.metrics == {name: value for name, value in final.items() if "/" in name}
    with open(run.folder / "metrics.csv", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert run.history.to_dict("records") == rows
    assert run.history["loss/val"].iloc[-1] == run.metrics["loss/val"]
    assert [len(figure.axes) > 0 for figure in (run.figure(), run.figure("fit"))] == [True, True]
    assert "<table>" in run._repr_html_()
    assert str(run.folder) in repr(run)


def test_predictions_are_those_of_the_best_weights() -> None:
    run = d2l.train(**QUIET)
    x = torch.tensor([[-1.0], [0.5], [2.0]], dtype=torch.float64)
    weights = torch.load(run.folder / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    powers = x.float() ** torch.arange(4) / torch.tensor([1.0, 1.0, 2.0, 6.0])  # x^i / i! of degree 3
    expected = powers @ next(iter(weights.values())).T
    assert torch.allclose(run.predict(x), expected, rtol=1e-5)
    assert np.allclose(run.predict(x.numpy()), expected, rtol=1e-5)
    frame = run.predict(pd.DataFrame({"other": 0, "x": x[:, 0].numpy()}, index=["a", "b", "c"]))
    assert list(frame.index) == ["a", "b", "c"]
    assert np.allclose(frame["prediction"], expected[:, 0], rtol=1e-5)
    Path("x.csv").write_text("x\n0.5\n")
    assert np.isclose(run.predict("x.csv")["prediction"].iloc[0], float(expected[1]), rtol=1e-5)


def _process() -> dict[str, Any]:
    known = {"": logging.root, **logging.root.manager.loggerDict}
    loggers = {name: each for name, each in known.items() if isinstance(each, logging.Logger)}
    return {
        "random": [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()],
        "torch": [torch.get_num_threads(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()],
        "numpy": np.geterr(),
        "warnings": [*warnings.filters],
        "logging": {n: (each.level, [*each.handlers], [*each.filters], each.propagate) for n, each in loggers.items()},
        "matplotlib": [dict(mpl.rcParams), "matplotlib.pyplot" in sys.modules],
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
        "process": [dict(os.environ), os.getcwd(), [*sys.argv], [*sys.path]],
        "streams": [sys.stdout, sys.stderr, threading.excepthook],
    }


def test_silence_and_the_process_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    d2l.train(**SMALL)  # imports
    assert "run folder" in capfd.readouterr().out
    net = Net()
    before = _process()
    d2l.train(**QUIET, seed=5)
    d2l.sweep(**QUIET, seed=range(2))
    run = d2l.fit(net, Data(), max_epochs=1, logger=None, verbose=False)
    assert (run.predict(torch.zeros(1, 3)).shape, len(run.figure().axes)) == ((1, 2), 1)
    with pytest.raises(d2l.RequestError):
        d2l.train(**QUIET, nonsense=1)
    after = _process()
    assert capfd.readouterr() == ("", "")
    untouched = (logging.NOTSET, [], [], True)
    new = {name: each for name, each in after["logging"].items() if name not in before["logging"]}
    assert all(each == untouched for each in new.values())  # of modules that were imported
    after["logging"] = {name: after["logging"][name] for name in before["logging"]}
    for name, value in before.items():
        assert after[name] == value, name


def test_in_a_thread_and_in_an_event_loop() -> None:
    async def both() -> list[dict[str, float]]:
        here = d2l.train(**QUIET)
        others = await asyncio.gather(*(asyncio.to_thread(lambda: d2l.train(**QUIET)) for _ in range(2)))
        return [run.metrics for run in (here, *others)]

    first, *others = asyncio.run(both())
    assert all(other == first for other in others)


def test_beside_a_hydra_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("mine: 1\n")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert d2l.train(**QUIET).status == "completed"
        assert compose("own").mine == 1


def test_a_notebook_has_one_output_that_is_replaced(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, made: Any) -> None:
            shown[-1] = made._repr_html_()

    def display(made: Any, display_id: bool) -> Handle:
        shown.append(made._repr_html_())
        return Handle()

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    displays = types.ModuleType("IPython.display")
    displays.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    run = d2l.train(**SMALL)
    assert len(shown) == 1
    assert f"epoch 3/3  loss/train {run.metrics['loss/train']:.4g}" in shown[0]
    assert 'value="3.00" max="3"' in shown[0]
    assert "data:image/png;base64," in shown[0]
    d2l.sweep(**SMALL, seed=range(2))
    assert "2/2 runs" in shown[1]
    assert "epoch 1/3" not in capfd.readouterr().out
    d2l.train(**QUIET)
    assert len(shown) == 2


def test_a_program_that_registers_is_named_in_its_commands() -> None:
    d2l.register.model(Tiny)
    try:
        run = d2l.train("model=Tiny", "data=synthetic_regression", logger="none", verbose=False)
        assert run.record["command"].startswith(f"python train.py --plugin {Path(__file__).resolve()} model=Tiny ")
        assert type(run.module.net) is Tiny
    finally:
        registering.remove(registering.REGISTERED["model", "Tiny"])


class Tiny(torch.nn.Linear):
    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__(num_inputs, num_outputs)


class Net(pl.LightningModule):
    """A classifier as another project has it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x)

    def _step(self, batch: Any, name: str) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log(f"{name}_loss", loss, on_step=False, on_epoch=True)
        return loss

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._step(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self._step(batch, "test")

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.5)


class Data(pl.LightningDataModule):
    def setup(self, stage: str | None = None) -> None:
        x = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))
        self.data = TensorDataset(x, (x[:, 0] > 0).long())

    def train_dataloader(self) -> Any:
        return DataLoader(self.data, 16)

    def val_dataloader(self) -> Any:
        return DataLoader(self.data, 32)

    def test_dataloader(self) -> Any:
        return DataLoader(self.data, 32)


class Interrupts(pl.Callback):
    """Ctrl-C at the end of the third epoch, raised where the signal would be."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 2:
            raise KeyboardInterrupt


def test_fit_records_objects(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Net()
    run = d2l.fit(
        module, Data(), max_epochs=4, name="mine", logger=["csv", CSVLogger(tmp_path / "logs")], verbose=False
    )
    reference = Net()
    torch.manual_seed(0)
    reference.load_state_dict(Net().state_dict())
    trainer = pl.Trainer(max_epochs=4, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                         enable_model_summary=False, default_root_dir=tmp_path)  # fmt: skip
    trainer.fit(reference, Data())
    assert run.metrics["loss/val"] == pytest.approx(float(trainer.callback_metrics["val_loss"]), rel=1e-6)
    assert run.folder.name.endswith("-mine")
    assert (run.folder / "figures" / "curves.png").exists()
    assert list((tmp_path / "logs").rglob("metrics.csv"))
    x = torch.randn(5, 3)
    assert torch.allclose(run.predict(x), outputs(run.module, x).softmax(-1))
    loaded = d2l.load_run(run.folder, module=Net(), datamodule=Data())
    assert torch.equal(loaded.predict(x), run.predict(x))
    assert "loss/val" in d2l.report(run.folder).answer
    with pytest.raises(d2l.RequestError, match=r"needed again: lightning_d2l.load_run\(folder, module=Net"):
        d2l.load_run(run.folder).predict(x)
    longer = d2l.fit(Net(), Data(), max_epochs=6, resume=run.folder, verbose=False)
    assert longer.history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    stopping = EarlyStopping("val_loss", patience=1, min_delta=10)
    kept = ModelCheckpoint(tmp_path / "kept", monitor="val_loss")
    stopped = d2l.fit(Net(), Data(), callbacks=[stopping, kept], logger=None, verbose=False)
    assert stopped.record["stopped"]["by"] == "EarlyStopping"
    assert Path(kept.best_model_path).exists()


def test_an_interrupted_run_goes_as_far_as_it_went() -> None:
    handler = signal.getsignal(signal.SIGINT)
    settings: dict[str, Any] = {"max_epochs": 5, "logger": None, "verbose": False}
    run = d2l.fit(Net(), Data(), callbacks=[Interrupts()], **settings)
    assert run.status == "interrupted"
    assert run.history["epoch"].tolist() == [1, 2]
    assert run.metrics["loss/val"] == run.history["loss/val"].iloc[-1]
    assert signal.getsignal(signal.SIGINT) is handler
    again = d2l.fit(Net(), Data(), resume=run.folder, **settings)
    assert again.status == "completed"
    assert again.history["epoch"].tolist() == [1, 2, 3, 4, 5]


def test_ctrl_c_stops_a_run_and_leaves_the_process() -> None:
    long = {**QUIET, "trainer.max_epochs": 10**6, "trainer.log_every_n_epochs": 100}
    folder = Path("stopped")

    def press() -> None:
        while not (folder / "metrics.csv").exists():
            pass
        os.kill(os.getpid(), signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    run = d2l.train(f"hydra.run.dir={folder}", **long)
    pressing.join()
    assert run.status == "interrupted"
    assert len(run.history) >= 1
    assert (folder / "checkpoints" / "last.ckpt").exists()
    assert "resume=stopped" in run.record["error"]
    assert d2l.train(**QUIET).status == "completed"


def test_an_error_of_the_model_is_the_cause() -> None:
    class Broken(Net):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            raise ValueError("wrong sizes")

    with pytest.raises(d2l.RunFailed, match="ValueError: wrong sizes") as caught:
        d2l.fit(Broken(), Data(), verbose=False)
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.run.status == "failed"


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "option": (lambda: d2l.train("model=mpl"), "model=mpl: unknown option; did you mean mlp?"),
    "several": (lambda: d2l.train("seed=1,2"), "seed=1,2: several values are for lightning_d2l.sweep"),
    "tuple": (lambda: d2l.train(seed=(1, 2)), "several values are for lightning_d2l.sweep"),
    "study": (lambda: d2l.train("study=capacity"), "call lightning_d2l.sweep or lightning_d2l.study"),
    "flag": (lambda: d2l.train("--help"), "--help: belongs on a command line"),
    "object": (lambda: d2l.train(model=object()), "objects of your own are registered"),
    "value": (lambda: d2l.train(optimizer={"lr": -1}), "optimizer.lr=-1: must be"),
    "job": (lambda: d2l.sweep(**QUIET, **{"optimizer.lr": (0.1, -1)}), "job 1 .*optimizer.lr=-1"),
    "no run": (lambda: d2l.load_run("nowhere"), "nowhere: not a run folder"),
    "no sweep": (lambda: d2l.load_sweep("latest"), "latest: no sweep below outputs"),
    "no folder": (lambda: d2l.runs("nowhere"), "nowhere: no such folder"),
    "network": (lambda: d2l.fit(torch.nn.Linear(1, 1), Data()), r"wrap it: ClassificationModule\(net\)"),  # type: ignore[arg-type]
    "class": (lambda: d2l.fit(Net, Data()), r"is the class Net; must be an object"),  # type: ignore[arg-type]
    "no data": (lambda: d2l.fit(Net(), None), "datamodule: is missing"),
    "other data": (lambda: d2l.fit(Net(), 3), "datamodule: is int; must be"),
    "callback": (lambda: d2l.fit(Net(), Data(), callbacks=[EarlyStopping]), "not the class EarlyStopping"),
    "logger": (lambda: d2l.fit(Net(), Data(), logger=3), "logger: must be a Logger"),
    "devices": (lambda: d2l.fit(Net(), Data(), devices=2), "trainer.devices=2: must be one"),
    "setting": (lambda: d2l.fit(Net(), Data(), acelerator="cpu"), "did you mean accelerator?"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_one_line_and_writes_nothing(name: str) -> None:
    call, words = WRONG[name]
    with pytest.raises(d2l.RequestError, match=words) as caught:
        call()
    assert len(str(caught.value).splitlines()) <= 2
    assert len(caught.traceback) <= 3  # this test, the lambda, and the function's own frame
    assert list(Path.cwd().iterdir()) == []


def test_wrong_inputs_are_told_with_both_shapes() -> None:
    run = d2l.train(**QUIET)
    for x, words in {
        "shape": (torch.zeros(3, 4), r"must have the shape \(n, 1\).*it has \(3, 4\)"),
        "column": (pd.DataFrame({"y": [1.0]}), "has no column x"),
        "text": (["a.csv", "b.csv"], "a.csv: no such file"),
        "kind": (object(), "must be numbers"),
    }.values():
        with pytest.raises(d2l.RequestError, match=words):
            run.predict(x)
    with pytest.raises(d2l.RequestError, match="must be one of curves, fit"):
        run.figure("confusion_matrix")


@pytest.mark.parametrize("name", sorted(set(d2l.__all__) - {"main", "register", "RequestError", "RunFailed"}))
def test_examples(name: str) -> None:
    documented = getattr(d2l, name)
    module = importlib.import_module(inspect.unwrap(documented).__module__)
    tests = doctest.DocTestFinder(recurse=False).find(documented, name, module=module, globs={})
    assert documented.__doc__
    assert isinstance(documented, type) or any(test.examples for test in tests)
    for test in tests:
        assert doctest.DocTestRunner().run(test).failed == 0
