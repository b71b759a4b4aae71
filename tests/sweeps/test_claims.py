"""Claims: who wakes up after another one took its chunk changes nothing, whatever the clocks say."""

import json
import os
import signal
import time

import pytest

from lightning_d2l.sweeps import claims
from lightning_d2l.sweeps.chunks import Chunks
from lightning_d2l.sweeps.claims import alive, give_up, is_gone, renew, words_of
from lightning_d2l.training.files import MetricsFile, replacing, replacing_together, write_json
from lightning_d2l.training.signals import Stopped
from tests.sweeps.test_chunk_files import written


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.05)
    monkeypatch.setattr(claims, "LAPSE", 1.0)


def test_a_claim_that_was_taken_over_can_not_be_renewed_even_if_the_folder_is_cached(tmp_path):
    at = written(tmp_path)
    first = at.take(0, 9)
    assert first
    assert renew(first, {"under_way": 1.0})
    give_up(first)
    second = at.take(0, 9)
    assert second
    second.unlink()  # as a computer that has not listed the folder since sees it
    assert not renew(first, {"under_way": 2.0})
    assert words_of(first)["token"] == ""


def test_nothing_is_replaced_once_another_worker_has_the_chunk(tmp_path):
    at, lost = written(tmp_path), []
    claim = at.take(0, 9)
    assert claim
    metrics = MetricsFile(tmp_path)
    with alive(claim, lambda: lost.append(1), dict):
        write_json(tmp_path / "run.json", {"owner": 1})
        metrics.append({"epoch": 1, "loss/train": 1.0})
        give_up(claim)
        assert at.take(0, 9)
        end = time.monotonic() + 10
        while not lost and time.monotonic() < end:
            time.sleep(0.01)
        assert lost
        with pytest.raises(Stopped):
            write_json(tmp_path / "run.json", {"owner": 1, "late": True})
        with pytest.raises(Stopped):
            metrics.append({"epoch": 2, "loss/train": 0.5})
        with pytest.raises(Stopped), replacing_together(), replacing(tmp_path / "run.json") as file:
            file.write(b"late")
    assert json.loads((tmp_path / "run.json").read_text()) == {"owner": 1}
    assert len(metrics.rows()) == 1
    assert [path.name for path in tmp_path.glob(".new-*")] == []
    write_json(tmp_path / "run.json", {"owner": 2})  # this process is nobody's worker any more


@pytest.mark.skipif(not hasattr(os, "fork"), reason="stops a process")
def test_a_paused_worker_that_wakes_up_writes_nothing_though_its_claim_looked_fresh_to_it(tmp_path):
    at = written(tmp_path)
    child = os.fork()
    if not child:
        code = 3
        try:
            claim = Chunks(tmp_path).take(0, 9, "")
            with alive(claim, lambda: None, dict):
                write_json(tmp_path / "run.json", {"worker": 1})
                os.kill(os.getpid(), signal.SIGSTOP)
                write_json(tmp_path / "run.json", {"worker": 1, "late": True})
        except Stopped:
            code = 7
        finally:
            os._exit(code)
    os.waitpid(child, os.WUNTRACED)
    time.sleep(claims.LAPSE + 0.2)
    second = at.take(0, 9)
    assert second
    write_json(tmp_path / "run.json", {"worker": 2})
    (tmp_path / "run.json").chmod(0o644)
    os.kill(child, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert json.loads((tmp_path / "run.json").read_text()) == {"worker": 2}


def test_clocks_that_differ_by_an_hour_do_not_let_a_living_worker_s_claim_lapse(tmp_path, monkeypatch):
    at = written(tmp_path)
    claim = at.take(0, 9)
    assert claim
    for wrong in (-3600.0, 3600.0):  # the file system shows the owner's clock

        def touched(path, times=None, wrong=wrong, real=os.utime):
            now = time.time() + wrong
            real(path, times or (now, now))

        monkeypatch.setattr(claims.os, "utime", touched)
        with alive(claim, lambda: None, dict):
            time.sleep(0.2)
            assert not at.lapsed(claim)
        assert at.lapsed(claim)  # it is not renewed any more
        monkeypatch.undo()
        monkeypatch.setattr(claims, "BEAT", 0.05)
        monkeypatch.setattr(claims, "LAPSE", 1.0)


def test_a_worker_that_was_asked_to_stop_costs_no_attempt_and_a_task_has_its_own_chunk_again(tmp_path):
    at = written(tmp_path)
    for _ in range(3):
        claim = at.take(0, 1)
        assert claim
        renew(claim, {"stopped": True})
        give_up(claim)
    claim = at.take(0, 1, "12_3")
    assert claim
    assert at.take(0, 2) is None  # it is fresh
    assert at.take(0, 1, "12_3") is None  # the one attempt was this one
    assert at.take(0, 2, "12_3")


def test_a_process_of_this_computer_that_has_ended_is_known_to_be_dead(tmp_path):
    at = written(tmp_path)
    child = os.fork()
    if not child:
        Chunks(tmp_path).take(0, 9)
        os._exit(0)
    os.waitpid(child, 0)
    claim = tmp_path / ".chunks" / "000000.1.claim"
    assert is_gone(words_of(claim))
    assert at.lapsed(claim)
    assert not is_gone({**words_of(claim), "host": "another"})
