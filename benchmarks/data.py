"""The tiles that are measured on: the contest's own where there is one, else sample tiles."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks import SUBTILE_SIZE, course_preprocessing
from esdseg.config.preprocessing import PreprocessConfig
from esdseg.preprocessing.preprocess import preprocess
from esdseg.sample.writing import write_sample_tiles
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store, open_store
from esdseg.system.memory import available_cores
from esdseg.tiles.discovery import RawTile, find_tiles

REAL_TILE_VARIABLE = "ESDSEG_DFC2021_DIR"
SAMPLE_TILES = 12
"""Enough for the start of several workers not to matter."""


@dataclass(frozen=True)
class BenchmarkData:
    """Tiles to measure on, made when first asked for and kept for the next time.

    Attributes:
        folder: Where everything lies.
        repeats: How often each figure is measured.
        whole_way_tiles: How many sample tiles go from the raw folder to the report.
    """

    folder: Path
    repeats: int
    whole_way_tiles: int = 60

    @property
    def one_tile_dir(self) -> Path:
        """A raw folder with one tile: the contest's where there is one."""
        real = os.environ.get(REAL_TILE_VARIABLE)
        folder = self.folder / f"one-{'real' if real else 'sample'}"
        folder.mkdir(parents=True, exist_ok=True)
        _link(folder / "Tile1", (Path(real) if real else self.samples(1)) / "Tile1")
        return folder

    @property
    def sample_dir(self) -> Path:
        """A raw folder with sample tiles."""
        return self.samples(SAMPLE_TILES)

    @property
    def raw_tile(self) -> RawTile:
        """The tile of :attr:`one_tile_dir`."""
        return find_tiles(self.one_tile_dir)[0]

    @cached_property
    def one_tile_store(self) -> Store:
        """The one tile preprocessed."""
        return self._store(self.one_tile_dir, "one", 0)

    def store_of_samples(self, tiles: int, val_fraction: float = 0.01) -> Store:
        """Return a store of so many sample tiles, at least one of them for validation."""
        return self._store(self.samples(tiles), f"samples-{tiles}", val_fraction)

    def course_folders(self, store: Store, split: SplitName) -> tuple[Path, ...]:
        """Return the folders of a split's tiles as the course stores them."""
        tiles = {tile.name: tile for tile in find_tiles(self.folder / "raw")}
        folders = []
        for name in store.tile_names(split):
            folders.append(self.folder / "course" / name)
            if not folders[-1].exists():
                course_preprocessing.preprocess_tile(tiles[name], folders[-1])
        return tuple(folders)

    def samples(self, tiles: int) -> Path:
        """Return a raw folder with so many sample tiles."""
        everything = self.folder / "raw"
        write_sample_tiles(everything, tiles=tiles, seed=0, crs=False, workers=available_cores())
        folder = self.folder / f"raw-{tiles}"
        folder.mkdir(exist_ok=True)
        for tile in find_tiles(everything)[:tiles]:
            _link(folder / tile.name, everything / tile.name)
        return folder

    def _store(self, raw_dir: Path, name: str, val_fraction: float) -> Store:
        processed_dir = self.folder / "processed" / name
        preprocess(
            PreprocessConfig(
                raw_dir=raw_dir,
                processed_dir=processed_dir,
                subtile_size=SUBTILE_SIZE,
                val_fraction=val_fraction,
            )
        )
        return open_store(processed_dir, SUBTILE_SIZE)


def _link(link: Path, target: Path) -> None:
    if not link.exists():
        link.symlink_to(target.resolve(), target_is_directory=True)
