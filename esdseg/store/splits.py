"""The split of tiles into training, validation and test."""

from collections.abc import Sequence
from typing import Literal

from esdseg.errors import InputDataError
from esdseg.store.manifest import SplitName
from esdseg.tiles.discovery import natural_key


def split_tiles(
    labelled: Sequence[str], val_fraction: float, seed: int, test_fraction: float = 0.0
) -> dict[str, SplitName]:
    """Split labelled tiles into training, validation and test; all subtiles of a tile stay together.

    The test tiles are drawn first; what is left is split as if there had never been others.

    Args:
        labelled: Names of the tiles that have ground truth, in any order.
        val_fraction: Share of the tiles that are not for testing that is kept for validation, rounded up to
            whole tiles; 0 and 1 put all of them on one side.
        seed: Seed of both draws.
        test_fraction: Share of all labelled tiles set aside for testing, rounded up to whole tiles.

    Returns:
        The split of each tile, in natural order. The draw depends on the set of names alone, never on the
        order in which a file system lists them.

    Raises:
        InputDataError: A share of neither 0 nor 1 was asked for, and there are too few tiles to fill both
            sides.
    """
    names = sorted(labelled, key=natural_key)
    kept, test = _draw(names, test_fraction, seed, "test")
    train, val = _draw(kept, val_fraction, seed, "val")
    sides: dict[str, SplitName] = dict.fromkeys(train, "train")
    sides |= dict.fromkeys(val, "val")
    sides |= dict.fromkeys(test, "test")
    return {name: sides[name] for name in names}


_PURPOSES: dict[Literal["val", "test"], tuple[str, str, str, str]] = {
    "val": ("training and validation", "validation", "all for training", "all for validation"),
    "test": ("tiles to learn from and test tiles", "test", "none for testing", "all for testing"),
}
"""For each draw: its two sides, the name of the share, and the meaning of shares of 0 and 1."""


def _draw(
    names: list[str], fraction: float, seed: int, side: Literal["val", "test"]
) -> tuple[list[str], list[str]]:
    """Draw a share of the naturally sorted names; both parts are returned in natural order."""
    if fraction in (0, 1) or not names:
        return ([], names) if fraction == 1 else (names, [])
    # scikit-learn takes a second to import, and commands that need no split should not wait for it.
    from sklearn.model_selection import train_test_split

    try:
        _, drawn = train_test_split(names, test_size=fraction, random_state=seed)
    except ValueError:
        sides, share, nothing, everything = _PURPOSES[side]
        tiles = f"{len(names)} labelled tile{'s' * (len(names) > 1)} ({', '.join(names[:5])})"
        raise InputDataError(
            f"{tiles} cannot be split into {sides} with a {share} share of {fraction:g}: one side would be "
            f"empty. Add tiles, or use --{side}-fraction 0 ({nothing}) or --{side}-fraction 1 ({everything})."
        ) from None
    chosen = frozenset(drawn)
    return [name for name in names if name not in chosen], [name for name in names if name in chosen]
