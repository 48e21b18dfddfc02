"""Broken rasters and bad tiles: named by check and preprocess, left out by --skip-bad, never in silence."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esdseg.errors import InputDataError
from esdseg.preprocessing import preprocess as chapter
from esdseg.preprocessing.planning import plan
from esdseg.preprocessing.preprocess import preprocess
from esdseg.preprocessing.tile_image import fill_image
from esdseg.store.splits import split_tiles
from esdseg.store.store import open_store
from esdseg.store.tile_store import TileArrays
from esdseg.store.verification import verify_store
from esdseg.tiles.checking import check_tiles
from tests.make_tiles import write_raster, write_tile
from tests.preprocessing.raw_tiles import config_for, contents, names_of

RADAR = "S1A_IW_GRDH_20200723_VV.tif"
LABELS = "groundTruth.tif"
ONE_DATE: dict[str, list[date]] = {"sentinel1": [date(2020, 7, 23)]}
POWER = np.random.default_rng(3).uniform(0.01, 0.2, (800, 800)).astype(np.float32)
CODES = np.ones((16, 16), np.uint16)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small tiles of two rasters each, without a fault; tests spoil copies."""
    raw = tmp_path_factory.mktemp("good") / "raw"
    for number in range(1, 4):
        write_tile(raw / f"Tile{number}", dates=ONE_DATE, seed=number)
    return raw


@pytest.fixture
def tile(good: Path, tmp_path: Path) -> Path:
    """The folder of Tile3, which tests spoil; the others lie beside it."""
    return Path(shutil.copytree(good, tmp_path / "raw", copy_function=os.link)) / "Tile3"


def replace(path: Path, values: np.ndarray) -> None:
    """Write a raster anew, apart from the file that other tests share."""
    path.unlink()
    write_raster(path, values)


def header_of(width: int, height: int, block: int | None = None) -> bytes:
    """A TIFF of float32 that claims a size, and has no pixels."""
    tags = [
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 32), (259, 3, 1, 1), (262, 3, 1, 1)),
        *((277, 3, 1, 1), (339, 3, 1, 3)),
    ]
    if block is None:
        tags += [(273, 4, 1, 8), (278, 4, 1, height), (279, 4, 1, 8)]
    else:
        tags += [(322, 4, 1, block), (323, 4, 1, block), (324, 4, 1, 8), (325, 4, 1, 8)]
    entries = b"".join(
        tag.to_bytes(2, "little")
        + kind.to_bytes(2, "little")
        + n.to_bytes(4, "little")
        + value.to_bytes(4, "little")
        for tag, kind, n, value in sorted(tags)
    )
    return b"II*\0" + (8).to_bytes(4, "little") + len(tags).to_bytes(2, "little") + entries + bytes(4)


def cut(tile: Path) -> None:
    content = (tile / RADAR).read_bytes()
    (tile / RADAR).unlink()
    (tile / RADAR).write_bytes(content[:900_000])


def bytes_as(content: bytes, name: str = RADAR) -> Callable[[Path], None]:
    def spoil(tile: Path) -> None:
        (tile / name).unlink()
        (tile / name).write_bytes(content)

    return spoil


def values_as(values: np.ndarray, name: str = RADAR) -> Callable[[Path], None]:
    return lambda tile: replace(tile / name, values)


def instead(make: Callable[[Path], object], name: str = RADAR) -> Callable[[Path], None]:
    def spoil(tile: Path) -> None:
        (tile / name).unlink()
        make(tile / name)

    return spoil


def copy_tile1(tile: Path) -> None:
    for path in list(tile.iterdir()):
        path.unlink()
        shutil.copy(tile.parent / "Tile1" / path.name, path)


@dataclass(frozen=True)
class Fault:
    """How a tile is spoilt, as what check names it, and what preprocess says."""

    spoil: Callable[[Path], object]
    kind: str
    said: str


