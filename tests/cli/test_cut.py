"""From a scene to a store by the commands: sample --scene, cut, check and preprocess."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from esdseg.store.store import open_store
from esdseg.tiles.discovery import find_tiles
from tests.cli.conftest import run_here, succeed, succeed_here


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    done = succeed_here(folder, "sample", "here", "--scene", "--size", 8, "--seed", 3)
    assert done.stdout.endswith(
        "Next: esdseg cut here/scenes here/tiles --buildings here/buildings.geojson --lit here/lit.gpkg\n"
    )
    return folder


CUT = ("cut", "here/scenes", "tiles", "--buildings", "here/buildings.geojson", "--lit", "here/lit.gpkg")


def test_a_scene_becomes_a_store_whose_labels_are_the_truth(scene: Path) -> None:
    planned = json.loads(succeed_here(scene, *CUT, "--dry-run", "--json").stdout)
    assert (planned["tiles"], planned["crs"]) == (1, "EPSG:32736")
    assert not (scene / "tiles").exists()
    done = succeed(scene, *CUT, "--workers", 1)
    assert "tiles: 1 tile written, 0 kept; EPSG:32736" in done.stdout
    assert "1 tile in EPSG:32736. Needs about" in done.stderr
    with rasterio.open(scene / "here/truth.tif") as file:
        truth = file.read(1)
    (tile,) = find_tiles(scene / "tiles")
    assert len(tile.rasters) == 4 + 2 * 2 + 3 * 12 + 2 * 11
    few = "selected_bands={sentinel2: [B02, B04], sentinel1: [VV], viirs: [DNB_max]}"
    succeed_here(scene, "preprocess", "--raw-dir", "tiles", "--val-fraction", 1, "--set", few, "--workers", 1)
    store = open_store(scene / "data/processed", 4)
    np.testing.assert_array_equal(store.labels("Tile1") + 1, truth)
    again = json.loads(succeed_here(scene, *CUT, "--json").stdout)
    assert (again["written"], again["kept"]) == ([], 1)
    assert sum(again["label_cells"].values()) == 256


def test_the_next_command_keeps_the_description_of_the_sensors(scene: Path) -> None:
    described = ("--sensors", "s2-s1", "--workers", 1)
    done = succeed_here(scene, "cut", "here/scenes", "few", *described)
    assert done.stdout.endswith("Next: esdseg preprocess --raw-dir few --sensors s2-s1\n")
    done = succeed_here(scene, "sample", "made", "--tiles", 1, *described)
    assert done.stdout.endswith("Next: esdseg check made --sensors s2-s1\n")


def test_likely_mistakes_are_answered_with_their_fix(scene: Path) -> None:
    for output, flags, code, said in (
        ("tiles", ("--crs", "EPSG:4326"), 2, "is in degrees; cells of 500 m need metres"),
        ("tiles", ("--area", "10,10,11,11"), 3, "lies outside of the scenes in here/scenes, which cover"),
        (
            "tiles",
            ("--labels", "here/truth.tif", "--overlap", 3),
            2,
            "tiles of another run: other overlap, lab",
        ),
        ("others", ("--labels", "here/lit.gpkg"), 3, "name a raster such as a GeoTIFF"),
    ):
        done = run_here(scene, "cut", "here/scenes", output, *flags)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
