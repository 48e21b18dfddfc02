"""Synthetic tiles named, typed and distributed like the contest's, to try and test without its data."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esdseg.sample.tile import SampleTile, generate_tile
    from esdseg.sample.writing import write_sample_tiles

__all__ = ["SampleTile", "generate_tile", "write_sample_tiles"]

_HOMES = {
    "SampleTile": "esdseg.sample.tile",
    "generate_tile": "esdseg.sample.tile",
    "write_sample_tiles": "esdseg.sample.writing",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module when it is first asked for: numpy and scipy load only then."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
