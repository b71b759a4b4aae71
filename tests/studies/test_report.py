import csv
import html
import html.parser
import io
import json
import math
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from scipy import stats
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_d2l import cli
from lightning_d2l.config.check import RequestError
from lightning_d2l.studies.check import check_study
from lightning_d2l.studies.findings import find
from lightning_d2l.studies.report import SETTINGS, _rendered, picture, report
from tests.studies.records import write_run, write_sweep

AXES = {"optimizer.lr": [0.01, 0.1, 1.0], "optimizer": ["sgd", "adam"], "seed": range(4)}


def losses(lr, optimizer, seed):
    if lr == 1.0 and optimizer == "sgd":
        return None
    value = 1 + abs(math.log10(lr) + 1) + (optimizer == "adam") + 0.01 * seed
    return {"loss/train": value, "loss/val": value + 0.1, "loss/test": value + 0.2}


@pytest.fixture
def sweep(tmp_path):
    return write_sweep(tmp_path / "sweep", AXES, losses)


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_results_hold_every_run_and_summary_their_statistics(sweep):
    made = report([sweep])
    results = rows(made.paths["results"])
    assert list(results[0])[:5] == ["run", "status", "optimizer.lr", "optimizer", "seed"]
    assert len(results) == 24
    assert {row["status"] for row in results if row["loss/val"] == ""} == {"diverged"}
    for row in rows(made.paths["summary"]):
        members = [r for r in results if all(r[key] == row[key] for key in ("optimizer.lr", "optimizer"))]
        if not row["metric"]:
            assert {r["status"] for r in members} == {row["diagnosis"]} == {"diverged"}
            continue
        values = [float(r[row["metric"]]) for r in members]
        mean = np.mean(values)  # on the log scale, since losses are positive
        low, high = mean * np.exp(np.array(stats.t.interval(0.95, 3, 0, stats.sem(values))) / mean)
        numbers = [float(row[name]) for name in ("mean", "std", "ci_low", "ci_high")]
        assert numbers == pytest.approx([np.mean(values), np.std(values, ddof=1), low, high])
        assert (row["method"], row["n"]) == ("Student t of logs, if symmetric", "4")


def test_the_answer_names_the_best_by_validation_and_the_runner_up_and_warns(sweep):
    made = report([sweep])
    assert made.answer.startswith("optimizer.lr=0.1, optimizer=sgd has the lowest loss/val, 1.115 (95 % interval")
    assert "its loss/test is 1.215" in made.answer
    assert "It differs significantly from all 4 others; the runner-up is optimizer.lr=" in made.answer
    assert made.findings.next == "python train.py -m x optimizer.lr=0.0316,0.1,0.316"
    edge = write_sweep(sweep.parent / "edge", {"data.d": [1, 2, 3]}, lambda d: {"loss/test": 1 / d})
    made = report([edge])
    assert "chosen on test data" in made.answer
    assert "other seeds may give another order" in made.answer
    assert "The best data.d, 3, is the largest tried" in made.findings.answer.warnings[0]


def test_the_lucky_survivor_of_a_setting_that_diverges_is_not_the_best(tmp_path):
    axes = {"optimizer.lr": [0.1, 1.0], "seed": range(4)}
    folder = write_sweep(tmp_path, axes, lambda lr, seed: None if lr == 1 and seed else {"loss/val": 1 / lr - seed / 9})
    assert report([folder]).answer.startswith("Only optimizer.lr=0.1 has loss/val: loss/val = 9.833 (95 %")


def test_accuracy_is_better_when_higher_and_zero_is_a_natural_end(tmp_path):
    dropout = {"model.dropout": [0, 0.3, 0.6], "seed": range(3)}
    metrics = lambda p, seed: {"acc/val": 0.9 - p + 0.001 * seed, "acc/test": 0.8}  # noqa: E731
    made = report([write_sweep(tmp_path, dropout, metrics)])
    assert made.answer.startswith("model.dropout=0 has the highest acc/val, 0.901")
    assert made.findings.answer.warnings[0].startswith("All runs share one generated data set")


class Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [v for k, v in attrs if k in ("src", "href", "xlink:href", "data") and not v.startswith("#")]
        assert tag not in ("script", "link", "iframe", "object")


def test_the_page_needs_nothing_beside_it_and_says_it_all(sweep):
    made = report([sweep], interactive=False)
    page, plain = made.paths["html"].read_text(), made.paths["markdown"].read_text()
    links = Links()
    links.feed(page)
    assert links.found == []
    assert "url(" not in page.replace("url(#", "")
    ET.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    assert ET.parse(made.paths["svg"]).getroot().tag.endswith("svg")
    assert made.paths["png"].read_bytes().startswith(b"\x89PNG")
    for text in (page, plain):
        for part in ("diverged: loss is nan", "000000", "2.8", "python train.py -m x", "95 % interval", "Student t"):
            assert part in text


