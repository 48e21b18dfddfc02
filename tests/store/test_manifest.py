import copy
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esdseg.errors import InputDataError
from esdseg.store.manifest import MANIFEST_NAME, read_manifest, store_path, tile_path
from esdseg.store.store import Store

FIXTURE = Path(__file__).parents[1] / "fixtures/format3/processed/16x16" / MANIFEST_NAME
CONTENT: dict[str, Any] = json.loads(FIXTURE.read_text())
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in the tree, and beside each key a new one."""
    if at:
        yield at
    if isinstance(value, dict):
        yield (*at, "new key")
        for key, inner in value.items():
            yield from places(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*at, index))


@given(st.sampled_from(list(places(CONTENT))), ANY_JSON)
@settings(max_examples=300)
def test_any_value_in_a_manifest_is_read_or_refused(place: tuple[Any, ...], value: object) -> None:
    content = copy.deepcopy(CONTENT)
    section: Any = content
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / MANIFEST_NAME).write_text(json.dumps(content))
        try:
            manifest, digest = read_manifest(Path(folder), "`mend`")
        except InputDataError as error:
            refused = str(error)
        else:
            store = Store(Path(folder), manifest, digest)
            assert store.class_counts(list(manifest.tiles)).sum() <= 512
            assert len(store.channels) <= 3
            for name, entry in manifest.tiles.items():
                assert tile_path(Path(folder), entry.split, name).parent.parent == Path(folder)
            return
    assert "`mend`" in refused


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
