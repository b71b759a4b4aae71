import json

import pytest

from lightning_d2l import cli
from lightning_d2l.config.check import RequestError
from lightning_d2l.studies import interactive, report
from lightning_d2l.studies.report import report as write_report
from tests.studies.pages import Page
from tests.studies.records import write_run, write_sweep

AXES = {"optimizer.lr": [0.01, 0.1, 1.0], "optimizer": ["sgd", "adam"], "seed": range(12)}
HOSTILE = "</script><img src=x onerror=alert(1)>&amp;\u202e"


def losses(lr, optimizer, seed):
    return None if lr == 1 and optimizer == "sgd" else {"loss/train": lr + seed / 100, "loss/val": 2 * lr + seed / 100}


@pytest.fixture
def sweep(tmp_path):
    return write_sweep(tmp_path / "sweep", AXES, losses)


@pytest.fixture
def without_plotly(monkeypatch):
    monkeypatch.setattr(interactive, "plotly_js", lambda: None)


def test_the_page_holds_the_estimates_of_the_findings_and_the_runs_behind_them(sweep):
    made = write_report([sweep], interactive=True)
    model = Page(made.paths["html"]).model
    told = {}
    for panel in model["panels"]:
        for line in panel["lines"]:
            for at, y, said in zip(line["at"], line["y"], line["said"], strict=True):
                told[model["points"][at]["setting"], said[0].partition(":")[0]] = y, said
    expected = {
        (f"optimizer.lr={p.setting['optimizer.lr']:g}, optimizer={p.setting['optimizer']}", m): e
        for p in made.findings.points
        for m, e in p.estimates.items()
    }
    assert told.keys() == expected.keys()
    for key, estimate in expected.items():
        y, said = told[key]
        assert y == estimate.value
        assert said[0].endswith(f": {estimate.statistic} {estimate.value:.4g}")
        assert said[1:] == [f"95 % interval {estimate.low:.4g} to {estimate.high:.4g}", "n = 12 (12 seeds)"]
    behind = next(point for point in model["points"] if point["setting"] == "optimizer.lr=0.1, optimizer=adam")
    assert behind["runs"] == [f"lr=0.1,optimizer=adam,seed={seed}" for seed in range(10)]
    assert behind["more"] == 2
    crosses = [line["lost"]["x"] for panel in model["panels"] for line in panel["lines"]]
    assert [1.0] in crosses


def test_text_of_records_can_t_leave_its_place_in_the_page(tmp_path):
    study = {"x": "optimizer.lr", "question": f"Which {HOSTILE}?"}
    axes = {"optimizer.lr": [1, 2], "model": ["mlp", HOSTILE.replace("/", "")], "note": [1, 2], "seed": [0, 1]}
    write_sweep(tmp_path, axes, lambda lr, model, note, seed: {"loss/val": lr + note}, study=study)
    page = Page(write_report([tmp_path], interactive=True).paths["html"])
    assert [dict(attributes) for attributes, _ in page.scripts] == [
        {"type": "application/json", "id": "report-data"},
        {},
        {},
    ]
    assert page.scripts[2][1] == interactive.SCRIPT.read_text()
    assert "img" not in page.tags
    assert "<script><img src=x" in json.dumps(page.model)
    assert "\u202e" not in page.text + json.dumps(page.model, ensure_ascii=False)


