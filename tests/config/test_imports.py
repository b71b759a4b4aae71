"""Large packages are imported without garbage collection, in every program."""

import gc
import subprocess
import sys

import pytest

from lightning_d2l.config import imports


@pytest.fixture
def finder(monkeypatch, tmp_path):
    """A finder of the modules `outer`, which imports `inner`, and `broken`; each says whether the collector runs."""
    (tmp_path / "outer.py").write_text("import gc\nfirst = gc.isenabled()\nimport inner\nlast = gc.isenabled()\n")
    (tmp_path / "inner.py").write_text("import gc\nrests = not gc.isenabled()\n")
    (tmp_path / "broken.py").write_text("raise ImportError('no such library')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(imports, "LARGE", ("outer", "inner", "broken"))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    imports.faster()
    imports.faster()
    assert sum(isinstance(each, imports.Imports) for each in sys.meta_path) == 1
    yield
    for name in ("outer", "inner", "broken"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("finder")
def test_the_collector_rests_until_the_outermost_import_ends():
    import outer

    assert (outer.first, outer.inner.rests, outer.last) == (False, True, False)
    assert gc.isenabled()
    with pytest.raises(ImportError, match="no such library"):
        import broken  # noqa: F401
    assert gc.isenabled()


@pytest.mark.usefixtures("finder")
def test_a_collector_that_is_off_stays_off():
    gc.disable()
    try:
        import inner

        assert inner.rests
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_each_program_imports_so():
    code = (
        "import sys, types; from lightning_d2l.__main__ import program; from lightning_d2l.config import imports\n"
        "room = sys.modules['room'] = types.ModuleType('room')\n"
        "room.main = lambda: sum(isinstance(finder, imports.Imports) for finder in sys.meta_path)\n"
        "program('room')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
