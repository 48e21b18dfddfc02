"""A manifest with any one value exchanged is read, or refused with the command that mends it."""

import copy
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from esdseg.errors import InputDataError
from esdseg.store.manifest import MANIFEST_NAME, read_manifest, tile_path
from esdseg.store.store import Store

FIXTURE = Path(__file__).parents[1] / "fixtures/format2/processed/16x16" / MANIFEST_NAME
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
            assert len(store.channels) == 3
            for name, entry in manifest.tiles.items():
                assert tile_path(Path(folder), entry.split, name).parent.parent == Path(folder)
            return
    assert "`mend`" in refused
