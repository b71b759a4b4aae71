"""Fuzzers over what programs read: `python -m tests.trials fuzz --minutes 10`, with hypothesis, or with atheris.

Each target reads one kind of input as the programs do. An input is accepted or refused by the errors that the
function promises; any other exception, and more than 5 s, is a fault.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from lightning_d2l import cli
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.compose import composed, hydra_with, with_literal_paths
from lightning_d2l.config.text import lines_of
from lightning_d2l.training.checkpoint import load_checkpoint
from lightning_d2l.training.files import LAST, MetricsFile
from lightning_d2l.training.inputs import read_csv
from lightning_d2l.training.record import RunRecord
from tests.trials.hostile_config import BUILT, VALUES
from tests.trials.hostile_files import IMAGES
from tests.trials.results import PLAIN, SEQUENTIAL, undisturbed
from tests.trials.trial import Tally

OWN_TIME = 5.0  # seconds of processor time for one input
LIMIT = 60  # seconds


class Hung(BaseException):
    """An input took too long."""


@cache
def _folder() -> Path:
    """A folder of this process with a finished run and a finished sweep."""
    folder = Path(tempfile.mkdtemp(prefix="trial-"))
    for name, program in (("run", PLAIN), ("sweep", SEQUENTIAL), ("images", IMAGES)):
        shutil.copytree(undisturbed(program).folder, folder / name)
    (folder / "conf/experiment").mkdir(parents=True)
    return folder


@cache
def _data(name: str) -> Any:
    from lightning_d2l.training.reuse import load_run

    return load_run(_folder() / name, LAST).data


def _lines(error: Exception) -> None:
    """Check what is printed of an error."""
    assert str(error).strip(), "no text"
    assert len("\n".join(lines_of(error)).splitlines()) <= 2, str(error)[:200]


def overrides(words: list[str], several: bool) -> None:
    words = with_literal_paths(words)
    try:
        with hydra_with(None, words):
            composed(words, multirun=several)
    except RequestError as error:
        _lines(error)


def config_file(content: bytes, several: bool = False) -> None:
    folder = _folder() / "conf"
    (folder / "experiment/x.yaml").write_bytes(b"# @package _global_\n" + content)
    words = ["model=polynomial_regression", "logger=none", "experiment=x"]
    try:
        with hydra_with(str(folder), words):
            composed(words, multirun=several)
    except RequestError as error:
        _lines(error)


def run_record(content: bytes) -> None:
    folder = _folder() / "run"
    (folder / "run.json").write_bytes(content)
    try:
        record = RunRecord.read(folder)
    except RequestError as error:
        return _lines(error)
    for name in [*record.metric_names, "loss/test", "gap/val", "epochs_to_fit", "seconds", "first.loss/val"]:
        record.metric(name)
    for key in ("data.degree", "model", "optimizer", "sweep", "seconds", "x.y"):
        record.get(key)
    assert record.state in ("completed", "diverged", "failed", "interrupted", "running")
    return _command(["report", str(folder), "--into", str(_folder() / "into")])


def sweep_record(content: bytes) -> None:
    (_folder() / "sweep/sweep.json").write_bytes(content)
    _command(["report", str(_folder() / "sweep"), "--into", str(_folder() / "into")])


def metrics(content: bytes) -> None:
    (_folder() / "run/metrics.csv").write_bytes(content)
    with contextlib.suppress(OSError, ValueError):
        for row in MetricsFile(_folder() / "run").rows():
            assert row["epoch"] > 0


def checkpoint(content: bytes) -> None:
    from lightning_d2l.training.reuse import load_run

    path = _folder() / "run" / LAST
    path.write_bytes(content)
    try:
        load_checkpoint(path)
        load_run(_folder() / "run", LAST)
    except RequestError as error:
        _lines(error)


def table(content: bytes) -> None:
    path = _folder() / "input.csv"
    path.write_bytes(content)
    try:
        for _, x, _ in read_csv(path, _data("run")):
            assert x.isfinite().all()
    except RequestError as error:
        _lines(error)


def image(content: bytes) -> None:
    from lightning_d2l.training.images import read_image

    path = _folder() / "input.png"
    path.write_bytes(content)
    try:
        pixels, _ = read_image(path, _data("images"))
        assert pixels.shape == (1, 1, 28, 28)
    except RequestError as error:
        _lines(error)


def command(words: list[str]) -> None:
    os.chdir(_folder())
    _command(words)


def _command(words: list[str]) -> None:
    """Do a command of lightning-d2l here; its outer handler tells unforeseen errors by "(verbose shows where)"."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(words)
    text = out.getvalue() + err.getvalue()
    assert code in (0, 1, 2), code
    assert "(verbose shows where)" not in text, text[-500:]
    assert "Traceback" not in text, text[-2000:]
    assert code != 2 or 1 <= len(err.getvalue().splitlines()) <= 2, err.getvalue()[:500]


