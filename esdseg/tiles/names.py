"""What a tile may be called, and how names are put in order."""

import re

MOST_NAME_BYTES = 200
"""Of a tile's name: file systems allow 255, and the store adds endings."""

RENAME_TILE = "Rename its folder to letters, digits, '-' and '_', such as Tile1."
"""The fix for a name that cannot be used."""


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Return a sort key that puts ``Tile2`` before ``Tile10``."""
    parts = re.split(r"(\d+)", name)
    return tuple(_number(part) if index % 2 else part for index, part in enumerate(parts)), name


def is_tile_name(name: str) -> bool:
    """Return whether a name can be that of one folder of a store, and lead nowhere else.

    It cannot where it is empty, starts with a dot, holds a separator or a character that is not printed
    (control characters, bytes that are no UTF-8), or is too long for a file system once it gets an ending.
    """
    return (
        bool(name)
        and name.isprintable()
        and not name.startswith(".")
        and not re.search(r"[/\\:]", name)
        and len(name.encode()) <= MOST_NAME_BYTES
    )


def shown_name(name: str) -> str:
    """Return a name in which what is not printed is spelt out, as Python writes it in a text."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in name)


def _number(digits: str) -> int:
    # Numbers beyond any tile's only need an order; Python refuses to read those of thousands of digits.
    return int(digits) if len(digits) < 4000 else 10**4000
