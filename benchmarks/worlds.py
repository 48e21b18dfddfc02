"""Sample tiles of several worlds, and training sets cut out of them: few tiles, or wrong labels, or none.

What is made is kept in a folder, and put in its place whole, so that several processes can share it.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from esdseg.sample.regions import REGIONS, SAVANNA
from esdseg.sample.writing import write_sample_tiles
from esdseg.sensors.classes import NUM_CLASSES, UNKNOWN_LABEL
from esdseg.store.identity import digest_labels
from esdseg.store.manifest import SplitName, TileEntry, tile_path, write_manifest
from esdseg.store.store import Store, open_store
from esdseg.store.tile_store import LabelArray
from esdseg.tiles.discovery import find_tiles

TRAINING_SEEDS = (1, 2, 3)
"""Each network is trained on the land of each of these seeds of sample tiles."""

SCORED_SEED = 100
SCORED_TILES = 24

BANDS: Mapping[str, Sequence[str]] = {
    "viirs": ["DNB"],
    "sentinel1": ["VV", "VH"],
    "sentinel2": ["B02", "B03", "B04", "B08", "B11"],
    "landsat8": ["B4", "B5", "B6"],
}
"""The recipes' bands, and Landsat-8, whose dates are asked about too."""

ALL_NIGHTS: Mapping[str, Sequence[str]] = {"viirs": ["all"]}
"""Projections over all nights beside the nights."""

LabelError = Literal["none", "5 % wrong", "15 % wrong", "shifted"]

WRONG_SHARES: Mapping[LabelError, float] = {"5 % wrong": 0.05, "15 % wrong": 0.15}


@dataclass(frozen=True)
class World:
    """Sample tiles of some kind; the land depends on the seed alone.

    Attributes:
        dates: What ``esdseg sample --dates`` takes; the contest's unless given.
        shuffles_dates: Whether the acquisitions of each sensor exchange their dates at random, a tile at a
            time.
        region: What ``esdseg sample --region`` takes.
        training_tiles: How many labelled tiles there are of each seed to train on.
    """

    dates: Literal["random"] | None = None
    shuffles_dates: bool = False
    region: str = SAVANNA.name
    training_tiles: int = 16


WORLDS: Mapping[str, World] = {
    "contest": World(training_tiles=32),
    "shuffled": World(shuffles_dates=True),
    "another-year": World(dates="random"),
    **{region: World(region=region) for region in REGIONS if region != SAVANNA.name},
}
"""``another-year``: 3 to 6 dates of Sentinel-2 of which half are cloudy, 2 to 4 of Landsat-8, 2 to 5 of
Sentinel-1, 6 to 10 nights, other ones in every tile."""


@dataclass(frozen=True)
class TrainingSet:
    """The tiles that a network learns from; it has a validation tile beside them, which chooses nothing.

    Attributes:
        world: One of :data:`WORLDS`.
        labelled: Labelled tiles, the first ones of the world.
        labels: What is wrong with their labels. ``5 % wrong``: so many cells of each tile, drawn at random,
            have one of the three other classes, each as likely. ``shifted``: all labels lie one cell too far
            to the east, and the westernmost cells are unknown.
        unlabelled: Further tiles whose labels are hidden, in ``Test/``.
        validation: Validation tiles, whose labels are right.
        start: What the network had learned from before, whose weights it starts with; by default nothing.
    """

    world: str = "contest"
    labelled: int = 16
    labels: LabelError = "none"
    unlabelled: int = 0
    validation: int = 1
    start: "TrainingSet | None" = None

    @property
    def name(self) -> str:
        """Its name in paths."""
        parts = [self.world, str(self.labelled)]
        if self.labels != "none":
            parts.append(self.labels.replace(" % ", "-"))
        if self.unlabelled:
            parts.append(f"{self.unlabelled}-unlabelled")
        if self.validation != 1:
            parts.append(f"{self.validation}-validation")
        if self.start is not None:
            parts.append(f"after-{self.start.name}")
        return "-".join(parts)


