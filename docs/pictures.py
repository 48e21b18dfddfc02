"""Makes the pictures of the documentation anew; see ``make pictures``."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).with_name("images")
TILE = "Tile3"
"""The validation tile of the demo that is shown."""

WIDTH_PX, HEIGHT_PX = 1200, 840


def main(demo: Path, area: Path) -> None:
    """Copy a tile's picture of the demo, and photograph the page of a map.

    Args:
        demo: Folder of the demo's evaluation.
        area: Folder that ``esdseg predict`` wrote.
    """
    shutil.copyfile(demo / TILE / "comparison.png", IMAGES / "comparison.png")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX})
        page.goto((area / "map.html").absolute().as_uri())
        page.wait_for_timeout(1000)
        page.screenshot(path=IMAGES / "map.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
