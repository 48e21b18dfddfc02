import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from esdseg.scoring.results import make_report
from tests.report.made_folder import made_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHONE = {"width": 375, "height": 700}
DESKTOP = {"width": 1200, "height": 800}

CONTRAST_OF_TEXT = 4.5
"""Of normal text by WCAG 2.1, success criterion 1.4.3, level AA."""

Open = Callable[..., "Page"]

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


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[Open]:
    """Open a page in a fresh context; on leaving, nothing may have been complained of or asked for."""
    complaints: list[str] = []
    requests: list[str] = []
    contexts = []

    def opened(path: Path, **context: Any) -> "Page":
        contexts.append(browser.new_context(**{"viewport": DESKTOP, **context}))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert sum(url.startswith("file:") for url in requests) == len(contexts)


@pytest.fixture
def low_contrast() -> Callable[["Page"], list[str]]:
    """Return the texts of a page that stand out too little, by WCAG."""

    def find(page: "Page") -> list[str]:
        script = Path(__file__).with_name("contrast.js").read_text()
        found = page.evaluate(script.partition("\n")[2], CONTRAST_OF_TEXT)
        assert found["seen"] > 30
        return list(found["low"])

    return find
