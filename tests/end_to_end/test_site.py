"""The documentation site: built without a warning, and without a fault in Chromium as wide as a phone and a desktop."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests import chromium
from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.apart]
opened = pytest.mark.skipif(bool(chromium.missing()), reason=chromium.missing())
BROKEN = """<!doctype html><html lang="en"><head><title>A page</title></head><body><main><h1>A page</h1>
<img src="there.png" width="10" height="10"><div style="width: 1000px">wide</div>
<script>console.error("the script failed"); fetch("http://127.0.0.1:9/asked")</script></main></body></html>"""


def program(name: str) -> ModuleType:
    """A program of docs/site."""
    spec = importlib.util.spec_from_file_location(f"site_{name}", ROOT / f"docs/site/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@opened
def test_a_page_with_faults_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.html").write_text(BROKEN)
    assert program("check").check(tmp_path, ["broken.html"]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("broken.html")]
    faults = (
        "390 pixels: image-alt",
        "1280 pixels: image-alt",
        "the script failed",
        "http://127.0.0.1:9/asked",
        "390 pixels: 6",
    )
    for fault in faults:
        assert fault in line
    assert line.count("wider than the window") == 1


@opened
def test_no_page_of_the_site_has_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sphinx", reason="pip install -e '.[docs]'")
    program("build").build(tmp_path / "site")
    check = program("check")
    pages = check.pages(tmp_path / "site")
    assert {"index.html", "zh/index.html", "reference.html", "zh/performance.html", "search.html"} <= {*pages}
    assert check.check(tmp_path / "site", pages) == 0, capsys.readouterr().out


def test_a_picture_that_is_replaced_during_the_build_is_the_same_in_both_languages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, copied = program("build"), dict[Path, Path]()
    monkeypatch.setattr(build, "ROOT", tmp_path)
    picture, places = tmp_path / "picture.png", {}
    for language in ("zh", "en"):
        (tmp_path / f"{language}.md").write_text("![a picture](picture.png) ![again](picture.png)")
        places[language] = {tmp_path / f"{language}.md": "page"}
    monkeypatch.setattr(build, "write_reference", lambda path: None)
    for language in places:
        picture.write_text(language)
        build.write_source(tmp_path / "made" / language, language, places, copied)
        assert (tmp_path / "made" / language / "_files" / "picture.png").read_text() == "zh"
