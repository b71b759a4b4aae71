"""The commands of docs/own-work.md run, in one process of their own: what its plugin registers stays registered."""

import json
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.forked import Forked

PAGE = ROOT / "docs/own-work.md"
PROGRAM = """
import contextlib, io, json, re, shlex, sys
from lightning_d2l import app, cli
from lightning_d2l.data import fashion_mnist
from lightning_d2l.data.garments import draw_garments

fashion_mnist.generated_garments = lambda split: draw_garments(1000, ["train", "test"].index(split))
SMALL = ["data.source=generated", "data.n_train=100", "data.val_size=50"]
folder, done = "", []
for line in json.loads(sys.argv[1]):
    program, *words = shlex.split(line.replace("RUN_FOLDER", folder))
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        if program == "python":
            words = [word for word in words[1:] if not word.startswith("data.n_train=")]
            images = any(word in ("model=LeNet", "model=Logistic") for word in words)
            small = [*(SMALL if images else []), "trainer.max_epochs=2"]
            code = app.main([*(word for word in words if not word.startswith("trainer.max_epochs")), *small])
        else:
            code = cli.main(words)
    if found := re.findall(r"^run folder  (.+)$", out.getvalue(), re.M):
        folder = found[-1]
    done.append({"line": line, "code": code, "out": out.getvalue()})
print(json.dumps(done))
"""


@pytest.mark.slow
@pytest.mark.apart
def test_the_commands_of_the_page_run(tmp_path: Path):
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), re.S | re.M)
    lines = [line for block in blocks[1:] for line in block.splitlines()]
    assert len(lines) >= 10
    ran = Forked(json.dumps(lines), program=PROGRAM)
    out, err = ran.communicate(timeout=300)
    assert ran.poll() == 0, err
    done = json.loads(out.splitlines()[-1])
    assert [command["line"] for command in done] == lines
    for command in done:
        assert command["code"] == 0, command
    records = [json.loads(run.read_text()) for run in (tmp_path / "outputs").glob("**/run.json")]
    assert {"LeNet", "Logistic", "MLP", "LinearRegression"} <= {record["model"] for record in records}
    for record in records:
        assert record["status"] == "completed"
        if record["model"] in ("LeNet", "Logistic"):
            (plugin,) = record["plugins"]
            assert "own_work" in plugin["name"]
            assert {"loss/train", "loss/val", "loss/test", "acc/test"} <= record["metrics"]["final"].keys()
