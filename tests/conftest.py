import copy
import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests run side by side, a process a core

import pytest
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.plugins.config_source import ConfigResult

from lightning_d2l.config.compose import CONF
from lightning_d2l.data.download import MD5, data_root

if hasattr(signal, "SIGHUP"):  # not on Windows
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, in all programs that the tests start

ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first, or the last one keeps one worker busy while the others have nothing left."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Full garbage collections, a tenth of the time of small runs, leave out what is imported."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _shipped_configuration_is_read_once() -> Iterator[None]:
    """Hydra reads each file of conf/ again for every composition, which takes a fifth of the time of one."""
    load, read = FileConfigSource.load_config, {}

    def load_config(self: FileConfigSource, config_path: str) -> ConfigResult:
        if not Path(self.path).is_relative_to(CONF):
            return load(self, config_path)
        if (self.path, config_path) not in read:
            read[self.path, config_path] = load(self, config_path)
        return copy.deepcopy(read[self.path, config_path])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileConfigSource, "load_config", load_config)
        yield


@pytest.fixture(scope="session")
def official_root() -> str:
    """The data root with the official Fashion-MNIST; tests of published numbers are skipped without it."""
    root = data_root(os.environ.get("LIGHTNING_D2L_DATA"))
    if not all((root / "FashionMNIST" / "raw" / name).exists() for name in MD5):
        pytest.skip("official Fashion-MNIST not found (LIGHTNING_D2L_DATA)")
    return str(root)


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and reports draw no figures, which take most of a small one's time; test_run and tests/studies see them."""
    from lightning_d2l.studies import report
    from lightning_d2l.training import extras

    monkeypatch.setattr(extras, "draw", lambda *_: [])
    monkeypatch.setattr(report, "_drawn", lambda findings: None)


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """What a program says that refuses its words: one or two lines of error, nothing else, and it leaves no file."""

    def said(main: Callable[[list[str]], int], words: list[str]) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert main(words) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert 1 <= len(captured.err.splitlines()) <= 2
        assert sorted(tmp_path.rglob("*")) == before
        return captured.err

    return said


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative outputs/ of a test stay out of the checkout, and so does the data root's relative path."""
    if root := os.environ.get("LIGHTNING_D2L_DATA"):
        monkeypatch.setenv("LIGHTNING_D2L_DATA", str(Path(root).resolve()))
    monkeypatch.chdir(tmp_path)
