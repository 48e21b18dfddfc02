"""Damage in a store: found by check and on first read, and mended by preprocess itself."""

import json
import os
import shlex
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from esdseg.errors import InputDataError
from esdseg.preprocessing.planning import plan
from esdseg.preprocessing.preprocess import preprocess
from esdseg.sensors.sensors import CONTEST_FILE
from esdseg.store.store import find_stores, open_store
from esdseg.store.verification import verify_store
from tests.make_tiles import write_tile
from tests.preprocessing.raw_tiles import config_for, contents, follow

CHUNK = "Train/Tile1.zarr/image/c/0/1/2"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two training tiles beside its raw tiles."""
    folder = tmp_path_factory.mktemp("made")
    for number in (1, 2):
        write_tile(folder / f"raw/Tile{number}", dates={"sentinel1": [date(2020, 7, 23)]}, seed=number)
    preprocess(config_for(folder, val_fraction=0))
    return folder


@pytest.fixture
def work(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "work"))


def flip(file: str, position: int = 60) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        content = bytearray((store / file).read_bytes())
        content[position] ^= 0x10
        (store / file).write_bytes(content)

    return damage


def cut(store: Path) -> None:
    (store / CHUNK).write_bytes((store / CHUNK).read_bytes()[:-7])


def edit(file: str, before: str, after: str) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        text = (store / file).read_text()
        assert before in text
        (store / file).write_text(text.replace(before, after, 1))

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped bit": (flip(CHUNK), "is damaged: its checksum does not hold"),
    "flipped bit of a checksum": (flip(CHUNK, -1), "is damaged"),
    "flipped bit of labels": (flip("Train/Tile1.zarr/label/c/0/0", 18), "label/c/0/0 is damaged"),
    "flipped bit of counts": (flip("Train/Tile1.zarr/code_counts/c/0/0"), "code_counts/c/0/0 is damaged"),
    "missing chunk": (lambda store: (store / CHUNK).unlink(), "image/c/0/1/2 is missing"),
    "empty chunk": (lambda store: (store / CHUNK).write_bytes(b""), "is damaged"),
    "cut chunk": (cut, "is damaged"),
    "chunk of another place": (
        lambda store: shutil.copy(store / CHUNK.replace("1/2", "0/0"), store / CHUNK),
        "counts of the values",
    ),
    "other layout": (
        edit("Train/Tile1.zarr/image/zarr.json", '"little"', '"big"'),
        "describes another array",
    ),
    "unreadable layout": (edit("Train/Tile1.zarr/image/zarr.json", "{", "["), "cannot be opened"),
    "unreadable description": (edit("Train/Tile1.zarr/zarr.json", "{", "["), "does not say what it is"),
    "missing tile": (lambda store: shutil.rmtree(store / "Train/Tile1.zarr"), "is missing"),
    "exchanged tiles": (
        lambda store: shutil.copytree(
            store / "Train/Tile2.zarr", store / "Train/Tile1.zarr", dirs_exist_ok=True
        ),
        "differ from the manifest",
    ),
}
BEYOND_PREPROCESS = ("chunk of another place",)
"""No checksum tells it, so preprocess cannot; check can, and names --overwrite."""


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_and_mended(name: str, work: Path) -> None:
    store, whole = work / "processed/4x4", contents(work / "processed/4x4")
    damage, said = DAMAGES[name]
    damage(store)
    report = verify_store(store, workers=1)
    (problem,) = report.problems
    assert problem.tile == "Tile1"
    assert said in problem.message
    assert f"esdseg preprocess --raw-dir RAW_DIR --processed-dir {work / 'processed'}" in problem.fix
    assert "(RAW_DIR: the raw tiles that the store was made from; add --labels" in problem.fix
    overwrite = "--overwrite" in problem.fix
    if name in BEYOND_PREPROCESS:
        assert overwrite
    if not overwrite:
        planned = plan(config_for(work, val_fraction=0))
        assert [tile.action for tile in planned.tiles] == ["write", "keep"]
    written = "2 tiles written, 0 kept" if overwrite else "1 tile written, 1 kept"
    assert written in follow(problem.fix, work / "raw")
    assert contents(store) == whole


def test_the_mending_command_makes_the_store_that_was_there(tmp_path: Path) -> None:
    """With sensors, bands, split and recipe of its own, and without the tile that was left out."""
    for number in (1, 2, 3, 4):
        tile = write_tile(
            tmp_path / f"raw/Tile{number}", dates={"sentinel1": [date(2020, 7, 23)]}, seed=number
        )
        for band in ("VV", "VH"):
            agencys = f"S1A_IW_GRDH_1SDV_20200723T000000_RTC_{band}.tif"
            (tile / f"S1A_IW_GRDH_20200723_{band}.tif").rename(tile / agencys)
    (tmp_path / "raw/Tile2/groundTruth.tif").write_bytes(b"")
    recipe = {"rescale": "min_max", "sentinel1": {"clip_fraction": 0.00001, "smoothing_sigma_px": 1.5}}
    for chosen in ("course", recipe):
        config = config_for(
            tmp_path,
            sensors="s2-s1",
            skip_bad=True,
            val_fraction=1 / 3,
            test_fraction=0.25,
            seed=7,
            recipe=chosen,
            reflectance_offset="keep",
            selected_bands={"sentinel1": ["VV"]},
        )
        store = preprocess(config, overwrite=True).store
        whole = contents(store)
        chunk = next(store.rglob("image/c/0/0/0"))
        shutil.copy(chunk, chunk.with_name("1"))
        (problem,) = verify_store(store, workers=1).problems
        assert problem.fix.count("--overwrite") == 1
        assert "add --labels or --strict" in problem.fix
        follow(problem.fix, tmp_path / "raw")
        assert contents(store) == whole
        next(store.rglob("image/c/0/0/0")).unlink()
        (problem,) = verify_store(store, workers=1).problems
        assert "1 tile written, 2 kept" in follow(problem.fix, tmp_path / "raw")
        assert contents(store) == whole


def test_the_users_own_description_of_sensors_is_to_be_filled_in(work: Path) -> None:
    description = work / "own.yml"
    text = CONTEST_FILE.read_text(encoding="utf-8")
    description.write_text(text.replace("title: IEEE", "title: Our", 1), encoding="utf-8")
    preprocess(config_for(work, val_fraction=0, sensors=description), overwrite=True)
    command = open_store(work / "processed").rewrite_command
    assert "--sensors FILE.yml" in command
    assert "; FILE.yml: the description of its sensors;" in command


@pytest.mark.parametrize("damage", ["unlinked", "damaged"])
def test_a_command_without_its_raw_folder_leaves_the_store_as_it_is(
    damage: str, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other tiles in the usual folder are not taken for those of the store."""
    monkeypatch.chdir(work)
    shutil.copytree("raw/Tile1", "data/raw/Train/Tile9")
    manifest = work / "processed/4x4/manifest.json"
    if damage == "unlinked":
        manifest.unlink()
    else:
        manifest.write_text("{")
    before = contents(manifest.parent)
    (problem,) = verify_store(manifest.parent, workers=1).problems
    assert "add the other settings that it was made with" in problem.fix
    with pytest.raises(InputDataError) as refused:
        open_store(work / "processed")
    assert problem.fix in str(refused.value)
    with pytest.raises(AssertionError, match="The folder RAW_DIR does not exist"):
        follow(problem.fix, Path("RAW_DIR"))
    assert contents(manifest.parent) == before


