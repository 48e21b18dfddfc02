"""The split of tiles into training and validation."""

from collections.abc import Sequence
from typing import Literal

from esdseg.errors import InputDataError
from esdseg.tiles import natural_key


def split_tiles(
    labelled: Sequence[str], val_fraction: float, seed: int
) -> dict[str, Literal["train", "val"]]:
    """Split labelled tiles; a tile is never cut, so its subtiles all land on one side.

    Args:
        labelled: Names of the tiles that have ground truth, in any order.
        val_fraction: Share kept for validation, rounded up to whole tiles; 0 and 1 put all on one side.
        seed: Seed of the draw.

    Returns:
        The side of each tile, in the natural order of their names. The draw depends on the set of names
        alone, never on the order in which a file system lists them.

    Raises:
        InputDataError: Neither 0 nor 1 was asked for, and there are too few tiles to fill both sides.
    """
    names = sorted(labelled, key=natural_key)
    if val_fraction in (0, 1) or not names:
        return dict.fromkeys(names, "val" if val_fraction == 1 else "train")
    # scikit-learn takes a second to import, and commands that need no split should not wait for it.
    from sklearn.model_selection import train_test_split

    try:
        _, val = train_test_split(names, test_size=val_fraction, random_state=seed)
    except ValueError:
        tiles = f"{len(names)} labelled tile{'s' * (len(names) > 1)} ({', '.join(names[:5])})"
        raise InputDataError(
            f"{tiles} cannot be split into training and validation with a validation share of "
            f"{val_fraction:g}: one side would be empty. Add tiles, or use --val-fraction 0 (all for "
            "training) or --val-fraction 1 (all for validation)."
        ) from None
    chosen = frozenset(val)
    return {name: "val" if name in chosen else "train" for name in names}
