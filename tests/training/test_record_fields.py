"""A run.json of any content is read or refused in a line, and git runs nothing that a repository names."""

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lightning_d2l
from lightning_d2l.config.check import RequestError
from lightning_d2l.training import origin
from lightning_d2l.training.fit import run
from lightning_d2l.training.lock import hold
from lightning_d2l.training.record import RunRecord
from lightning_d2l.training.spec import RunSpec
from tests.runs import config, run_here

GOOD: dict[str, Any] = {"status": "failed", "config": {"seed": 0}, "overrides": ["seed=0"]}
DEEP: Any = {}
for _ in range(40):
    DEEP = {"x": DEEP}
WRONG: list[dict[str, Any]] = [
    {"status": "done"}, {"status": ["failed"]}, {"config": None}, {"config": [1]}, {"config": DEEP},
    {"config": {"data": 3}}, {"config": {"model": {"_target_": ["x"]}}}, {"overrides": "seed=0"}, {"overrides": [1]},
    {"metrics": [1]}, {"metrics": {"final": {"loss/test": "1"}}}, {"metrics": {"final": [1]}},
    {"metrics": {"final": {"loss/test": 10**400}}}, {"data": "x"}, {"data": {"checksum": 3}}, {"data": {"samples": 3}},
    {"data": {"classes": "abc"}}, {"data": {"shape": ["3"]}}, {"versions": ["0.1.0"]},
    {"versions": {"lightning_d2l": 1}}, {"seconds": "1"}, {"seconds": True}, {"seed": -1}, {"seed": "0"},
    {"num_parameters": 1.5}, {"error": {}}, {"command": 3}, {"process": {"pid": "x", "host": "y"}}, {"before": {}},
    {"status": "completed"}, {"status": "completed", "metrics": {"best": {}}},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: json.dumps(wrong)[:40])
def test_a_field_of_the_wrong_type_is_named(tmp_path: Path, wrong: dict[str, Any]) -> None:
    (tmp_path / "run.json").write_text(json.dumps(GOOD))
    assert RunRecord.read(tmp_path).state == "failed"
    (tmp_path / "run.json").write_text(json.dumps(GOOD | wrong))
    with pytest.raises(RequestError, match=r"run\.json: damaged: .*") as error:
        RunRecord.read(tmp_path)
    assert any(name in str(error.value) for name in (*wrong, "metrics"))
    assert RunRecord.read_or_missing(tmp_path).state == "missing"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("status", "config", "overrides", "metrics", "data", "versions", "seconds", "error", "num_parameters", "before")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3), st.sampled_from(["completed", "failed", "running"]))
def test_whatever_is_read_can_be_asked_for_everything(tmp_path: Path, fields: dict[str, Any], status: str) -> None:
    record = {**GOOD, "status": status, "metrics": {"final": {"loss/test": 1.0}}, **fields}
    (tmp_path / "run.json").write_text(json.dumps(record))
    found = RunRecord.read_or_missing(tmp_path)
    assert found.state in ("completed", "failed", "interrupted", "diverged", "missing")
    if found.fields:
        assert isinstance(found.error, str)
        for name in ("loss/test", "seconds", "gap/test", "best.loss/val", "num_parameters"):
            value = found.metric(name)
            assert value is None or math.isfinite(value)
        for key in ("seed", "data.degree", "optimizer", "seconds"):
            found.get(key)


def test_a_record_says_running_while_its_folder_is_held(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(GOOD | {"status": "running"}))
    assert RunRecord.read(tmp_path).state == "interrupted"
    with hold(tmp_path, "x"):
        assert RunRecord.read(tmp_path).state == "running"
    assert RunRecord.read(tmp_path).state == "interrupted"


def test_a_record_names_its_process_only_while_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    updated = RunRecord.update

    def update(self: RunRecord, **fields: Any) -> None:
        updated(self, **fields)
        seen.append(json.loads((tmp_path / "run" / "run.json").read_text()))

    monkeypatch.setattr(RunRecord, "update", update)
    words = ["model=polynomial_regression", "data.n_train=20", "logger=none", "trainer.max_epochs=1"]
    spec = RunSpec(config(*words), tmp_path / "run", words, number=0, sweep="ab12")
    assert run(spec) == 0
    assert [fields["status"] for fields in seen] == ["running", "completed"]
    assert [fields.get("process", {}).get("pid") for fields in seen] == [os.getpid(), None]
    assert [fields["sweep"] for fields in seen] == ["ab12"] * 2
    assert seen[1]["threads"] >= 1


def test_git_runs_no_program_that_the_repository_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)

    evil = tmp_path / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\ncat\n")
    evil.chmod(0o755)
    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-m", "x")
    for setting in ("core.fsmonitor", "filter.evil.clean", "filter.evil.process", "diff.evil.textconv"):
        git("config", setting, str(evil))
    (tmp_path / ".gitattributes").write_text("file filter=evil diff=evil\n")
    (tmp_path / "file").write_text("2")
    monkeypatch.setenv("GIT_SSH_COMMAND", str(evil))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(evil))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "git").symlink_to(evil)
    (tmp_path / "package").mkdir()
    monkeypatch.setattr(lightning_d2l, "__file__", str(tmp_path / "package" / "__init__.py"))
    origin.git_revision.cache_clear()
    try:
        revision = origin.git_revision()
    finally:
        origin.git_revision.cache_clear()
    assert revision is not None
    assert revision.endswith("+")
    assert not (tmp_path / "executed").exists()


def test_a_cluster_s_variables_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "job", "SLURM_PROCID": "2"}.items():
        monkeypatch.setenv(name, value)
    words = ["model=polynomial_regression", "data.n_train=20", "logger=none", "trainer.max_epochs=1"]
    assert run_here(tmp_path / "run", *words) == 0


def test_the_files_of_a_run_have_the_permissions_that_the_user_s_umask_leaves(tmp_path: Path) -> None:
    words = ["model=polynomial_regression", "data.n_train=20", "logger=none", "trainer.max_epochs=1"]
    before = os.umask(0o027)
    try:
        assert run_here(tmp_path / "run", *words) == 0
    finally:
        os.umask(before)
    names = ("run.json", "metrics.csv", "train.log", "checkpoints/last.ckpt", "checkpoints/best.ckpt")
    assert {(tmp_path / "run" / name).stat().st_mode & 0o777 for name in names} == {0o640}