def test_text_from_records_and_studies_is_escaped(tmp_path):
    script = "<script>alert('1 & 2')</script>"
    study = {"x": "model", "question": f"Which {script}?"}
    write_sweep(tmp_path, {"model": ["mlp", script.replace("/", "")]}, lambda _: {"loss/val": 1.0}, study=study)
    write_run(tmp_path / "failed", {"model": "mlp"}, None, error=f"failed: {script}")
    made = report([tmp_path], interactive=False)
    page, links = made.paths["html"].read_text(), Links()
    links.feed(page)  # refuses script elements
    text = html.unescape(page)
    assert text.count(f"Which {script}?") == 2  # the title and the heading
    assert f"<td>failed: {script}</td>" in text
    assert f"<td>{script.replace('/', '')}</td>" in text
    assert "\\<script\\>" in made.paths["markdown"].read_text()


def test_a_report_of_the_same_records_is_the_same(sweep):
    first = {kind: path.read_bytes() for kind, path in report([sweep]).paths.items() if path.is_file()}
    second = {kind: path.read_bytes() for kind, path in report([sweep]).paths.items() if path.is_file()}
    assert first == second


def test_the_figures_are_the_files_that_savefig_makes(sweep):
    with matplotlib.rc_context(SETTINGS):
        found = find([sweep])
        drawn, _ = picture(found, found.study)
        for form, metadata in ("png", None), ("svg", dict.fromkeys(("Creator", "Date", "Format", "Type"))):
            drawn.savefig(file := io.BytesIO(), format=form, metadata=metadata)
            assert _rendered(drawn, form) == file.getvalue()


def test_tensorboard_reads_each_split_of_a_curve_over_whole_numbers_and_else_the_figure_alone(tmp_path):
    degrees, rates = tmp_path / "degrees", tmp_path / "rates"
    axes = {"optimizer": ["sgd", "adam"], "seed": range(2)}
    losses = lambda x, optimizer, seed: {"loss/train": x + seed, "loss/val": 2 * x + seed, "norm/weights": x}  # noqa: E731
    write_sweep(degrees, {"data.degree": [1, 2, 4], **axes}, losses)
    report([degrees])
    folder = report([degrees]).paths["tensorboard"]
    for split, factor in (("train", 1), ("val", 2)):
        read = EventAccumulator(str(folder / "optimizer=adam" / split)).Reload()
        scalars = read.Scalars("by polynomial degree/loss")
        assert [(event.step, event.value) for event in scalars] == [(x, factor * x + 0.5) for x in (1, 2, 4)]
    read = EventAccumulator(str(folder / "optimizer=adam")).Reload()
    assert [event.value for event in read.Scalars("by polynomial degree/norm/weights")] == [1, 2, 4]
    assert len(list(folder.glob("events*"))) == 1  # the earlier report's are gone

    write_sweep(rates, {"optimizer.lr": AXES["optimizer.lr"], **axes}, losses)
    assert {path.parent for path in report([rates]).paths["tensorboard"].glob("**/events*")} == {rates / "summary"}
    for sweep in (degrees, rates):
        read = EventAccumulator(str(sweep / "summary")).Reload()
        assert read.Tags()["images"] == ["figure"]
        said = {tag: read.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in read.Tags()["tensors"]}
        assert "has the lowest validation loss" in said["answer"] or "has the lowest loss/val" in said["answer"]
        assert "- seed: 0, 1\n" in said["configuration"] + "\n"
        assert "12 runs" in said["data"]


