from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esdseg.config.training import FoldsConfig
from esdseg.errors import InputDataError
from esdseg.store.folds import (
    FoldTile,
    distance_m,
    draw_folds,
    group_neighbours,
    labelled_tiles,
    make_fold,
    strata,
    tile_centres,
    tile_corners,
)
from esdseg.store.manifest import write_manifest
from esdseg.store.store import open_store
from esdseg.tiles.reading import Georeference
from tests.datasets.make_store import CHANNELS, make_store


def made_up(number: int, seed: int = 0, lit_share: float = 0.4) -> list[FoldTile]:
    rng = np.random.default_rng(seed)
    return [
        FoldTile(f"Tile{i}", float(rng.beta(1.5, 2)), bool(rng.random() < lit_share), f"Tile{i}")
        for i in range(1, number + 1)
    ]


def shares_of_folds(tiles: list[FoldTile], folds: dict[str, int], count: int) -> list[float]:
    return [
        float(np.mean([tile.class_1_share for tile in tiles if folds[tile.name] == number]))
        for number in range(1, count + 1)
    ]


@given(st.integers(2, 40), st.integers(2, 8), st.integers(0, 50), st.sampled_from([0, 0.1, 0.4, 1]))
def test_every_tile_is_in_one_fold_and_folds_are_even(
    number: int, count: int, seed: int, lit_share: float
) -> None:
    if number < count:
        return
    tiles = made_up(number, seed, lit_share)
    folds = draw_folds(tiles, count, seed, "x")
    assert folds.keys() == {tile.name for tile in tiles}
    sizes = np.bincount(list(folds.values()), minlength=count + 1)[1:]
    assert len(sizes) == count
    assert sizes.max() - sizes.min() <= 1
    lit = np.bincount([folds[t.name] for t in tiles if t.has_electricity], minlength=count + 1)[1:]
    if lit.sum() >= count and max(np.bincount(strata(tiles, count))) >= count:
        assert lit.min() >= 1, "every fold has electricity where there are tiles enough"


def test_folds_balance_class_1_better_than_chance() -> None:
    spread, by_chance = [], []
    for seed in range(20):
        tiles = made_up(60, seed)
        spread.append(np.std(shares_of_folds(tiles, draw_folds(tiles, 5, seed, "x"), 5)))
        drawn = np.random.default_rng(seed).permutation(np.repeat(range(1, 6), 12))
        folds = {tile.name: int(fold) for tile, fold in zip(tiles, drawn, strict=True)}
        by_chance.append(np.std(shares_of_folds(tiles, folds, 5)))
    assert np.mean(spread) < np.mean(by_chance) / 2


@given(st.permutations(made_up(20)), st.integers(0, 100))
def test_folds_do_not_depend_on_the_order_of_tiles(tiles: list[FoldTile], seed: int) -> None:
    assert draw_folds(tiles, 5, seed, "x") == draw_folds(made_up(20), 5, seed, "x")


def test_another_seed_draws_other_folds() -> None:
    assert draw_folds(made_up(20), 5, 1, "x") != draw_folds(made_up(20), 5, 2, "x")


def test_strata_are_bins_of_class_1_by_electricity() -> None:
    # Two lit tiles make one bin for two folds; five dark ones make two, cut by rank.
    shares = [0.9, 0.1, 0.5, 0.4, 0.3, 0.2, 0.8]
    lit = [True, False, False, False, False, False, True]
    tiles = [FoldTile(f"Tile{i}", s, e, "") for i, (s, e) in enumerate(zip(shares, lit, strict=True))]
    assert strata(tiles, 2) == [0, 1, 2, 2, 1, 1, 0]
    assert strata(tiles, 6) == [0] * 7, "no stratum has six tiles, so there is one"


def test_more_folds_than_tiles_are_refused() -> None:
    with pytest.raises(InputDataError, match=r"--folds 5 needs 5 labelled tiles, and there are 4"):
        draw_folds(made_up(4), 5, 0, "--folds 5")


def test_folds_hold_out_each_tile_of_train_and_val_once_and_never_test(tmp_path: Path) -> None:
    sides = {f"Tile{i}": side for i, side in enumerate(["train"] * 6 + ["val"] * 3 + ["test"] * 2)}
    unknown = np.full((16, 16), 255, np.uint8)
    make_store(tmp_path, split=sides, channels=CHANNELS[:1], labels={"Tile0": unknown})  # type: ignore[arg-type]
    store = open_store(tmp_path)
    held_out: list[str] = []
    for number in (1, 2, 3, 4):
        fold = make_fold(FoldsConfig(fold=f"{number}/4"), store)
        every = [*fold.train_tiles, *fold.inner_tiles, *fold.held_out_tiles]
        assert sorted(every) == [f"Tile{i}" for i in range(1, 9)], "labelled tiles outside Test/"
        assert len(fold.inner_tiles) in (1, 2), "one of five parts of six tiles"
        held_out += fold.held_out_tiles
    assert sorted(held_out) == [f"Tile{i}" for i in range(1, 9)]


def test_inner_tiles_have_electricity_where_others_are_left_to_train_on(tmp_path: Path) -> None:
    dark, lit = np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint8)
    dark[:8], lit[:8], lit[0, 0] = 1, 1, 2
    names = [f"Tile{i}" for i in range(12)]
    for lit_tiles in (["Tile3"], ["Tile3", "Tile4", "Tile5"], []):
        path = tmp_path / str(len(lit_tiles))
        labels = {name: lit if name in lit_tiles else dark for name in names}
        make_store(path, split=dict.fromkeys(names, "train"), channels=CHANNELS[:1], labels=labels)
        store = open_store(path)
        for number in (1, 2, 3):
            fold = make_fold(FoldsConfig(fold=f"{number}/3", inner_parts=3), store)
            at_hand = [name for name in lit_tiles if name not in fold.held_out_tiles]
            if at_hand:
                assert set(at_hand) & set(fold.train_tiles)
            if len(at_hand) > 1:
                assert set(at_hand) & set(fold.inner_tiles)


def test_two_tiles_are_too_few_for_a_fold(tmp_path: Path) -> None:
    make_store(tmp_path, split={"Tile1": "train", "Tile2": "val"}, channels=CHANNELS[:1])
    with pytest.raises(InputDataError, match="2 labelled tiles outside Test/; a fold needs three"):
        make_fold(FoldsConfig(fold="1/2"), open_store(tmp_path))


def test_a_tile_is_described_by_its_known_cells(tmp_path: Path) -> None:
    label = np.full((16, 16), 255, np.uint8)
    label[0, :4] = [0, 1, 1, 3]
    make_store(tmp_path, split={"Tile1": "val"}, channels=CHANNELS[:1], labels={"Tile1": label})
    assert labelled_tiles(open_store(tmp_path)) == (FoldTile("Tile1", 0.25, True, "Tile1"),)


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


def test_the_middle_of_a_tile_is_known_where_its_place_is() -> None:
    step = 0.08 / 800
    places = {
        "A": at(-4, 4),
        "B": None,
        "C": Georeference("EPSG:4326", (step, 0, 179.98, 0, -step, -17)),
        "D": Georeference('ENGCRS["a plane of its own"]', (10, 0, 0, 0, -10, 0)),
    }

    centres = tile_centres(places)

    assert set(centres) == {"A", "C"}
    assert centres["A"] == pytest.approx((15, -18.08), abs=0.01), "on the central meridian of zone 33"
    assert centres["C"] == pytest.approx((-179.98, -17.04), abs=0.001), "over the date line"


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
