import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from esdseg.config.preprocessing import PreprocessConfig
from esdseg.errors import InputDataError
from esdseg.store.commands import preprocess_command
from esdseg.store.splits import split_tiles

SIXTY = [f"Tile{number}" for number in range(1, 61)]


@given(st.permutations(SIXTY[:20]), st.integers(0, 100))
def test_split_depends_on_the_names_alone(names: list[str], seed: int) -> None:
    assert split_tiles(names, 0.2, seed) == split_tiles(SIXTY[:20], 0.2, seed)


def test_split_is_scikit_learns_over_the_naturally_sorted_names() -> None:
    train, val = train_test_split(SIXTY, test_size=0.2, random_state=12378921)
    split = split_tiles(sorted(SIXTY), 0.2, 12378921)
    assert {name for name, side in split.items() if side == "train"} == set(train)
    assert {name for name, side in split.items() if side == "val"} == set(val)
    assert len(val) == 12
    assert list(split) == SIXTY


def test_another_seed_draws_another_split() -> None:
    assert split_tiles(SIXTY, 0.2, 1) != split_tiles(SIXTY, 0.2, 2)


@pytest.mark.parametrize(("fraction", "side"), [(0, "train"), (1, "val")])
def test_fractions_0_and_1_put_all_tiles_on_one_side(fraction: float, side: str) -> None:
    assert set(split_tiles(SIXTY, fraction, 0).values()) == {side}
    assert split_tiles(["Tile1"], fraction, 0) == {"Tile1": side}


def test_one_tile_cannot_be_split_and_the_message_says_what_to_do() -> None:
    with pytest.raises(InputDataError, match=r"1 labelled tile \(Tile1\) .* --val-fraction 0 .* 1"):
        split_tiles(["Tile1"], 0.2, 0)


def test_a_share_that_leaves_no_training_tile_is_refused() -> None:
    with pytest.raises(InputDataError, match="one side would be empty"):
        split_tiles(["Tile1", "Tile2"], 0.9, 0)


def test_no_labelled_tiles_need_no_split() -> None:
    assert split_tiles([], 0.2, 0) == {}


def test_test_tiles_are_scikit_learns_draw_over_the_naturally_sorted_names() -> None:
    kept, test = train_test_split(SIXTY, test_size=0.25, random_state=7)
    split = split_tiles(sorted(SIXTY), 0.2, 7, 0.25)
    assert {name for name, side in split.items() if side == "test"} == set(test)
    assert list(split) == SIXTY
    rest = {name: side for name, side in split.items() if side != "test"}
    assert rest == split_tiles(kept, 0.2, 7), "the other tiles are split as if there had been no test tiles"


@given(
    st.permutations(SIXTY[:20]),
    st.integers(0, 100),
    st.sampled_from([0.05, 0.2, 0.5]),
    st.sampled_from([0, 0.3]),
)
def test_the_three_sides_depend_on_the_names_alone(
    names: list[str], seed: int, test_fraction: float, val_fraction: float
) -> None:
    split = split_tiles(names, val_fraction, seed, test_fraction)
    assert split == split_tiles(SIXTY[:20], val_fraction, seed, test_fraction)
    assert list(split.values()).count("test") == round(20 * test_fraction)


def test_without_test_tiles_the_split_is_what_it_was() -> None:
    _, val = train_test_split(SIXTY, test_size=0.2, random_state=12378921)
    assert split_tiles(SIXTY, 0.2, 12378921, 0) == {n: "val" if n in val else "train" for n in SIXTY}


def test_all_tiles_can_be_for_testing() -> None:
    assert set(split_tiles(SIXTY, 0.2, 0, 1).values()) == {"test"}


def test_a_test_share_that_leaves_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(InputDataError, match=r"test share of 0\.9.*--test-fraction 0 .*--test-fraction 1"):
        split_tiles(["Tile1", "Tile2"], 0.2, 0, 0.9)


def test_the_mending_command_names_the_test_share() -> None:
    assert "--test-fraction 0.25" in preprocess_command(PreprocessConfig(test_fraction=0.25))
    assert "--test-fraction" not in preprocess_command(PreprocessConfig())
