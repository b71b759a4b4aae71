"""A worker that could not give the driver's numbers, or sees another folder, says so in a line and trains nothing."""

import json
from dataclasses import asdict

import pytest

from lightning_d2l import __version__
from lightning_d2l.config.check import RequestError
from lightning_d2l.config.program import Program, program
from lightning_d2l.sweeps import worker
from lightning_d2l.sweeps.chunks import Chunks
from lightning_d2l.sweeps.worker import main, probe, run_chunk
from tests.sweeps.test_chunk_files import written

PLUGIN = {"name": "mine", "file": "mine.py", "sha256": "0" * 64}


def asked(folder, **common) -> Chunks:
    given = {"version": __version__, "program": asdict(program()), "word": "w", "plugins": [], "study": None}
    return written(folder, **{**given, **common})


def test_a_worker_with_the_driver_s_version_and_folder_is_welcome(tmp_path):
    asked(tmp_path)
    assert probe(tmp_path, "w") == ""
    assert main([str(tmp_path), "--probe", "w"]) == 0


@pytest.mark.parametrize(
    ("common", "word", "said"),
    [
        ({}, "another", "is not shared with"),
        ({"version": "0.0.1"}, "w", "asked for by lightning_d2l 0.0.1, and the worker on"),
        ({"plugins": [PLUGIN]}, "w", "a plugin that is not loaded"),
        ({"program": asdict(Program(plugins=("nowhere.py",), folder="/nowhere"))}, "w", "nowhere.py"),
    ],
)
def test_what_differs_is_told_and_no_chunk_is_claimed(tmp_path, capsys, common, word, said):
    asked(tmp_path, **common)
    assert said in probe(tmp_path, word)
    assert main([str(tmp_path), "--probe", word]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert len(error.splitlines()) <= 2
    if word == "w":
        with pytest.raises(RequestError, match=r"."):
            run_chunk(tmp_path, 0)
        assert not list(tmp_path.glob(".chunks/*.claim"))


def test_a_folder_that_is_not_there_is_not_shared(tmp_path):
    assert "is not shared with" in probe(tmp_path / "elsewhere", "w")
    assert len(probe(tmp_path / "elsewhere", "w").splitlines()) == 1


def test_a_chunk_that_is_removed_while_a_worker_looks_at_it_is_no_error(tmp_path, monkeypatch):
    at = asked(tmp_path)
    looked = []

    def run(sweep, number, owner):
        looked.append(number)
        at.remove()
        return run_chunk(sweep, number, owner)

    monkeypatch.setattr(worker, "run_chunk", run)
    worker.run_chunks(tmp_path)
    assert looked == [0]


def test_damaged_common_settings_are_a_line(tmp_path):
    at = asked(tmp_path)
    for content in ("{", "[]", json.dumps({"config": {}})):
        (at.folder / "common.json").write_text(content)
        assert main([str(tmp_path), "0"]) == 2
