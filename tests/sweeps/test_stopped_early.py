"""A signal before the first run trains, while torch is imported."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, runpy, signal, sys

class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "torch.nn" and self in sys.meta_path:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Stop())
sys.argv[0] = "train.py"
runpy.run_path(PATH, run_name="__main__")
"""


def test_a_sweep_that_is_stopped_while_torch_is_imported_says_how_to_resume_it(tmp_path):
    """torch can't be imported again then, so nothing that comes afterwards may need it."""
    program = PROGRAM.replace("PATH", repr(str(ROOT / "train.py")))
    words = ["-m", "model=linear_regression", "logger=none", "seed=0,1", "hydra.sweep.dir=sweep"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 130, ended.stderr
    assert ended.stdout.splitlines()[-1].startswith("stopped by SIGINT; resume with  python train.py")
    assert "error" not in ended.stderr
