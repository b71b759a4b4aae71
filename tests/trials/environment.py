"""Terminals, pipes, variables, permissions and folders as machines have them: runs train, or a line says why."""

from __future__ import annotations

import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lightning_d2l.config.compose import quote
from lightning_d2l.training.record import RunRecord
from tests.trials.children import LIMIT, Outcome, Room, command, real, run, start
from tests.trials.results import PLAIN, SLOW, leftovers
from tests.trials.trial import Case, Fault

WORDS = [*PLAIN.words, "hydra.run.dir=there"]
SWEEP = ["-m", *PLAIN.words, "seed=0,1,2", "hydra/launcher=sequential", "hydra.sweep.dir=there"]
VARIABLES: dict[str, dict[str, str | None]] = {
    "an allocation of SLURM": {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "job"},
    "a task of SLURM": {
        "SLURM_JOB_ID": "7",
        "SLURM_NTASKS": "4",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "1",
        "SLURM_NODEID": "0",
    },
    "a batch of SLURM": {"SLURM_JOB_ID": "7", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "x"},
    "torchrun": {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"},
    "an ASCII terminal": {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
    "no locale": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "an unknown locale": {"LC_ALL": "xx_YY", "LANG": "xx_YY"},
    "no USER and no HOME": {"USER": None, "LOGNAME": None, "HOME": None, "USERNAME": None},
    "a HOME that is no folder": {"HOME": "/dev/null"},
    "an empty data root": {"LIGHTNING_D2L_DATA": ""},
    "a dumb terminal": {"TERM": "dumb", "COLUMNS": "1"},
    "no terminal": {"TERM": None},
    "colours": {"FORCE_COLOR": "1", "COLUMNS": "0"},
    "no PATH": {"PATH": ""},
    "another git": {"GIT_DIR": "/none", "GIT_WORK_TREE": "/none", "GIT_CONFIG_GLOBAL": "/dev/zero"},
    "no folder for temporary files": {"TMPDIR": "/none"},
    "warnings": {"PYTHONWARNINGS": "default"},
    "another time zone": {"TZ": "Pacific/Kiritimati"},
}
NAMES = [
    "2024",
    "1e3",
    "a b",
    "a=b",
    "a'b",
    'a"b',
    "ünï",
    "a,b",
    "a{b}",
    "$x",
    "a\\b",
    "-x",
    "[x]",
    "#x",
    "a%b",
    "~x",
    ".x",
    "null",
    "true",
    "a:b",
    "a;b",
    "a&b",
    "a*b",
    "(x)",
    "a\tb",
    "名",
    "a+b",
    "@x",
    "!x",
    "x" * 200,
]


def cases() -> list[Case]:
    made = [_variables(name, given) for name, given in VARIABLES.items()]
    made += [_named(name) for name in NAMES] + [_sweep_named(name) for name in NAMES[:16]]
    made += [_advice(name) for name in NAMES[:16]]
    made += [_umask(mask) for mask in (0o077, 0o002, 0o022)]
    for ending in (
        "| head -2",
        "| true",
        "| head -c 10",
        ">&-",
        "2>&-",
        ">&- 2>&-",
        "<&-",
        ">/dev/full",
        ">/dev/full 2>&1",
    ):
        made += [_shell(SWEEP, ending), _shell([*WORDS, "trainer.max_epochs=60"], ending)]
    made.append(Case("main() in a thread", _thread))
    made.append(Case("main() in a thread, a sweep", lambda room: _thread(room, SWEEP)))
    made.append(Case("main() twice in a process", _twice))
    made.append(Case("a relative data root and chdir", _chdir))
    made.append(Case("variables that are not set", _unset))
    made.append(Case("the current folder is deleted", _no_folder))
    return made


def _trained(room: Room, outcome: Outcome, number: int = 1) -> Iterator[Fault]:
    yield from outcome.faults()
    if outcome.code != 0:
        yield "lost", f"exit code {outcome.code}: {outcome.last_line()}"
    completed = [RunRecord.read(path.parent).status for path in room.work.rglob("run.json")].count("completed")
    if completed != number:
        yield "lost", f"{completed} of {number} runs completed"
    if (room.work / "there/sweep.json").exists() and not (room.work / "there/report.html").exists():
        yield "lost", "no report"
    yield from leftovers(room)


def _variables(name: str, given: dict[str, str | None]) -> Case:
    def work(room: Room) -> Iterator[Fault]:
        environment = {k: v for k, v in {**os.environ, **given}.items() if v is not None}
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        yield from _trained(room, real(room, ["train", *SWEEP], env=environment), 3)

    return Case(name, work)


def _value(name: str) -> str:
    """A name as the value of an override."""
    return quote(name)


def _named(name: str) -> Case:
    """A run in a folder of this name; what the run prints can be typed."""

    def work(room: Room) -> Iterator[Fault]:
        outcome = run(room, [*PLAIN.words, f"hydra.run.dir={_value(name)}"])
        yield from outcome.faults()
        if outcome.code == 2:
            yield from outcome.refused()
            return
        yield from _trained(room, outcome)
        if not (room.work / name / "run.json").exists():
            yield "other", f"the run is in {room.written()[:1]}"
        printed = re.findall(r"^\s*(?:use it\s+)?(lightning-d2l predict .*)$", outcome.out, re.M)
        for line in printed:
            again = run(room, shlex.split(line)[1:], program="other")
            yield from again.faults()
            if again.code != 0:
                yield "other", f"{line}: exit code {again.code}: {again.last_line()}"
        if not printed:
            yield "other", f"no command is printed: {outcome.out[-200:]!r}"
        for words in (["evaluate", "--", name], ["report", "--", name]):
            again = run(room, words, program="other")
            yield from again.faults()
            if again.code != 0:
                yield "other", f"{words}: exit code {again.code}: {again.last_line()}"
        yield from _trained(room, run(room, [*PLAIN.words, f"resume={_value(name)}", "trainer.max_epochs=8"]))

    return Case(f"a run in the folder {name[:20]!r}", work)


def _sweep_named(name: str) -> Case:
    def work(room: Room) -> Iterator[Fault]:
        outcome = run(room, ["-m", *PLAIN.words, "seed=0,1", f"hydra.sweep.dir={_value(name)}"])
        yield from outcome.faults()
        if outcome.code == 2:
            yield from outcome.refused()
            return
        yield from _trained(room, outcome, 2)
        again = run(room, [f"sweep.resume={_value(name)}"])
        yield from _trained(room, again, 2)

    return Case(f"a sweep in the folder {name[:20]!r}", work)


def _advice(name: str) -> Case:
    """What a stopped run in a folder of this name says about resuming it can be typed."""

    def work(room: Room) -> Iterator[Fault]:
        child = start(room, [*SLOW.words, f"hydra.run.dir={_value(name)}"])
        until = time.monotonic() + LIMIT
        while not any(room.work.rglob("metrics.csv")) and not child.ended() and time.monotonic() < until:
            time.sleep(0.002)
        child.signal(signal.SIGTERM)
        outcome = child.wait()
        yield from outcome.faults()
        if outcome.code in (0, 2):
            return
        found = re.search(r"to resume: (python train.py .*)$", outcome.text, re.M)
        if not found:
            yield "other", f"no advice: {outcome.text[-300:]!r}"
            return
        yield from _trained(room, run(room, shlex.split(found[1])[2:]))

    return Case(f"a stopped run in the folder {name[:20]!r}", work)


def _umask(mask: int) -> Case:
    def work(room: Room) -> Iterator[Fault]:
        for words in (["model=mlp", *PLAIN.words[1:], "hydra.run.dir=one", "logger=tensorboard"], SWEEP):
            yield from run(room, words, prepare=lambda: os.umask(mask)).faults()
        for path in room.work.rglob("*"):
            mode, full = stat.S_IMODE(path.stat().st_mode), 0o777 if path.is_dir() else 0o666
            if mode != full & ~mask:
                yield "other", f"{path.relative_to(room.work)} has {mode:o}"
                return

    return Case(f"the umask {mask:03o}", work)


def _shell(words: list[str], ending: str) -> Case:
    number = 3 if words == SWEEP else 1

    def work(room: Room) -> Iterator[Fault]:
        line = f"{shlex.join(command('train', *words))} {ending}; echo ${{PIPESTATUS[0]}} > {room.folder}/input-code"
        began = time.monotonic()
        with open(room.folder / "stderr", "wb") as err, open(room.folder / "stdout", "wb") as out:
            subprocess.run(["bash", "-c", line], cwd=room.work, stdout=out, stderr=err, timeout=6 * LIMIT, check=False)
        text = [(room.folder / name).read_bytes().decode(errors="replace") for name in ("stdout", "stderr")]
        code = int((room.folder / "input-code").read_text())
        (room.folder / "input-code").unlink()
        yield from _trained(room, Outcome(code, *text, time.monotonic() - began, 0.0), number)
        if text[1].strip():
            yield "other", f"on the error stream: {text[1][-200:]!r}"

    return Case(f"{'a sweep' if number == 3 else 'a run'} {ending}", work)


def _python(room: Room, program: str) -> Outcome:
    """A program of Python that has the package's main functions, as a new process."""
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=room.work,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=6 * LIMIT,
    )
    return Outcome(done.returncode, done.stdout, done.stderr, time.monotonic() - began, 0.0)


def _thread(room: Room, words: list[str] = WORDS) -> Iterator[Fault]:
    program = (
        "import threading, sys\nfrom lightning_d2l.app import main\ncodes = []\n"
        f"thread = threading.Thread(target=lambda: codes.append(main({words!r})))\n"
        "thread.start()\nthread.join()\nsys.exit(codes[0])"
    )
    yield from _trained(room, _python(room, program), 3 if words == SWEEP else 1)


def _twice(room: Room) -> Iterator[Fault]:
    other = [*PLAIN.words, "hydra.run.dir=other", "seed=1"]
    program = f"import sys\nfrom lightning_d2l.app import main\nsys.exit(main({WORDS!r}) or main({other!r}))"
    yield from _trained(room, _python(room, program), 2)
    if any(
        RunRecord.read(path.parent).fields["seed"] != (path.parent.name == "other")
        for path in room.work.rglob("run.json")
    ):
        yield "lost", "the second run is not its own"


def _chdir(room: Room) -> Iterator[Fault]:
    official = Path(os.environ.get("LIGHTNING_D2L_DATA", "../shared/datasets")).resolve()
    if not (official / "FashionMNIST").exists():
        return
    (room.work / "relative").symlink_to(official)
    words = ["model=softmax_regression", "data.n_train=100", "data.val_size=100", "trainer.max_epochs=1", "logger=none"]
    for given in (
        ["data.root=relative", "hydra.run.dir=there"],
        ["data.root=relative", "hydra.run.dir=other", "hydra.job.chdir=true"],
    ):
        yield from run(room, [*words, *given]).faults()
    yield from run(
        room, ["-m", *words, "data.root=relative", "seed=0,1", "hydra.sweep.dir=many", "hydra.job.chdir=true"]
    ).faults()
    sources = {
        str(path.parent): RunRecord.read(path.parent).fields["data"]["source"] for path in room.work.glob("*/run.json")
    }
    sources |= {
        str(path.parent): RunRecord.read(path.parent).fields["data"]["source"]
        for path in room.work.glob("many/*/run.json")
    }
    if list(sources.values()) != ["official"] * 4:
        yield "lost", f"the data are {sources}"


def _unset(room: Room) -> Iterator[Fault]:
    for folder, named in (
        ("'o/${oc.env:NO_SUCH}/x'", "NO_SUCH"),
        ("'o/${x}'", "x"),
        ("'o/${oc.env:}'", "hydra."),
        ("'o/${now}'", "now"),
        ("'o/${hydra:x.y}'", "hydra."),
        ("'o/${'", "o/${"),
    ):
        for words in (
            [*PLAIN.words, f"hydra.run.dir={folder}"],
            ["-m", *PLAIN.words, "seed=0,1", f"hydra.sweep.dir={folder}"],
        ):
            outcome = run(room, words)
            yield from outcome.faults()
            yield from outcome.refused()
            if named not in outcome.err:
                yield "other", f"{folder}: does not name {named}: {outcome.err!r}"
    if room.written():
        yield "other", f"wrote {room.written()[:3]}"


def _no_folder(room: Room) -> Iterator[Fault]:
    gone = room.work / "gone"

    def prepare() -> None:
        gone.mkdir()
        os.chdir(gone)
        gone.rmdir()

    prepared: Callable[[], None] = prepare
    for words, program in (
        ([*PLAIN.words], "train"),
        (["-m", *PLAIN.words, "seed=0,1"], "train"),
        (["report", "latest"], "other"),
    ):
        outcome = run(room, words, program=program, prepare=prepared)
        yield from outcome.faults()
        if outcome.code not in (1, 2):
            yield "other", f"exit code {outcome.code}"
