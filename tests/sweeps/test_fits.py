"""A chunk that is larger than the memory is refused with the number of runs that fit."""

import re

import pytest

from lightning_d2l.config.check import RequestError
from lightning_d2l.sweeps import memory
from lightning_d2l.sweeps.fits import require_fits
from tests.sweeps.test_chunk_files import jobs


def test_the_number_of_runs_that_fit_is_told_and_is_accepted(tmp_path, monkeypatch):
    asked = jobs(tmp_path, "model=mlp", "data=polynomial", "model.num_hiddens=[512,512]", seeds=300)
    monkeypatch.setattr(memory, "free_bytes", lambda accelerator: 10**9)
    with pytest.raises(RequestError) as refused:
        require_fits(asked, 300, 500, 0.5)
    assert len(str(refused.value).splitlines()) == 1
    said = re.match(r"hydra.launcher.chunk_size=300: (\d+) runs like seed=0 fit into 50% of", str(refused.value))
    assert said
    fit = int(said[1])
    weights = 512 * 512  # of its largest layer, in five copies of 4 bytes
    assert 5 * 4 * weights * fit < 0.5 * 10**9
    require_fits(asked, fit, 500, 0.5)
    with pytest.raises(RequestError):
        require_fits(asked, fit + 1, 500, 0.5)
    require_fits(asked, 300, fit, 0.5)  # no more members train at once
    require_fits(asked[:fit], 300, 500, 0.5)
    assert not list(tmp_path.iterdir())
