"""The README's commands do what it says."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_d2l import app, cli
from tests.conftest import ROOT
from tests.forked import Forked

README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.strip().splitlines()]


def test_the_two_commands_of_the_set_up_come_first():
    install, test = COMMANDS[:2]
    assert install.startswith("python3 -m venv .venv && .venv/bin/pip install")
    assert install.endswith("train.py model=mlp")
    assert test.endswith("-m pytest")
    # .ci/run runs the first line that names pytest
    assert test == next(line for line in README.splitlines() if "m pytest" in line)


@pytest.mark.slow
@pytest.mark.apart
def test_commands_run(capsys, tmp_path):
    """All but the set-up, which CI runs, and TensorBoard's server; each `RUN_FOLDER` is the first run's.

    The first of `python train.py` is a process of its own, whose start takes longer than most trainings, and so are
    those with a plugin: what it registers stays registered.
    """
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    shown: list[Path] = []
    for line in COMMANDS[2:]:
        if line.startswith(("tensorboard", "lightning-d2l board")):
            continue
        program, *words = shlex.split(line.replace("RUN_FOLDER", str(shown[0]) if shown else ""))
        if program == "lightning-d2l":
            few = ["--seeds", "5"] if words[0] == "reproduce" else []
            assert cli.main([*words, *few]) == 0, line
            continue
        assert program == "python"
        if not shown:
            command = [sys.executable, str(ROOT / words[0]), *words[1:]]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            code, out = done.returncode, done.stdout + done.stderr
        elif "--plugin" in words:
            process = Forked(*words[1:])
            out = "".join(process.communicate())
            code = process.poll()
        else:
            capsys.readouterr()
            code, out = app.main(words[1:]), "".join(capsys.readouterr())
        assert code == 0, (line, out)
        if found := re.search(r"run folder  (\S+)", out):
            shown.append(Path(found[1]))


_, *EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.S)  # the first is a part of docs/own_work.py
PAGE = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.S))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "check"),
    [
        pytest.param(EXAMPLES[0], "len(sweep.runs) == 9 and run.status == 'completed'", marks=pytest.mark.apart),
        pytest.param(PAGE, "again.predict(x).shape == (200, 1) and len(d2l.runs()) == 26", marks=pytest.mark.apart),
        (EXAMPLES[1], "trainer.current_epoch == 5 and {'loss/val', 'acc/val'} <= trainer.callback_metrics.keys()"),
    ],
    ids=["from Python", "docs/python.md", "own Trainer"],
)
def test_the_python_examples_run(example, check):
    process = Forked(program=f"{example}\nassert {check}")
    out, err = process.communicate()
    assert process.poll() == 0, (out, err)


@pytest.mark.parametrize("language", ["bash", "python", "text"])
def test_the_chinese_twin_has_the_same_code(language):
    twin, block = (ROOT / "README.zh-CN.md").read_text(), rf"```{language}\n(.*?)```"
    assert re.findall(block, twin, re.S) == re.findall(block, README, re.S)


def test_every_option_of_the_table_exists():
    models = set(re.findall(r"^\| `(\w+)` \| `", README, re.M))
    assert models == {path.stem for path in (ROOT / "conf/model").glob("*.yaml")}
    for path in re.findall(r"`(conf/[\w/]*|lightning_d2l/[\w/.]+)`", README):
        assert (ROOT / path).exists(), path
