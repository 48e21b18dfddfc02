"""Loaders of training and validation subtiles for Lightning."""

import signal
from collections.abc import Mapping, Sequence

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler

from esdseg.config.preprocessing import PreprocessConfig
from esdseg.config.training import ESDConfig
from esdseg.datasets.cache import CachePlan, decoded_bytes, free_gpu_bytes, plan_cache
from esdseg.datasets.dataset import Sample, SubtileDataset, stack_samples
from esdseg.datasets.pixel_grid import PixelGrid, whole_image
from esdseg.datasets.sampling import OrderedSampler, ShuffledSampler
from esdseg.errors import InputDataError
from esdseg.sensors.channels import check_bands, check_names, select_channels
from esdseg.sensors.classes import GRID_SIZE
from esdseg.store.commands import rewrite_command
from esdseg.store.folds import make_fold
from esdseg.store.store import Store
from esdseg.store.tile_store import LabelArray
from esdseg.system.memory import available_memory_bytes
from esdseg.system.processes import STOP_SIGNALS

LEAST_LABELLED_TILES = 2
"""One to learn from and one to score by; a tile is never split."""


class SubtileDataModule(pl.LightningDataModule):
    """Training windows in a new order every epoch, validation windows always in the same.

    Augmentation is not done here: it acts on whole batches on the device, in the training step alone.

    Args:
        config: What to read, and how; the seed, which with the epoch gives the order; and the fold, without
            which the tiles are those of the store's split.
        store: The store.

    Attributes:
        store: The store, with the labels of :meth:`add_train_tiles`.
        channels: The selected channels, in the order in which images hold them.
        train_tiles: What the weights and scales come from.
        val_tiles: What chooses the epoch.
        fold: The fold whose tiles are used, or ``None``.
        held_out_tiles: A fold's tiles that are not read at all.
        labelled_by: Digest of the checkpoint whose labels :meth:`add_train_tiles` took, or ``None``.
        window_size: Label cells along each side of the windows that are read.
        grids: What is taken of the images: all of them, unless :meth:`take` says otherwise.

    Raises:
        ConfigError: A selected sensor or band is not described.
        InputDataError: A selected band or sensor is not in the store, or there is nothing to train or
            validate on.
    """

    def __init__(self, config: ESDConfig, store: Store) -> None:
        super().__init__()
        data, fold = config.data, make_fold(config.folds, store) if config.folds.fold is not None else None
        check_bands(store.manifest.sensors, data.selected_bands or {}, "data.selected_bands")
        check_names(store.manifest.sensors, data.acquisitions or {}, "data.acquisitions")
        self.channels = select_channels(store.channels, data.selected_bands, data.acquisitions)
        self.fold = fold
        self.train_tiles = store.tile_names("train") if fold is None else fold.train_tiles
        self.val_tiles = store.tile_names("val") if fold is None else fold.inner_tiles
        self.held_out_tiles = () if fold is None else fold.held_out_tiles
        self.labelled_by: str | None = None
        self.window_size = data.window_size or store.subtile_size
        self.grids: tuple[PixelGrid, ...] = (whole_image(len(self.channels)),)
        self._config = data
        self._seed = config.trainer.seed
        self.store = store
        self._train: SubtileDataset | None = None
        self._val: SubtileDataset | None = None
        self._is_resident = False
        _check_split(store, self.train_tiles, self.val_tiles)

    @property
    def unlabelled_tiles(self) -> tuple[str, ...]:
        """The store's tiles without any known label that neither train nor validate nor are held out."""
        used = {*self.train_tiles, *self.val_tiles, *self.held_out_tiles}
        others = (tile for tile in self.store.manifest.tiles if tile not in used)
        return tuple(tile for tile in others if not self.store.class_counts([tile]).any())

    def add_train_tiles(self, labels: Mapping[str, LabelArray], labelled_by: str) -> None:
        """Train on further tiles. Call this before images are read.

        Args:
            labels: Class indices (16, 16) of each of the tiles: 0 to 3, or 255 where unknown.
            labelled_by: Digest of the checkpoint that they come from.
        """
        assert self._train is None, "the images were read already"
        self.store = self.store.with_labels(labels)
        self.train_tiles = (*self.train_tiles, *labels)
        self.labelled_by = labelled_by

    def take(self, grids: Sequence[PixelGrid]) -> None:
        """Read only the pixels that a network needs. Call this before images are read."""
        assert self._train is None, "the images were read already"
        self.grids = tuple(grids)

    def plan_cache(self, processes: int, device: torch.device) -> CachePlan:
        """Decide where decoded pixels are kept.

        Args:
            processes: Of this machine, each of which keeps them all.
            device: What this process trains on.
        """
        return plan_cache(
            self._config.cache,
            decoded_bytes(len(self.train_tiles) + len(self.val_tiles), self.grids),
            processes,
            available_memory_bytes(),
            free_gpu_bytes(device),
        )

    def setup(self, stage: str) -> None:
        """Open the subtiles; where they are kept on the device or in memory, this decodes them all."""
        if self._train is None:
            device, processes = self._device(), self.trainer.num_devices if self.trainer else 1
            place = self.plan_cache(processes, device).place
            self._is_resident = place == "gpu"
            kept_on = {"gpu": device, "memory": torch.device("cpu"), "disk": None}[place]
            step = 1 if self._config.window_positions == "random" else self.window_size
            self._train = SubtileDataset(
                self.store, self.train_tiles, self.channels, kept_on, self.window_size, step, self.grids
            )
            self._val = SubtileDataset(
                self.store, self.val_tiles, self.channels, kept_on, self.window_size, grids=self.grids
            )

    @property
    def train_dataset(self) -> SubtileDataset:
        """All windows of the training tiles; with random positions they overlap."""
        self.setup("fit")
        assert self._train is not None
        return self._train

    @property
    def val_dataset(self) -> SubtileDataset:
        """All subtiles of the validation tiles."""
        self.setup("fit")
        assert self._val is not None
        return self._val

    @property
    def batch_size(self) -> int:
        """Windows a step and process."""
        assert self._config.batch_size is not None, "ESDConfig.resolved fills it in"
        return self._config.batch_size

    @property
    def val_windows(self) -> int:
        """Number of validation windows."""
        return len(self.val_tiles) * (GRID_SIZE // self.window_size) ** 2

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return this process's share of the training windows that have a known label."""
        dataset = self.train_dataset
        sampler = ShuffledSampler(training_candidates(dataset), self._seed, *self._place())
        return self._loader(dataset, sampler)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Return this process's share of the validation subtiles, none of them twice."""
        return self._loader(self.val_dataset, OrderedSampler(len(self.val_dataset), *self._place()))

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def _loader(self, dataset: SubtileDataset, sampler: Sampler[int]) -> DataLoader[Sample]:
        # Other processes cannot reach what lies on this one's device, and nothing is left for them to do.
        workers = 0 if self._is_resident else self._config.num_workers
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            collate_fn=stack_samples,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self._device().type == "cuda" and not self._is_resident,
            worker_init_fn=_leave_stopping_to_parent,
        )


