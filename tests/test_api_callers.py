"""Who calls from Python: a kernel, a forked process, a pool, a program with modes of torch set, a wrong caller."""

import multiprocessing
import os
import pickle
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from nbclient import NotebookClient

import lightning_d2l as d2l
from lightning_d2l.modules import RegressionModule
from tests.conftest import ROOT

WORDS = ["model=polynomial_regression", "data.n_train=20", "data.n_val=10", "data.n_test=10", "trainer.max_epochs=3"]
QUIET: dict[str, Any] = {"logger": "none", "verbose": False}
X = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)


class Broken(torch.nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        raise ValueError("wrong sizes")


def train(seed: int) -> d2l.Run:
    return d2l.train(*WORDS, seed=seed, **QUIET)


def fail(_: int) -> d2l.Run:
    return d2l.fit(RegressionModule(Broken(2, 1)), (X, Y), logger=None, verbose=False)


def comparable(folder: Path) -> dict[str, bytes]:
    """The files of a sweep but for times, paths and the identity of the sweep; tensors in place of checkpoints."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and "tfevents" not in path.name):
        content = path.read_bytes()
        if path.suffix == ".ckpt":
            weights = torch.load(path, weights_only=True)["state_dict"]
            content = b"".join(name.encode() + weights[name].numpy().tobytes() for name in sorted(weights))
        if path.suffix in (".json", ".md", ".html", ".log"):
            content = content.replace(folder.name.encode(), b"FOLDER")
            content = re.sub(rb"\d{4}-\d\d-\d\d(T[\d:+]+)?|\d\d:\d\d:\d\d|\b[0-9a-f]{32}\b", b"TIME", content)
            content = re.sub(rb'"(seconds|pid|process|git)": [^,}]+|[\d,.]+ samples/s|\([\d.]+ s\)', b"TIME", content)
        found[str(path.relative_to(folder))] = content
    return found


@pytest.mark.slow
@pytest.mark.apart
def test_a_sweep_has_the_records_of_the_command() -> None:
    words = [*WORDS, "logger=csv", "data.degree=1,3", "seed=range(2)"]
    command = [sys.executable, str(ROOT / "train.py"), "-m", *words, "hydra.sweep.dir=by_command"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    d2l.sweep(*words, "hydra.sweep.dir=by_function", verbose=False)
    by_command, by_function = comparable(Path("by_command")), comparable(Path("by_function"))
    assert len(by_command) > 20
    assert [*by_function] == [*by_command]
    for name, content in by_command.items():
        assert by_function[name] == content, name


def test_errors_end_at_the_callers_line_and_causes_start_in_the_callers_code() -> None:
    run = train(0)
    (run.folder / "run.json").unlink()
    calls: list[Callable[[], object]] = [
        lambda: fail(0), lambda: run.metrics, lambda: d2l.sweep("seed=-1,2"), lambda: d2l.load_sweep("x").answer,
    ]  # fmt: skip
    for call in calls:
        with pytest.raises((d2l.RequestError, d2l.RunFailed)) as caught:
            call()
        frames = [Path(frame.filename) for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert sum(frame.is_relative_to(Path(d2l.__file__).parent) for frame in frames) == 1
        assert frames[-2] == Path(__file__)
        if isinstance(caught.value, d2l.RunFailed):
            assert caught.value.__cause__ is not None
            first, *_ = traceback.extract_tb(caught.value.__cause__.__traceback__)
            assert (first.filename, first.name) == (__file__, "forward")
            again = pickle.loads(pickle.dumps(caught.value))
            assert (str(again), again.run.folder) == (str(caught.value), caught.value.run.folder)


def in_forked_processes() -> None:
    expected = [train(seed).metrics for seed in range(2)]
    child = os.fork()
    if child == 0:
        same = False
        try:
            same = train(1).metrics == expected[1]
        finally:
            os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        assert [run.metrics for run in pool.map(train, range(2))] == expected
        with pytest.raises(d2l.RunFailed, match="wrong sizes"):
            pool.submit(fail, 0).result(60)


def test_a_forked_process_and_a_pool_have_the_numbers_of_this_one() -> None:
    """In a process of its own: torch refuses a fork after another test has let gradients be computed by its threads."""
    program = "from tests.test_api_callers import in_forked_processes; in_forked_processes()"
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_numbers_do_not_depend_on_the_callers_modes_of_torch() -> None:
    expected = train(0).metrics
    with torch.inference_mode():
        assert train(0).metrics == expected
        assert torch.is_inference_mode_enabled()
    with torch.no_grad():
        assert train(0).metrics == expected
        assert not torch.is_grad_enabled()
    torch.set_default_dtype(torch.float64)
    try:
        assert train(0).metrics == expected
        assert torch.get_default_dtype() == torch.float64
        run = d2l.fit(RegressionModule(torch.nn.Linear(2, 1)), (X, Y), max_epochs=1, logger=None, verbose=False)
        assert run.predict(X).dtype == torch.float64  # objects keep their types
    finally:
        torch.set_default_dtype(torch.float32)


def test_fit_predicts_a_column_of_a_frame() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=200), "kind": random.choice(["u", "v"], 200)})
    frame["y"] = 3 * frame["a"] + 2 * (frame["kind"] == "u") + 1
    module = RegressionModule(torch.nn.Linear(3, 1), optimizer={"_target_": "torch.optim.SGD", "lr": 0.1})
    run = d2l.fit(module, frame, target="y", max_epochs=40, logger=None, verbose=False)
    assert np.allclose(run.predict(frame)["prediction"], frame["y"], atol=1e-3)
    with pytest.raises(d2l.RequestError, match="x: has no column kind; must have a, kind"):
        run.predict(frame[["a", "y"]])
    other = d2l.load_run(run.folder, module=module, datamodule=frame)
    assert other.predict(frame).equals(run.predict(frame))


NET = torch.nn.Linear(2, 1)
WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "network alone": (lambda: d2l.fit(NET), r"wrap it: ClassificationModule\(net\)"),  # type: ignore[arg-type]
    "words": (lambda: d2l.train("model=mlp optimizer.lr=0.2"), "not of the form key=value"),
    "empty": (lambda: d2l.train(""), "'': must be of the form key=value"),
    "study": (lambda: d2l.study("capcity"), "did you mean capacity?"),
    "no path": (lambda: d2l.load_run(3), "folder: must be a path, not int"),  # type: ignore[arg-type]
    "no user": (lambda: d2l.load_run("~nobody-here/x"), "folder=~nobody-here/x: "),
    "file": (lambda: d2l.load_run(__file__), "must be the folder of a run, not a file"),
    "list": (lambda: d2l.report(["a"]), "report: must be a path, not list"),  # type: ignore[arg-type]
    "target": (lambda: d2l.fit(RegressionModule(NET), (X, Y), target="y"), "target=y: names a column of a DataFrame"),
    "no target": (lambda: d2l.fit(RegressionModule(NET), pd.DataFrame({"a": [1.0]})), "target=None: must be a column"),
    "lengths": (lambda: d2l.fit(RegressionModule(NET), (X, Y[1:])), "^datamodule: x has 40 samples and y 39"),
    "callbacks": (lambda: d2l.fit(RegressionModule(NET), (X, Y), callbacks=3), "Lightning's Callback, not int"),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_named(name: str) -> None:
    call, words = WRONG[name]
    with pytest.raises(d2l.RequestError, match=words):
        call()
    assert list(Path.cwd().iterdir()) == []


def test_a_run_is_no_sweep_and_a_sweep_no_run() -> None:
    with pytest.raises(d2l.RequestError, match="holds a run; "):
        d2l.load_sweep(train(0).folder)
    sweep = d2l.sweep(*WORDS, seed=range(2), **QUIET)
    assert sweep is not None
    with pytest.raises(d2l.RequestError, match="holds a sweep; "):
        d2l.load_run(sweep.folder)


CELLS = {
    "start": """
        import asyncio, os, signal, threading
        import lightning_d2l as d2l
        words = ["model=polynomial_regression", "data.n_train=20", "trainer.max_epochs=3", "logger=none"]
        run = d2l.train(*words)""",
    "loop": """
        there = await asyncio.to_thread(d2l.train, *words, verbose=False)
        assert asyncio.get_running_loop() and there.metrics == run.metrics""",
    "figure": "run.figure()",
    "wrong": "d2l.train('model=mpl')",
    "stop": """
        long = ["model=polynomial_regression", "trainer.max_epochs=1000000", "hydra.run.dir=long", "logger=none"]
        def press():
            while not os.path.exists("long/metrics.csv"):
                pass
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=press).start()
        stopped = d2l.train(*long, "trainer.log_every_n_epochs=100", verbose=False)
        stopped.status, signal.getsignal(signal.SIGINT) is signal.default_int_handler""",
    "again": "d2l.train(*words, verbose=False).metrics == run.metrics",
}


@pytest.mark.slow
@pytest.mark.apart
def test_in_the_kernel_of_a_notebook() -> None:
    cells = [nbformat.v4.new_code_cell(re.sub(r"^ {8}", "", text, flags=re.M).strip()) for text in CELLS.values()]
    cells[3].metadata["tags"] = ["raises-exception"]
    book = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(book, timeout=200, kernel_name="python3").execute()
    outputs = {name: cell.outputs for name, cell in zip(CELLS, cells, strict=True)}
    shown = [output for output in outputs["start"] if output.output_type == "display_data"]
    assert len(shown) == 1
    assert "data:image/png;base64," in shown[0].data["text/html"]
    assert "image/png" in outputs["figure"][0].data
    (error,) = outputs["wrong"]
    assert error.ename == "RequestError"
    assert "lightning_d2l/" not in "".join(error.traceback).replace("\\", "/")
    assert outputs["stop"][-1].data["text/plain"] == "('interrupted', True)"
    assert outputs["again"][-1].data["text/plain"] == "True"
