"""What was probably meant by a name that does not exist."""

import difflib
from collections.abc import Sequence


def nearest_name(name: str, known: Sequence[str]) -> str | None:
    """Return the known name that ``name`` is most likely a misspelling of, or ``None``."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.6)), None)
