"""Tiles whose files contradict each other: refused with one line and its fix, or put right with a note."""

import os
import re
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.warp
from affine import Affine
from click.testing import CliRunner
from rasterio.rio.main import main_group

from esdseg.errors import InputDataError
from esdseg.preprocessing.planning import plan
from esdseg.preprocessing.preprocess import preprocess
from esdseg.store.store import Store, open_store
from esdseg.tiles.checking import check_tiles
from tests.make_tiles import write_raster, write_tile
from tests.preprocessing.raw_tiles import config_for

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning:rasterio"),
]
LABELS = "groundTruth.tif"
UTM = "EPSG:32735"
PLACE = Affine(10, 0, 300_000, 0, -10, 8_200_000)
DATES: dict[str, list[date]] = {
    "viirs": [date(2020, 8, 8), date(2020, 8, 11), date(2020, 8, 12)],
    "sentinel1": [date(2020, 7, 23)],
}

Change = Callable[[str], dict[str, object] | None]
"""From a file's name to what is changed of it; ``None`` leaves it as it is."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tile of 5 rasters, which say where they lie, and labels that do."""
    folder = tmp_path_factory.mktemp("plain") / "raw"
    write_tile(folder / "Tile1", dates=DATES, seed=1)
    rewrite(folder / "Tile1", lambda name: {})
    return folder


@pytest.fixture(scope="module")
def plain_store(plain: Path) -> Store:
    """What preprocessing makes of that tile."""
    preprocess(config_for(plain.parent, val_fraction=0))
    return open_store(plain.parent / "processed")


@pytest.fixture
def raw(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "raw", copy_function=os.link))


def rewrite(tile: Path, change: Change) -> None:
    """Write the files of a tile anew: on the grid of :data:`PLACE`, but for what is changed of a file."""
    for path in sorted(tile.glob("*.tif")):
        changed = change(path.name)
        if changed is None:
            continue
        with rasterio.open(path) as source:
            values = source.read(1)
        transform = PLACE @ Affine.scale(50) if path.name == LABELS else PLACE
        path.unlink()
        arguments = {"values": values, "crs": UTM, "transform": transform}
        for key, value in changed.items():
            arguments[key] = value(arguments[key]) if callable(value) else value
        write_raster(path, **arguments)


def of(start: str, **changed: object) -> Change:
    return lambda name: changed if name.startswith(start) else None


def south_up(start: str, rows: int = 800) -> Change:
    flip = Affine(1, 0, 0, 0, -1, rows)
    return of(start, values=lambda values: values[::-1], transform=lambda transform: transform @ flip)


VARIANTS: dict[str, tuple[Change, str, str, str]] = {
    "a sensor south-up": (south_up("S1A"), "S1A_IW_GRDH_20200723_*.tif", "georeference", "opposite order"),
    "a date 1 km east": (
        of("S1A", transform=PLACE @ Affine.translation(100, 0)),
        "S1A_IW_GRDH_20200723_*.tif",
        "georeference",
        "(301000, 8200000)",
    ),
    "a sensor in another zone": (of("S1A", crs="EPSG:32736"), "S1A_", "georeference", "EPSG:32736"),
    "a raster mirrored": (
        of("S1A_IW_GRDH_20200723_VV", transform=PLACE @ Affine(-1, 0, 800, 0, 1, 0)),
        "S1A_IW_GRDH_20200723_VV.tif",
        "georeference",
        "(308000, 8200000)",
    ),
    "a transform alone, elsewhere": (
        of("S1A", crs=None, transform=PLACE @ Affine.translation(0, 400)),
        "S1A_",
        "georeference",
        "(300000, 8196000)",
    ),
    "labels one cell east": (
        of(LABELS, transform=lambda cells: cells @ Affine.translation(1, 0)),
        LABELS,
        "georeference",
        "(300500, 8200000)",
    ),
    "labels of smaller cells": (
        of(LABELS, transform=lambda cells: cells @ Affine.scale(0.5)),
        LABELS,
        "georeference",
        "250 x 250",
    ),
    "pixels of 20 m": (
        of("", transform=lambda transform: transform @ Affine.scale(2)),
        " and 4 more",
        "pixel_size",
        "20 x 20 m",
    ),
    "rasters of 1600 pixels": (
        lambda name: None if name == LABELS else {"values": lambda values: np.tile(values, (2, 2))},
        " and 4 more",
        "wrong_size",
        "1600 x 1600 pixels",
    ),
}


