"""Time limits as SLURM writes them, and requests that are refused without asking it."""

from pathlib import Path

import pytest

from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps.executors import slurm_site
from lightning_d2l.sweeps.executors.slurm import Slurm
from lightning_d2l.sweeps.executors.slurm_site import Task


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [
        ("30", 30),
        ("30:00", 30),
        ("1:30:00", 90),
        ("2-12:00:00", 3600),
        ("1-0", 1440),
        ("0:30", 0.5),
        ("infinite", None),
    ],
)
def test_a_time_limit_is_read_in_minutes_as_sbatch_s_manual_defines_it(limit: str, minutes: float | None) -> None:
    assert slurm_site.minutes(limit) == minutes


def test_a_computer_without_slurm_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequestError, match=r"hydra/launcher=slurm: SLURM is not installed here: no command sbatch"):
        slurm_site.check({"timeout_min": 60})


def test_no_setting_adds_a_line_to_the_script_that_slurm_runs(capsys: pytest.CaptureFixture[str]) -> None:
    from lightning_d2l import app

    words = ["-m", "seed=0,1", "hydra/launcher=slurm", "hydra.launcher.comment='a\nb'"]
    assert app.main([*words, "hydra.sweep.dir=never"]) == 2
    assert "hydra.launcher.comment" in capsys.readouterr().err
    assert not Path("never").exists()


@pytest.mark.parametrize("launcher", ["vectorized", "processes", "sequential"])
def test_only_slurm_s_tasks_go_on_when_nobody_waits(launcher: str, capsys: pytest.CaptureFixture[str]) -> None:
    from lightning_d2l import app

    assert app.main(["-m", "seed=0,1", f"hydra/launcher={launcher}", "sweep.wait=false", "hydra.sweep.dir=never"]) == 2
    assert "sweep.wait=false: needs hydra/launcher=slurm" in capsys.readouterr().err
    assert not Path("never").exists()


@pytest.mark.parametrize("shared", [True, False])
def test_a_node_without_the_folder_gets_no_more_tasks_or_ends_the_sweep_if_no_other_is_known(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made, asked = Slurm({"workers": 2, "exclude": "n9"}), []
    made.sweep, made.name, made._shared = tmp_path, "d2l-id", shared
    made.tasks = {"7_0": Task("R", ""), "7_1": Task("PD", "Resources")}
    monkeypatch.setattr(slurm_site, "tasks", lambda name: {"7_1": made.tasks["7_1"]})
    monkeypatch.setattr(slurm_site, "job", lambda number: {"JobState": "FAILED", "BatchHost": "n2"})
    monkeypatch.setattr(slurm_site, "ask", lambda *words, **more: asked.append(words) or "")
    if not shared:
        with pytest.raises(RequestError, match=r"is not shared with n2, a node of SLURM"):
            made.lost({})
        return
    assert made.lost({}) == {}
    assert made.settings["exclude"] == "n9,n2"
    assert ("scontrol", "update", "JobId=7", "ExcNodeList=n9,n2") in asked
    assert "node n2 does not see the sweep's folder" in capsys.readouterr().out
    monkeypatch.setattr(slurm_site, "tasks", lambda name: {})
    monkeypatch.setattr(slurm_site, "job", lambda number: {"JobState": "CANCELLED", "BatchHost": ""})
    made._looked = 0.0
    assert made.lost({}) == {}  # a task that was cancelled while it waited says nothing of a node
    assert made.settings["exclude"] == "n9,n2"
