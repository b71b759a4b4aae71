"""docs/refresh.py: every picture of docs/ has its command, and a sample of the commands prints what the pages say."""

import importlib.util
import subprocess
import sys

import pytest

from tests.conftest import ROOT

_spec = importlib.util.spec_from_file_location("refresh", ROOT / "docs/refresh.py")
assert _spec is not None
assert _spec.loader is not None
refresh = importlib.util.module_from_spec(_spec)
sys.modules["refresh"] = refresh
_spec.loader.exec_module(refresh)


def test_every_picture_has_its_command() -> None:
    assert {*refresh.PICTURES} == {path.stem for path in (ROOT / "docs/images").glob("*.png")}
    studies = {f"study_{path.stem}" for path in (ROOT / "conf/study").glob("*.yaml")}
    assert {name for name in refresh.PICTURES if name.startswith("study_")} == studies


@pytest.mark.slow
def test_a_sample_of_the_commands_prints_what_the_pages_say() -> None:
    command = [sys.executable, str(ROOT / "docs/refresh.py"), "--check", "softmax_overflow"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_another_number_on_the_page_is_found(tmp_path, monkeypatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/page.md").write_text("The loss is 0.5 and 12.34.")
    (tmp_path / "made.png").touch()
    monkeypatch.setattr(refresh, "ROOT", tmp_path)
    made = refresh.Made("", "made.png", "page", ("0.5", "12.34"))
    assert refresh.problems(made, "loss 0.5, 12.34", tmp_path) == []
    assert refresh.problems(made, "loss 0.51, 12.34", tmp_path) == ["0.5: not on the console"]
    (tmp_path / "docs/page.md").write_text("The loss is 0.5 and 12.3.")
    assert refresh.problems(made, "loss 0.5, 12.34", tmp_path) == ["12.34: not on page"]