# Strategies.

KEYS = [
    "seed",
    "model",
    "model.init",
    "model.num_hiddens",
    "data.seed",
    "data.root",
    "optimizer",
    "optimizer.lr",
    "study",
    "study.name",
    "hydra.run.dir",
    "hydra/launcher",
    "hydra.launcher.memory",
    "hydra.job.name",
    "hydra.callbacks",
    "sweep",
    "sweep.resume",
    "x",
    "a.b",
    "experiment",
    "hydra.sweep.dir",
    "resume",
    "trainer.max_epochs",
    "penalty",
    "hydra.searchpath",
    "hydra.mode",
    "hydra.sweeper.params",
    "trainer.evaluate",
    "loss",
    "callbacks",
    "@",
    "",
]
SCALARS = [
    "1",
    "-1",
    "1e400",
    "nan",
    "null",
    "true",
    "mlp",
    "zeros",
    "[1,2]",
    "{a:1}",
    BUILT,
    "${seed}",
    "${oc.create:{a:1}}",
    "${",
    "}",
    "'",
    '"',
    "range(3)",
    "interval(1,2)",
    "glob(*)",
    "choice(1,2)",
    "1,2",
    "shuffle(1,2)",
    "\\",
    "\0",
    "\x1b[31m",
    "é",
    "\ud800",
    "[" * 200,
    "exact",
    "extend_list(1)",
    "${hydra:runtime.cwd}",
    "${now:%Y}",
    "${oc.env:HOME}",
    "tag(a,1)",
    "str(1)",
    ":",
    "9" * 400,
]
OVERRIDE = st.builds(
    lambda sign, key, equals, words: sign + key + equals + "".join(words),
    st.sampled_from(["", "", "", "+", "++", "~"]),
    st.sampled_from(KEYS),
    st.sampled_from(["=", "=", "=", ""]),
    st.lists(st.sampled_from(SCALARS), max_size=3),
)
PLAIN_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([*SCALARS, 10**400, 1e308, "\x1b[31m", "=1"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*KEYS, "_target_", "defaults", "hydra"]), inner, max_size=4)
    ),
    max_leaves=12,
)
YAML = st.one_of(
    st.dictionaries(st.sampled_from([*KEYS, "defaults", "hydra", "data", "trainer"]), PLAIN_VALUE, max_size=5).map(
        lambda found: json.dumps(found).encode(errors="replace")
    ),
    st.lists(
        st.sampled_from(
            [
                "a: ",
                "&a ",
                "*a",
                "- ",
                "\n",
                "  ",
                "{",
                "}",
                "[",
                "]",
                "<<: ",
                "!!python/name:os.system ",
                "!!str ",
                "? ",
                "| ",
                "> ",
                "# @package a\n",
                "---\n",
                "...",
                "%YAML 1.1\n",
                "defaults: ",
                "hydra: ",
                "seed: ",
                "model: ",
                *SCALARS,
                *(text.replace("{{", "{").replace("}}", "}") for text in VALUES.values()),
            ]
        ),
        max_size=30,
    ).map(lambda parts: "".join(parts).encode(errors="surrogatepass")),
    st.binary(max_size=200),
)


