from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esdseg.config.training import FoldsConfig
from esdseg.errors import InputDataError
from esdseg.store.folds import FoldTile, distance_m, draw_folds, group_neighbours, make_fold, tile_corners
from esdseg.store.manifest import write_manifest
from esdseg.store.store import open_store
from esdseg.tiles.reading import Georeference
from tests.datasets.make_store import CHANNELS, make_store


def at(east_km: float, north_km: float = 0, crs: str = "EPSG:32733") -> Georeference:
    return Georeference(crs, (10, 0, 500_000 + east_km * 1000, 0, -10, 8_000_000 + north_km * 1000))


def test_tiles_that_touch_stay_together_and_their_neighbours_with_them() -> None:
    places = {"A": at(0), "B": at(30), "C": at(8), "D": at(16, 8), "E": None, "F": at(38.1)}
    # C touches A along an edge, D touches C at a corner, F is 100 m from B.
    assert group_neighbours(places, 0) == {"A": "A", "B": "B", "C": "A", "D": "A", "E": "E", "F": "F"}
    assert group_neighbours(places, 0.2)["F"] == "B"


def test_the_buffer_is_the_distance_between_edges() -> None:
    places = {"A": at(0), "B": at(18), "C": at(0, 20)}
    assert len(set(group_neighbours(places, 9.9).values())) == 3
    assert group_neighbours(places, 10.1) == {"A": "A", "B": "A", "C": "C"}
    assert set(group_neighbours(places, 12.1).values()) == {"A"}


def test_zones_and_degrees_are_brought_together() -> None:
    # The first zone's tile seen from the next zone, and a tile in degrees a tile's width to its east.
    corners = tile_corners({"A": at(250)})
    assert corners["A"].shape == (4, 2)
    side = np.linalg.norm(corners["A"][1] - corners["A"][0])
    assert side == pytest.approx(8000, rel=2e-3)
    from rasterio.warp import transform

    (x,), (y,) = transform("EPSG:32733", "EPSG:32734", [750_000 + 8_500], [8_000_000])
    other_zone = Georeference("EPSG:32734", (10, 0, x, 0, -10, y))
    assert group_neighbours({"A": at(250), "B": other_zone}, 0) == {"A": "A", "B": "B"}
    assert group_neighbours({"A": at(250), "B": other_zone}, 1) == {"A": "A", "B": "A"}
    (east,), (north,) = transform("EPSG:32733", "EPSG:4326", [750_000 + 8_500], [8_000_000])
    in_degrees = Georeference("EPSG:4326", (8 / 88_000, 0, east, 0, -8 / 88_000, north))
    assert group_neighbours({"A": at(250), "B": in_degrees}, 1) == {"A": "A", "B": "A"}


def test_the_date_line_parts_nothing() -> None:
    step = 0.08 / 800
    west = Georeference("EPSG:4326", (step, 0, 179.92, 0, -step, -17))
    east = Georeference("EPSG:4326", (step, 0, -180.0, 0, -step, -17))
    assert group_neighbours({"A": west, "B": east}, 0) == {"A": "A", "B": "A"}


def test_distances_of_squares_are_worked_by_hand() -> None:
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
    assert distance_m(square, square + np.array([3, 0])) == pytest.approx(2)
    assert distance_m(square, square + np.array([4, 5])) == pytest.approx(5)
    assert distance_m(square, square + 0.5) == 0
    assert distance_m(square, square * 0.5 + 0.25) == 0
    diamond = np.array([(3, 0.5), (4, -0.5), (5, 0.5), (4, 1.5)])
    assert distance_m(square, diamond) == pytest.approx(2), "corner to edge"


@given(st.integers(0, 100), st.integers(2, 5))
def test_groups_are_never_parted_and_no_fold_is_empty(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    tiles = [
        FoldTile(f"Tile{i}", float(rng.random()), bool(rng.random() < 0.4), f"Tile{rng.integers(12)}")
        for i in range(30)
    ]
    if len({tile.group for tile in tiles}) < count:
        return
    folds = draw_folds(tiles, count, seed, "x")
    for tile in tiles:
        assert {folds[other.name] for other in tiles if other.group == tile.group} == {folds[tile.name]}
    assert set(folds.values()) == set(range(1, count + 1))


def test_no_fold_trains_on_a_neighbour_of_what_it_holds_out(tmp_path: Path) -> None:
    names = [f"Tile{i}" for i in range(1, 9)]
    store = make_store(tmp_path, split=dict.fromkeys(names, "train"), channels=CHANNELS[:1])
    with pytest.raises(InputDataError, match="--buffer-km needs to know where tiles lie"):
        make_fold(FoldsConfig(fold="1/2", buffer_km=5), store)
    # Pairs that touch: 1 and 2, 3 and 4, and so on, the pairs 20 km apart.
    places = {name: at((i // 2) * 36 + (i % 2) * 8) for i, name in enumerate(names)}
    tiles = {
        name: entry.model_copy(update={"georeference": places[name]})
        for name, entry in store.manifest.tiles.items()
    }
    write_manifest(store.path, store.manifest.model_copy(update={"tiles": tiles}))
    store = open_store(tmp_path)
    for number in (1, 2):
        fold = make_fold(FoldsConfig(fold=f"{number}/2"), store)
        for part in (fold.train_tiles, fold.inner_tiles, fold.held_out_tiles):
            assert part
            assert {(names.index(tile) // 2) for tile in part} == {
                pair for pair in range(4) if names[2 * pair] in part and names[2 * pair + 1] in part
            }
    with pytest.raises(
        InputDataError,
        match=r"needs 2 labelled tiles that lie apart, and there are 1; .*a smaller --buffer-km",
    ):
        make_fold(FoldsConfig(fold="1/2", buffer_km=21), store)


def test_a_reference_system_that_is_nowhere_is_named() -> None:
    for crs in ('LOCAL_CS["a hall",UNIT["metre",1]]', "nonsense"):
        nowhere = Georeference(crs, (10, 0, 0, 0, -10, 0))
        with pytest.raises(InputDataError, match="A lies in a reference system that cannot be placed"):
            group_neighbours({"A": nowhere}, 0)
