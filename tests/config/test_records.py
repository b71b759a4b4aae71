"""Configurations that version 0.1.0 recorded are read as it behaved, never as another experiment's."""

import json
from pathlib import Path

import pytest

from lightning_d2l.config.check import RequestError, check
from lightning_d2l.config.records import has_other_streams, require_same_streams, up_to_date
from tests.conftest import ROOT
from tests.runs import config

RECORDS = sorted((ROOT / "tests" / "records_v1").glob("**/run.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_a_recorded_configuration_is_accepted_with_its_own_values(path: Path):
    recorded = json.loads(path.read_text())["config"]
    found = up_to_date(recorded)
    check(found)
    automatic = recorded["trainer"].pop("automatic_optimization")
    assert found["trainer"].pop("engine") == ("lightning" if automatic else "auto")
    if "exact" in recorded["optimizer"]["_target_"]:
        recorded["optimizer"]["_target_"] = "lightning_d2l.engine.exact.Exact"
    since = {"logger": {}, "callbacks": {}, "metrics": [], "scheduler": None, "reference": None}
    since |= {"trainer": found["trainer"]}
    assert found == recorded | since
    assert recorded["trainer"].items() <= found["trainer"].items()


def test_settings_that_a_record_lacks_get_the_value_that_it_was_trained_by():
    whole = config("model=linear_regression", "optimizer=adam", "loss=mse")
    old = {key: dict(value) if isinstance(value, dict) else value for key, value in whole.items()}
    del old["penalty"], old["gradients"], old["information"]
    del old["data"]["folds"], old["data"]["fold"], old["data"]["test_seed"], old["optimizer"]["fused"]
    del old["model"]["input_noise"], old["model"]["dropout"], old["trainer"]["save_predictions"]
    old["trainer"] = old["trainer"] | {"automatic_optimization": False}
    del old["trainer"]["engine"]
    old["model"]["init"] = {"name": "normal", "std": 0.01, "value": 0.1}
    found = up_to_date(old)
    assert found == whole | {"optimizer": whole["optimizer"] | {"fused": False}}
    assert (found["loss"], found["optimizer"]["weight_decay"]) == ("mse", 0.0)


def test_a_custom_model_gets_no_settings_added():
    old = config("model=mlp") | {"model": {"_target_": "my_package.MyNet", "depth": 3}}
    assert up_to_date(old) == old


def test_records_of_today_have_the_same_streams():
    assert not has_other_streams({"versions": {"lightning_d2l": "0.2.0"}})
    require_same_streams({}, "run")
    with pytest.raises(RequestError, match=r"^run: recorded by version 0\.1\.0, which drew"):
        require_same_streams({"versions": {"lightning_d2l": "0.1.0"}}, "run")
