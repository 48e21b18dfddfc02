"""Settings of cross-validation: which tiles a run holds out."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from esdseg.config.section import Section, Seed


def _check_fold(text: str) -> str:
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if not match or not int(match[2]) >= 2 or int(match[1]) > int(match[2]):
        raise ValueError(f"'{text}' is no fold; write 2/5 for the second of five, of two folds at least")
    return text


FoldName = Annotated[str, AfterValidator(_check_fold)]
"""A fold as ``2/5``: the second of five."""


class FoldsConfig(Section):
    """Folds over the labelled tiles of Train/ and Val/ together; the tiles of Test/ are in none.

    A fold's run never sees the tiles that it holds out: they are for scoring. Its epoch is chosen on inner
    tiles, a part of its training tiles that is set aside from the weights.
    """

    fold: FoldName | None = None
    """The fold to hold out, such as ``2/5``; with ``null`` the run trains on Train/ and validates on Val/."""
    seed: Seed = 0
    """Seed of the folds; apart from the training's, so that runs of several seeds share their folds."""
    buffer_km: Annotated[float, Field(ge=0)] = 0.0
    """Where rasters carry coordinates: tiles nearer to each other than this, edge to edge in kilometres, stay
    in one fold. Tiles that touch always do."""
    inner_parts: Annotated[int, Field(ge=2)] = 5
    """Into so many parts the tiles that are not held out are divided, alike; the epoch is chosen on one of
    them. 5 means 20 %."""

    @model_validator(mode="after")
    def _buffer_has_folds(self) -> Self:
        if self.buffer_km and self.fold is None:
            raise ValueError(
                "buffer_km keeps tiles in one fold, and there are none; give --fold or --folds too"
            )
        return self

    @property
    def number(self) -> int:
        """Position of the fold, counted from 1.

        Raises:
            ValueError: There are no folds.
        """
        return self._parts()[0]

    @property
    def count(self) -> int:
        """How many folds there are; see :attr:`number`."""
        return self._parts()[1]

    def _parts(self) -> tuple[int, int]:
        if self.fold is None:
            raise ValueError("a run without folds has no number")
        number, count = self.fold.split("/")
        return int(number), int(count)
