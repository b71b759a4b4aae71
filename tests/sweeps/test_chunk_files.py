"""Chunks: their files hold what is asked, each has one owner, and the plan keeps runs together that may train so."""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps import claims
from lightning_d2l.sweeps.chunks import Chunks, changed, difference
from lightning_d2l.sweeps.claims import alive, give_up, words_of
from lightning_d2l.sweeps.plan import parts, plan, seconds
from lightning_d2l.training.spec import RunSpec
from tests.runs import POLYNOMIAL, config

VALUES = st.sampled_from([None, True, False, 0, 1, 1.0, "1", [], [1], [1.0], [None]])
CONFIGS = st.dictionaries(
    st.sampled_from("abc"), VALUES | st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), max_size=3
)


def jobs(folder: Path, *overrides: str, seeds: int = 4) -> list[RunSpec]:
    base = config(*POLYNOMIAL, *overrides)
    return [
        RunSpec({**base, "seed": seed}, folder / f"seed={seed}", [f"seed={seed}"], "command", seed, "id", silent=True)
        for seed in range(seeds)
    ]


def written(folder: Path, **common: object) -> Chunks:
    found = Chunks(folder)
    found.begin({"config": config(*POLYNOMIAL), "sweep": "id", "attempts": 2, **common})
    found.write(0, jobs(folder))
    return found


@given(CONFIGS, CONFIGS)
def test_a_configuration_comes_back_from_its_differences(base, other):
    there = changed(base, difference(base, other))
    assert json.dumps(there, sort_keys=True) == json.dumps(other, sort_keys=True)  # 1 and 1.0 differ


def test_the_jobs_of_a_chunk_come_back_whole(tmp_path):
    asked = jobs(tmp_path)
    written(tmp_path)
    read = Chunks(tmp_path).jobs(0)
    assert [vars(job) for job in read] == [vars(job) for job in asked]
    assert (tmp_path / ".chunks" / "000000.json").stat().st_size < 10_000  # differences, not configurations


def test_one_of_many_workers_gets_a_chunk_and_the_next_one_once_it_has_died(tmp_path):
    at = written(tmp_path)
    with ThreadPoolExecutor(16) as pool:
        first = [claim for claim in pool.map(lambda _: Chunks(tmp_path).take(0, 2), range(16)) if claim]
        assert len(first) == 1
        assert words_of(first[0])["pid"] == os.getpid()
        give_up(first[0])
        second = [claim for claim in pool.map(lambda _: Chunks(tmp_path).take(0, 2), range(16)) if claim]
    assert len(second) == 1
    give_up(second[0])
    assert at.take(0, 2) is None  # two attempts
    at.end(0, {"seconds": 1.0})
    assert at.take(0, 9) is None  # it is done


def test_a_worker_that_lives_keeps_its_claim_and_one_that_was_taken_for_dead_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.02)
    monkeypatch.setattr(claims, "LAPSE", 0.5)
    at, lost = written(tmp_path), threading.Event()
    claim = at.take(0, 9)
    assert claim
    with alive(claim, lost.set, lambda: {"under_way": 2.5}):
        time.sleep(1.0)
        assert not at.lapsed(claim)
        assert words_of(claim)["under_way"] == 2.5
        claim.with_name("000000.2.claim").touch()
        assert lost.wait(10)
    time.sleep(0.6)
    assert at.lapsed(claim)


def test_damaged_chunks_are_a_line(tmp_path):
    at = written(tmp_path)
    with pytest.raises(RequestError, match="no such chunk"):
        at.jobs(7)
    (tmp_path / ".chunks" / "000000.json").write_text("{")
    with pytest.raises(RequestError, match=r"000000.json: damaged"):
        Chunks(tmp_path).jobs(0)
    with pytest.raises(RequestError, match=r"common.json: no such chunk"):
        _ = Chunks(tmp_path / "elsewhere").common


def test_only_the_files_of_chunks_are_removed(tmp_path):
    at = written(tmp_path)
    (tmp_path / ".chunks" / "mine.txt").touch()
    at.remove()
    assert [path.name for path in (tmp_path / ".chunks").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(("largest", "workers", "sizes"), [(40, 1, [30, 30]), (200, 2, [30, 30]), (200, 1, [60])])
def test_runs_that_look_alike_share_chunks_of_equal_sizes(tmp_path, largest, workers, sizes):
    asked = jobs(tmp_path, seeds=60)
    planned = plan(asked, largest, workers)
    assert [len(part) for part in planned] == sizes
    assert [job for part in planned for job in part] == asked


def test_runs_of_one_seed_share_a_chunk_since_they_draw_the_same_orders(tmp_path):
    base = config(*POLYNOMIAL)
    configs = [{**base, "seed": n % 6, "data": {**base["data"], "degree": 1 + n // 6}} for n in range(24)]
    asked = [RunSpec(each, tmp_path / str(n), [], "", n) for n, each in enumerate(configs)]
    seeds = [{job.config["seed"] for job in part} for part in plan(asked, 8, 1)]
    assert seeds == [{0, 1}, {2, 3}, {4, 5}]


def test_runs_of_many_structures_go_to_each_worker_several_times(tmp_path):
    base = config(*POLYNOMIAL)
    configs = [{**base, "data": {**base["data"], "n_train": 20 + n}} for n in range(30)]
    asked = [RunSpec(each, tmp_path / str(n), [], "", n) for n, each in enumerate(configs)]
    planned = plan(asked, 200, 2)
    times = [sum(seconds(job.config) for job in part) for part in planned]
    assert len(planned) == 8
    assert max(times) - min(times) <= max(seconds(each) for each in configs)
    assert times == sorted(times, reverse=True)
    assert sorted(job.number or 0 for part in planned for job in part) == list(range(30))


@given(st.integers(0, 50), st.integers(1, 20))
def test_parts_hold_everything_in_order(number, count):
    asked = [RunSpec({}, Path(str(n))) for n in range(number)]
    assert [job for part in parts(asked, count) for job in part] == asked


def test_what_a_killed_driver_was_writing_is_removed_too(tmp_path):
    at = written(tmp_path)
    (at.folder / ".new-0123456789abcdef").touch()
    at.remove()
    assert not at.folder.exists()