def _leave_stopping_to_parent(worker: int) -> None:
    # The training process ends its loaders itself; one that ended before it would look like a fault.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def training_candidates(dataset: SubtileDataset) -> list[tuple[int, ...]]:
    """Return what an epoch draws its windows from: for each labelled window of the grid, what may stand in.

    That is the window itself, or where windows overlap any labelled one of its tile.
    """
    labelled = dataset.labelled_indices()
    on_grid = sorted(set(labelled).intersection(dataset.grid_indices()))
    if len(on_grid) == len(labelled):
        return [(index,) for index in on_grid]
    per_tile = dataset.windows_per_side**2
    of_tile: dict[int, list[int]] = {}
    for index in labelled:
        of_tile.setdefault(index // per_tile, []).append(index)
    drawn_from = {tile: tuple(indices) for tile, indices in of_tile.items()}
    return [drawn_from[index // per_tile] for index in on_grid]


def _check_split(store: Store, train_tiles: tuple[str, ...], val_tiles: tuple[str, ...]) -> None:
    """Refuse a store without known labels on either side of its split (``InputDataError``)."""
    for side, tiles in (("training", train_tiles), ("validation", val_tiles)):
        if not tiles or not store.class_counts(tiles).any():
            what = f"{side} cells with a known label" if tiles else f"{side} tiles"
            why = ", and every epoch of a training is scored on them" if side == "validation" else ""
            raise InputDataError(f"{store.path} has no {what}{why}; {_advise_split(store)}.")


def _advise_split(store: Store) -> str:
    """Say how to write a store anew so that both sides of its split have known labels."""
    own, usual = store.settings, PreprocessConfig()
    tiles = [*store.tile_names("train"), *store.tile_names("val")]
    changes: dict[str, float] = {}
    flags = ["--overwrite"]
    if own.test_fraction == 1:
        tiles += store.tile_names("test")
        changes["test_fraction"] = usual.test_fraction
    if own.val_fraction in (0, 1):
        changes["val_fraction"] = usual.val_fraction
        flags.insert(0, f"--val-fraction {usual.val_fraction}")
    if not changes:
        # The same shares and seed would draw the same split again.
        changes["seed"] = own.seed + 1
    command = rewrite_command(own.model_copy(update=changes), *flags)
    labelled = sum(bool(store.class_counts([tile]).any()) for tile in tiles)
    if labelled < LEAST_LABELLED_TILES:
        return (
            f"a split needs {LEAST_LABELLED_TILES} tiles with known labels, and there are {labelled}. Add "
            f"labelled tiles to the raw tiles, and write the store anew with {command}"
        )
    return f"draw its split anew, which writes all of its tiles again: {command}"