@pytest.mark.parametrize(("change", "file", "kind", "said"), VARIANTS.values(), ids=VARIANTS)
def test_a_contradiction_is_one_problem_refused_and_left_out(
    change: Change, file: str, kind: str, said: str, raw: Path, tmp_path: Path
) -> None:
    rewrite(raw / "Tile1", change)
    (problem,) = check_tiles(raw, workers=1).problems
    assert (problem.tile, problem.kind) == ("Tile1", kind)
    assert file in (problem.file or "")
    assert said in problem.message
    for strict in (False, True):
        with pytest.raises(InputDataError, match="Tile1") as refused:
            preprocess(config_for(tmp_path, val_fraction=0, strict=strict))
        assert said in str(refused.value)
    write_tile(raw / "Tile2", dates=DATES, seed=2)
    skipped = plan(config_for(tmp_path, val_fraction=0, skip_bad=True)).skipped
    assert list(skipped) == ["Tile1"]
    assert said in skipped["Tile1"]


@pytest.mark.parametrize("crs", [UTM, None])
def test_the_fix_of_a_tile_that_is_too_large_cuts_it(crs: str | None, raw: Path, tmp_path: Path) -> None:
    transform = PLACE if crs else None
    name = "S1A_IW_GRDH_20200723_VV.tif"
    with rasterio.open(raw / "Tile1" / name) as source:
        expected = source.read(1)
    rewrite(
        raw / "Tile1", of(name, values=lambda values: np.tile(values, (2, 3)), crs=crs, transform=transform)
    )
    (problem,) = check_tiles(raw, workers=1).problems
    assert problem.fix.startswith("Cut it into tiles of 800 x 800 pixels")
    (bounds,) = re.findall("rio clip FILE OUT --bounds '(.*?)'", problem.fix)
    files = (str(raw / "Tile1" / name), str(tmp_path / "cut.tif"))
    done = CliRunner().invoke(main_group, ["clip", *files, "--bounds", bounds])
    assert done.exit_code == 0, done.output
    with rasterio.open(tmp_path / "cut.tif") as source:
        np.testing.assert_array_equal(source.read(1), expected)


@pytest.mark.parametrize(
    ("crs", "pixel", "latitude", "zone"),
    [
        ("EPSG:4326", 1.8e-4, -13.5, "EPSG:32736"),
        ("EPSG:4326", 1.8e-4, 13.5, "EPSG:32636"),
        ("EPSG:3857", 20.0, 60.0, "EPSG:32636"),
        ("EPSG:32736", 20.0, -13.5, None),
    ],
)
def test_the_fix_of_pixels_of_another_size_makes_pixels_of_ten_metres(
    crs: str, pixel: float, latitude: float, zone: str | None, raw: Path, tmp_path: Path
) -> None:
    (left,), (top,) = rasterio.warp.transform("EPSG:4326", crs, [34.2], [latitude])
    place = Affine(pixel * 1.2, 0, left, 0, -pixel * 1.2, top)
    rewrite(raw / "Tile1", lambda name: None if name == LABELS else {"crs": crs, "transform": place})
    problems = check_tiles(raw, workers=1).problems
    (problem,) = [problem for problem in problems if problem.kind == "pixel_size"]
    (options,) = re.findall("rio warp FILE OUT (.*)", problem.fix)
    source = next((raw / "Tile1").glob("S1A*.tif"))
    arguments = ["warp", str(source), str(tmp_path / "warped.tif"), *options.split()]
    done = CliRunner().invoke(main_group, arguments)
    assert done.exit_code == 0, done.output
    with rasterio.open(tmp_path / "warped.tif") as warped:
        assert warped.crs == rasterio.CRS.from_user_input(zone or crs)
        assert warped.res == (10, 10)
        assert min(warped.shape) > 800