FATAL = {
    "truncated": Fault(cut, "unreadable", "cannot be read as a TIFF"),
    "empty file": Fault(bytes_as(b""), "unreadable", "cannot be read as a TIFF"),
    "no TIFF": Fault(bytes_as(b"<html>404</html>"), "unreadable", "cannot be read as a TIFF"),
    "another format": Fault(bytes_as(b"\x89PNG\r\n\x1a\n" + bytes(64)), "unreadable", "cannot be read"),
    "wrong size": Fault(values_as(POWER[:700]), "wrong_size", "700 x 800 pixels"),
    "wrong type": Fault(values_as(POWER.astype(np.float64)), "wrong_dtype", "float64"),
    "complex type": Fault(values_as(POWER.astype(np.complex64)), "wrong_dtype", "complex64"),
    "several bands": Fault(values_as(np.stack([POWER, POWER])), "several_bands", "2 bands"),
    "huge header": Fault(bytes_as(header_of(10**6, 10**6)), "wrong_size", "1000000 x 1000000 pixels"),
    "huge blocks": Fault(bytes_as(header_of(800, 800, 1 << 14)), "wrong_size", "16384 x 16384"),
    "a folder": Fault(instead(Path.mkdir), "unreadable", "is a folder"),
    "a pipe": Fault(instead(os.mkfifo), "unreadable", "is a pipe or device"),
    "a device": Fault(instead(lambda path: path.symlink_to("/dev/zero")), "unreadable", "a pipe or device"),
    "a broken link": Fault(instead(lambda path: path.symlink_to("gone")), "unreadable", "No such file"),
    "a link to itself": Fault(instead(lambda path: path.symlink_to(path)), "unreadable", "symbolic links"),
    "label codes": Fault(values_as(CODES * 5, LABELS), "wrong_labels", "codes 5"),
    "label size": Fault(values_as(CODES[:8], LABELS), "wrong_size", "8 x 16 pixels"),
    "label type": Fault(values_as(CODES.astype(np.float32), LABELS), "wrong_dtype", "not integers"),
    "label of several bands": Fault(values_as(np.stack([CODES] * 3), LABELS), "several_bands", "3 bands"),
    "label truncated": Fault(bytes_as(header_of(16, 16), LABELS), "wrong_dtype", "not integers"),
}
"""What stops a tile from being stored."""


@pytest.mark.parametrize("fault", FATAL.values(), ids=FATAL)
def test_a_tile_that_cannot_be_used_is_named_and_can_be_left_out(
    fault: Fault, tile: Path, tmp_path: Path
) -> None:
    fault.spoil(tile)
    # One good tile is enough to see it stored.
    shutil.rmtree(tile.with_name("Tile2"))
    (problem,) = check_tiles(tile.parent, workers=1).problems
    assert (problem.tile, problem.kind) == ("Tile3", fault.kind)
    assert fault.said in problem.message
    assert problem.fix
    with pytest.raises(InputDataError, match="Tile3") as refused:
        preprocess(config_for(tmp_path, val_fraction=0))
    assert fault.said in str(refused.value)
    done = preprocess(config_for(tmp_path, val_fraction=0, skip_bad=True))
    assert list(done.skipped) == ["Tile3"]
    assert fault.said in done.skipped["Tile3"]
    assert (*done.written, *done.reused) == ("Tile1",)


WORTH_A_WORD = {
    "all zeros": Fault(values_as(POWER * 0), "constant", "No pixel holds a measurement"),
    "all NaN": Fault(values_as(POWER * np.nan), "empty", "No pixel holds a measurement"),
    "all infinite": Fault(values_as(POWER + np.inf), "empty", "No pixel holds a measurement"),
    "one value": Fault(values_as(POWER * 0 + 0.5), "constant", "All pixels hold the same value"),
    "unknown labels": Fault(values_as(CODES * 0, LABELS), "unlabelled", "Label cells of code 0"),
    "a missing date": Fault(lambda tile: (tile / RADAR).unlink(), "missing", "Tile3 misses band VV"),
    "a doubled date": Fault(
        lambda tile: shutil.copy(tile / RADAR, tile / RADAR.replace(".tif", ".TIFF")),
        "doubled",
        "means the same",
    ),
    "a misnamed raster": Fault(
        lambda tile: shutil.copy(tile / RADAR, tile / "S1A_IW_GRDH_20200732_VV.tif"), "misnamed", "not read"
    ),
    "a copied tile": Fault(
        copy_tile1,
        "doubled",
        "Tile3 and Tile1",
    ),
}
"""What is stored and told, and with ``--strict`` refused."""


