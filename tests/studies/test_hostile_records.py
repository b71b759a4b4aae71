"""Reports on records of any origin: what can be read is reported, what can't is named, nothing is obeyed or lost."""

import copy
import csv
import io
import itertools
import json
import math
import os
import time
import unicodedata
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_d2l import cli
from lightning_d2l.studies import board, collect, figure, tables
from lightning_d2l.studies.findings import find
from lightning_d2l.studies.report import report, text
from lightning_d2l.theory.theories import THEORIES
from tests.studies.records import write_run, write_sweep

HOSTILE = [
    "$x_{$", r"$\frac$", "<script>alert(1)<script>", "=1+1", "\x1b[31mred", "a\nb", "😀שלום", "\u202eabc", "\ud800",
    "_hidden", "a|b`c`", "x" * 10_000, "%s^{", "\0",
]  # fmt: skip
LOSS = {"loss/train": 1.0, "loss/val": 2.0}


def sweep_of(folder, axes, metrics, **facts):
    """As write_sweep, with folders that are named by numbers."""
    jobs = []
    for number, values in enumerate(itertools.product(*axes.values())):
        write_run(folder / f"j{number}", dict(zip(axes, values, strict=True)), metrics(*values))
        jobs.append({"number": number, "folder": f"j{number}", "overrides": []})
    sweep = {"status": "completed", "command": "python train.py -m ```x", "varied": list(axes), "jobs": jobs, **facts}
    (folder / "sweep.json").write_text(json.dumps(sweep))
    return folder


