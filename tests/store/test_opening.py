import json
import shutil
from pathlib import Path

import pytest

from esdseg.config.preprocessing import COURSE_RECIPE, PreprocessConfig
from esdseg.errors import InputDataError
from esdseg.store.store import open_store, preprocess_command
from tests.store.stores import write_store


def test_the_only_size_is_found_by_itself(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"}, 8)
    store = open_store(tmp_path)
    assert (store.subtile_size, store.path) == (8, tmp_path / "8x8")


def test_several_sizes_ask_for_a_choice(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"}, 4)
    write_store(tmp_path, {"Tile1": "train"}, 8)
    with pytest.raises(InputDataError, match=r"several sizes .*4x4, 8x8.*--subtile-size 4"):
        open_store(tmp_path)
    assert open_store(tmp_path, 8).subtile_size == 8


def test_a_size_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"}, 8)
    with pytest.raises(InputDataError, match=r"esdseg preprocess .*--subtile-size 4`.*size that is there: 8"):
        open_store(tmp_path, 4)


def test_a_missing_folder_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"does not exist; .*`esdseg preprocess --processed-dir .*none"):
        open_store(tmp_path / "none")
    with pytest.raises(InputDataError, match="holds no processed store"):
        open_store(tmp_path)


def test_a_store_given_in_place_of_its_parent_is_told_apart(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"}, 4)
    with pytest.raises(InputDataError, match=f"--processed-dir {tmp_path}"):
        open_store(tmp_path / "4x4")


def test_a_store_without_manifest_is_unfinished(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"}, 8)
    (tmp_path / "8x8/manifest.json").unlink()
    with pytest.raises(InputDataError, match=r"was not finished; .*--subtile-size 8"):
        open_store(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{ no json", "is damaged"),
        ("[]", "has format version None"),
        ('{"format_version": 999}', "has format version 999, this esdseg reads 2"),
        ('{"format_version": 2}', "is not a manifest of esdseg"),
    ],
)
def test_a_wrong_manifest_is_refused_with_the_mending_command(
    tmp_path: Path, content: str, message: str
) -> None:
    write_store(tmp_path, {"Tile1": "train"})
    (tmp_path / "4x4/manifest.json").write_text(content)
    with pytest.raises(InputDataError, match=rf"{message}.*--overwrite`"):
        open_store(tmp_path)


def test_a_renamed_store_is_refused(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"}, 4)
    (tmp_path / "4x4").rename(tmp_path / "8x8")
    with pytest.raises(InputDataError, match="the folder was renamed"):
        open_store(tmp_path)


def test_a_missing_tile_is_named(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train", "Tile2": "val"})
    shutil.rmtree(tmp_path / "4x4/Val/Tile2.zarr")
    with pytest.raises(InputDataError, match=r"Val/Tile2\.zarr is missing; .*esdseg preprocess"):
        open_store(tmp_path)


def test_a_manifest_whose_tile_leads_out_of_the_store_is_refused(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"})
    path = tmp_path / "4x4/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["tiles"]["../../Tile1"] = manifest["tiles"].pop("Tile1")
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputDataError, match="cannot be called"):
        open_store(tmp_path)


def test_the_hash_is_that_of_the_manifests_file(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"})
    first = open_store(tmp_path).manifest_hash
    write_store(tmp_path, {"Tile1": "train"})
    assert open_store(tmp_path).manifest_hash == first
    write_store(tmp_path, {"Tile1": "val"})
    assert open_store(tmp_path).manifest_hash != first


def test_the_rewriting_command_spells_out_what_is_not_default(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"}, 8)
    command = open_store(tmp_path).rewrite_command
    assert command == f"`esdseg preprocess --processed-dir {tmp_path} --subtile-size 8 --seed 0`"


def test_a_named_recipe_and_another_source_stand_in_the_command() -> None:
    config = PreprocessConfig(raw_dir=Path("my tiles"), recipe=COURSE_RECIPE, val_fraction=0.5)
    assert preprocess_command(config, "--overwrite") == (
        "`esdseg preprocess --raw-dir 'my tiles' --processed-dir data/processed --subtile-size 4 "
        "--val-fraction 0.5 --recipe course --overwrite`"
    )
