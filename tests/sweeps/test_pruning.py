"""The rules that stop hopeless settings: against brute force, against Optuna's pruner, and what the disk holds."""

import itertools
import json
import math
import os
import random
import statistics
import threading
from pathlib import Path

import pytest

from lightning_d2l.config.pruning import complete, rungs
from lightning_d2l.engine.points import Points
from lightning_d2l.sweeps.executors.ray_judge import Decisions, Judge, Judged
from lightning_d2l.sweeps.pruning import Plan, Rungs, hopeless, made_by, together


def plan(rule="halving", factor=3, min_settings=1, at=(1, 3, 9)):
    return Plan(rule, "loss/val", factor, min_settings, at, ("lr",))


@pytest.mark.parametrize("seed", range(5))
def test_halving_keeps_the_best_share_as_counted_by_hand(seed):
    draw = random.Random(seed)
    for factor in (2, 3, 4):
        for before, new in itertools.product(range(7), range(1, 7)):
            values = [draw.choice((1.0, 2.0, 3.0, draw.random(), math.inf)) for _ in range(before + new)]
            every = {f"s{i}": (value, value) for i, value in enumerate(values)}
            arrived = {name: every[name] for name in list(every)[before:]}
            stopped = hopeless(plan(factor=factor), arrived, {k: v for k, v in every.items() if k not in arrived})
            for name, (value, _) in arrived.items():
                better = sum(other < value for other in values)  # a tie goes on
                assert (name in stopped) == (better >= max(1, len(values) // factor))
            assert len(arrived) > len(stopped) or before


@pytest.mark.parametrize("seed", range(3))
def test_one_at_a_time_halving_decides_as_optunas_pruner_on_the_same_reports(seed, tmp_path):
    optuna = pytest.importorskip("optuna")
    draw, factor, at = random.Random(seed), 2 + seed, (1, 2 + seed, (2 + seed) ** 2)
    mine = Rungs(tmp_path, plan(factor=factor, at=at))
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=factor)
    study = optuna.create_study(pruner=pruner)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    stops = []
    for number in range(40):
        trial, quality = study.ask(), draw.random()
        for rung, epoch in enumerate(at):
            value = quality + draw.random() / epoch
            trial.report(value, epoch)
            theirs = trial.should_prune()
            assert (mine.judge(rung, {f"s{number}": [(value, value)]}) == {f"s{number}"}) == theirs
            stops.append(rung if theirs else -1)
            if theirs:
                break
    assert {-1, 0, 1} <= {*stops}


def test_the_median_rule_compares_the_best_with_the_median_of_the_others_means():
    draw = random.Random(0)
    every = {f"s{i}": (draw.random(), draw.random() + 0.3) for i in range(9)}
    stopped = hopeless(plan("median", min_settings=5), every, {})
    for name, (own, _) in every.items():
        others = [mean for other, (_, mean) in every.items() if other != name]
        assert (name in stopped) == (own > statistics.median(others))
    assert not hopeless(plan("median", min_settings=10), every, {})


def test_a_setting_is_the_median_of_its_runs_and_diverged_if_most_of_them_are():
    assert together([(1.0, 4.0), (9.0, 5.0), (2.0, 6.0)]) == (2.0, 5.0)
    assert together([(1.0, 1.0), (math.inf, math.inf), (2.0, 2.0)]) == (1.5, 1.5)
    assert together([(1.0, 1.0), (math.inf, math.inf)]) == (math.inf, math.inf)


def test_an_accuracy_is_better_when_it_is_higher():
    rows = [{"epoch": 1, "acc/val": 0.2}, {"epoch": 2, "acc/val": 0.8}, {"epoch": 3, "acc/val": 0.5}]
    halving = Plan("halving", "acc/val", 3, 1, (1,), ("lr",))
    assert halving.standing(rows) == (-0.5, -0.5)
    median = Plan("median", "acc/val", 3, 1, (1,), ("lr",))
    assert median.standing(rows) == (-0.8, -0.5)


def test_rungs_are_logging_points_below_the_last_epoch():
    halving = complete("halving", 100)
    assert rungs(halving, 100, Points(100, 1)) == [4, 12, 36]
    assert rungs(halving, 100, Points(100, 10)) == [10, 20, 40]
    assert rungs(halving, 100, Points(100, 100)) == []
    assert rungs(complete("median", 50), 50, Points(50, 1)) == [*range(5, 50, 5)]
    assert rungs(complete({"rule": "halving", "factor": 2, "min_epochs": 5}, 40), 40, Points(40, 1)) == [5, 10, 20]


def test_what_was_decided_stays_decided_whoever_asks_again(tmp_path):
    first = Rungs(tmp_path, plan(min_settings=3))
    values = {"a": [(1.0, 1.0)], "b": [(2.0, 2.0)], "c": [(3.0, 3.0)]}
    assert first.judge(0, values) == {"b", "c"}
    other = Rungs(tmp_path, plan(min_settings=3))  # another process, or the same one after a kill
    assert other.judge(0, {"a": [(9.0, 9.0)], "b": [(0.0, 0.0)]}) == {"b"}
    assert other.judge(0, {"d": [(0.5, 0.5)], "e": [(4.0, 4.0)]}) == {"e"}
    assert first.judge(1, {"b": [(0.0, 0.0)], "e": [(0.0, 0.0)], "a": [(1.0, 1.0)]}) == {"b", "e"}
    assert first.stopped_until(3) == {"b": 0, "c": 0, "e": 0}


def test_of_two_processes_that_come_to_a_rung_at_once_one_decides_for_both(tmp_path):
    """Each would stop the other's best setting, and together they would stop all."""
    (tmp_path / ".rungs").mkdir()
    rows = [{"a": (1.0, 1.0), "b": (2.0, 2.0), "c": (3.0, 3.0)}, {"a": (3.0, 3.0), "b": (1.0, 1.0), "c": (2.0, 2.0)}]
    both = [Rungs(tmp_path, plan(min_settings=3)) for _ in rows]
    for process in both:
        process.stopped_until(1)  # nothing is there yet
    barrier, found = threading.Barrier(2), {}

    def judge(number):
        barrier.wait()
        found[number] = both[number].judge(0, {name: [values] for name, values in rows[number].items()})

    threads = [threading.Thread(target=judge, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert len(found[0]) == 2
    assert both[0].stopped_until(9) == both[1].stopped_until(9) == dict.fromkeys(found[0], 0)


class Near(Judged):
    """A worker whose judge is in this process, without Ray."""

    def _ask(self, what, *given):
        return getattr(self._actor, what)(*given)


def test_workers_that_share_no_folder_act_by_the_decisions_of_one_judge(tmp_path):
    values = [{"a": (1.0, 1.0), "b": (2.0, 2.0), "c": (3.0, 3.0)}, {"a": (3.0, 3.0), "b": (1.0, 1.0), "c": (2.0, 2.0)}]
    arrived = [{name: [standing] for name, standing in each.items()} for each in values]
    (tmp_path / "driver").mkdir()
    driver = Decisions(tmp_path / "driver")
    Rungs(tmp_path / "driver", plan(min_settings=3)).write_plan()
    judge = Judge(driver._files())
    workers = []
    for number in range(2):
        (tmp_path / str(number) / ".rungs").mkdir(parents=True)
        with made_by(lambda sweep, plan: Near(sweep, plan, judge)):
            Rungs(tmp_path / str(number), plan(min_settings=3)).write_plan()
            workers.append(Rungs.of(tmp_path / str(number)))
    assert workers[0].judge(0, arrived[0]) == {"b", "c"}
    assert workers[1].judge(0, arrived[1]) == {"b", "c"}  # alone it would have stopped a
    assert workers[1].stopped_until(9) == workers[0].stopped_until(9) == {"b": 0, "c": 0}
    driver._take(*judge.told(0))
    judge.close()
    after = Judge(driver._files())  # the next one, since the first was on a node that died
    late = Near(tmp_path / "1", plan(min_settings=3), after)
    assert late.judge(0, {"a": [(9.0, 9.0)], "d": [(5.0, 5.0)]}) == {"d"}
    after.close()


def test_of_two_decisions_that_reach_a_folder_the_first_counts(tmp_path):
    there = []
    for number, values in enumerate(((1.0, 2.0, 3.0), (3.0, 1.0, 2.0))):
        apart = Rungs(tmp_path / str(number), plan(min_settings=3))
        apart.folder.parent.mkdir()
        apart.judge(0, {name: [(value, value)] for name, value in zip("abc", values, strict=True)})
        there += apart.folder.glob("*.jsonl")
    (tmp_path / ".rungs").mkdir()
    for number, path in enumerate(there):
        path.rename(tmp_path / ".rungs" / f"{number}.jsonl")
    driver = Rungs(tmp_path, plan(min_settings=3))
    assert driver.stopped_until(9) == {"b": 0, "c": 0}
    assert driver.judge(0, {"a": [(9.0, 9.0)]}) == set()


def test_damaged_files_of_other_processes_are_passed_over(tmp_path):
    sound = Rungs(tmp_path, plan(min_settings=2))
    sound.judge(0, {"a": [(1.0, 1.0)]})
    folder = tmp_path / ".rungs"
    lines = [
        "not JSON", "[]", "null", '{"rung": 99, "settings": {}, "stopped": []}', '{"rung": "x"}',
        '{"rung": 0, "settings": {"a": [NaN, 1]}, "stopped": ["a"]}', '{"rung": 0, "settings": 5, "stopped": []}',
        json.dumps({"rung": 0, "settings": {"z": [5.0, 5.0]}, "stopped": ["a", "z"]}), '{"rung": 0, "settings": {"half',
    ]  # fmt: skip
    (folder / "other.jsonl").write_text("\n".join(lines))
    (folder / "folder.jsonl").mkdir()
    os.mkfifo(folder / "pipe.jsonl")
    again = Rungs(tmp_path, plan(min_settings=2))
    assert again.stopped_until(1) == {"z": 0}
    assert again.standings[0] == {"a": (1.0, 1.0), "z": (5.0, 5.0)}


def test_a_damaged_plan_is_none(tmp_path: Path):
    assert Rungs.of(tmp_path) is None
    Rungs(tmp_path, plan()).write_plan()
    found = Rungs.of(tmp_path)
    assert found is not None
    assert found.plan == plan()
    for text in ("{", "{}", '{"rungs": 3}', '{"rule": "x", "rungs": [], "keys": []}'):
        (tmp_path / ".rungs" / "plan.json").write_text(text)
        assert Rungs.of(tmp_path) is None
