from pathlib import Path

import pytest

from esdseg.errors import InputDataError
from esdseg.store.manifest import store_path, tile_path


def test_tiles_lie_in_the_folder_of_their_split() -> None:
    store = store_path(Path("data/processed"), 4)
    assert store == Path("data/processed/4x4")
    assert tile_path(store, "val", "Tile7") == Path("data/processed/4x4/Val/Tile7.zarr")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../Tile1",
        "a/b",
        "/tmp/x",
        "a\\b",
        ".hidden",
        "a\nb",
        "a\x1b[31m",
        "a\u202eb",
        "\udcff",
        "x" * 201,
    ],
)
def test_no_tile_name_leads_out_of_the_store(name: str) -> None:
    with pytest.raises(InputDataError, match="Rename its folder"):
        tile_path(Path("store"), "train", name)
