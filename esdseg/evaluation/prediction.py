"""Predicting whole tiles: subtile by subtile, never augmented, stitched on the label grid."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from esdseg.classes import NUM_CLASSES, UNKNOWN_LABEL
from esdseg.datasets import Batch, SubtileDataset, stitch_subtiles
from esdseg.errors import InputDataError
from esdseg.evaluation.device import Device
from esdseg.models import LoadedCheckpoint, SegmentationModel
from esdseg.store import Store


@dataclass(frozen=True)
class TilePrediction:
    """What a network says of one tile, beside what is known of it.

    Attributes:
        tile: The tile's name.
        truth: Label indices (16, 16), uint8: 0 to 3, 255 is unknown.
        probabilities: Of each class, (4, 16, 16) float32; they add up to 1.
        uncalibrated: The same before the checkpoint's temperature acts, where it has one.
    """

    tile: str
    truth: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float32]
    uncalibrated: npt.NDArray[np.float32] | None = None

    @property
    def classes(self) -> npt.NDArray[np.uint8]:
        """Label indices (16, 16) of the most probable classes."""
        return self.probabilities.argmax(axis=0).astype(np.uint8)

    @property
    def is_labelled(self) -> bool:
        """Whether the class of any cell is known."""
        return bool((self.truth != UNKNOWN_LABEL).any())

    def known_cells(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Return labels (cells,) and probabilities (cells, 4) of the cells whose class is known."""
        known = self.truth != UNKNOWN_LABEL
        return self.truth[known], self.probabilities[:, known].T


def predict_tiles(
    checkpoint: LoadedCheckpoint, store: Store, tiles: Sequence[str], device: Device, batch_size: int | None
) -> Iterator[TilePrediction]:
    """Predict tiles one after the other.

    Args:
        checkpoint: What predicts; its model is moved to the device.
        store: A store that holds its channels.
        tiles: Names of the tiles.
        device: Where to compute.
        batch_size: Windows predicted at once, which may be of several tiles; by default those of one.

    Yields:
        The prediction of each tile, in the order of ``tiles``, as soon as it is whole.

    Raises:
        InputDataError: A tile cannot be read, or the network gives numbers that are not finite.
    """
    model = checkpoint.model.to(device.torch_device).eval()
    dataset = SubtileDataset(store, tiles, checkpoint.channels, "disk", checkpoint.window_size)
    side, size = dataset.windows_per_side, dataset.window_size
    whole = torch.empty(len(tiles), side, side, NUM_CLASSES, size, size)
    finished = predicted = 0
    for batch in _read_ahead(dataset, batch_size or side**2):
        logits = predict_subtiles(model, batch["image"], device)
        if not bool(torch.isfinite(torch.softmax(logits, dim=1)).all()):
            raise InputDataError(
                f"{checkpoint.path}: gives numbers that are not finite; its training diverged. Use another "
                "checkpoint, or train again with a lower --learning-rate."
            )
        whole[batch["tile"], batch["row"], batch["column"]] = logits
        predicted += len(logits)
        while finished < len(tiles) and predicted >= (finished + 1) * side**2:
            tile = tiles[finished]
            yield _with_probabilities(
                tile, store.labels(tile), stitch_subtiles(whole[finished]), checkpoint.metadata.temperature
            )
            finished += 1


@torch.inference_mode()
def predict_subtiles(model: SegmentationModel, image: Tensor, device: Device) -> Tensor:
    """Return logits (N, 4, k, k), float32 on the CPU, of stored images (N, C, 50k, 50k)."""
    pixels = model.sample(image.to(device.torch_device, non_blocking=True))
    normalized = model.normalize(pixels)
    with device.autocast():
        logits = model.classify(normalized)
    return logits.float().cpu()


def _with_probabilities(
    tile: str, truth: npt.NDArray[np.uint8], logits: Tensor, temperature: float
) -> TilePrediction:
    plain = torch.softmax(logits, dim=0).numpy()
    if temperature == 1:
        return TilePrediction(tile, truth, plain)
    return TilePrediction(tile, truth, torch.softmax(logits / temperature, dim=0).numpy(), plain)


def _read_ahead(dataset: SubtileDataset, batch_size: int) -> Iterator[Batch]:
    """Yield batches in order, reading the next while the last is computed on."""
    batches = iter(DataLoader(dataset, batch_size=batch_size, shuffle=False))
    with ThreadPoolExecutor(max_workers=1) as reader:
        following = reader.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = reader.submit(next, batches, None)
            yield batch
