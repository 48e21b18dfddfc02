"""What a tile is known by: what it holds, under any name, whole or in part."""

from pathlib import Path

import numpy as np
import pytest

from esdseg.store.identity import MIN_VALUES, describe_tile, digest_channels, is_same_tile
from esdseg.store.manifest import SourceFingerprint
from esdseg.store.statistics import HalfArray, count_codes
from esdseg.store.store import open_store
from esdseg.store.tile_store import TileArrays
from tests.contest import stored_layers
from tests.store.stores import LAYERS, random_image, random_label, write_store


def content(image: HalfArray) -> tuple[str, ...]:
    return digest_channels(np.stack([count_codes(channel) for channel in image]))


def test_a_tile_is_known_again_without_some_channels_and_turned() -> None:
    image = random_image(1)
    whole = content(image)
    assert len(set(whole)) == len(image)
    without = image.copy()
    without[0] = np.nan
    assert content(without) == whole[1:]
    assert content(image[:, ::-1]) == content(image.swapaxes(1, 2)) == whole
    assert is_same_tile(content(without), whole) is is_same_tile(whole, content(image[1:2])) is True


def test_tiles_that_share_one_raster_are_not_the_same() -> None:
    image, other = random_image(1), random_image(2)
    assert is_same_tile(content(image), content(other)) is False
    other[2] = image[2]
    assert is_same_tile(content(image), content(other)) is False


@pytest.mark.parametrize("values", [0, 1, MIN_VALUES - 1])
def test_channels_of_few_values_tell_no_tiles_apart(values: int) -> None:
    dark = np.full((1, 800, 800), np.nan, np.float16)
    dark[:, :values, 0] = np.arange(values)
    assert content(dark) == ()
    assert is_same_tile(content(dark), content(dark)) is None
    assert is_same_tile(content(dark), content(random_image(1))) is None


def test_labels_that_lie_elsewhere_make_another_manifest(tmp_path: Path) -> None:
    """A label grid that was turned has the same counts, and its file may keep its size and its time."""
    arrays = TileArrays(
        random_image(0), random_label(0), np.stack([count_codes(channel) for channel in random_image(0)])
    )
    turned = TileArrays(arrays.image, arrays.label[::-1], arrays.code_counts)
    source = SourceFingerprint(files=1, bytes=0, digest="Tile1")
    acquisitions = stored_layers(LAYERS)[1]
    one, other = (describe_tile(one, "train", source, None, acquisitions) for one in (arrays, turned))
    assert one.class_counts == other.class_counts
    assert one.content == other.content
    assert one != other
    write_store(tmp_path, {"Tile1": "train"})
    assert open_store(tmp_path).manifest.tiles["Tile1"] == one
