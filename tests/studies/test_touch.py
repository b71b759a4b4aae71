"""report.html in Chromium: what answers to a pointer and to keys, what it asks for, and what axe-core says of it."""

import contextlib
import re

import pytest

from lightning_d2l import app
from lightning_d2l.studies.findings import find
from lightning_d2l.studies.report import report, write
from lightning_d2l.sweeps.fitted import fitted
from tests import chromium
from tests.studies.records import write_sweep

pytestmark = [
    pytest.mark.apart,
    pytest.mark.slow,
    pytest.mark.skipif(bool(chromium.missing()), reason=chromium.missing()),
]


@pytest.fixture(scope="module")
def browser():
    with chromium.browser() as found:
        yield found


@pytest.fixture(scope="module")
def polynomials(tmp_path_factory):
    """The report of a small study of functions of one variable."""
    folder = tmp_path_factory.mktemp("polynomials")
    words = ["study=capacity", "data.degree=0,1,3,6", "seed=range(4)", "data.n_train=20", "trainer.max_epochs=20"]
    words += ["logger=none", f"hydra.sweep.dir={folder}"]
    assert app.main(words) == 0
    return write(find([folder]), folder, interactive=True, fitted=fitted).paths["html"]


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """The report of a sweep over three keys, one of which are names; the runs' names are hostile."""
    axes = {
        "optimizer.lr": [0.01, 0.1, 1],
        "model.num_hiddens": [8, 16],
        "model.activation": ["relu", "<b>x</b>"],
        "seed": [0, 1],
    }
    folder = write_sweep(
        tmp_path_factory.mktemp("grid"), axes, lambda lr, h, a, s: {"loss/val": lr + 1 / h + (a == "relu") + s / 9}
    )
    return report([folder], interactive=True).paths["html"]


@contextlib.contextmanager
def opened(browser, path, width=1280, **options):
    page = browser.new_page(viewport={"width": width, "height": 900}, **options)
    watched = chromium.Watched(page, path)
    page.wait_for_function("document.body.dataset.drawn === 'true'")
    yield page
    assert (watched.requests, watched.errors) == ([], [])
    page.close()


def drawn(page, plot, expression):
    return page.evaluate(f"(() => {{ const gd = document.getElementById('{plot}'); return {expression}; }})()")


def test_a_pointer_at_a_marker_is_told_its_setting_estimate_and_runs(browser, polynomials):
    with opened(browser, polynomials) as page:
        markers = page.locator("#panel-0 .scatterlayer .trace .points path")
        marker = page.locator("#panel-0 .scatterlayer .trace:has(.js-line) .points path").nth(2)
        assert markers.count() > 4
        box = marker.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_selector("#panel-0 .hoverlayer .hovertext")
        told = page.locator("#panel-0 .hoverlayer").text_content()
        assert re.search(r"data\.degree=3, optimizer=\w+loss/train: (mean|median) [\d.]+", told)
        assert "95 % interval" in told
        assert "n = 4" in told
        assert "seed=0" in told


def test_a_name_hides_its_curve_and_a_switch_changes_the_axis_by_keyboard(browser, polynomials):
    with opened(browser, polynomials) as page:
        count = "gd.data.filter((trace) => trace.visible !== false).length"
        before = drawn(page, "panel-0", count)
        entry = page.locator("button[data-entry]").first
        entry.click()
        assert entry.get_attribute("aria-pressed") == "false"
        assert drawn(page, "panel-0", count) < before
        entry.press("Enter")
        assert drawn(page, "panel-0", count) == before
        for axis, first in (("x", "linear"), ("y", "log")):
            assert drawn(page, "panel-0", f"gd.layout.{axis}axis.type") == first
            page.locator(f"#log-{axis}").press("Space")
            assert drawn(page, "panel-0", f"gd.layout.{axis}axis.type") != first
        assert page.locator("#panel-0 .scatterlayer .points path").count() > 0


def test_the_slider_moves_the_fitted_curve_and_the_mark_on_the_errors(browser, polynomials):
    with opened(browser, polynomials) as page:
        fit, mark = "gd.data.at(-1).y.slice()", "gd.layout.shapes[0].x0"
        slider = page.locator("#fit-x")
        slider.focus()
        page.keyboard.press("Home")
        page.wait_for_function("document.getElementById('fit-x-value').textContent === '0'")
        flat = drawn(page, "fit-curve", fit)
        assert max(flat) - min(flat) < 1e-3
        assert drawn(page, "fit-errors", mark) == 0
        box = slider.bounding_box()
        page.mouse.move(box["x"] + 8, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2, steps=5)
        page.mouse.up()
        page.wait_for_function("document.getElementById('fit-x-value').textContent === '6'")
        assert drawn(page, "fit-curve", fit) != flat
        assert drawn(page, "fit-errors", mark) == 6
        assert slider.get_attribute("aria-valuetext").startswith("6; training ")
        assert "optimizer=exact" in page.locator("#fit-said").text_content()  # that of the best setting
        page.locator("#fit-of").select_option(index=0)
        assert "optimizer=sgd" in page.locator("#fit-said").text_content()


def test_a_range_on_an_axis_keeps_the_settings_in_it(browser, grid):
    with opened(browser, grid) as page:
        kept = page.locator("#parallel-kept")
        assert kept.text_content().startswith("12 of 12 settings; the best of them: loss/val 0.1281: optimizer.lr=0.01")
        page.locator("#parallel").scroll_into_view_if_needed()
        axis = page.locator("#parallel .axis-brush .background").first.bounding_box()
        x = axis["x"] + axis["width"] / 2
        page.mouse.move(x, axis["y"] + 3)
        page.mouse.down()
        page.mouse.move(x, axis["y"] + 0.3 * axis["height"], steps=8)
        page.mouse.up()
        page.wait_for_function("!document.getElementById('parallel-kept').textContent.startsWith('12')")
        assert kept.text_content().startswith("4 of 12 settings; the best of them: loss/val 1.118: optimizer.lr=1,")
        assert page.locator("#parallel b").count() == 0  # the names are text


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("touched", [True, False])
def test_axe_finds_no_violation_and_nothing_is_wider_than_the_page(
    browser, polynomials, grid, width, touched, tmp_path
):
    from axe_playwright_python.sync_playwright import Axe

    for path in (polynomials, grid):
        if not touched:
            path = report([path.parent], tmp_path / path.parent.name, interactive=False).paths["html"]  # noqa: PLW2901
        page = browser.new_page(viewport={"width": width, "height": 800})
        watched = chromium.Watched(page, path)
        if touched:
            page.wait_for_function("document.body.dataset.drawn === 'true'")
        found = Axe().run(page)
        assert [violation["id"] for violation in found.response["violations"]] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert (watched.requests, watched.errors) == ([], [])
        page.close()


def test_without_scripts_and_in_print_the_page_is_the_static_one(browser, polynomials):
    page = browser.new_page(java_script_enabled=False)
    page.goto(polynomials.resolve().as_uri())
    assert page.locator("figure.static svg").is_visible()
    assert not page.locator("#panel-0").is_visible()
    page.close()
    with opened(browser, polynomials) as page:
        assert not page.locator("figure.static svg").is_visible()
        page.emulate_media(media="print")
        assert page.locator("figure.static svg").is_visible()
        assert not page.locator("#fit-x").is_visible()
        page.emulate_media(media="screen")