@dataclass(frozen=True)
class Worlds:
    """Makes stores of sample tiles when they are asked for, and keeps them.

    Attributes:
        folder: Where they lie.
    """

    folder: Path

    def scored(self, world: str) -> Store:
        """Return the store of the tiles of a world that networks are scored on."""
        return self._store(world, SCORED_SEED, SCORED_TILES)

    def training(self, tiles: TrainingSet, seed: int) -> Store:
        """Return the store of the tiles that a network learns from.

        Raises:
            ValueError: The world has fewer tiles.
        """
        store_dir = self.folder / f"{tiles.world}-{seed}-{tiles.name.removeprefix(f'{tiles.world}-')}"
        if not store_dir.exists():
            whole = self._store(tiles.world, seed, WORLDS[tiles.world].training_tiles + 1)
            with new_folder(store_dir) as part:
                cut_out(whole, part, tiles, seed)
        return open_store(store_dir)

    def _store(self, world: str, seed: int, tiles: int) -> Store:
        from esdseg.config.preprocessing import PreprocessConfig
        from esdseg.preprocessing.preprocess import preprocess

        store_dir = self.folder / f"{world}-{seed}"
        if not store_dir.exists():
            with new_folder(store_dir) as part:
                raw_dir = self._raw_tiles(part / "raw", world, seed, tiles)
                settings = {
                    "raw_dir": raw_dir,
                    "processed_dir": part,
                    "val_fraction": 1 / tiles,
                    "selected_bands": {**BANDS, **ALL_NIGHTS},
                }
                preprocess(PreprocessConfig.model_validate(settings))
                shutil.rmtree(part / "raw")
        return open_store(store_dir)

    def _raw_tiles(self, folder: Path, world: str, seed: int, tiles: int) -> Path:
        from esdseg.system.memory import available_cores

        raw_dir, workers = folder / "tiles", available_cores()
        write_sample_tiles(
            raw_dir,
            tiles=tiles,
            seed=seed,
            crs=False,
            workers=workers,
            dates=WORLDS[world].dates,
            region=WORLDS[world].region,
        )
        if not WORLDS[world].shuffles_dates:
            return raw_dir
        shuffle_dates(raw_dir, folder / "shuffled", seed)
        return folder / "shuffled"


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Let a folder be filled beside ``path``, then put it in its place, unless another process was first."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.mkdir(parents=True)
    try:
        yield part
        try:
            part.rename(path)
        except OSError:
            if not path.exists():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def cut_out(whole: Store, processed_dir: Path, tiles: TrainingSet, seed: int) -> None:
    """Write a store of some of a store's tiles, by links, with other labels where they are to be wrong.

    Args:
        whole: The store.
        processed_dir: Folder of the new one.
        tiles: Which tiles, and their labels.
        seed: Of the cells whose labels are wrong.

    Raises:
        ValueError: The store has fewer tiles.
    """
    candidates, validation = list(whole.tile_names("train")), list(whole.tile_names("val"))
    if tiles.labelled + tiles.unlabelled + tiles.validation > len(candidates) + len(validation):
        raise ValueError(f"{tiles} asks for more tiles than the {len(whole.manifest.tiles)} of {whole.path}")
    while len(validation) < tiles.validation:
        validation.append(candidates.pop())
    splits: dict[str, SplitName] = dict.fromkeys(candidates[: tiles.labelled], "train")
    hidden = candidates[tiles.labelled : tiles.labelled + tiles.unlabelled]
    splits |= dict.fromkeys(hidden, "test")
    splits |= dict.fromkeys(validation, "val")

    store_dir, entries = processed_dir / whole.path.name, {}
    for number, (name, old) in enumerate(whole.manifest.tiles.items()):
        if name not in splits:
            continue
        label = true_label = whole.labels(name)
        if name in hidden:
            label = np.full_like(true_label, UNKNOWN_LABEL)
        elif splits[name] == "train":
            label = spoil(true_label, tiles.labels, np.random.default_rng((seed, number)))
        counts = np.bincount(label.ravel(), minlength=UNKNOWN_LABEL + 1)
        entry = old.model_copy(
            update={
                "split": splits[name],
                "label_digest": digest_labels(label),
                "class_counts": tuple(counts[:NUM_CLASSES].tolist()),
                "unknown_cells": int(counts[UNKNOWN_LABEL]),
            }
        )
        entries[name] = entry
        source = tile_path(whole.path, old.split, name)
        _link_tile(source, tile_path(store_dir, entry.split, name), label, entry)
    write_manifest(store_dir, whole.manifest.model_copy(update={"tiles": entries}))


def _link_tile(source: Path, target: Path, label: LabelArray, entry: TileEntry) -> None:
    """Link the image of a stored tile, and write its labels and its entry anew."""
    import zarr

    def link_pixels(old: str, new: str) -> None:
        # What is written to must be a copy.
        is_written_to = Path(old).parts[len(source.parts)] in ("label", "zarr.json")
        (shutil.copyfile if is_written_to else os.link)(old, new)

    shutil.copytree(source, target, copy_function=link_pixels)
    # A chunk of unknown labels must not be left out, which would be a fault.
    with zarr.config.set({"array.write_empty_chunks": True}):
        group = zarr.open_group(target, mode="r+", zarr_format=3)
        group.update_attributes({"entry": entry.model_dump(mode="json")})
        group["label"][...] = label


def spoil(label: LabelArray, error: LabelError, rng: np.random.Generator) -> LabelArray:
    """Return a label grid (16, 16) with the errors that :class:`TrainingSet` describes."""
    spoilt = label.copy()
    if error == "shifted":
        spoilt[:, 1:], spoilt[:, 0] = label[:, :-1], UNKNOWN_LABEL
    elif error != "none":
        known = np.flatnonzero(label != UNKNOWN_LABEL)
        cells = rng.choice(known, round(WRONG_SHARES[error] * len(known)), replace=False)
        step = rng.integers(1, NUM_CLASSES, len(cells))
        spoilt.flat[cells] = (label.flat[cells] + step) % NUM_CLASSES
    return spoilt


def shuffle_dates(raw_dir: Path, shuffled_dir: Path, seed: int) -> None:
    """Copy raw tiles, by links, with the dates of each sensor's acquisitions exchanged at random."""
    for number, tile in enumerate(find_tiles(raw_dir)):
        rng = np.random.default_rng((seed, number))
        folder = shuffled_dir / tile.name
        folder.mkdir(parents=True)
        renamed = {}
        for name in dict.fromkeys(raster.sensor for raster in tile.rasters):
            days, sensor = tile.dates(name), tile.sensors.sensor(name)
            order = dict(zip(days, rng.permutation(len(days)).tolist(), strict=True))
            for raster, path in tile.rasters.items():
                if raster.sensor == name:
                    renamed[path.name] = sensor.file_name(days[order[raster.acquired]], raster.band)
        for path in tile.folder.iterdir():
            (folder / renamed.get(path.name, path.name)).hardlink_to(path)
