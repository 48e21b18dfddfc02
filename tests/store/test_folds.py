from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esdseg.config.training import FoldsConfig
from esdseg.errors import InputDataError
from esdseg.store.folds import FoldTile, draw_folds, labelled_tiles, make_fold, strata
from esdseg.store.store import open_store
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
