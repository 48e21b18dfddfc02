import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from esdseg.scoring.results import make_report
from tests.report.made_folder import made_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of made-up predictions with its report; not to be changed."""
    made = made_folder(tmp_path_factory.mktemp("predictions") / "crossed")
    make_report(str(made))
    return made


@pytest.fixture
def own_folder(folder: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return shutil.copytree(folder, tmp_path / "crossed")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A headless Chromium; skips where there is none.

    It ends with its module, since its event loop would be in the way of other tests' loops.
    """
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'"
    )
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("no Chromium is installed to open the report in: apt-get install chromium")
    # Chromium's sandbox does not work for root.
    arguments = [*QUIET, "--no-sandbox"] if os.geteuid() == 0 else list(QUIET)
    with api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=executable, args=arguments)
        yield chromium
        chromium.close()