def _places(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield (*above, key)
        yield from _places(node[key], (*above, key))


@st.composite
def _json_like(draw: Any, text: str) -> bytes:
    """A JSON file of which some places hold something else, or nothing."""
    fields = json.loads(text)
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from(list(_places(fields))))
        node = fields
        for key in above:
            node = node[key]
        if isinstance(node, dict) and draw(st.integers(0, 5)) == 0:
            del node[last]
        else:
            node[last] = draw(PLAIN_VALUE)
    return json.dumps(fields).encode()


@st.composite
def _changed(draw: Any, contents: list[bytes]) -> bytes:
    """One of some files, with bytes that are others, added, or cut off."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        match draw(st.integers(0, 4)):
            case 0 | 1:
                content[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 2:
                content[at:at] = draw(st.binary(max_size=6))
            case 3:
                del content[at : at + draw(st.integers(1, 40))]
            case _:
                content[at : at + 4] = draw(
                    st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\x80"])
                )
    return bytes(content)


def _pictures() -> list[bytes]:
    levels = (np.arange(784).reshape(28, 28) % 256).astype(np.uint8)
    pictures = [
        Image.fromarray(levels),
        Image.fromarray(levels).convert("RGBA"),
        Image.fromarray(levels.astype(np.uint16) * 200),
        Image.fromarray(levels.astype(np.float32)),
        Image.fromarray(levels).convert("P"),
    ]
    made = []
    for picture in pictures:
        for form in ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM"):
            file = io.BytesIO()
            with contextlib.suppress(OSError, ValueError, KeyError):
                picture.save(file, form)
                made.append(file.getvalue())
    return made


CELLS = [
    "1",
    "-1.5",
    "1e400",
    "nan",
    "x",
    "x0",
    "",
    " ",
    '"',
    '"1,000"',
    ";",
    "1;2",
    "\0",
    "\x1b",
    "\ufeff",
    "1.O",
    "=1+1",
    "1_0",
    "٣",
    "0x1",
    "é",
]
CSV = st.one_of(
    st.lists(st.lists(st.sampled_from(CELLS), max_size=4).map(",".join), max_size=6).flatmap(
        lambda rows: st.sampled_from(["\n", "\r\n", "\r"]).map(lambda end: end.join(rows).encode())
    ),
    st.text(max_size=60).flatmap(
        lambda text: st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]).map(lambda form: text.encode(form, "replace"))
    ),
    st.binary(max_size=100),
)
METRICS = st.one_of(
    st.lists(
        st.lists(st.sampled_from([*CELLS, "epoch", "step", "loss/train"]), max_size=4).map(",".join), max_size=5
    ).map(lambda rows: ("epoch,step,loss/train\n" + "\n".join(rows) + "\n").encode()),
    st.binary(max_size=100),
)
COMMAND = (
    st.tuples(
        st.sampled_from(
            ["predict", "evaluate", "inspect", "export", "report", "rerun", "demo", "trian", "--help", "reproduce", ""]
        ),
        st.sampled_from(["run", "sweep", "images", "none", "", "a\nb", "conf", "input.csv", "-1", "--", "x" * 300]),
        st.lists(
            st.sampled_from(
                [
                    "--format",
                    "json",
                    "text",
                    "--figure",
                    "x.png",
                    "--into",
                    "out",
                    "--as",
                    "state_dict",
                    "--checkpoint",
                    "last",
                    "0.weight",
                    "data.root=/none",
                    "data.root=",
                    "--seed",
                    "-1",
                    "nothing",
                    "\x1b",
                    "input.csv",
                    "/dev/zero",
                ]
            ),
            max_size=3,
        ),
    )
    .map(lambda parts: [parts[0], parts[1], *parts[2]])
    .filter(
        lambda words: (
            not (words[0] == "rerun" and words[1] in ("run", "images"))
            and not (words[0] in ("reproduce",) and len(words) < 3)
        )
    )
)

TARGETS: dict[str, tuple[Callable[..., None], Callable[[], tuple[Any, ...]]]] = {
    "overrides": (
        overrides,
        lambda: (st.lists(OVERRIDE | st.text(max_size=20), min_size=1, max_size=4), st.booleans()),
    ),
    "config_file": (config_file, lambda: (YAML, st.booleans())),
    "run_record": (run_record, lambda: (_of_record("run/run.json") | st.binary(max_size=50),)),
    "sweep_record": (sweep_record, lambda: (_of_record("sweep/sweep.json") | st.binary(max_size=50),)),
    "metrics": (metrics, lambda: (METRICS,)),
    "checkpoint": (checkpoint, lambda: (_changed([(_folder() / "run" / LAST).read_bytes()]),)),
    "table": (table, lambda: (CSV,)),
    "image": (image, lambda: (_changed(_pictures()),)),
    "command": (command, lambda: (COMMAND,)),
}
"""Name of a target to its function and the strategies of its arguments."""


def _of_record(path: str) -> Any:
    return _json_like((_folder() / path).read_text())


def _limited(function: Callable[..., None], *arguments: Any) -> None:
    """Call a target; raises Hung if it takes too long."""

    def late(number: int, frame: object) -> None:
        raise Hung(f"{LIMIT} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    began = time.process_time()
    try:
        function(*arguments)
    finally:
        signal.alarm(0)
    if (took := time.process_time() - began) > OWN_TIME:
        raise Hung(f"{took:.1f} s of its own")


def _fuzz(name: str, seconds: float, found: Any) -> int:
    """Try a target for a time; writes faults as lines of JSON, and returns the number of inputs."""
    function, strategies = TARGETS[name]
    until, number, faults = time.monotonic() + seconds, 0, set()

    def once(arguments: tuple[Any, ...]) -> None:
        nonlocal number
        if time.monotonic() > until:
            return
        number += 1
        try:
            _limited(function, *arguments)
        except (Exception, Hung, SystemExit, KeyboardInterrupt) as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            if (key := (type(error).__name__, at.filename, at.lineno)) not in faults:
                faults.add(key)
                place = f"{type(error).__name__} in {Path(at.filename).name}:{at.lineno}: {str(error)[:300]}"
                found.write(
                    json.dumps({"input": repr(arguments)[:1500], "error": place, "hung": isinstance(error, Hung)})
                    + "\n"
                )
                found.flush()

    made, rounds = strategies(), 0
    while time.monotonic() < until:
        rounds += 1
        test = given(st.tuples(*made))(once)
        test = settings(
            max_examples=200,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(test)
        seed(hash((name, rounds, os.getpid())))(test)()
    return number


def fuzz(names: list[str], minutes: float) -> Tally:
    """Try the targets for some minutes in total, each in a process of its own."""
    tally, began = Tally("fuzz"), time.monotonic()
    for program in (PLAIN, SEQUENTIAL, IMAGES):
        undisturbed(program)
    for name in names or TARGETS:
        with tempfile.TemporaryDirectory(prefix="trial-") as folder:
            number, faults = _in_a_child(name, 60 * minutes / len(names or TARGETS), Path(folder))
        tally.cases += number
        tally.notes.append(f"{name}: {number} inputs")
        for fault in faults:
            tally.faults.append((name, "hung" if fault["hung"] else "tracebacks", fault["error"]))
            print(f"fuzz: {name}: {fault['error']}\n    {fault['input']}", file=sys.stderr, flush=True)
    tally.seconds = time.monotonic() - began
    return tally


def _in_a_child(name: str, seconds: float, folder: Path) -> tuple[int, list[dict[str, Any]]]:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.chdir(folder)
            with open(folder / "faults", "w") as found:
                (folder / "number").write_text(str(_fuzz(name, seconds, found)))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            shutil.rmtree(_folder(), ignore_errors=True)
            os._exit(code)
    until = time.monotonic() + seconds + 2 * LIMIT
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            until = float("inf")
        time.sleep(0.1)
    faults = [json.loads(line) for line in (folder / "faults").read_text().splitlines()]
    if not (folder / "number").exists():
        return 0, [*faults, {"input": "", "error": f"the fuzzer of {name} died", "hung": True}]
    return int((folder / "number").read_text()), faults
