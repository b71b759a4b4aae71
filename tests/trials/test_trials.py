"""A sample of each trial; `python -m tests.trials` does them all."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

NAMES = ("config", "files", "kills", "requests", "disk", "races", "environment", "fuzz")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_sample_of_the_trials_finds_nothing(name):
    command = [sys.executable, "-m", "tests.trials", name, "--sample"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