def test_without_plotly_the_page_is_static_and_asking_for_more_names_the_command(sweep, without_plotly, capsys):
    page = Page(write_report([sweep]).paths["html"])
    assert page.scripts == []
    assert page.links == []
    assert page.size < 400_000
    with pytest.raises(RequestError, match="interactive: plotly is not installed: pip install"):
        write_report([sweep], interactive=True)
    assert cli.main(["report", str(sweep), "--interactive"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["error: interactive: plotly is not installed: pip install 'lightning_d2l[interactive]'"]


def test_a_page_is_interactive_by_default_and_never_loads_the_package(sweep):
    import sys

    before = "plotly" in sys.modules
    assert cli.main(["report", str(sweep)]) == 0
    assert len(Page(sweep / "report.html").scripts) == 3
    assert ("plotly" in sys.modules) == before
    assert cli.main(["report", str(sweep), "--no-interactive"]) == 0
    assert Page(sweep / "report.html").scripts == []


def test_what_the_page_holds_does_not_grow_with_the_runs(tmp_path):
    sizes = []
    for seeds in (20, 200):
        axes = {"optimizer.lr": [0.1, 0.2, 0.3], "seed": range(seeds)}
        sweep = write_sweep(tmp_path / str(seeds), axes, lambda lr, seed: {"loss/val": lr + 0.001 * (seed % 7)})
        findings = report.find([sweep])
        found = interactive.content(findings, report.picture_of(findings.study, findings.points, findings.runs), None)
        model = found["model"]
        for panel in model["panels"]:
            for line in panel["lines"]:
                assert len(line.pop("dots", {"x": []})["x"]) <= 600
        sizes.append(len(json.dumps(model)))
    assert abs(sizes[1] - sizes[0]) < 0.1 * sizes[0]


def test_a_zero_has_a_place_on_a_logarithmic_axis_and_names_have_none(tmp_path):
    decay = {"optimizer.weight_decay": [0, 0.01, 0.1, 1.0], "seed": [0, 1]}
    x = Page(
        write_report([write_sweep(tmp_path / "decay", decay, lambda d, s: {"loss/val": 1 + d})]).paths["html"]
    ).model["x"]
    assert x["log"]
    assert x["zero"] == pytest.approx(0.001)
    names = {"model.activation": ["relu", "tanh"], "seed": [0, 1]}
    x = Page(
        write_report([write_sweep(tmp_path / "names", names, lambda a, s: {"loss/val": 1.0})]).paths["html"]
    ).model["x"]
    assert (x["names"], x["can_log"]) == (["ReLU", "tanh"], False)


def test_three_keys_have_parallel_coordinates_with_the_metric_last_and_the_best_first(tmp_path):
    axes = {"optimizer.lr": [0.001, 0.01, 0.1, 1], "model.num_hiddens": [8, 16], "model.activation": ["relu", "tanh"]}
    sweep = write_sweep(tmp_path, axes, lambda lr, h, a: {"loss/val": lr + 1 / h + (a == "tanh")})
    found = Page(write_report([sweep]).paths["html"]).model["parallel"]
    assert [axis["label"] for axis in found["axes"]] == [
        "learning rate",
        "number of hidden units",
        "activation",
        "loss/val",
    ]
    rate, _, activation, loss = found["axes"]
    assert rate["values"][0] == pytest.approx(-3)  # its logarithm
    assert dict(zip(rate["ticks"], rate["texts"], strict=True))[-3] == "0.001"
    assert activation["texts"] == ["ReLU", "tanh"]
    assert len(loss["values"]) == 16
    assert loss["values"] == sorted(loss["values"])
    assert found["said"][0].startswith("loss/val 0.0635: optimizer.lr=0.001, ")
    two = write_sweep(tmp_path / "two", AXES, losses)
    assert Page(write_report([two]).paths["html"]).model["parallel"] is None


def test_a_search_has_one_table_with_the_best_first_and_no_paragraph_a_trial(tmp_path):
    for n in range(12):
        setting = {"optimizer.lr": 0.2 + (n - 5) ** 2 / 100, "model.dropout": n / 20}
        write_run(tmp_path / f"trial={n}", setting, {"loss/train": 1.0, "loss/val": 1 + setting["optimizer.lr"]})
    page = write_report([tmp_path], interactive=False).paths["html"].read_text()
    assert page.count("<p>") == 4  # what to run next, the diagnoses and their rule, the runs
    assert "Of 12 settings: " in page
    body = page[page.index("<h2>Settings</h2>") :]
    first = body[body.index("<tbody>") :].split("</tr>")[0]
    assert "<td>0.25</td><td>0.2</td>" in first.replace("\n", "")
