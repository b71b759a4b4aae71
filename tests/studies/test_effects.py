"""Which key matters most, and what to run next."""

import itertools
import json
import math
import shlex

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from lightning_d2l import app
from lightning_d2l.studies.effects import effects
from lightning_d2l.studies.findings import find
from tests.studies.records import write_sweep

LR, BATCH, SEED = [0.01, 0.1, 1.0], [8, 16], range(4)


def test_the_shares_are_the_omega_squared_of_a_balanced_table(tmp_path):
    generator = np.random.default_rng(0)
    table = {
        key: math.exp(math.log10(key[0]) + 0.2 * (key[1] == 8) + 0.3 * generator.normal())
        for key in itertools.product(LR, BATCH, SEED)
    }
    axes = {"optimizer.lr": LR, "data.batch_size": BATCH, "seed": SEED}
    findings = find([write_sweep(tmp_path, axes, lambda *key: {"loss/val": table[key]})])
    y = np.log(np.array(list(table.values())).reshape(3, 2, 4))
    means = [y.mean(tuple({0, 1, 2} - {axis}), keepdims=True) for axis in range(3)]
    between = [y.size / y.shape[axis] * float(((means[axis] - y.mean()) ** 2).sum()) for axis in range(3)]
    total, degrees = float(((y - y.mean()) ** 2).sum()), [size - 1 for size in y.shape]
    chance = (total - sum(between)) / (y.size - 1 - sum(degrees))
    shares = [max((own - d * chance) / (total + chance), 0) for own, d in zip(between, degrees, strict=True)]
    found = effects(findings.study, findings.points)
    assert found.is_log
    assert [found.shares[key] for key in axes] == pytest.approx(shares)
    assert "optimizer.lr matters most: it explains" in findings.answer.text


def test_where_runs_are_missing_a_share_is_what_the_other_keys_leave(tmp_path):
    runs = [(lr, batch, seed) for lr in LR for batch in BATCH for seed in SEED if not (lr == 1.0 and batch == 16)]
    score = {key: 0.5 + 0.1 * LR.index(key[0]) + 0.05 * (key[1] == 8) + 0.01 * (key[2] % 3) for key in runs}
    axes = {"optimizer.lr": LR, "data.batch_size": BATCH, "seed": SEED}
    findings = find([write_sweep(tmp_path, axes, lambda *key: {"acc/val": score[key]} if key in score else None)])
    columns = {
        axis: np.array([[key[axis] == level for level in levels[1:]] for key in runs], float)
        for axis, levels in enumerate((LR, BATCH, list(SEED)))
    }
    y = np.array([score[key] for key in runs])

    def rest(*kept):
        x = np.concatenate([columns[axis] for axis in kept], 1)
        return float(((y - LinearRegression().fit(x, y).predict(x)) ** 2).sum())

    chance = rest(0, 1, 2) / (len(y) - 1 - 6)
    total = float(((y - y.mean()) ** 2).sum())
    expected = (rest(1, 2) - rest(0, 1, 2) - 2 * chance) / (total + chance)
    assert effects(findings.study, findings.points).shares["optimizer.lr"] == pytest.approx(expected)


def test_what_is_chance_matters_little_and_a_single_run_says_nothing(tmp_path):
    generator, axes = np.random.default_rng(1), {"data.d": range(20), "seed": range(5)}
    found = []
    for trial in range(30):
        sweep = write_sweep(tmp_path / str(trial), axes, lambda *_: {"loss/val": math.exp(generator.normal())})
        findings = find([sweep])
        found.append(effects(findings.study, findings.points).shares["data.d"])
    assert np.mean(found) < 0.05  # the share without the correction is 19 / 99
    single = find([write_sweep(tmp_path / "single", {"data.d": range(5)}, lambda d: {"loss/val": 1.0 + d})])
    assert effects(single.study, single.points) is None


def curve(best, spread=1e-3):
    return lambda lr, seed: {"loss/val": 1 + abs(math.log10(lr / best)) + spread * (-1) ** (seed + round(1 / lr))}


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (curve(1.0), "optimizer.lr=1,10,100"),
        (curve(0.01), "optimizer.lr=0.01,0.001,0.0001"),
        (curve(0.1), "optimizer.lr=0.0316,0.1,0.316"),
    ],
)
def test_next_are_values_beyond_the_best_or_near_it(metrics, expected, tmp_path):
    findings = find([write_sweep(tmp_path, {"optimizer.lr": LR, "seed": SEED}, metrics)])
    assert shlex.split(findings.next)[-1] == expected


def test_next_are_more_seeds_where_chance_decides(tmp_path):
    findings = find([write_sweep(tmp_path, {"optimizer.lr": LR, "seed": SEED}, curve(0.1, 0.9))])
    (key, seeds) = shlex.split(findings.next)[-1].split("=")
    assert key == "seed"
    assert int(seeds.removeprefix("range(").removesuffix(")")) > len(SEED)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"data.folds": [5], "data.fold": range(5), "data.noise": [None]}, "data.seed"),
        ({"optimizer._target_": ["lightning_d2l.engine.exact.Exact"], "data.noise": [None]}, "data.seed"),
        ({"data._target_": ["lightning_d2l.data.table.TableData"], "data.n": range(5)}, "seed"),
    ],
)
def test_what_no_seed_changes_is_repeated_on_other_data(settings, key, tmp_path):
    folder = write_sweep(tmp_path, {"data.degree": [1, 2], **settings}, lambda degree, *_: {"loss/val": float(degree)})
    for path in folder.glob("*/run.json"):  # data of no generator
        record = json.loads(path.read_text())
        del record["config"]["data"]["noise"]
        path.write_text(json.dumps(record))
    assert f"{key}=range(5)" in shlex.split(find([folder]).next)


def test_the_printed_command_is_one_that_runs(tmp_path, capsys):
    words = ["-m", "model=polynomial_regression", "data.n_train=20", "trainer.max_epochs=2", "logger=none"]
    words += ["data.degree=1,2,3", "trainer.accelerator=cpu", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    assert app.main(words) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("run next")]
    command = shlex.split(line.removeprefix("run next"))
    assert command[:2] == ["python", "train.py"]
    assert "data.seed=range(5)" in command
    assert app.main([*command[2:], "sweep.dry_run=true"]) == 0
    assert "15 runs" in capsys.readouterr().out