@pytest.mark.parametrize("fault", WORTH_A_WORD.values(), ids=WORTH_A_WORD)
def test_a_doubtful_tile_is_stored_and_told(fault: Fault, tile: Path, tmp_path: Path) -> None:
    fault.spoil(tile)
    shutil.rmtree(tile.with_name("Tile2"))
    problems = check_tiles(tile.parent, workers=1).problems
    assert fault.kind in {problem.kind for problem in problems if problem.tile == "Tile3"}
    done = preprocess(config_for(tmp_path))
    assert "Tile3" in done.written
    assert any(fault.said in warning and "Tile3" in warning for warning in done.warnings), done.warnings
    again = preprocess(config_for(tmp_path))
    assert (again.written, again.warnings) == ((), done.warnings)
    with pytest.raises(InputDataError, match="Tile3"):
        plan(config_for(tmp_path, strict=True))
    other = {"val_fraction": 0, "processed_dir": tmp_path / "other"}
    strict = config_for(tmp_path, strict=True, skip_bad=True, **other)
    assert list(plan(strict).skipped) == ["Tile3"]


def test_tiles_with_equal_mean_and_spread_but_other_values_are_no_copies(tile: Path, tmp_path: Path) -> None:
    # Decibels of -1 and 1 have the mean and the variance of -2, 0 and 2, of which three quarters are 0.
    decibels = np.resize([[-1, 1]], POWER.size), np.resize([-2, 0, 0, 0, 0, 0, 0, 2], POWER.size)
    for folder, values in zip((tile.with_name("Tile1"), tile), decibels, strict=True):
        power = (10 ** (values / 10)).astype(np.float32).reshape(POWER.shape)
        for path in folder.glob("S1A*.tif"):
            replace(path, power)
    preprocess(config_for(tmp_path))
    statistics = [
        open_store(tmp_path / "processed").channel_statistics([name]) for name in ("Tile1", "Tile3")
    ]
    np.testing.assert_array_equal(statistics[0].mean, statistics[1].mean)
    np.testing.assert_array_equal(statistics[0].std, statistics[1].std)
    assert preprocess(config_for(tmp_path)).warnings == ()


def test_infinite_and_negative_power_becomes_no_data_there_alone(tile: Path, tmp_path: Path) -> None:
    power = POWER.copy()
    power[0, :4] = np.nan, np.inf, -np.inf, -1
    replace(tile / RADAR, power)
    done = preprocess(config_for(tmp_path, val_fraction=0))
    image = open_store(tmp_path / "processed").read_tile("Tile3")
    channel = names_of(open_store(tmp_path / "processed"), "Tile3").index("sentinel1_2020-07-23_VV")
    assert np.argwhere(~np.isfinite(image[channel])).tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert done.skipped == {}


NAMES = {"Tile 3", "Täle-Ⅲ-三", "-rf", "[bold]Tile[blink]", "'; rm -rf $HOME; echo \" `id`", "%s{0}"}


def test_odd_names_are_kept(tmp_path: Path) -> None:
    for seed, name in enumerate(NAMES):
        write_tile(tmp_path / "raw" / name, dates=ONE_DATE, seed=seed)
    assert check_tiles(tmp_path / "raw", workers=1).ok
    assert set(preprocess(config_for(tmp_path)).written) == NAMES
    for name in NAMES:
        assert open_store(tmp_path / "processed").labels(name).shape == (16, 16)


IMPOSSIBLE_NAMES = {
    "newline": "Tile\n3",
    "escape sequence": "Tile\x1b[2J3",
    "turned direction": "Tile\u202e3",
    "no UTF-8": "Tile\udcff3",
    "backslash": "a\\Tile3",
    "too long": "T" * 240,
}


@pytest.mark.parametrize("name", IMPOSSIBLE_NAMES.values(), ids=IMPOSSIBLE_NAMES)
def test_names_that_no_store_can_hold_are_named_and_left_out(name: str, tile: Path, tmp_path: Path) -> None:
    tile.rename(tile.with_name(name))
    problems = check_tiles(tile.parent, workers=1).problems
    assert [problem.tile for problem in problems if problem.kind == "misnamed"] == [name]
    with pytest.raises(InputDataError, match=r"cannot be called .* Rename its folder"):
        preprocess(config_for(tmp_path))
    done = preprocess(config_for(tmp_path, skip_bad=True))
    ((shown, fault),) = done.skipped.items()
    assert shown.isprintable()
    assert "Rename its folder" in fault


