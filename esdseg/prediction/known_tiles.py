"""Which tiles of a store a checkpoint knows: those that it was trained on, was chosen by, or held out.

A tile is its content. Two tiles of one name are told apart, and a tile is known again under another name.
Only where the content of either is unknown does a name decide, and then nothing may be said without a doubt.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from esdseg.models.checkpoint import CheckpointMetadata
from esdseg.store.identity import is_same_tile
from esdseg.store.store import Store


@dataclass(frozen=True)
class KnownTiles:
    """The tiles of a store that are among some tiles of a checkpoint.

    Attributes:
        same: Names in the store of those whose content says so.
        perhaps: Names in the store of those that only have the name of one; their contents are unknown.
    """

    same: frozenset[str] = frozenset()
    perhaps: frozenset[str] = frozenset()

    @property
    def all(self) -> frozenset[str]:
        """The certain and the doubtful ones."""
        return self.same | self.perhaps

    @classmethod
    def union(cls, known: Iterable["KnownTiles"]) -> "KnownTiles":
        """Return the tiles that any of several checkpoints knows."""
        found = tuple(known)
        same = frozenset[str]().union(*(tiles.same for tiles in found))
        return cls(same, frozenset[str]().union(*(tiles.perhaps for tiles in found)) - same)


def find_known_tiles(
    trained: CheckpointMetadata, named: Sequence[str], store: Store, tiles: Iterable[str]
) -> KnownTiles:
    """Find the tiles of a store that are among some tiles of a checkpoint.

    Args:
        trained: What the checkpoint says of itself.
        named: Some of its tiles by its own names, such as ``trained.train_tiles``.
        store: The store.
        tiles: The store's tiles to look at, by the store's names.
    """
    contents = {name: _content(trained, name, store) for name in named}
    same: set[str] = set()
    perhaps: set[str] = set()
    for tile in tiles:
        entry = store.manifest.tiles.get(tile)
        content = entry.content if entry is not None else ()
        if any(is_same_tile(content, known) for known in contents.values()):
            same.add(tile)
        elif tile in contents and is_same_tile(content, contents[tile]) is None:
            (same if trained.manifest_hash == store.manifest_hash else perhaps).add(tile)
    return KnownTiles(frozenset(same), frozenset(perhaps))


def find_lost_tiles(trained: CheckpointMetadata, named: Sequence[str], store: Store) -> tuple[str, ...]:
    """Return those of a checkpoint's tiles that a store does not hold, by the checkpoint's names."""
    lost = []
    for name in named:
        content, entry = _content(trained, name, store), store.manifest.tiles.get(name)
        is_other = entry is None or is_same_tile(content, entry.content) is False
        if is_other and not any(
            is_same_tile(content, held.content) for held in store.manifest.tiles.values()
        ):
            lost.append(name)
    return tuple(lost)


def knows_contents(trained: CheckpointMetadata, store: Store) -> bool:
    """Return whether a checkpoint's tiles can be told from those of a store by more than their names."""
    return bool(trained.tile_contents) or trained.manifest_hash == store.manifest_hash


def _content(trained: CheckpointMetadata, name: str, store: Store) -> tuple[str, ...]:
    """Return the digests of a checkpoint's tile; none where they are unknown."""
    if name in trained.tile_contents:
        return trained.tile_contents[name]
    entry = store.manifest.tiles.get(name) if trained.manifest_hash == store.manifest_hash else None
    return entry.content if entry is not None else ()
