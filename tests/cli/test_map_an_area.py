"""The way from scenes to a map, as the page of the documentation tells it, at small size."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.cli.conftest import FEW_BANDS, run_here, succeed_here

PAGE = Path(__file__).parents[2] / "docs/map-an-area.md"
WEST_DATES = """
viirs: [2020-08-08, 2020-08-11]
sentinel1: [2020-07-23]
sentinel2: [2020-08-11, 2020-08-16]
landsat8: [2020-08-30]
"""

SMALL = {
    "sample west": "--size 12 --dates west-dates.yml",
    "sample east": "--size 8",
    "cut": "--workers 1",
    "preprocess": f"--workers 1 --val-fraction 0.5 --set 'selected_bands={FEW_BANDS}'",
    "train": "--max-epochs 1 --wandb disabled",
    "predict": "--workers 1",
}
"""What makes each command quick; of an option that is given twice the last counts."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the page's first commands were run."""
    folder = tmp_path_factory.mktemp("area")
    (folder / "west-dates.yml").write_text(WEST_DATES)
    code = re.search("```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    for line in code[1].splitlines():
        words = shlex.split(line, comments=True)
        if words[0] == "printf":
            (folder / words[-1]).write_text(words[1].encode().decode("unicode_escape"))
            continue
        small = next(flags for start, flags in SMALL.items() if " ".join(words[1:]).startswith(start))
        succeed_here(folder, *words[1:], *shlex.split(small))
    return folder


def test_the_commands_of_the_page_map_the_neighbouring_area(folder: Path) -> None:
    with rasterio.open(folder / "map/map.tif") as mapped, rasterio.open(folder / "east/truth.tif") as truth:
        assert mapped.crs == truth.crs
        assert mapped.bounds == truth.bounds
        assert set(np.unique(mapped.read(1))) <= {0, 1, 2, 3, 4}
    names = {path.name for path in (folder / "map").iterdir()}
    assert {"map.html", "settlements.gpkg", "settlements.csv", "item.json", "predict.yml"} <= names
    assert "2023-08-06" in (folder / "map/predict.yml").read_text()


def test_likely_mistakes_of_mapping_are_answered_with_their_fix(folder: Path) -> None:
    for words, code, said in (
        ("predict wets east/scenes --out other", 3, "west"),
        ("predict west east/scene --out other", 3, "east/scene"),
        ("predict west east/scenes --out west", 2, "west"),
    ):
        done = run_here(folder, *words.split())
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert (folder / "west/truth.tif").exists()