def test_a_linked_tile_is_stored_and_a_second_link_to_it_refused(tile: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    tile.rename(elsewhere)
    tile.symlink_to(elsewhere)
    assert "Tile3" in preprocess(config_for(tmp_path)).written
    tile.with_name("Tile5").symlink_to(elsewhere)
    with pytest.raises(InputDataError, match="Tile5 is Tile3 under another name"):
        preprocess(config_for(tmp_path, processed_dir=tmp_path / "other"))
    done = preprocess(config_for(tmp_path, processed_dir=tmp_path / "other", skip_bad=True))
    assert list(done.skipped) == ["Tile5"]


@pytest.fixture
def rights() -> Iterator[None]:
    """Take away the superuser's rights, to whom no file is closed, for the time of a test."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.mark.parametrize("closed", [RADAR, LABELS, ""], ids=["raster", "labels", "folder"])
def test_what_may_not_be_read_is_named_and_left_out(closed: str, rights: None) -> None:
    # The folder of pytest's temporary files is closed to other users, so an open one is needed.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        work = Path(folder)
        for number in range(1, 4):
            write_tile(work / f"raw/Tile{number}", dates=ONE_DATE, seed=number)
        (work / "raw/Tile3" / closed).chmod(0)
        try:
            (problem,) = check_tiles(work / "raw", workers=1).problems
            assert (problem.tile, problem.kind) == ("Tile3", "unreadable")
            with pytest.raises(InputDataError, match="Tile3"):
                preprocess(config_for(work))
            assert list(preprocess(config_for(work, skip_bad=True)).skipped) == ["Tile3"]
        finally:
            (work / "raw/Tile3" / closed).chmod(0o700)


def test_a_tile_that_changes_while_it_is_read_is_not_taken(
    tile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_while_written(arrays: TileArrays, *rest: Any) -> Any:
        filled = fill_image(arrays, *rest)
        (tile / RADAR).touch()
        return filled

    monkeypatch.setattr(chapter, "fill_image", fill_while_written)
    with pytest.raises(InputDataError, match="Tile3 was changed while it was read"):
        preprocess(config_for(tmp_path))
    monkeypatch.undo()
    assert "Tile3" in preprocess(config_for(tmp_path)).written


def test_a_raster_that_is_renamed_while_it_is_read_is_named(
    tile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_after_renaming(arrays: TileArrays, *rest: Any) -> Any:
        if (tile / RADAR).exists():
            (tile / RADAR).rename(tile / "away.tif")
        return fill_image(arrays, *rest)

    monkeypatch.setattr(chapter, "fill_image", fill_after_renaming)
    with pytest.raises(InputDataError, match=f"{RADAR}: It cannot be read .No such file"):
        preprocess(config_for(tmp_path))


def test_no_tile_one_tile_and_none_left(tile: Path, tmp_path: Path) -> None:
    raw = tile.parent
    shutil.rmtree(raw / "Tile1")
    cut(tile)
    with pytest.raises(InputDataError, match=r"1 labelled tile .*--val-fraction 0.*Left out as bad: Tile3"):
        preprocess(config_for(tmp_path, skip_bad=True))
    shutil.rmtree(raw / "Tile2")
    with pytest.raises(InputDataError, match=r"None of the tiles in .* can be used. Tile3: S1A_IW"):
        preprocess(config_for(tmp_path, skip_bad=True))
    shutil.rmtree(tile)
    for command in (check_tiles, lambda _: preprocess(config_for(tmp_path))):
        with pytest.raises(InputDataError, match="holds no tiles"):
            command(raw)


def test_hundreds_of_tiles_are_found_checked_and_split(tmp_path: Path) -> None:
    radar = write_raster(tmp_path / "small.tif", POWER[:2, :2])
    labels = write_raster(tmp_path / "labels.tif", CODES)
    for number in range(1, 301):
        folder = tmp_path / "raw" / f"Tile{number}"
        folder.mkdir(parents=True)
        os.link(radar, folder / RADAR)
        os.link(labels, folder / LABELS)
    report = check_tiles(tmp_path / "raw", workers=1)
    assert 2 * len(report.tiles) == len(report.problems) == 600
    planned = plan(config_for(tmp_path))
    assert [tile.name for tile in planned.tiles[8:11]] == ["Tile9", "Tile10", "Tile11"]
    assert sum(tile.split == "val" for tile in planned.tiles) == 60
    with pytest.raises(InputDataError, match="None of the tiles") as refused:
        plan(config_for(tmp_path, skip_bad=True))
    assert len(str(refused.value)) < 2000


def test_a_store_without_a_bad_tile_is_that_of_a_folder_without_it(tile: Path, tmp_path: Path) -> None:
    cut(tile)
    preprocess(config_for(tmp_path, skip_bad=True))
    with_bad = contents(tmp_path / "processed/4x4")
    shutil.rmtree(tile)
    preprocess(config_for(tmp_path, processed_dir=tmp_path / "without"))
    without = contents(tmp_path / "without/4x4")
    assert with_bad.pop("manifest.json") != without.pop("manifest.json")
    assert with_bad == without


RADAR = "S1A_IW_GRDH_20200723_VV.tif"
SIX_TILES = [f"Tile{number}" for number in range(1, 7)]
SETTINGS = {"val_fraction": 0.4, "seed": 3}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "raw"
    for seed, name in enumerate(SIX_TILES):
        write_tile(folder / name, dates={"sentinel1": [date(2020, 7, 23)]}, seed=seed)
    return folder


@pytest.fixture
def work(raw: Path, tmp_path: Path) -> Path:
    """A folder with the raw tiles, Tile2 cut short."""
    shutil.copytree(raw, tmp_path / "raw")
    spoil(tmp_path, "Tile2")
    return tmp_path


def spoil(work: Path, tile: str) -> bytes:
    path = work / "raw" / tile / RADAR
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    return content


def test_the_split_is_that_of_the_kept_tiles(work: Path) -> None:
    config = config_for(work, skip_bad=True, **SETTINGS)
    planned = plan(config)
    assert list(planned.skipped) == ["Tile2"]
    done = preprocess(config)
    manifest = open_store(work / "processed").manifest
    kept = [name for name in SIX_TILES if name != "Tile2"]
    assert {name: entry.split for name, entry in manifest.tiles.items()} == split_tiles(kept, 0.4, 3)
    assert manifest.skipped == dict(done.skipped) == dict(planned.skipped)
    assert manifest.skipped["Tile2"].startswith(f"{RADAR}: It cannot be read as a TIFF")
    assert str(work) not in manifest.skipped["Tile2"]
    assert json.loads(json.dumps(done.to_json()))["skipped"] == manifest.skipped
    before = contents(work / "processed/4x4")
    assert preprocess(config).written == ()
    assert contents(work / "processed/4x4") == before


def test_a_mended_tile_is_added_and_the_split_drawn_anew(work: Path) -> None:
    preprocess(config_for(work, skip_bad=True, **SETTINGS))
    shutil.copy(work / "raw/Tile1" / RADAR, work / "raw/Tile2" / RADAR)
    done = preprocess(config_for(work, **SETTINGS))
    assert "Tile2" in done.written
    (told,) = [warning for warning in done.warnings if "drawn anew" in warning]
    assert "Tile2 came back" in told
    (work / "other").mkdir()
    preprocess(config_for(work, processed_dir=work / "other", **SETTINGS))
    assert contents(work / "processed/4x4") == contents(work / "other/4x4")
    assert verify_store(work / "processed/4x4", workers=1).ok


def test_a_tile_that_goes_bad_is_left_out_only_when_that_is_asked_for(work: Path) -> None:
    preprocess(config_for(work, skip_bad=True, **SETTINGS))
    before = contents(work / "processed/4x4")
    spoil(work, "Tile5")
    with pytest.raises(InputDataError, match=r"Tile2 cannot be used.*--skip-bad"):
        preprocess(config_for(work, **SETTINGS))
    assert contents(work / "processed/4x4") == before
    done = preprocess(config_for(work, skip_bad=True, **SETTINGS))
    assert list(done.skipped) == ["Tile2", "Tile5"]
    assert any("Tile5 went bad" in warning for warning in done.warnings)
    assert list(open_store(work / "processed").manifest.tiles) == ["Tile1", "Tile3", "Tile4", "Tile6"]


def test_with_strict_tiles_that_miss_rasters_are_left_out_too(work: Path) -> None:
    (work / "raw/Tile4" / RADAR).unlink()
    done = preprocess(config_for(work, skip_bad=True, strict=True, **SETTINGS))
    assert list(done.skipped) == ["Tile2", "Tile4"]
    assert "misses band VV" in done.skipped["Tile4"]


def test_bad_tiles_are_found_alike_by_several_processes(work: Path) -> None:
    spoil(work, "Tile6")
    one = plan(config_for(work, skip_bad=True, **SETTINGS))
    assert (
        plan(config_for(work, skip_bad=True, **{**SETTINGS, "workers": 2})).to_json()["tiles"]
        == one.to_json()["tiles"]
    )


def test_tiles_that_are_not_needed_may_be_bad(work: Path) -> None:
    done = preprocess(config_for(work, selected_bands={"sentinel1": ["VH"]}, skip_bad=True, **SETTINGS))
    assert done.skipped == {}
