"""Makes the pictures of the documentation anew; see ``make pictures``."""

import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from esdseg.sample.dates import contest_dates
from esdseg.sample.regions import REGIONS
from esdseg.sample.tile import generate_tile

IMAGES = Path(__file__).with_name("images")
TILE = "Tile3"
"""The validation tile of the demo that is shown."""

WIDTH_PX, HEIGHT_PX = 1200, 840

REGION_TILE = 4
"""The sample tile of seed 0 whose middle, 3.2 x 3.2 km, is shown of each region."""

REGION_SIDE_PX = 320
GAP_PX = 8
WHITE_REFLECTANCE = 2600.0
"""Reflectance x 10 000 that is shown white."""


def main(demo: Path, area: Path) -> None:
    """Copy a tile's picture of the demo, draw the regions, and photograph the page of a map.

    Args:
        demo: Folder of the demo's evaluation.
        area: Folder that ``esdseg predict`` wrote.
    """
    shutil.copyfile(demo / TILE / "comparison.png", IMAGES / "comparison.png")
    draw_regions(IMAGES / "regions.png")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX})
        page.goto((area / "map.html").absolute().as_uri())
        page.wait_for_timeout(1000)
        page.screenshot(path=IMAGES / "map.png")
        browser.close()


def draw_regions(path: Path) -> None:
    """Draw the regions of sample tiles side by side in true colour, on a clear date of Sentinel-2."""
    clear = contest_dates()["sentinel2"][1]
    dates = {**dict.fromkeys(contest_dates(), ()), "sentinel2": (clear,)}
    middle = slice((800 - REGION_SIDE_PX) // 2, (800 + REGION_SIDE_PX) // 2)
    pictures = []
    for region in REGIONS.values():
        rasters = generate_tile(0, REGION_TILE, dates, region).rasters
        colors = [
            rasters["sentinel2", clear.acquired, band][middle, middle] for band in ("B04", "B03", "B02")
        ]
        brightness = np.clip(np.stack(colors, axis=-1) / WHITE_REFLECTANCE, 0.0, 1.0) ** 0.7
        pictures += [brightness, np.ones((REGION_SIDE_PX, GAP_PX, 3))]
    side_by_side = np.rint(255 * np.concatenate(pictures[:-1], axis=1)).astype(np.uint8)
    Image.fromarray(side_by_side).quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
