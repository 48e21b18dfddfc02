"""The report as a person meets it: opened, clicked and photographed in headless Chromium."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from esdseg.scoring.results import make_report
from esdseg.sensors.classes import CLASSES
from tests.report.conftest import CONTRAST_OF_TEXT, DESKTOP, PHONE, Open
from tests.report.hostile import HOSTILE_RUN, HOSTILE_TILE, make_hostile
from tests.report.made_folder import TILE_WITHOUT_CLASS_1, TILES, read_json

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def report(folder: Path) -> Path:
    return folder / "report.html"


def shown_tiles(page: "Page") -> list[str]:
    return page.locator(".card h3").all_inner_texts()


def brightness(page: "Page", path: Path) -> float:
    page.screenshot(path=path)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.std() > 5, "the photograph is blank"
    return float(np.median(pixels))


def test_the_page_opens_with_its_headline(report: Path, folder: Path, open_page: Open) -> None:
    page = open_page(report)

    assert page.title() == "made-up on held-out tiles: esdseg report"
    assert page.locator(".headline .number").inner_text() == f"{read_json(folder)['contest_f1']:.3f}"
    # Pictures far below are decoded when they come near.
    for image in page.locator("img").all():
        image.scroll_into_view_if_needed()
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") in (150, 400)


def test_tiles_are_sorted_by_name_score_and_settlements(report: Path, folder: Path, open_page: Open) -> None:
    details = read_json(folder)["tiles_detail"]
    page = open_page(report)
    assert shown_tiles(page) == list(TILES)

    page.select_option("#order", "f1-rising")
    assert shown_tiles(page) == ["Tile1", "Tile2", "Tile4", TILE_WITHOUT_CLASS_1]
    page.select_option("#order", "f1-falling")
    assert shown_tiles(page) == ["Tile4", "Tile2", "Tile1", TILE_WITHOUT_CLASS_1]
    for order, sign in (("accuracy-falling", -1), ("accuracy-rising", 1)):
        page.select_option("#order", order)
        assert shown_tiles(page) == sorted(TILES, key=lambda tile: sign * details[tile]["accuracy"])
    page.select_option("#order", "settlements-falling")
    assert shown_tiles(page) == sorted(TILES, key=lambda tile: -sum(details[tile]["confusion_matrix"][0]))
    page.select_option("#order", "index")
    assert shown_tiles(page) == list(TILES)


def test_one_click_changes_every_class_colour(report: Path, open_page: Open) -> None:
    page = open_page(report)

    def colors(selector: str, name: str) -> list[str]:
        return [
            page.locator(selector.format(code=one.code)).first.evaluate(
                "(element, name) => getComputedStyle(element)[name]", name
            )
            for one in CLASSES
        ]

    def as_css(color: str) -> str:
        return f"rgb({int(color[1:3], 16)}, {int(color[3:5], 16)}, {int(color[5:], 16)})"

    places = {
        ".prediction path.class-{code}": "fill",
        ".truth path.class-{code}": "fill",
        "table .swatch.class-{code}": "backgroundColor",
        ".chart [style*='stroke: var(--class-{code})']": "stroke",
        ".chart [style*='fill: var(--class-{code})']": "fill",
    }
    for selector, name in places.items():
        assert colors(selector, name) == [as_css(one.color) for one in CLASSES]
    page.get_by_label("Colour-blind-safe colours").click()
    for selector, name in places.items():
        assert colors(selector, name) == [as_css(one.safe_color) for one in CLASSES]
    page.get_by_label("Colour-blind-safe colours").click()
    assert colors(".prediction path.class-{code}", "fill") == [as_css(one.color) for one in CLASSES]


def pixel(page: "Page", share: float, path: Path) -> tuple[int, ...]:
    """Photograph the stage of Tile2 and return its colour at a share of its width, off the cells' edges."""
    page.locator("#tile-2 .stage").screenshot(path=path)
    with Image.open(path) as picture:
        found = picture.convert("RGB").getpixel((int(share * picture.width), int(0.03 * picture.height)))
    assert isinstance(found, tuple)
    return tuple(map(int, found))


