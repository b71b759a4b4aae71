"""The driver of a sweep in chunks chooses the source of Fashion-MNIST, and no worker trains on another one."""

from pathlib import Path

import pytest

from lightning_d2l.config.check import RequestError
from lightning_d2l.data import download
from lightning_d2l.sweeps import one_source
from lightning_d2l.sweeps.one_source import require_official, settle_source
from lightning_d2l.sweeps.worker import main
from lightning_d2l.training.spec import RunSpec
from tests.runs import POLYNOMIAL, config
from tests.sweeps.test_worker import asked

IMAGES = ["model=softmax_regression", "data=fashion_mnist"]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def fails(*given):
        raise OSError("no network")

    monkeypatch.setattr(download, "_download", fails)
    one_source._found.cache_clear()


def jobs(folder, *overrides, number=2):
    base = config(*IMAGES, f"data.root={folder}", *overrides)
    return [RunSpec({**base, "seed": seed}, Path(f"seed={seed}")) for seed in range(number)]


@pytest.mark.parametrize("there", [True, False])
def test_auto_becomes_what_the_driver_has_in_every_job(there, tmp_path, monkeypatch):
    monkeypatch.setattr(one_source, "official_folder", lambda root, source: (tmp_path if there else None, ""))
    some = [*jobs(tmp_path), *jobs(tmp_path, "data.source=generated"), RunSpec(config(*POLYNOMIAL), Path("p"))]
    assert settle_source(some) == ([str(tmp_path)] if there else [])
    settled = "official" if there else "generated"
    assert [job.config["data"].get("source") for job in some] == [settled, settled, "generated", "generated", None]
    assert some[0].config["data"] is some[1].config["data"]  # so that the files of chunks stay small


def test_without_official_files_a_sweep_that_needs_them_is_refused(tmp_path):
    with pytest.raises(RequestError, match="put the four official"):
        settle_source(jobs(tmp_path, "data.source=official"))
    assert settle_source(jobs(tmp_path)) == []


def test_a_worker_without_the_official_files_of_the_driver_trains_nothing(tmp_path, capsys):
    at = asked(tmp_path, official=[str(tmp_path / "nowhere")])
    assert main([str(tmp_path), "0"]) == 2
    error = capsys.readouterr().err
    assert "has other data than the driver: data.root=" in error
    assert len(error.splitlines()) == 1
    assert not list(at.folder.glob("*.claim"))
    require_official([])