def test_names_and_values_of_any_text_stay_text(tmp_path):
    study = {"question": "Which <b>$\\frac$ \x1b[31m|x|</b>?", "x": "data.kind"}
    sweep = sweep_of(tmp_path, {"data.kind": HOSTILE, "seed": [0, 1]}, lambda kind, seed: LOSS, study=study)
    made = report([sweep], interactive=False)
    assert made.findings.failures == []
    shown = text(made)
    assert not [c for c in shown if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs")]
    assert "\\x1b[31m" in shown
    with made.paths["results"].open(newline="", encoding="utf-8") as file:
        found = [row["data.kind"] for row in csv.DictReader(file)][::2]
    assert found[:6] == ["$x_{$", r"$\frac$", "<script>alert(1)<script>", "'=1+1", "\\x1b[31mred", "a\nb"]
    page, plain = made.paths["html"].read_text(), made.paths["markdown"].read_text()
    assert "<script" not in page + plain.replace("\\<script", "")
    assert "\x1b" not in page + plain
    assert "\n````\npython train.py -m ```x\n````\n" in plain
    json.dumps(made.as_json())


@pytest.mark.parametrize(
    "loss",
    [
        lambda lr, seed: 1e300 * lr * (1 + seed),
        lambda lr, seed: 1.7e308 / (1 + seed),
        lambda lr, seed: (-1) ** seed * 1.7e308,
        lambda lr, seed: 10.0 ** (308 * (lr - 2) - seed),
        lambda lr, seed: 1e-310 * lr,
        lambda lr, seed: math.nan if seed else 1.0,
        lambda lr, seed: math.inf,
    ],
)
def test_losses_of_any_size_are_reported_without_a_warning_of_numpy(loss, tmp_path):
    axes = {"optimizer.lr": [1, 2, 3], "seed": range(3)}
    sweep = sweep_of(tmp_path, axes, lambda *v: {"loss/train": loss(*v), "loss/val": loss(*v)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = report([sweep])
    assert made.findings.failures == []
    assert made.paths["png"].exists()
    assert len(made.as_json()["runs"]) == 9


@pytest.mark.parametrize(
    "values", [[1.7e308, 1e-300, 1.0], [math.nan, 3, math.inf], [2**62, 3, -(2**61)], [1, "a", None, [1, 2], True, 0.5]]
)
def test_swept_values_of_any_size_and_type_are_drawn(values, tmp_path):
    made = report([sweep_of(tmp_path, {"optimizer.lr": values, "seed": [0, 1]}, lambda lr, seed: LOSS)])
    assert made.findings.failures == []
    assert len(made.findings.points) == len(values)


def test_a_figure_or_summary_that_fails_is_a_warning_and_the_rest_is_written(tmp_path, monkeypatch, capsys):
    sweep = write_sweep(tmp_path, {"data.degree": [1, 2]}, lambda degree: LOSS)
    assert report([sweep]).paths["png"].exists()

    def fail(*_):
        raise RuntimeError("no picture today\nmore")

    monkeypatch.setattr(figure, "draw", fail)
    monkeypatch.setattr(board, "write", fail)
    assert cli.main(["report", str(sweep)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "warning: There is no figure: RuntimeError: no picture today." in captured.out
    assert "There is no summary for TensorBoard" in captured.out
    for name in ("results.csv", "summary.csv", "report.md", "report.html"):
        assert (sweep / name).stat().st_size > 0
    assert "no picture today" in (sweep / "report.html").read_text()
    assert not (sweep / "figure.png").exists()  # that of an earlier report would show other numbers


def test_a_theory_that_fails_costs_the_theory_only(tmp_path, monkeypatch):
    def fails(question, runs):
        raise ValueError("no theory today")

    monkeypatch.setitem(THEORIES, "weight_decay", fails)
    study = {"theory": "weight_decay", "x": "optimizer.weight_decay"}
    sweep = write_sweep(tmp_path, {"optimizer.weight_decay": [0.1, 0.2]}, lambda _: LOSS, study=study)
    made = report([sweep])
    assert [line.partition(":")[0] for line in made.findings.failures] == [
        "There is no theory (weight_decay) in the figure"
    ]
    assert made.paths["png"].exists()


def with_data(folder, *data):
    """A run for each seed with the data (source, checksum) and settings of the data."""
    for seed, (source, checksum, node) in enumerate(data):
        given = {"name": "fashion_mnist", "source": source, "checksum": checksum}
        overrides = {"seed": seed, **{f"data.{key}": value for key, value in node.items()}}
        write_run(folder / f"seed={seed}", overrides, {"loss/val": 1.0 + seed}, data=given)
    varied = ["seed", *dict.fromkeys(f"data.{key}" for _, _, node in data for key in node)]
    (folder / "sweep.json").write_text(
        json.dumps({"status": "completed", "command": "x", "varied": varied, "jobs": []})
    )
    return folder


def test_no_mean_is_over_official_and_generated_data(tmp_path, capsys):
    data = [("generated", "b" * 64, {}), ("official", "a" * 64, {}), ("official", "a" * 64, {})]
    sweep = with_data(tmp_path, *data)
    made = report([sweep])
    means = {
        p.setting["source"]: (p.estimates["loss/val"].n, p.estimates["loss/val"].mean) for p in made.findings.points
    }
    assert means == {"official": (2, 2.5), "generated": (1, 1.0)}
    assert made.answer.startswith("Only source=official has loss/val: loss/val = 2.5")
    line = "The runs were trained on different data: generated (1 run) and official (2 runs). No mean is over more"
    for shown in (text(made).replace("\n", " "), made.paths["html"].read_text(), made.paths["markdown"].read_text()):
        assert line in shown
    assert line in made.as_json()["warnings"][0]
    assert [row["source"] for row in tables.results(made.findings)] == ["generated", "official", "official"]


@pytest.mark.parametrize(
    ("data", "sources"),
    [
        # Replicates over data.seed have different data by design.
        ([("synthetic", "a" * 64, {"seed": 0}), ("synthetic", "b" * 64, {"seed": 1})], None),
        # The same settings and seed, but other numbers.
        ([("csv", "a" * 64, {}), ("csv", "a" * 64, {}), ("csv", "b" * 64, {})], {"csv", "csv (bbbbbbbb)"}),
        # The source is what was asked to vary.
        ([("official", "a" * 64, {"source": "official"}), ("generated", "b" * 64, {"source": "generated"})], None),
    ],
)
def test_data_are_told_apart_where_they_differ_without_being_varied(data, sources, tmp_path):
    findings = find([with_data(tmp_path, *data)])
    found = {point.setting.get("source") for point in findings.points}
    assert found == (sources or {None})


def test_what_can_not_be_read_is_named_and_never_waited_for(tmp_path, monkeypatch):
    sweep = write_sweep(tmp_path / "sweep", {"seed": range(3)}, lambda _: LOSS)
    for name in ("loop", "fifo", "folder", "gone"):
        (sweep / name).mkdir()
    (sweep / "loop" / "run.json").symlink_to("run.json")
    os.mkfifo(sweep / "fifo" / "run.json")
    (sweep / "gone" / "run.json").symlink_to("nowhere")
    os.mkfifo(sweep / "seed=0" / "predictions.csv")
    os.mkfifo(sweep / "seed=0" / "metrics.csv")
    (sweep / "sweep.json").unlink()
    os.mkfifo(sweep / "sweep.json")
    findings = report([sweep], tmp_path / "into").findings
    assert {path.parent.name for path in findings.unreadable} == {"loop", "fifo", "gone", "sweep"}
    assert [run.name for run in findings.runs] == ["seed=0", "seed=1", "seed=2"]


@pytest.mark.parametrize("into", ["/proc/x", "sweep/sweep.json", "sweep/sweep.json/x", "/dev/null/x"])
def test_a_folder_that_can_not_be_written_is_a_line(into, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_sweep(tmp_path / "sweep", {"seed": range(2)}, lambda _: LOSS)
    assert cli.main(["report", "sweep", "--into", into]) == 2
    assert f"--into={into}: the report can't be written" in capsys.readouterr().err


def test_a_run_whose_process_has_ended_is_interrupted(tmp_path, capsys):
    write_run(tmp_path / "a", {"seed": 0}, None, status="running", process={"pid": 1, "host": "gone", "started": "x"})
    write_run(tmp_path / "b", {"seed": 1}, None, error="stopped by SIGTERM")
    write_run(tmp_path / "c", {"seed": 2}, LOSS)
    assert cli.main(["report", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "1 completed, 2 interrupted" in out
    assert "  a: its process ended without a reason" in out
    assert "interrupted" in (tmp_path / "results.csv").read_text()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jobs", [{"folder": "../x"}]),
        ("jobs", [{"folder": "a/b"}]),
        ("jobs", [{"folder": "a"}, {"folder": "a"}]),
        ("jobs", [{"folder": "a", "number": 10**400}]),
        ("jobs", [{"folder": "a", "overrides": "seed=1"}]),
        ("study", ["x"]),
        ("study", {"x": {"a": {"b": [[[[[[[[[[[[[[[[[[[[[["deep"]]]]]]]]]]]]]]]]]]]]]]}}}),
        ("varied", "seed"),
        ("status", "excellent"),
        ("seconds", math.inf),
        ("overrides", [1]),
    ],
)
def test_a_wrong_field_of_sweep_json_is_named_and_the_runs_are_reported(name, value, tmp_path):
    sweep = write_sweep(tmp_path, {"seed": range(2)}, lambda _: LOSS, **{name: value})
    (found,) = collect.collect([sweep])
    assert [path.name for path in found.unreadable] == ["sweep.json"]
    assert len(found.runs) == 2


VALUES = [
    None, True, -1, 2**63, 10**400, 1e308, math.nan, math.inf, "", "$\\frac$", "\ud800", "\x1b[31m", "x" * 10_000, [],
    [1, "a"], {}, {"a": {"b": 1}}, {"_target_": 3}, "1e400", {"x": [1]}, "epoch", "seed", "../..", "running",
    "completed", "capacity", "weight_decay", "bias_variance", "{l1:abc}",
]  # fmt: skip


def places(node, at=()):
    yield at
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(value, (*at, key))


@st.composite
def damaged(draw, content):
    """A JSON document of which some values are replaced or removed, or whose bytes are changed."""
    if draw(st.integers(0, 3)) == 0:
        raw = bytearray(content.encode())
        for _ in range(draw(st.integers(1, 4))):
            raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
        end = draw(st.sampled_from([len(raw), len(raw) // 2]))
        return draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"[" * 100_000])) + bytes(raw[:end])
    node = json.loads(content)
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from(list(places(node))[1:]))
        parent = node
        for key in parents:
            parent = parent[key]
        if draw(st.booleans()) or not isinstance(parent, dict):
            parent[last] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        else:
            del parent[last]
        if not list(places(node))[1:]:
            break
    return json.dumps(node).encode()


@pytest.mark.slow
@pytest.mark.apart
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_records_never_end_a_report_in_a_traceback(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("sweep")
    axes, study = {"optimizer.lr": [0.1, 1.0], "seed": [0, 1]}, {"x": "optimizer.lr"}
    sweep = write_sweep(folder, axes, lambda lr, seed: {**LOSS, "acc/val": lr}, study=study, seconds=1.0)
    (sweep / "lr=0.1,seed=0" / "metrics.csv").write_text("epoch,step,loss/val\n1,1,2.0\n2,2,1.0\n")
    for path in data.draw(
        st.lists(st.sampled_from(sorted(sweep.rglob("*.json"))), min_size=1, max_size=3, unique=True)
    ):
        path.write_bytes(data.draw(damaged(path.read_text())))
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", err)
        code = cli.main(["report", str(sweep), "--format", "json"])
    assert code in (0, 2), err.getvalue()
    if code == 0:
        assert err.getvalue() == ""
        json.loads(out.getvalue(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    else:
        assert len(err.getvalue().splitlines()) <= 2
        assert out.getvalue() == ""


@pytest.mark.slow
@pytest.mark.apart
def test_the_time_of_tables_grows_with_the_number_of_runs_and_not_with_its_square(tmp_path):
    seconds = {}
    for n in (200, 1600):
        folder = write_sweep(tmp_path / str(n), {"data.degree": range(n // 2), "seed": [0, 1]}, lambda *_: LOSS)
        start = time.process_time()
        found = find([folder])
        tables.text(found)
        for rows in (tables.results(found), tables.summary(found)):
            tables.write_csv(io.BytesIO(), rows)
        seconds[n] = time.process_time() - start
    assert seconds[1600] < 24 * seconds[200]
