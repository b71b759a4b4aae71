"""What a run is resumed from is checked before anything is written: a refused resume leaves every byte as it was."""

import json
import math
import shlex
import shutil
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightning_d2l import app
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.compose import compose_checked, with_literal_paths
from lightning_d2l.training import fit
from lightning_d2l.training.files import BEST, LAST, METRICS, MetricsFile
from lightning_d2l.training.lock import LOCK, hold
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.resume import command_to_resume
from lightning_d2l.training.signals import Signals, Stopped, signals_stop_the_run
from lightning_d2l.training.spec import RunSpec
from tests.runs import config, run_here

WORDS = [
    "model=polynomial_regression", "data.n_train=20", "logger=none", "trainer.accelerator=cpu", "optimizer=adam",
    "trainer.checkpoint_every_n_seconds=0", "trainer.log_every_n_epochs=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run_here(folder, *WORDS, "trainer.max_epochs=4", part_of_sweep=False) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run of four epochs, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != LOCK)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def resume(folder: Path, *words: str) -> int:
    again = {**config(*WORDS, *words), "resume": str(folder)}
    return fit.run(RunSpec(again, folder, [*WORDS, *words, f"resume={folder}"], "python train.py now"))


def refused(folder: Path, *words: str) -> str:
    before = contents(folder)
    with pytest.raises(RequestError) as error:
        resume(folder, *words)
    assert contents(folder) == before
    lines = str(error.value).splitlines()
    assert 1 <= len(lines) <= 2
    return str(error.value)


def test_fewer_epochs_than_were_trained_are_refused(run: Path) -> None:
    assert "trainer.max_epochs=3: must be at least 4" in refused(run, "trainer.max_epochs=3")


def test_a_resumed_run_records_what_it_has_now_and_what_it_had(run: Path) -> None:
    assert resume(run, "trainer.max_epochs=6") == 0
    fields = RunRecord.read(run).fields
    assert fields["command"] == "python train.py now"
    assert fields["overrides"] == [*WORDS, "trainer.max_epochs=6"]
    assert fields["config"]["trainer"]["max_epochs"] == 6
    (before,) = fields["before"]
    assert before["overrides"] == [*WORDS, "trainer.max_epochs=4"]
    assert before["changed"] == {"trainer.max_epochs": 4}
    assert before["status"] == "completed"
    assert resume(run, "trainer.max_epochs=7") == 0
    assert [attempt["changed"] for attempt in RunRecord.read(run).fields["before"]] == [
        {"trainer.max_epochs": 4}, {"trainer.max_epochs": 6},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: "", "rows of 4 epochs from 1 to 4 are lost"),
        (lambda text: text.replace("\n3,", "\n1,"), "not in order"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-1]), "rows of epoch 4 are lost"),
        (lambda text: text + text.splitlines()[-1] + "\n", "not in order"),
        (lambda text: text[: len(text) // 2] + "\0" * 40 + "\n", "is damaged|not a table"),
        (lambda text: text.replace("\n2,", "\nx,"), "line 3 is damaged"),
        (lambda text: text.replace("epoch", "epochs"), "line 2 has no epoch|another row"),
    ],
)
def test_rows_that_were_lost_are_named(run: Path, damage: Callable[[str], str], message: str) -> None:
    path = run / METRICS
    path.write_text(damage(path.read_text()))
    found = refused(run, "trainer.max_epochs=6")
    assert METRICS in found
    assert any(part in found for part in message.split("|")), found


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(checkpoint: dict[str, Any]) -> None:
        *keys, last = path.split("/")
        node: Any = checkpoint
        for key in keys:
            node = node[int(key) if key.isdigit() else key]
        node[int(last) if last.isdigit() else last] = value

    return change


