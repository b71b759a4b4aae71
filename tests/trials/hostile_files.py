"""Records, checkpoints and data files from elsewhere: damaged, wrong, endless, or made to run something."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.trials.children import CANARY, EXECUTED, Loaded, Outcome, Room, run
from tests.trials.races import GARMENTS
from tests.trials.results import PLAIN, SEQUENTIAL, Program, same_folders, undisturbed
from tests.trials.trial import Case, Fault

IMAGES = Program("run on images", tuple(GARMENTS), False)
ESCAPE = "\x1b[31m\x07\u202e"
SCRIPT = "<script>alert(1)</script>"
OTHER = "other"  # the program lightning-d2l

# What is done with a run's folder, and with a sweep's: the program and its words.
USES: list[tuple[str, list[str]]] = [
    (OTHER, ["report", "there"]),
    (OTHER, ["predict", "there"]),
    ("train", [*PLAIN.words, "resume=there", "trainer.max_epochs=8"]),
    (OTHER, ["evaluate", "there", "--format", "json"]),
    (OTHER, ["inspect", "there"]),
    (OTHER, ["rerun", "there", "--into", "again"]),
    (OTHER, ["export", "there", "--into", "weights"]),
    (OTHER, ["inspect", "there", "net.1.weight", "--format", "json"]),
    ("train", [*PLAIN.words, "hydra.run.dir=there"]),
    (OTHER, ["export", "there", "--as", "state_dict", "--checkpoint", "last"]),
]
USES_OF_SWEEP: list[tuple[str, list[str]]] = [
    (OTHER, ["report", "there"]),
    ("train", ["sweep.resume=there"]),
    (OTHER, ["report", "there", "--format", "json"]),
    ("train", ["-m", *SEQUENTIAL.words, "sweep.resume=there"]),
    ("train", ["-m", *SEQUENTIAL.words, "hydra.sweep.dir=there"]),
    (OTHER, ["report", "there", "there/seed=0"]),
]
VALUES: list[Any] = [
    None,
    1,
    -1,
    True,
    float("inf"),
    float("nan"),
    10**400,
    "",
    ESCAPE,
    SCRIPT,
    [],
    {},
    [[]],
    "x" * 10**6,
    {"_target_": f"{CANARY}.touch"},
    [None],
    {"a": {"b": [1]}},
    "../../x",
    "\ud800",
    0.5,
    "=1+1",
    "$x_{$",
]
CONFIG: dict[str, Any] = {
    "model._target_": "os.system",
    "model.command": f"touch {EXECUTED}",
    "data._target_": f"{CANARY}.touch",
    "optimizer._target_": f"{CANARY}.touch",
    "logger": {"_target_": f"{CANARY}.touch"},
    "model.init": {"_target_": f"{CANARY}.touch"},
    "callbacks": {"x": {"_target_": f"{CANARY}.touch"}},
    "scheduler": {"_target_": f"{CANARY}.touch"},
    "loss": f"{CANARY}.touch",
    "model.num_hiddens": [10**9],
    "data.n_train": 10**12,
    "data.degree": 10**9,
    "trainer.max_epochs": 10**15,
    "trainer.log_every_n_epochs": 10**30,
    "seed": 10**30,
    "data.root": "/dev/zero",
    "data.noise": float("nan"),
    "trainer.engine": {"a": 1},
    "model": None,
    "data": [],
    "trainer": "x",
    "optimizer": 3,
    "seed.x": 1,
    "penalty": None,
    "model.dropout": float("nan"),
    "optimizer.lr": float("inf"),
    "data.coefficients": [float("nan")] * 4,
    "trainer.precision": ESCAPE,
    "data.batch_size": -1,
    "trainer.evaluate": ["all", 1],
    "resume": "/dev/zero",
    "hydra": {"callbacks": {"x": {"_target_": f"{CANARY}.touch"}}},
    "x": "${oc.create:{_target_:os.system}}",
    "model.activation": "${oc.env:HOME}",
    "verbose": "yes",
}
WORDS_OF_SWEEP = [
    "--experimental-rerun=canary.pkl",
    "--config-dir=/tmp",
    "-m",
    "--cfg=job",
    f"+hydra.callbacks.x._target_={CANARY}.touch",
    f"+hydra.callbacks.x=${{oc.create:{{_target_:{CANARY}.touch}}}}",
    "sweep.resume=there",
    "resume=there/seed=0",
    "hydra.run.dir=../elsewhere",
    "hydra.sweep.dir=../elsewhere",
    f"hydra.searchpath=[pkg://{CANARY}]",
    "seed=" + "[" * 9999,
    f"model._target_={CANARY}.touch",
    "hydra/launcher=joblib",
    "hydra.job.env_set.PATH=/tmp",
    "seed=range(99999999)",
    ESCAPE,
    "",
    "data.degree=range(1000)",
    "data.n_test=range(1,1000)",
    "trainer.max_epochs=99999999999",
    "loss=${oc.env:SECRET_TOKEN}",
]


def cases() -> list[Case]:
    made, uses, of_sweep = [], cycle(USES), cycle(USES_OF_SWEEP)
    for name, change in _run_changes():
        made.append(_changed(PLAIN, f"a run with {name}", change, [next(uses) for _ in range(2)]))
    for name, change in _checkpoint_changes():
        made.append(
            _changed(PLAIN, f"a checkpoint: {name}", change, [use for use in USES[1:8] if "report" not in use[1]][::2])
        )
    for name, change in _sweep_changes():
        made.append(_changed(SEQUENTIAL, f"a sweep with {name}", change, [next(of_sweep) for _ in range(2)]))
    made += [_predicted(PLAIN, f"CSV: {name}", make, ".csv") for name, make in _tables().items()]
    made += [_cache(name, make) for name, make in _caches().items()]
    made += [_predicted(IMAGES, f"image: {name}", make, ".png") for name, make in _images().items()]
    return made


def _changed(
    program: Program, name: str, change: Callable[[Path], object], uses: Iterable[tuple[str, list[str]]]
) -> Case:
    """Use a finished run or sweep, which was changed, in some ways."""
    shown = [" ".join(words[:2])[:30] for _, words in uses]

    def work(room: Room) -> Iterator[Fault]:
        for kind, words in uses:
            shutil.rmtree(room.work)
            shutil.copytree(undisturbed(program).folder, room.work / "there")
            os.chdir(room.work)
            try:
                change(room.work / "there")
            finally:
                os.chdir("/")
            outcome = run(room, words, program=kind, environment={"SECRET_TOKEN": "swordfish"})
            yield from _sound(room, outcome, words)

    return Case(f"{name} ({', '.join(shown)})", work)


def _sound(room: Room, outcome: Outcome, words: list[str]) -> Iterator[Fault]:
    how = " ".join(words[:2])[:40]
    for kind, text in [*outcome.faults(), *room.outside()]:
        yield kind, f"{how}: {text}"
    if outcome.code not in (0, 1, 2, None):
        yield "other", f"{how}: exit code {outcome.code}: {outcome.last_line()}"
    if outcome.code == 2 and not 1 <= len(outcome.err.splitlines()) <= 3:
        yield "other", f"{how}: {len(outcome.err.splitlines())} lines of error: {outcome.err[:200]!r}"
    if "swordfish" in outcome.text:
        yield "executed", "a secret was shown"
    if outcome.code == 0 and "json" in words:
        try:
            json.loads(outcome.out, parse_constant=lambda name: 1 / 0)
        except (ValueError, ZeroDivisionError):
            yield "other", f"{how}: no JSON"
    for page in room.work.rglob("report.html"):
        if SCRIPT in page.read_text():
            yield "executed", "a script in a report"
    for table in room.work.rglob("results.csv"):
        if any(
            cell.startswith("=") for line in table.read_text().splitlines() for cell in line.replace('"', "").split(",")
        ):
            yield "executed", "a formula in results.csv"


def _file_changes(path: str) -> Iterator[tuple[str, Callable[[Path], object]]]:
    """What a file may be in place of what it is."""
    contents = {
        "empty": b"",
        "null": b"null",
        "a list": b"[]",
        "half": b"{",
        "bytes": bytes(range(256)),
        "NaN": b"NaN",
        "deep": b"[" * 200_000 + b"]" * 200_000,
        "a number": b"1" * 10_000,
        "null bytes": b"\0" * 1000,
        "a pickle": pickle.dumps(Loaded("executed")),
    }

    def written(content: bytes) -> Callable[[Path], object]:
        return lambda there: (there / path).write_bytes(content)

    for name, content in contents.items():
        yield f"{path} that is {name}", written(content)
    yield f"{path} that is huge", lambda there: os.truncate(_emptied(there / path), 2**36)
    yield f"{path} that is a FIFO", lambda there: os.mkfifo(_gone(there / path))
    yield f"{path} that is /dev/zero", lambda there: _gone(there / path).symlink_to("/dev/zero")
    yield f"{path} that is a folder", lambda there: _gone(there / path).mkdir()
    yield f"{path} that is a circle", lambda there: _gone(there / path).symlink_to(there / path)
    yield f"{path} that is gone", lambda there: _gone(there / path)


def _gone(path: Path) -> Path:
    path.unlink()
    return path


def _emptied(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _json(path: str, change: Callable[[Any], object]) -> Callable[[Path], object]:
    """Change a JSON file in a folder."""

    def work(there: Path) -> None:
        fields = json.loads((there / path).read_text())
        change(fields)
        (there / path).write_text(json.dumps(fields, default=str))

    return work


def _set(fields: dict[str, Any], key: str, value: Any) -> None:
    *above, last = key.split(".")
    for part in above:
        node = fields.get(part)
        fields[part] = fields = node if isinstance(node, dict) else {}
    fields[last] = value


def _run_changes() -> Iterator[tuple[str, Callable[[Path], object]]]:
    yield from _file_changes("run.json")
    yield from _file_changes("metrics.csv")
    record = json.loads((undisturbed(PLAIN).folder / "run.json").read_text())
    values = cycle(VALUES)
    for name in [*record, "process", "sweep", "before", "nothing"]:
        for _ in range(2):
            value = next(values)
            yield f"{name}={str(value)[:20]!r}", _json("run.json", lambda f, n=name, v=value: f.update({n: v}))
    for key, value in CONFIG.items():
        yield f"config.{key}={str(value)[:20]}", _json("run.json", lambda f, k=key, v=value: _set(f["config"], k, v))
    for value in (1e308, float("nan"), 10**400, "x", None, ESCAPE):
        yield (
            f"a loss of {str(value)[:9]!r}",
            _json("run.json", lambda f, v=value: f["metrics"]["final"].update({"loss/test": v})),
        )
    yield "a metric of script", _json("run.json", lambda f: f["metrics"]["final"].update({f"{SCRIPT}/test": 1.0}))
    yield "an error of script", _json("run.json", lambda f: f.update(status="failed", error=f"{SCRIPT}{ESCAPE}"))
    yield (
        "a pid that lives",
        _json(
            "run.json", lambda f: f.update(status="running", process={"pid": 1, "host": os.uname()[1], "started": "x"})
        ),
    )
    tables = {
        "a row of text": "epoch,step,loss/train\n1,1,x\n",
        "no epochs": "a,b\n1,2\n",
        "a huge epoch": "epoch,step,loss/train\n1e999,1,1\n",
        "a huge number": f"epoch,step,loss/train\n{'9' * 5000},1,1\n",
        "an open quote": 'epoch,step,loss/train\n1,1,"1\n',
        "rows of other lengths": "epoch,step\n1\n1,2,3\n",
        "negative epochs": "epoch,step,loss/train\n-1,1,1\n",
        "a long cell": f"epoch,{'x' * 200_000}\n1,1\n",
        "codes": f"epoch,{ESCAPE}/train\n1,1\n",
        "a formula": "epoch,=1+1/train\n1,1\n",
    }
    for name, text in tables.items():
        yield f"metrics.csv with {name}", lambda there, t=text: (there / "metrics.csv").write_text(t)


def _checkpoint_changes() -> Iterator[tuple[str, Callable[[Path], object]]]:
    last, best = "checkpoints/last.ckpt", "checkpoints/best.ckpt"
    whole = (undisturbed(PLAIN).folder / last).read_bytes()

    def both(content: bytes) -> Callable[[Path], object]:
        return lambda there: [(there / path).write_bytes(content) for path in (last, best)]

    def saved(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
        def work(there: Path) -> None:
            for path in (last, best):
                checkpoint = torch.load(there / path, weights_only=True)
                change(checkpoint)
                torch.save(checkpoint, there / path)

        return work

    for path in (last, best):
        yield from (item for item in _file_changes(path) if not item[0].endswith(("null", "list", "NaN", "half")))
    yield (
        "a pickle",
        lambda there: [(there / path).write_bytes(pickle.dumps(Loaded(str(there / "x")))) for path in (last, best)],
    )
    yield "a pickle in it", saved(lambda c: c.update(evil=Loaded("executed")))
    yield "a pickle as weights", saved(lambda c: c.update(state_dict=Loaded("executed")))
    yield "a function", saved(lambda c: c.update(evil=os.system))
    yield (
        "an old format",
        lambda there: torch.save({"state_dict": Loaded("x")}, there / best, _use_new_zipfile_serialization=False),
    )
    yield "truncated", both(whole[: len(whole) // 2])
    for at in range(50, len(whole), len(whole) // 12):
        yield f"another byte at {at}", both(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
    for key in (
        "state_dict",
        "loops",
        "optimizer_states",
        "callbacks",
        "epoch",
        "global_step",
        "pytorch-lightning_version",
        "lr_schedulers",
    ):
        for value in (None, [], {"a": 1}, "x"):
            yield f"{key}={value}", saved(lambda c, k=key, v=value: c.update({k: v}))
        yield f"no {key}", saved(lambda c, k=key: c.pop(k, None))
    weights: dict[str, Callable[[Any], Any]] = {
        "huge": lambda w: torch.zeros(1).expand(10**6, 10**6),
        "of text": lambda w: "x",
        "of another shape": lambda w: w[:1],
        "sparse": lambda w: w.to_sparse(),
        "complex": lambda w: w.to(torch.complex64),
        "whole numbers": lambda w: w.to(torch.int8),
        "not finite": lambda w: w * float("nan"),
        "meta": lambda w: w.to("meta"),
        "of no dimension": lambda w: torch.tensor(1.0),
        "quantised": lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8),
    }
    for name, change in weights.items():
        yield (
            f"weights that are {name}",
            saved(lambda c, f=change: c["state_dict"].update({k: f(w) for k, w in c["state_dict"].items()})),
        )
    yield (
        "weights of other names",
        saved(lambda c: c.update(state_dict={f"{ESCAPE}{k}": w for k, w in c["state_dict"].items()})),
    )
    yield "weights of numbers as names", saved(lambda c: c.update(state_dict={1: torch.zeros(1)}))
    yield (
        "hyperparameters",
        saved(lambda c: c.update(hyper_parameters={"_target_": f"{CANARY}.touch"}, hparams_name="x")),
    )
    yield "a million entries", saved(lambda c: c.update(x=list(range(10**6))))


def _sweep_changes() -> Iterator[tuple[str, Callable[[Path], object]]]:
    yield from _file_changes("sweep.json")
    record = json.loads((undisturbed(SEQUENTIAL).folder / "sweep.json").read_text())
    values = cycle(VALUES)
    for name in [*record, "id", "config_dir", "process", "importance", "nothing"]:
        for _ in range(2):
            value = next(values)
            yield f"{name}={str(value)[:20]!r}", _json("sweep.json", lambda f, n=name, v=value: f.update({n: v}))
    for words in WORDS_OF_SWEEP:
        yield f"the override {words[:30]!r}", _json("sweep.json", lambda f, w=words: f["overrides"].append(w))
        yield (
            f"the command {words[:30]!r}",
            _json("sweep.json", lambda f, w=words: f.update(command=f"python train.py {w}")),
        )
        yield (
            f"a job's override {words[:30]!r}",
            _json("sweep.json", lambda f, w=words: f["jobs"][0].update(overrides=[w])),
        )
    for folder in (
        "../elsewhere",
        "/tmp",
        "",
        ".",
        "..",
        ESCAPE,
        SCRIPT,
        "seed=1",
        None,
        1,
        "x" * 5000,
        "a/b",
        "=1+1",
        "$x_{$",
    ):
        yield f"a job in {str(folder)[:20]!r}", _json("sweep.json", lambda f, v=folder: f["jobs"][0].update(folder=v))
    yield (
        "many jobs",
        _json("sweep.json", lambda f: f.update(jobs=[{"folder": str(i), "overrides": []} for i in range(200_000)])),
    )
    yield "a config_dir of an attacker", _json("sweep.json", lambda f: f.update(config_dir="/elsewhere/evil"))
    for varied in (["seed", "seed"], ["nothing"], [ESCAPE], [SCRIPT], ["model"], ["metrics"], ["", "."], ["seed"] * 50):
        yield f"varied={str(varied)[:30]}", _json("sweep.json", lambda f, v=varied: f.update(varied=v))
    study = {"name": SCRIPT, "question": f"{ESCAPE}$x_{{$", "x": "seed", "metric": "loss/test"}
    for key in (*study, "theory", "series", "scale"):
        for value in (study.get(key), "../../x", [1], 10**400, {"_target_": f"{CANARY}.touch"}):
            yield (
                f"study.{key}={str(value)[:20]!r}",
                _json("sweep.json", lambda f, k=key, v=value: f.update(study={**study, k: v})),
            )
    for text in ("$x_{$", r"$\frac$", "=1+1", ESCAPE, SCRIPT, "a\nb", "|", "`x`", "@SUM(A1)", "\ud800"):
        yield f"the swept value {text!r}", lambda there, t=text: _swept(there, t)
    for value in (1e308, -1e308, 1e-320, float("nan"), 10**300, 0, None):
        yield (
            f"losses of {value}",
            lambda there, v=value: [
                _json(
                    "run.json", lambda f: f["metrics"]["final"].update({"loss/test": v, "loss/val": v, "loss/train": v})
                )(job)
                for job in there.glob("seed=*")
            ],
        )


def _swept(there: Path, text: str) -> None:
    """Records of a sweep over a setting that is text."""
    for number, job in enumerate(sorted(there.glob("seed=*"))):
        _json(
            "run.json",
            lambda f, n=number: (
                f["config"]["data"].update(root=f"{text}{n}"),
                f.update(overrides=[f"data.root={text}{n}"]),
            ),
        )(job)
    _json(
        "sweep.json", lambda f: f.update(varied=["data.root"], study={"x": "data.root", "name": text, "question": text})
    )(there)


def _predicted(program: Program, name: str, make: Callable[[Path], object], suffix: str) -> Case:
    def work(room: Room) -> Iterator[Fault]:
        shutil.copytree(undisturbed(program).folder, room.work / "there")
        file = room.work / f"input{suffix}"
        found = make(file)
        path = found if isinstance(found, Path) else file
        for form in ("text", "json"):
            words = ["predict", "there", str(path), "--format", form]
            outcome = run(room, words, program=OTHER)
            yield from _sound(room, outcome, words)
            if outcome.code == 1 or (outcome.code == 0 and not outcome.out.strip()):
                yield "other", f"exit code {outcome.code}: {outcome.text[:200]!r}"
            if "NaN" in outcome.out or "Infinity" in outcome.out:
                yield "other", f"not a number: {outcome.out[:200]!r}"

    return Case(name, work)


def _caches() -> dict[str, Callable[[Path], object]]:
    """What a file of drawn garments in a folder of data may be."""

    def arrays(**named: Any) -> Callable[[Path], object]:
        def work(path: Path) -> None:
            with open(path, "wb") as file:
                np.savez_compressed(file, **named)

        return work

    return {
        **{name: make for name, make in _special_files().items() if "name" not in name and name != "nothing"},
        "of objects": arrays(images=np.array([Loaded("executed")], dtype=object), labels=np.zeros(1, np.uint8)),
        "a bomb": arrays(images=np.zeros((600_000, 28, 28), np.uint8), labels=np.zeros(60_000, np.uint8)),
        "of other labels": arrays(images=np.zeros((60_000, 28, 28), np.uint8), labels=np.full(60_000, 99, np.uint8)),
        "of floats": arrays(images=np.zeros((60_000, 28, 28), np.float16), labels=np.zeros(60_000)),
        "of nothing": arrays(),
    }


def _cache(name: str, make: Callable[[Path], object]) -> Case:
    """Train on generated garments, where the folder of data has such a file already."""

    def work(room: Room) -> Iterator[Fault]:
        from lightning_d2l.data.garments import VERSION

        data = room.folder / "input"
        (data / "lightning_d2l").mkdir(parents=True)
        make(data / "lightning_d2l" / f"garments-{VERSION}-train.npz")
        words = [*GARMENTS, "hydra.run.dir=there"]
        outcome = run(room, words, environment={"XDG_CACHE_HOME": str(data)})
        yield from _sound(room, outcome, words)
        if outcome.code == 0:
            yield from same_folders(undisturbed(IMAGES).folder, room.work / "there", exact=True)

    return Case(f"drawn garments: {name}", work)


def _special_files() -> dict[str, Callable[[Path], object]]:
    return {
        "empty": lambda path: path.write_bytes(b""),
        "bytes": lambda path: path.write_bytes(bytes(range(256)) * 99),
        "a FIFO": os.mkfifo,
        "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
        "/dev/tty": lambda path: path.symlink_to("/dev/tty"),
        "a folder": lambda path: path.mkdir(),
        "a circle": lambda path: path.symlink_to(path),
        "nothing": lambda path: None,
        "huge": lambda path: os.truncate(_emptied(path), 2**36),
        "a pickle": lambda path: path.write_bytes(pickle.dumps(Loaded("executed"))),
        "a name of codes": lambda path: path.with_name(f"{ESCAPE}.csv"),
        "a long name": lambda path: path.with_name("x" * 5000),
    }


def _tables() -> dict[str, Callable[[Path], object]]:
    texts: dict[str, str | bytes] = {
        "a header": "x\n",
        "nan": "nan\n1\n",
        "inf": "1\n-inf\n",
        "1e400": "1e400\n",
        "1e308": "1e308\n-1e308\n",
        "1e30": "1e30\n",
        "a typo": "1.O\n2\n",
        "a comma": '"1,000"\n2\n',
        "two columns": "1,2\n",
        "semicolons": "1;2\n",
        "codes": f"{ESCAPE}\n",
        "codes below": f"x\n{ESCAPE}\n",
        "an open quote": '"1\n2\n',
        "null bytes": "1\0\n",
        "a long cell": "1" * 200_000,
        "a long text": "x\n" + "y" * 200_000,
        "many columns": ",".join("1" * 200_000),
        "many rows": "1\n" * 2_000_000,
        "a mark": b"\xef\xbb\xbf1\n2\n",
        "UTF-16": "1\n2\n".encode("utf-16"),
        "Latin-1": "caf\xe9\n1\n".encode("latin-1"),
        "blank lines": "\n\n\n1\n\n",
        "blank": "\n\n\n",
        "an underscore": "1_000\n",
        "other digits": "\u0661\n",
        "hexadecimal": "0x10\n",
        "a formula": "=1+1\n",
        "true": "true\n",
        "old lines": "1\r2\r3\r",
        "an empty cell": 'x\n""\n1\n',
        "a lone quote": '"',
        "one": "1",
        "a fraction": "1/2\n",
        "a per cent": "50%\n",
        "a date": "2001-01-01\n",
        "a complex": "1j\n",
    }

    def written(text: str | bytes) -> Callable[[Path], object]:
        return lambda path: path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return _special_files() | {name: written(text) for name, text in texts.items()}


def _png(
    width: int, height: int, *chunks: tuple[bytes, bytes], depth: int = 8, kind: int = 0, data: bytes = b"\0" * 99
) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    body = b"".join(chunk(name, content) for name, content in chunks)
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def _images() -> dict[str, Callable[[Path], object]]:
    bomb = zlib.compress(b"\0" * 300_000_000, 9)
    good = _png(28, 28, data=(b"\0" + b"\x80" * 28) * 28)
    contents: dict[str, bytes] = {
        "20,000 x 20,000": _png(20_000, 20_000, depth=1, data=b"\0" * (20_000 * 2501)),
        "claims 100,000 x 100,000": _png(100_000, 100_000),
        "claims 2^31": _png(2**31 - 1, 2**31 - 1),
        "0 x 0": _png(0, 0),
        "1 x 1": _png(1, 1, data=b"\0\0"),
        "1 x 60,000": _png(1, 60_000, data=b"\0\0" * 60_000),
        "a text bomb": _png(28, 28, (b"zTXt", b"x\0\0" + bomb), data=(b"\0" + b"\x80" * 28) * 28),
        "a profile bomb": _png(28, 28, (b"iCCP", b"x\0\0" + bomb)),
        "a wrong checksum": good[:-20] + b"\0" * 4 + good[-16:],
        "truncated": good[: len(good) // 2],
        "no data": _png(28, 28, data=b""),
        "a palette that is missing": _png(28, 28, kind=3),
        "a wrong filter": _png(28, 28, data=b"\x09" + b"\0" * 812),
        "16 bits": _png(28, 28, depth=16, data=(b"\0" + b"\x80" * 56) * 28),
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n(executed) (w) file closefile\nshowpage\n",
        "PDF": b"%PDF-1.4\n",
        "SVG": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>',
        "BMP of 2^31": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
        "TIFF with wrong offsets": b"II*\0\xff\xff\xff\x7f",
        "TIFF in a circle": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
        "a GIF that is torn": b"GIF89a\xff\xff\xff\xff\xf7\0\0",
        "JPEG header": b"\xff\xd8\xff\xe0",
        "PPM of many": b"P6 99999 99999 255\n",
        "PPM of a text": b"P6 x y\n",
        "WebP": b"RIFF\xff\xff\xff\xffWEBPVP8L",
        "ICO": b"\0\0\1\0\xff\xff",
        "PSD": b"8BPS\0\1" + b"\xff" * 40,
        "DDS": b"DDS " + b"\xff" * 130,
        "FLI": b"\0\0\0\0\x11\xaf" + b"\xff" * 200,
        "SGI": b"\x01\xda\1\1" + b"\xff" * 600,
    }

    def written(content: bytes) -> Callable[[Path], object]:
        return lambda path: path.write_bytes(content)

    def saved(image: Image.Image, form: str = "PNG", **settings: Any) -> Callable[[Path], object]:
        return lambda path: image.save(path, form, **settings)

    grey = Image.fromarray((np.arange(784).reshape(28, 28) % 256).astype(np.uint8))
    fractions = (np.arange(784).reshape(28, 28) / 784).astype(np.float32)
    exif = Image.Exif()
    exif[274] = 99
    pictures = {
        "an EXIF orientation of 99": saved(grey, "JPEG", exif=exif),
        "floats": saved(Image.fromarray(fractions), "TIFF"),
        "floats that are NaN": saved(Image.fromarray(fractions * np.float32("nan")), "TIFF"),
        "floats that are huge": saved(Image.fromarray(fractions * np.float32(1e38)), "TIFF"),
        "one colour": saved(Image.new("L", (28, 28), 9)),
        "transparent": saved(Image.new("RGBA", (28, 28), (0, 0, 0, 0))),
        "CMYK": saved(Image.new("CMYK", (28, 28)), "JPEG"),
        "LAB": saved(Image.new("LAB", (28, 28)), "TIFF"),
        "1,000 pictures": saved(grey, "GIF", save_all=True, append_images=[grey] * 1000),
        "an icon": saved(grey, "ICO"),
        "a PDF of Pillow": saved(grey, "PDF"),
    }
    torn = {
        f"a byte at {at}": written(good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])
        for at in range(8, len(good), 5)
    }
    return _special_files() | {name: written(content) for name, content in contents.items()} | pictures | torn