def test_the_fix_of_a_raster_that_lies_elsewhere_moves_it_to_the_grid(raw: Path, tmp_path: Path) -> None:
    rewrite(raw / "Tile1", south_up("S1A"))
    (problem,) = check_tiles(raw, workers=1).problems
    (like,) = re.findall("rio warp FILE OUT --like (.*)", problem.fix)
    for path in (raw / "Tile1").glob("S1A*.tif"):
        moved = tmp_path / path.name
        arguments = ["warp", str(path), str(moved), "--like", str(raw / "Tile1" / like)]
        assert CliRunner().invoke(main_group, arguments).exit_code == 0
        moved.replace(path)
    assert check_tiles(raw, workers=1).ok


@pytest.mark.parametrize("name", ["DNB_VNP46A1_A2020221.tif", "S1A_IW_GRDH_20200723_VH.tif", LABELS])
def test_a_single_file_with_its_rows_in_the_other_order_is_turned(
    name: str, raw: Path, plain_store: Store, tmp_path: Path
) -> None:
    rewrite(raw / "Tile1", south_up(name, 16 if name == LABELS else 800))
    report = check_tiles(raw, workers=1)
    assert report.ok
    (note,) = [note for note in report.notes if note.file == name]
    assert "preprocess turns it" in note.message
    done = preprocess(config_for(tmp_path, val_fraction=0))
    assert any(f"Tile1/{name}" in note for note in done.notes)
    turned, right = open_store(tmp_path / "processed"), plain_store
    np.testing.assert_array_equal(turned.read_tile("Tile1"), right.read_tile("Tile1"))
    np.testing.assert_array_equal(turned.labels("Tile1"), right.labels("Tile1"))
    assert turned.manifest.tiles["Tile1"].georeference == right.manifest.tiles["Tile1"].georeference


def test_a_tile_of_rows_from_south_to_north_stays_so(raw: Path, plain_store: Store, tmp_path: Path) -> None:
    for start, rows in (("DNB", 800), ("S1A", 800), (LABELS, 16)):
        rewrite(raw / "Tile1", south_up(start, rows))
    assert check_tiles(raw, workers=1).ok
    assert preprocess(config_for(tmp_path, val_fraction=0)).notes == ()
    turned, right = open_store(tmp_path / "processed"), plain_store
    np.testing.assert_array_equal(turned.read_tile("Tile1"), right.read_tile("Tile1")[:, ::-1])
    np.testing.assert_array_equal(turned.labels("Tile1"), right.labels("Tile1")[::-1])
    place = turned.manifest.tiles["Tile1"].georeference
    assert place is not None
    assert place.transform == (10, 0, 300_000, 0, 10, 8_192_000)


def test_a_dummy_label_grid_is_split_like_the_others_and_told(raw: Path, tmp_path: Path) -> None:
    rewrite(raw / "Tile1", of(LABELS, values=np.ones((16, 16), np.uint16)))
    done = preprocess(config_for(tmp_path, val_fraction=0))
    assert done.splits == {"train": 1, "val": 0, "test": 0}
    (warning,) = done.warnings
    assert "one class alone" in warning
    assert "Tile1 (class 1)" in warning


def test_raw_tiles_given_as_the_store_belong_to_raw_dir(raw: Path) -> None:
    for processed_dir in (raw, raw / "Tile1"):
        for refused in (
            lambda folder: preprocess(config_for(raw.parent, processed_dir=folder)),
            lambda folder: open_store(folder),
        ):
            with pytest.raises(InputDataError, match=f"{processed_dir} holds raw tiles, .* to --raw-dir"):
                refused(processed_dir)


NEWER = date(2022, 3, 1)


def write_reflectances(folder: Path, day: date, added: int) -> Path:
    """Write a tile of one date of Sentinel-2; the same values for any date, and a number added to all."""
    write_tile(folder / "Tile1", dates={"sentinel2": [day]}, seed=5)
    for path in (folder / "Tile1").glob("L2A*.tif"):
        with rasterio.open(path) as source:
            values = source.read(1)
        values[:3, :3] = 40
        values += np.uint16(added)
        values[-1] = 0
        write_raster(path, values)
    return folder