DAMAGES: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "no loops": lambda c: c.pop("loops"),
    "loops a list": _set("loops", [1]),
    "loops empty": _set("loops", {}),
    "epochs text": _set("loops/fit_loop/epoch_progress/current/processed", "x"),
    "epochs infinite": _set("loops/fit_loop/epoch_progress/current/processed", math.inf),
    "epochs negative": _set("loops/fit_loop/epoch_progress/current/processed", -1),
    "progress text": _set("loops/fit_loop/epoch_progress", "x"),
    "batches missing": lambda c: c["loops"]["fit_loop"].pop("epoch_loop.batch_progress"),
    "no optimizer": lambda c: c.pop("optimizer_states"),
    "optimizers empty": _set("optimizer_states", []),
    "optimizer text": _set("optimizer_states/0", "x"),
    "moment of another shape": _set("optimizer_states/0/state/0/exp_avg", torch.zeros(9, 9)),
    "moment of text": _set("optimizer_states/0/state/0/exp_avg", "x"),
    "lr text": _set("optimizer_states/0/param_groups/0/lr", "x"),
    "no lr": lambda c: c["optimizer_states"][0]["param_groups"][0].pop("lr"),
    "no callbacks": lambda c: c.pop("callbacks"),
    "best a list": _set("callbacks/Recorder/best", [1]),
    "best of another row": lambda c: c["callbacks"]["Recorder"]["best"].update({"loss/val": 0.0}),
    "random state text": _set("callbacks/Recorder/torch", "x"),
    "random state short": _set("callbacks/Recorder/python", [3]),
    "weights of another type": lambda c: c["state_dict"].update({k: v.double() for k, v in c["state_dict"].items()}),
    "weights of another shape": lambda c: c["state_dict"].update({k: v[..., :1] for k, v in c["state_dict"].items()}),
    "weights text": lambda c: c["state_dict"].update(dict.fromkeys(c["state_dict"], "x")),
    "weights that hold one number": lambda c: c["state_dict"].update(
        {k: torch.zeros(1).expand(v.shape) if v.numel() > 1 else v for k, v in c["state_dict"].items()}
    ),
    "no weights": _set("state_dict", {}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_malformed_checkpoint_is_a_line(run: Path, damage: str) -> None:
    checkpoint = torch.load(run / LAST, weights_only=True)
    DAMAGES[damage](checkpoint)
    torch.save(checkpoint, run / LAST)
    refused(run, "trainer.max_epochs=6")


def test_the_best_weights_are_those_of_the_best_epoch(run: Path) -> None:
    best = torch.load(run / BEST, weights_only=True)
    best["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"] = 2
    torch.save(best, run / BEST)
    assert "weights of epoch 2, not of the best one, 4" in refused(run, "trainer.max_epochs=6")


def test_a_run_that_ended_before_its_first_checkpoint_starts_afresh(run: Path, tmp_path: Path) -> None:
    fields = json.loads((run / "run.json").read_text())
    killed = tmp_path / "killed"
    (killed / "checkpoints").mkdir(parents=True)
    (killed / "checkpoints" / ".new-1").write_text("half")
    started = {k: v for k, v in fields.items() if k not in ("metrics", "seconds")} | {"status": "running"}
    (killed / "run.json").write_text(json.dumps(started))
    assert RunRecord.read(killed).state == "interrupted"
    assert app.main([*WORDS, "trainer.max_epochs=4", f"resume={killed}"]) == 0
    assert RunRecord.read(killed).fields["metrics"] == fields["metrics"]
    assert not list(killed.rglob(".new-*"))


def test_a_folder_in_use_is_refused(run: Path, tmp_path: Path) -> None:
    refusals: list[str] = []

    def other() -> None:
        for folder, asks in ((run, resume), (tmp_path / "new", run_here)):
            try:
                asks(folder, "trainer.max_epochs=6")
            except RequestError as error:
                refusals.append(str(error))

    (tmp_path / "new").mkdir()
    before = contents(tmp_path)
    with hold(run, "x"), hold(tmp_path / "new", "x"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert ["in use by" in refusal for refusal in refusals] == [True, True]
    assert contents(tmp_path) == before


def test_a_new_run_does_not_go_into_the_folder_of_another(run: Path) -> None:
    before = contents(run)
    with pytest.raises(RequestError, match="holds a run already"):
        run_here(run, *WORDS, "trainer.max_epochs=4", part_of_sweep=False)
    assert contents(run) == before


def test_results_are_the_run_s_own_whatever_happens_to_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that writes metrics.csv changes no number of the record, and loses no row."""
    appended = MetricsFile.append

    def disturbed(self: MetricsFile, row: dict[str, float]) -> None:
        if row["epoch"] == 3:
            self.path.unlink()
            self.write([{"epoch": 1, "step": 1, "loss/train": 9.0}])
        appended(self, row)

    assert run_here(tmp_path / "alone", *WORDS, "trainer.max_epochs=4") == 0
    monkeypatch.setattr(MetricsFile, "append", disturbed)
    assert run_here(tmp_path / "disturbed", *WORDS, "trainer.max_epochs=4") == 0
    alone, other = (RunRecord.read(tmp_path / name).fields["metrics"] for name in ("alone", "disturbed"))
    assert alone == other


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_raises_once_and_never_while_a_run_is_ending(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stop, signals_stop_the_run():
        signal.raise_signal(number)
    assert stop.value.signum == number
    with signals_stop_the_run() as signals:
        try:
            signal.raise_signal(number)
        except Stopped:
            for _ in range(20):
                signal.raise_signal(number)
        assert signals.received == number
    with signals_stop_the_run() as signals:
        signals.end()
        signal.raise_signal(number)
        assert signals.received == number
    assert signal.getsignal(number) == before


def test_a_thread_has_no_signals() -> None:
    found: list[Signals] = []

    def other() -> None:
        with signals_stop_the_run() as signals:
            found.append(signals)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert [signals.received for signals in found] == [0]


ODD = st.text(st.sampled_from("ab1= ,'\"\\$(){}[]:;&|<>*?~!#%@^`+-.é"), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None)
@given(ODD)
@example("${seed}")
@example("it's")
def test_the_advice_to_resume_names_the_folder_whatever_its_name_is(name: str) -> None:
    """The shell's words, parsed by Hydra's grammar, give the folder back."""
    spec = RunSpec({"resume": None}, Path("/odd") / name, ["seed=1", "hydra.run.dir=x"])
    words = shlex.split(command_to_resume(spec))
    assert words[:3] == ["python", "train.py", "seed=1"]
    assert compose_checked(with_literal_paths(words[2:])).resume == str(Path("/odd") / name)
