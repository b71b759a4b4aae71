"""A sample of each trial; `python -m tests.trials` does them all."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

# Trials that share what they prepare.
GROUPS = ("config files requests fuzz", "kills disk races environment")


@pytest.mark.slow
@pytest.mark.parametrize("names", GROUPS)
def test_a_sample_of_the_trials_finds_nothing(names):
    command = [sys.executable, "-m", "tests.trials", *names.split(), "--sample"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