@pytest.fixture(scope="module")
def without_offset(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of reflectances to which nothing was added."""
    folder = tmp_path_factory.mktemp("without")
    write_reflectances(folder / "raw", date(2020, 8, 11), 0)
    preprocess(config_for(folder, val_fraction=0))
    return open_store(folder / "processed")


@pytest.mark.parametrize(
    ("day", "setting"), [(NEWER, "by_date"), (NEWER, "subtract"), (date(2020, 8, 11), "subtract")]
)
def test_the_offset_of_newer_products_is_subtracted_and_said(
    day: date, setting: str, without_offset: Store, tmp_path: Path
) -> None:
    write_reflectances(tmp_path / "raw", day, 1000)
    done = preprocess(config_for(tmp_path, val_fraction=0, reflectance_offset=setting))
    (note,) = done.notes
    assert note == f"Sentinel-2 L2A of {day}: the offset of 1000 was subtracted from the values."
    image = open_store(tmp_path / "processed").read_tile("Tile1")
    np.testing.assert_array_equal(image, without_offset.read_tile("Tile1"))
    assert image[0, 0, 0] == np.float16(0.004)
    assert np.isnan(image[:, -1]).all()


def test_newer_values_without_an_offset_are_refused_until_the_user_says_so(tmp_path: Path) -> None:
    raw = write_reflectances(tmp_path / "raw", NEWER, 0)
    for path in raw.glob("Tile1/*.tif"):
        if path.name != LABELS:
            with rasterio.open(path) as source:
                values = source.read(1)
            write_raster(path, values // 2)
    (problem,) = check_tiles(raw, workers=1).problems
    assert (problem.file, problem.kind) == ("L2A_20220301_*.tif", "offset")
    with pytest.raises(InputDataError, match="--reflectance-offset keep"):
        preprocess(config_for(tmp_path, val_fraction=0))
    with pytest.raises(InputDataError, match=r"None of the tiles .* L2A_20220301_\*.tif"):
        preprocess(config_for(tmp_path, val_fraction=0, skip_bad=True))
    kept = config_for(tmp_path, val_fraction=0, reflectance_offset="keep", skip_bad=True)
    assert preprocess(kept).notes == ()
    assert open_store(tmp_path / "processed").read_tile("Tile1")[0, 0, 0] == np.float16(0.002)
    with pytest.raises(InputDataError, match="reflectance_offset was keep, is subtract now"):
        preprocess(config_for(tmp_path, val_fraction=0, reflectance_offset="subtract"))


def test_offsets_are_noted_by_date_and_by_the_lowest_values(tmp_path: Path) -> None:
    newer = check_tiles(write_reflectances(tmp_path / "newer", NEWER, 1000), workers=1)
    assert any("of 2022-03-01: products from 2022-01-25" in note.message for note in newer.notes)
    assert newer.ok
    older = write_reflectances(tmp_path / "raw", date(2020, 8, 11), 1000)
    report = check_tiles(older, workers=1)
    assert report.ok
    (note,) = [note for note in report.notes if "offset" in note.message]
    assert "--reflectance-offset subtract" in note.message
    for _ in range(2):
        (warning,) = preprocess(config_for(tmp_path, val_fraction=0)).warnings
        assert "--reflectance-offset subtract" in warning
    plain = write_reflectances(tmp_path / "plain", date(2020, 8, 11), 0)
    assert not any("offset" in note.message for note in check_tiles(plain, workers=1).notes)


def test_a_date_without_any_measurement_tells_nothing_of_an_offset(tmp_path: Path) -> None:
    raw = write_reflectances(tmp_path / "raw", date(2020, 8, 11), 0)
    for path in raw.glob("Tile1/L2A*.tif"):
        write_raster(path, np.zeros((800, 800), np.uint16))
    assert not any("offset" in note.message for note in check_tiles(raw, workers=1).notes)
    warnings = preprocess(config_for(tmp_path, val_fraction=0)).warnings
    assert not any("offset" in warning for warning in warnings)