def test_the_tables_have_the_share_of_the_way_to_the_noise_and_the_gap(tmp_path):
    axes = {"data.degree": [1, 3], "seed": range(4)}
    losses = lambda d, s: {"loss/train": 0.011 + 1e-4 * s, "loss/val": (9.0 if d == 1 else 0.012) + 1e-4 * s}  # noqa: E731
    trivial = {"loss/train": 30.0, "loss/val": 30.0}
    folder = write_sweep(tmp_path, axes, losses)
    for path in folder.glob("*/run.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"baselines": {"trivial": trivial}}))
    made = report([folder])
    first = rows(made.paths["results"])[0]
    assert float(first["share"]) == pytest.approx((30 - 9) / (30 - 0.01))
    assert float(first["gap"]) == pytest.approx(9 - 0.011)
    row = next(row for row in rows(made.paths["summary"]) if row["data.degree"] == "1")
    assert float(row["gap"]) == pytest.approx(9 - 0.011)
    assert float(row["gap_low"]) < float(row["gap"]) < float(row["gap_high"])


def test_sweeps_are_compared(tmp_path):
    for name, noise in (("quiet", 0.1), ("loud", 0.4)):
        axes = {"data.degree": [1, 2], "seed": range(3)}
        folder = write_sweep(tmp_path / name, axes, lambda d, s, noise=noise: {"loss/val": noise / d + 0.001 * s})
        for path in folder.glob("*/run.json"):
            record = json.loads(path.read_text())
            record["config"]["data"]["noise"] = noise
            path.write_text(json.dumps(record))
    made = report([tmp_path / "quiet", tmp_path / "loud"], tmp_path / "both")
    assert made.answer.startswith("data.degree=2, sweep=quiet has the lowest loss/val")
    assert made.findings.fixed_differences() == {"data.noise": ["0.1", "0.4"]}
    assert {row["sweep"] for row in rows(tmp_path / "both" / "results.csv")} == {"quiet", "loud"}


def test_epochs_as_x_read_the_curves_of_the_runs(tmp_path):
    write_sweep(tmp_path, {"seed": range(3)}, lambda s: {"loss/val": 4.0 + s, "epoch": 9}, study={"x": "epoch"})
    for seed in range(3):
        (tmp_path / f"seed={seed}" / "metrics.csv").write_text(f"epoch,step,loss/val\n1,1,{5 + seed}\n9,9,{4 + seed}\n")
    points = report([tmp_path]).findings.points
    assert [(point.setting["epoch"], point.estimates["loss/val"].mean) for point in points] == [(1, 6.0), (9, 5.0)]


def test_the_command_line_prints_one_json_document_or_text(sweep, capsys):
    assert cli.main(["report", str(sweep), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["best"]["setting"] == {"optimizer.lr": 0.1, "optimizer": "sgd"}
    assert document["counts"] == {"completed": 20, "diverged": 4}
    assert len(document["runs"]) == 24
    assert document["verdict"] is None
    assert document["next"].startswith("python train.py -m ")
    assert cli.main(["report", str(sweep)]) == 0
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines() if str(sweep) not in line) <= 80
    assert "20 completed, 4 diverged" in out


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("nowhere", "nowhere: no such folder"),
        ("empty", "empty: no run to report on"),
        ("damaged", "1 run.json, all damaged"),
        ("latest", "latest: no sweep below outputs"),
        ("wrong_key", "study.x=data.degre: no run has such a key; did you mean data.degree?"),
        ("wrong_metric", "no run has loss/tset; did you mean loss/test?"),
        ("good --into good/sweep.json", "--into=good/sweep.json: the report can't be written"),
        ("", "FOLDER"),
    ],
)
def test_wrong_requests(words, answer, tmp_path, refusal):
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged" / "run").mkdir(parents=True)
    (tmp_path / "damaged" / "run" / "run.json").write_text("{")
    for name, study in (("wrong_key", {"x": "data.degre"}), ("wrong_metric", {"metrics": ["loss/tset"]}), ("good", {})):
        write_sweep(tmp_path / name, {"data.degree": [1, 2]}, lambda d: {"loss/test": 1.0}, study=study)
    assert answer in refusal(cli.main, ["report", *words.split()])


@pytest.mark.parametrize(
    ("node", "answer"),
    [
        ({"curve": ["a"]}, "study.curve: unknown key; did you mean curves?"),
        ({"curves": "optimizer"}, "study.curves=optimizer: must be a list"),
        ({"scale": {"x": "logarithmic"}}, "study.scale"),
        ({"theory": "capacty"}, "did you mean capacity?"),
        ({"panels": "both"}, "study.panels=both: must be"),
    ],
)
def test_a_wrong_study_is_refused_before_its_runs(node, answer):
    with pytest.raises(RequestError) as error:
        check_study(node)
    assert answer in str(error.value)


def test_a_sweep_with_no_completed_run_still_has_a_report(tmp_path):
    write_sweep(tmp_path / "lost", {"seed": range(2)}, lambda s: None)
    assert report([tmp_path / "lost"]).answer.startswith("Both runs diverged, so no setting is best")
    write_run(tmp_path / "going" / "run", {}, None, status="running")
    going = report([tmp_path / "going"])
    assert going.answer == "No run has completed (1 interrupted), so there is no loss/val yet."
    assert going.findings.counts == {"completed": 0, "interrupted": 1}


def test_the_report_of_a_sweep_needs_no_torch(sweep):
    program = f"""
import sys
from pathlib import Path
from lightning_d2l.studies.findings import find
from lightning_d2l.studies.report import SETTINGS, _rendered, picture, report
report([Path({str(sweep)!r})])
assert not {{"torch", "pytorch_lightning", "tensorflow"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_the_figure_takes_most_of_the_time_of_a_report(tmp_path):
    """A report of 100 runs takes little longer than one of 5, as processor time."""
    generator, seconds = np.random.default_rng(0), {}
    for n in (1, 20):
        axes = {"optimizer.lr": [1, 2, 3, 4, 5], "seed": range(n)}
        losses = lambda *_: {"loss/train": generator.random(), "loss/val": generator.random()}  # noqa: E731
        folder = write_sweep(tmp_path / str(n), axes, losses)
        report([folder])  # imports and fonts
        start = time.process_time()
        report([folder])
        seconds[n] = time.process_time() - start
    assert seconds[20] < 4 * seconds[1]