@pytest.mark.parametrize("name", ["flipped bit", "missing chunk", "cut chunk", "exchanged tiles"])
def test_damage_is_named_on_first_read_with_the_command_that_mends_it(name: str, work: Path) -> None:
    DAMAGES[name][0](work / "processed/4x4")
    with pytest.raises(InputDataError, match=r"Tile1.zarr.*write.* anew with `esdseg preprocess"):
        open_store(work / "processed").read_tile("Tile1")


def test_a_damaged_tile_is_told_when_it_is_written_again(work: Path) -> None:
    flip(CHUNK)(work / "processed/4x4")
    (told,) = preprocess(config_for(work, val_fraction=0)).warnings
    assert told.startswith("Tile1 was damaged and is written again: image/c/0/1/2 is damaged")


MANIFESTS: dict[str, tuple[Callable[[str], str], str]] = {
    "cut": (lambda text: text[:500], "is damaged"),
    "another version": (
        lambda text: text.replace('"format_version":3', '"format_version":4'),
        "format version 4",
    ),
    "deep": (lambda text: "[" * 100_000, "is damaged"),
    "huge number": (lambda text: text.replace('"files":3', f'"files":{"9" * 5000}'), "is damaged"),
    "large number": (lambda text: text.replace('"files":3', f'"files":{"9" * 50}'), "files"),
    "other channels": (
        lambda text: text.replace('"sentinel1":["VV","VH"]', '"sentinel1":["VV","VX"]'),
        "sentinel1 has no band VX",
    ),
    "path": (lambda text: text.replace('"Tile1"', '"../../Tile1"'), "cannot be called '../../Tile1'"),
    "absolute": (lambda text: text.replace('"Tile1"', '"/etc/passwd"'), "cannot be called"),
    "unknown key": (lambda text: text.replace('"tiles":', '"extra":1,"tiles":'), "extra"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_is_not_ours_is_refused_and_reported(name: str, work: Path) -> None:
    path = work / "processed/4x4/manifest.json"
    change, said = MANIFESTS[name]
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before
    with pytest.raises(InputDataError, match=r"esdseg preprocess .*--overwrite") as refused:
        open_store(work / "processed")
    assert said in str(refused.value)
    report = verify_store(path.parent, workers=1)
    assert said in report.problems[0].message
    assert "--overwrite" in report.problems[0].fix
    assert not report.ok


def test_a_manifest_with_other_counts_than_its_tiles_is_found(work: Path) -> None:
    path = work / "processed/4x4/manifest.json"
    values = json.loads(path.read_text())
    counts = values["tiles"]["Tile2"]["class_counts"]
    counts[0], counts[1] = counts[0] - 1, counts[1] + 1
    path.write_text(json.dumps(values))
    (problem,) = verify_store(path.parent, workers=2).problems
    assert problem.tile == "Tile2"
    assert "counts of the labels" in problem.message


def test_stores_are_told_from_raw_tiles_and_unfinished_ones_named(work: Path) -> None:
    store = work / "processed/4x4"
    assert find_stores(work / "processed") == find_stores(store) == (store,)
    assert find_stores(work / "raw") == ()
    assert find_stores(work / "nowhere") == ()
    (store / "manifest.json").unlink()
    assert find_stores(work / "processed") == (store,)
    (problem,) = verify_store(store).problems
    assert "was not finished" in problem.message
    preprocess(config_for(work, val_fraction=0))
    store.parent.rename(work / "my tiles")
    renamed = (work / "my tiles" / "4x4").rename(work / "my tiles" / "8x8")
    (problem,) = verify_store(renamed, workers=1).problems
    assert "renamed" in problem.message
    assert shlex.split(problem.fix) == ["mv", str(renamed), str(renamed.with_name("4x4"))]


def test_an_edited_raster_redoes_its_tile_unless_size_and_time_are_put_back(work: Path) -> None:
    """As with make and rsync; the page on reliability says so, and --overwrite reads all anew."""
    path = work / "raw/Tile1/S1A_IW_GRDH_20200723_VV.tif"
    config = config_for(work, val_fraction=0)
    preprocess(config)
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-4000:] = bytes(4000)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert preprocess(config).written == ()
    path.touch()
    assert preprocess(config).written == ("Tile1",)