def test_the_slider_moves_between_two_maps_by_mouse_and_keys(
    report: Path, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(report)
    slider = page.get_by_label("Tile2: share of the left map")
    stage = page.locator("#tile-2 .stage")
    page.select_option("#left-layer", "satellite")
    page.select_option("#right-layer", "errors")
    photograph = tmp_path / "stage.png"

    slider.fill("100")
    satellite = pixel(page, 0.66, photograph)
    slider.fill("0")
    errors = pixel(page, 0.66, photograph)
    assert satellite != errors

    box = stage.bounding_box()
    assert box is not None
    slider.click(position={"x": 0.75 * box["width"], "y": 20})
    assert 70 <= int(slider.input_value()) <= 80
    assert pixel(page, 0.66, photograph) == satellite
    slider.press("Home")
    assert slider.input_value() == "0"
    assert pixel(page, 0.66, photograph) == errors
    slider.press("ArrowRight")
    assert slider.input_value() == "1"


def test_both_sides_can_show_any_map_with_its_legend(report: Path, open_page: Open) -> None:
    page = open_page(report)

    def visible() -> list[str]:
        panes = page.locator("#tile-1 .pane").all()
        return [str(pane.get_attribute("class")).removeprefix("pane ") for pane in panes if pane.is_visible()]

    assert visible() == ["satellite", "prediction"]
    assert not page.locator(".legend-confidence").is_visible()
    page.select_option("#left-layer", "truth")
    page.select_option("#right-layer", "confidence")
    assert visible() == ["truth", "confidence"]
    assert page.locator(".legend-confidence").is_visible()
    page.select_option("#left-layer", "errors")
    assert page.locator(".legend-errors").is_visible()
    page.select_option("#right-layer", "errors")
    assert visible() == ["errors"]


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_nothing_is_wider_than_the_screen(
    report: Path, open_page: Open, tmp_path: Path, viewport: dict[str, int]
) -> None:
    page = open_page(report, viewport=viewport)

    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    assert brightness(page, tmp_path / "page.png") > 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_in_both_themes(report: Path, open_page: Open, tmp_path: Path, scheme: str) -> None:
    page = open_page(report, color_scheme=scheme)

    assert (brightness(page, tmp_path / "page.png") < 60) == (scheme == "dark")
    page.select_option("#right-layer", "errors")
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    script = Path(__file__).with_name("contrast.js").read_text()
    found = page.evaluate(script.partition("\n")[2], CONTRAST_OF_TEXT)
    assert found["seen"] > 300
    assert found["low"] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_that_scrolls_shows_that_it_goes_on(
    report: Path, open_page: Open, tmp_path: Path, scheme: str
) -> None:
    page = open_page(report, viewport=PHONE, color_scheme=scheme)
    table = page.get_by_label("Scores of each class")

    def edges() -> tuple[float, float]:
        """Photograph the table and return how bright its left and right edges are, apart from texts."""
        table.screenshot(path=tmp_path / "table.png")
        with Image.open(tmp_path / "table.png") as picture:
            pixels = np.asarray(picture.convert("L"), float)
        return float(np.median(pixels[:, 1])), float(np.median(pixels[:, -2]))

    assert table.evaluate("region => region.scrollWidth > region.clientWidth")
    left, right = edges()
    assert abs(right - left) > 30
    table.evaluate("region => { region.scrollLeft = region.scrollWidth; }")
    scrolled_left, scrolled_right = edges()
    assert abs(scrolled_left - left) > 30
    assert abs(scrolled_right - left) < 10

    fitting = page.get_by_label("Calibration without and with the temperature")
    assert fitting.evaluate("region => region.scrollWidth == region.clientWidth")
    table = fitting
    left, right = edges()
    assert abs(right - left) < 10


def test_no_heading_stands_alone_on_paper_and_legends_stand_with_their_tiles(
    report: Path, open_page: Open
) -> None:
    page = open_page(report, viewport={"width": 794, "height": 1000})
    page.emulate_media(media="print")

    def styles(selector: str, name: str) -> set[str]:
        script = "(all, name) => all.map(one => getComputedStyle(one)[name])"
        return set(page.locator(selector).evaluate_all(script, name))

    assert styles("h1, h2, h3, summary, thead", "breakAfter") == {"avoid"}
    assert styles(".card, tr, .chip, .chart, .legends", "breakInside") == {"avoid"}
    # A head of a table is repeated on every page.
    assert styles(".legends", "display") == {"table-header-group"}
    assert styles(".gallery", "display") == {"table"}


def test_paper_is_light_and_shows_every_map_but_settings_folded(
    report: Path, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(report, color_scheme="dark", viewport={"width": 794, "height": 1000})
    page.emulate_media(media="print")

    assert brightness(page, tmp_path / "page.png") > 200
    assert page.locator("#tile-1 .pane:visible").count() == 5
    assert page.locator(".pane-title:visible").count() == 5 * len(TILES)
    assert page.locator("summary:visible").count() == 2
    assert page.locator("pre:visible").count() == 0
    for selector in (".slider", ".toolbar", "nav", ".switch"):
        assert page.locator(f"{selector}:visible").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 794


def test_without_script_everything_is_there(report: Path, open_page: Open) -> None:
    page = open_page(report, java_script_enabled=False, viewport=PHONE)

    assert page.locator(".pane:visible").count() == 5 * len(TILES)
    assert page.locator("pre:visible").count() == 0
    for summary in page.locator("summary").all():
        summary.click()
    assert page.locator("pre:visible").count() == 2
    assert page.locator(".toolbar:visible, .slider:visible").count() == 0
    page.get_by_label("Colour-blind-safe colours").click()
    assert page.get_by_label("Colour-blind-safe colours").is_checked()


def test_hostile_names_are_texts(own_folder: Path, open_page: Open) -> None:
    page = open_page(make_report(str(make_hostile(own_folder))))

    assert page.title() == f"{HOSTILE_RUN} on held-out tiles: esdseg report"
    assert page.locator("h1").inner_text() == HOSTILE_RUN
    assert shown_tiles(page)[0] == HOSTILE_TILE
    page.select_option("#order", "f1-falling")
    assert HOSTILE_TILE in shown_tiles(page)
    assert page.locator("script").count() == 1
    assert page.title().startswith("</title>")
