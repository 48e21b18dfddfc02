"""Which tiles of a store a checkpoint knows: those that it was trained on, was chosen by, or held out.

A tile is its place: two tiles of one name are told apart, and a tile is known again under another name and on
other dates. Only where nothing tells does a name decide, and then nothing may be said without a doubt.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from esdseg.models.checkpoint import CheckpointMetadata
from esdseg.store.identity import TileIdentity, TilePlace, is_same_tile
from esdseg.store.store import Store

UNKNOWN = TileIdentity((), TilePlace())
"""Of a tile of which only the name is known."""


@dataclass(frozen=True)
class KnownTiles:
    """The tiles of a store that are among some tiles of a checkpoint.

    Attributes:
        same: Names in the store of those whose values, coordinates or labels say so.
        perhaps: Names in the store of those that only have the name of one, where nothing else tells.
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
    identities = {name: _identity(trained, name, store) for name in named}
    same: set[str] = set()
    perhaps: set[str] = set()
    for tile in tiles:
        entry = store.manifest.tiles.get(tile)
        identity = UNKNOWN if entry is None else TileIdentity.of(entry)
        if any(is_same_tile(identity, known) for known in identities.values()):
            same.add(tile)
        elif tile in identities and is_same_tile(identity, identities[tile]) is None:
            (same if trained.manifest_hash == store.manifest_hash else perhaps).add(tile)
    return KnownTiles(frozenset(same), frozenset(perhaps))


def note_known_tiles(
    trained: CheckpointMetadata, store: Store, scored: Sequence[str], *, learned: str, advice: str
) -> tuple[str, ...]:
    """Say which tiles that score a run another run has learned from, or was chosen by.

    Args:
        trained: What the other run's checkpoint says of itself.
        store: The store.
        scored: The store's tiles that score the run.
        learned: How the sentence begins, up to the number of tiles.
        advice: What to do instead, as a sentence.

    Returns:
        The note; nothing where the other run knows none of the tiles.
    """
    is_chosen = trained.config.trainer.monitor is not None or trained.is_calibrated
    named = (*trained.train_tiles, *(trained.val_tiles if is_chosen else ()))
    known = find_known_tiles(trained, named, store, scored).all
    if not known:
        return ()
    names = ", ".join(tile for tile in scored if tile in known)
    return (
        f"{learned} {len(known)} of the {len(scored)} tiles that score this run ({names}): its scores "
        f"will be too high. {advice}",
    )


def find_lost_tiles(trained: CheckpointMetadata, named: Sequence[str], store: Store) -> tuple[str, ...]:
    """Return those of a checkpoint's tiles that a store does not hold, by the checkpoint's names."""
    held = {name: TileIdentity.of(entry) for name, entry in store.manifest.tiles.items()}
    lost = []
    for name in named:
        identity = _identity(trained, name, store)
        is_other = name not in held or is_same_tile(identity, held[name]) is False
        if is_other and not any(is_same_tile(identity, other) for other in held.values()):
            lost.append(name)
    return tuple(lost)


def knows_contents(trained: CheckpointMetadata, store: Store) -> bool:
    """Return whether a checkpoint's tiles can be told from those of a store by more than their names."""
    return bool(trained.tile_contents) or trained.manifest_hash == store.manifest_hash


def _identity(trained: CheckpointMetadata, name: str, store: Store) -> TileIdentity:
    """Return what a checkpoint's tile is known by."""
    if name in trained.tile_contents:
        return TileIdentity(trained.tile_contents[name], trained.tile_places.get(name, TilePlace()))
    entry = store.manifest.tiles.get(name) if trained.manifest_hash == store.manifest_hash else None
    return UNKNOWN if entry is None else TileIdentity.of(entry)
