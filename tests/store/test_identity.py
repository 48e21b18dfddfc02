"""What a tile is known by: what it holds, under any name, whole or in part."""

from pathlib import Path

import numpy as np
import pytest

from esdseg.store.identity import (
    MIN_MINORITY_CELLS,
    MIN_VALUES,
    TileIdentity,
    TilePlace,
    describe_tile,
    digest_channels,
    is_same_tile,
    place_of,
)
from esdseg.store.manifest import SourceFingerprint
from esdseg.store.statistics import HalfArray, count_codes
from esdseg.store.store import open_store
from esdseg.store.tile_store import TileArrays
from esdseg.tiles.reading import Georeference
from tests.contest import stored_layers
from tests.store.stores import LAYERS, random_image, random_label, write_store


def content(image: HalfArray) -> tuple[str, ...]:
    return digest_channels(np.stack([count_codes(channel) for channel in image]))


def of_values(image: HalfArray) -> TileIdentity:
    return TileIdentity(content(image), TilePlace())


def on_a_date(date: str, **place: object) -> TileIdentity:
    """A tile whose values tell of a date alone."""
    return TileIdentity((date,), TilePlace.model_validate(place))


def test_a_tile_is_known_again_without_some_channels_and_turned() -> None:
    image = random_image(1)
    whole = content(image)
    assert len(set(whole)) == len(image)
    without = image.copy()
    without[0] = np.nan
    assert content(without) == whole[1:]
    assert content(image[:, ::-1]) == content(image.swapaxes(1, 2)) == whole
    assert is_same_tile(of_values(without), of_values(image)) is True
    assert is_same_tile(of_values(image), of_values(image[1:2])) is True


def test_tiles_that_share_one_raster_are_not_the_same() -> None:
    image, other = random_image(1), random_image(2)
    assert is_same_tile(of_values(image), of_values(other)) is False
    other[2] = image[2]
    assert is_same_tile(of_values(image), of_values(other)) is False


@pytest.mark.parametrize("values", [0, 1, MIN_VALUES - 1])
def test_channels_of_few_values_tell_no_tiles_apart(values: int) -> None:
    dark = np.full((1, 800, 800), np.nan, np.float16)
    dark[:, :values, 0] = np.arange(values)
    assert content(dark) == ()
    assert is_same_tile(of_values(dark), of_values(dark)) is None
    assert is_same_tile(of_values(dark), of_values(random_image(1))) is None


LABELS = {"label_digest": "a", "minority_cells": MIN_MINORITY_CELLS}
PLAIN = {"label_digest": "b", "minority_cells": MIN_MINORITY_CELLS - 1}
HERE, NEXT, FAR = (34.0, -13.0), (34.0, -13.035), (34.0, -13.037)
"""4 km are 0.03597 degrees of latitude: half a tile."""


@pytest.mark.parametrize(
    ("place", "other", "expected"),
    [
        (LABELS, LABELS, True),
        (PLAIN, PLAIN, None),
        (LABELS, PLAIN, False),
        ({}, {}, False),
        ({}, LABELS, False),
        ({"centre": HERE}, {"centre": NEXT}, True),
        ({"centre": HERE}, {"centre": FAR}, False),
        ({**LABELS, "centre": HERE}, {**PLAIN, "centre": NEXT}, True),
        ({**LABELS, "centre": HERE}, {**LABELS, "centre": FAR}, False),
        ({**LABELS, "centre": HERE}, LABELS, True),
        ({"centre": (179.999, 0.0)}, {"centre": (-179.999, 0.0)}, True),
    ],
)
def test_a_place_is_known_again_on_other_dates(
    place: dict[str, object], other: dict[str, object], expected: bool | None
) -> None:
    first, second = on_a_date("2020", **place), on_a_date("2021", **other)
    assert is_same_tile(first, second) is is_same_tile(second, first) is expected


def test_a_copy_is_known_again_wherever_it_says_that_it_lies() -> None:
    assert is_same_tile(on_a_date("2020", centre=HERE), on_a_date("2020", centre=FAR)) is True


def test_a_tile_is_placed_by_its_rasters_and_its_labels(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"})
    entry = open_store(tmp_path).manifest.tiles["Tile1"]
    # 800 pixels of 10 m from the corner; UTM zone 36 has its middle at 33 degrees and 500 km.
    north = Georeference("EPSG:32736", (10.0, 0.0, 496_000.0, 0.0, -10.0, 10_004_000.0))
    place = place_of(entry.model_copy(update={"georeference": north}))
    assert place.centre == pytest.approx((33.0, 0.0), abs=1e-9)
    assert place.label_digest == entry.label_digest
    assert place.minority_cells == sum(entry.class_counts) - max(entry.class_counts)
    unknown = entry.model_copy(update={"class_counts": (0, 0, 0, 0), "unknown_cells": 256})
    assert place_of(unknown) == TilePlace()


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
