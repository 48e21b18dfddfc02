"""The page of a map as a person meets it in headless Chromium."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from esdseg.report.map_page import LISTED_SETTLEMENTS, ListedSettlement, MapPage, write_map_page
from tests.report.conftest import PHONE, Open

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROWS, COLUMNS = 30, 40
BOX = (10, 20, 4, 6)
"""First row and column, rows and columns of the first settlement."""

SETTLEMENT = ListedSettlement(1, 1, BOX, 33.0, -10.0, 6.0, 0.8, 1234.0, 2.5, None)


@pytest.fixture(scope="module")
def made() -> MapPage:
    generator = np.random.default_rng(0)
    labels = np.full((ROWS, COLUMNS), 1, np.uint8)
    labels[10:14, 20:26], labels[2:4, 2:4], labels[:2], labels[28:] = 0, 2, 3, 255
    probabilities = np.full((4, ROWS, COLUMNS), 0.1, np.float32)
    for label in range(4):
        probabilities[label][labels == label] = 0.7
    probabilities[:, labels == 255] = np.nan
    picture = generator.integers(60, 200, (ROWS * 10, COLUMNS * 10, 3), dtype=np.uint8)
    other = replace(SETTLEMENT, rank=2, code=3, box=(2, 2, 2, 2), population=None, distance_to_light_km=0.0)
    return MapPage(
        area="Chipata",
        run="first",
        checkpoints=("checkpoints/first/best.ckpt",),
        made_at=datetime(2024, 5, 1, 12, tzinfo=UTC),
        notes=("Some cells have few channels.",),
        dates={"sentinel2": (date(2023, 8, 11), date(2023, 8, 16))},
        reference_system="WGS 84 / UTM zone 36S (EPSG:32736)",
        corners=((32.0, -10.5), (32.4, -10.2)),
        labels=labels,
        probabilities=probabilities,
        picture=picture,
        settlements=(SETTLEMENT, other),
        ranked_by="population",
    )


@pytest.fixture(scope="module")
def path(made: MapPage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_map_page(tmp_path_factory.mktemp("page"), made)


def scale(page: "Page") -> float:
    script = "sheet => new DOMMatrix(getComputedStyle(sheet).transform).a"
    return float(page.locator(".sheet").evaluate(script))


def boxes(page: "Page", selector: str) -> tuple[float, float, float, float]:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["x"], box["y"], box["width"], box["height"]


def test_the_page_opens_with_its_layers_and_numbers(path: Path, open_page: Open) -> None:
    page = open_page(path)

    assert page.title() == "Chipata: esdseg map"
    sizes = [
        tuple(image.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])"))
        for image in page.locator(".frame img").all()
    ]
    assert sizes == [(COLUMNS * 10, ROWS * 10), *[(COLUMNS, ROWS)] * 3]
    numbers = page.locator("[aria-label='Cells of each class'] tbody td").all_inner_texts()
    assert numbers[:3] == ["24", "6.00", "2.1 %"]
    assert numbers[-3:] == ["80", "20.00", "–"]
    assert "about 1,234 people" in page.locator("section[aria-labelledby=numbers]").inner_text()
    cells = page.locator("[aria-label='Settlements by rank'] tbody tr").first.locator("td").all_inner_texts()
    assert cells == ["6.00", "1,234", "0.80", "2.5", "-10.000, 33.000"]
    assert "from sentinel2 of 2023-08-11 to 2023-08-16" in page.locator("header").inner_text()
    assert page.locator(".warning").inner_text() == "Some cells have few channels."


def test_a_click_on_a_rank_zooms_to_the_settlement(path: Path, open_page: Open) -> None:
    page = open_page(path)
    before = scale(page)
    page.locator(".go").first.click()

    assert scale(page) > 2 * before
    assert page.locator(".go").first.get_attribute("aria-pressed") == "true"
    x, y, width, height = boxes(page, ".frame")
    mark_x, mark_y, mark_width, mark_height = boxes(page, ".marks .mark")
    sheet_width = boxes(page, ".sheet")[2]
    assert mark_width == pytest.approx(sheet_width * BOX[3] / COLUMNS, abs=3), "and half of its stroke"
    stroke = page.locator(".marks .mark").evaluate("mark => parseFloat(getComputedStyle(mark).strokeWidth)")
    assert stroke * scale(page) == pytest.approx(2.5, rel=0.05)
    assert mark_x + mark_width / 2 == pytest.approx(x + width / 2, abs=2)
    assert mark_y + mark_height / 2 == pytest.approx(y + height / 2, abs=2)


def test_the_map_zooms_and_moves_by_wheel_mouse_keys_and_buttons(path: Path, open_page: Open) -> None:
    page = open_page(path)
    whole = scale(page)
    x, y, width, height = boxes(page, ".frame")
    page.mouse.move(x + width / 2, y + height / 2)
    page.mouse.wheel(0, -600)
    grown = "old => new DOMMatrix(getComputedStyle(document.querySelector('.sheet')).transform).a > old"
    page.wait_for_function(grown, arg=whole)
    left, top, *_ = boxes(page, ".sheet")
    page.mouse.down()
    page.mouse.move(x + width / 2 + 40, y + height / 2 - 30)
    page.mouse.up()
    moved_left, moved_top, *_ = boxes(page, ".sheet")
    assert (moved_left - left, moved_top - top) == pytest.approx((40, -30), abs=1)

    zoomed = scale(page)
    page.locator(".frame").press("+")
    assert scale(page) == pytest.approx(1.5 * zoomed, rel=0.01)
    page.get_by_label("Zoom out").click()
    assert scale(page) == pytest.approx(zoomed, rel=0.01)
    page.locator(".frame").press("ArrowLeft")
    assert boxes(page, ".sheet")[0] > moved_left
    page.get_by_label("Show all").click()
    assert scale(page) == pytest.approx(whole)
    for _ in range(30):
        page.get_by_label("Zoom out").click()
    assert scale(page) == pytest.approx(whole)


@pytest.mark.parametrize(("rows", "columns"), [(4, 90), (90, 4)], ids=["wide", "tall"])
def test_maps_of_any_shape_are_seen_whole_beside_the_list(
    made: MapPage, open_page: Open, tmp_path: Path, rows: int, columns: int
) -> None:
    labels = np.zeros((rows, columns), np.uint8)
    probabilities = np.full((4, rows, columns), 0.25, np.float32)
    picture = np.full((rows * 2, columns * 2, 3), 100, np.uint8)
    shaped = replace(made, labels=labels, probabilities=probabilities, picture=picture)
    page = open_page(write_map_page(tmp_path, shaped))
    x, y, width, height = boxes(page, ".frame")
    sheet_x, sheet_y, sheet_width, sheet_height = boxes(page, ".sheet")
    assert sheet_width / sheet_height == pytest.approx(columns / rows, rel=0.01)
    assert x - 1 <= sheet_x < sheet_x + sheet_width <= x + width + 1
    assert y - 1 <= sheet_y < sheet_y + sheet_height <= y + height + 1
    assert sheet_width == pytest.approx(width, rel=0.01) or sheet_height == pytest.approx(height, rel=0.01)
    assert x + width <= boxes(page, ".listing")[0]
    assert height <= 0.7 * 800 + 1


def test_the_scale_bar_is_as_long_as_it_says(path: Path, open_page: Open) -> None:
    page = open_page(path)
    for _ in range(2):
        length, unit = page.locator(".scale-bar").inner_text().split()
        km = float(length) / (1000 if unit == "m" else 1)
        sheet_km = COLUMNS * 0.5
        expected = boxes(page, ".sheet")[2] / sheet_km * km
        assert boxes(page, ".scale-bar span")[2] == pytest.approx(expected, rel=0.02)
        page.get_by_label("Zoom in").click()


def test_sliders_fade_layers_and_one_click_changes_the_colours(
    path: Path, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(path)

    def colors() -> set[tuple[int, ...]]:
        """The colours in and around the first settlement."""
        page.locator(".sheet").screenshot(path=tmp_path / "sheet.png")
        with Image.open(tmp_path / "sheet.png") as picture:
            width, height = picture.width / COLUMNS, picture.height / ROWS
            box = (int(18.5 * width), int(8.5 * height), int(22.5 * width), int(11.5 * height))
            pixels = np.asarray(picture.convert("RGB").crop(box)).reshape(-1, 3)
        return {tuple(color) for color in np.unique(pixels, axis=0).tolist()}

    page.get_by_label("Satellite image", exact=True).fill("0")
    page.get_by_label("Classes", exact=True).fill("100")
    # Cells are shown sharp, whatever their size.
    assert colors() == {(255, 0, 0), (0, 0, 255)}
    page.get_by_label("Colour-blind-safe colours").click()
    assert colors() == {(0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)}
    page.get_by_label("Confidence", exact=True).fill("100")
    assert len(colors()) == 1, "both classes are as sure"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_both_themes(
    path: Path, open_page: Open, scheme: str, low_contrast: Callable[["Page"], list[str]]
) -> None:
    page = open_page(path, viewport=PHONE, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert low_contrast(page) == []


def test_without_script_the_map_and_the_list_are_there(path: Path, open_page: Open) -> None:
    page = open_page(path, java_script_enabled=False)
    assert page.locator(".frame img:visible").count() == 3
    assert page.locator(".go:visible").count() == 2
    assert page.locator(".sliders:visible, .buttons:visible, .scale-bar:visible").count() == 0
    *_, width, height = boxes(page, ".sheet")
    assert height / width == pytest.approx(ROWS / COLUMNS, rel=0.01)


def test_names_are_texts_and_long_lists_are_cut(made: MapPage, open_page: Open, tmp_path: Path) -> None:
    hostile = "</title><script>alert(1)</script>"
    many = tuple(replace(SETTLEMENT, rank=rank) for rank in range(1, LISTED_SETTLEMENTS + 8))
    page = open_page(write_map_page(tmp_path, replace(made, area=hostile, settlements=many)))
    assert page.locator("h1").inner_text() == hostile
    assert page.locator("script").count() == 1
    assert page.locator(".go").count() == LISTED_SETTLEMENTS
    assert (
        f"The first {LISTED_SETTLEMENTS} of {LISTED_SETTLEMENTS + 7}" in page.locator(".listing").inner_text()
    )
    undated = replace(made, settlements=(), dates={"viirs": ()})
    empty = open_page(write_map_page(tmp_path, undated))
    assert "no settlement without electricity" in empty.locator(".listing").inner_text()
