import os
import signal
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests run side by side, a process a core

import pytest

from lightning_d2l.data.download import MD5, data_root

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, in all programs that the tests start

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def official_root() -> str:
    """The data root with the official Fashion-MNIST; tests of published numbers are skipped without it."""
    root = data_root(os.environ.get("LIGHTNING_D2L_DATA"))
    if not all((root / "FashionMNIST" / "raw" / name).exists() for name in MD5):
        pytest.skip("official Fashion-MNIST not found (LIGHTNING_D2L_DATA)")
    return str(root)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative outputs/ of a test stay out of the checkout, and so does the data root's relative path."""
    if root := os.environ.get("LIGHTNING_D2L_DATA"):
        monkeypatch.setenv("LIGHTNING_D2L_DATA", str(Path(root).resolve()))
    monkeypatch.chdir(tmp_path)
