"""Time limits as SLURM writes them, and requests that are refused without asking it."""

from pathlib import Path

import pytest

from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps import slurm_site


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
