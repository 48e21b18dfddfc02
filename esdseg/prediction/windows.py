"""How a network sees a tile: in windows that are classified and put together on the label grid.

Test-time augmentation shows each window flipped and turned as well, and takes the mean.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from esdseg.baselines.checkpoint import BaselineCheckpoint
from esdseg.config.evaluation import TestTimeAugmentation
from esdseg.config.section import Accelerator, Precision
from esdseg.datasets.augmentation import move
from esdseg.errors import InputDataError
from esdseg.models.checkpoint import LoadedCheckpoint, NetworkCheckpoint, Pixels, SegmentationModel
from esdseg.models.device import choose_accelerator, choose_precision, choose_torch_device
from esdseg.prediction.channel_share import leave_out_unseen, measure_channel_share
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE, NUM_CLASSES
from esdseg.store.statistics import HalfArray
from esdseg.store.store import Store

Corners = Sequence[tuple[int, int]]
"""Row and column of each window's first cell."""

CELLS_AT_ONCE_CPU = 32
"""Label cells in a batch on a processor, whose caches more would overflow: on one core UNet takes 1.4 s a
tile in batches of 2 subtiles of 4 x 4 cells, and 2.0 s with all 16 at once."""

_COMPUTE_DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Device:
    """A device and the precision of the network's arithmetic on it.

    Attributes:
        torch_device: Where tensors lie.
        compute_dtype: What convolutions and products are computed in; weights are always float32.
    """

    torch_device: torch.device
    compute_dtype: torch.dtype

    @property
    def cells_at_once(self) -> int:
        """Label cells to predict in one batch: a tile's, fewer on a processor."""
        return CELLS_AT_ONCE_CPU if self.torch_device.type == "cpu" else GRID_SIZE**2

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the network computes in :attr:`compute_dtype`."""
        if self.compute_dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.torch_device.type, dtype=self.compute_dtype)


def choose_device(accelerator: Accelerator, precision: Precision) -> Device:
    """Decide what ``auto`` means here: a GPU where there is one, bfloat16 where the device computes in it.

    Raises:
        UsageError: The machine lacks what the settings name.
    """
    chosen = choose_accelerator(accelerator)
    return Device(choose_torch_device(chosen), _COMPUTE_DTYPES[choose_precision(precision, chosen)])


@dataclass(frozen=True)
class Turn:
    """A symmetry of the square: flips, and then quarter turns counter-clockwise.

    Attributes:
        left_right: Whether left and right are mirrored.
        up_down: Whether top and bottom are mirrored.
        quarter_turns: Turns of 90 degrees, 0 to 3.
    """

    left_right: bool = False
    up_down: bool = False
    quarter_turns: int = 0

    def move(self, grid: Tensor) -> Tensor:
        """Return values (..., S, S) moved."""
        return move(grid, self.left_right, self.up_down, self.quarter_turns)

    def move_back(self, grid: Tensor) -> Tensor:
        """Return values (..., S, S) where they were before :meth:`move`."""
        turned = move(grid, False, False, -self.quarter_turns % 4)
        return move(turned, self.left_right, self.up_down, 0)


_FLIPS = (Turn(), Turn(left_right=True), Turn(up_down=True), Turn(left_right=True, up_down=True))
_TURNS: dict[TestTimeAugmentation, tuple[Turn, ...]] = {
    "none": _FLIPS[:1],
    "flips": _FLIPS,
    "d4": tuple(Turn(flip, False, turns) for flip in (False, True) for turns in range(4)),
}


@dataclass(frozen=True)
class Passes:
    """How a tile is predicted.

    Attributes:
        tta: Turns and flips under which each window is seen: its own alone, the 4 flips, or all 8 of the
            square (the dihedral group D4).
        overlap: Label cells that neighbouring windows share.
    """

    tta: TestTimeAugmentation = "none"
    overlap: int = 0

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns and flips; the first leaves everything where it is."""
        return _TURNS[self.tta]

    def window_starts(self, window_size: int, cells: int = GRID_SIZE) -> tuple[int, ...]:
        """Return the first cells of windows of ``window_size`` cells along a side of ``cells``, a tile's.

        They advance by what neighbours do not share; the last ends flush with the side. A side that is
        shorter than a window has one, which reaches beyond it.
        """
        last = cells - window_size
        if last <= 0:
            return (0,)
        return (*range(0, last, window_size - self.overlap), last)

    def tile_corners(self, window_size: int) -> Corners:
        """Return row and column of the first cell of each window of a tile."""
        starts = self.window_starts(window_size)
        return [(top, left) for top in starts for left in starts]

    def window_weights(self, window_size: int) -> Tensor:
        """Return how much each cell of a window counts where windows overlap, (k, k) float32, above 0.

        A cell counts by its distance from the window's edges, in rows times in columns: a pyramid. At an
        edge a network sees the least of a cell's surroundings.
        """
        if self.overlap == 0:
            return torch.ones(window_size, window_size)
        position = torch.arange(1, window_size + 1)
        slope = torch.minimum(position, position.flip(0)).float()
        return slope[:, None] * slope


ONE_PASS = Passes()
"""Each window once, as it lies; none overlap."""


class CellMean:
    """The weighted mean of what windows say of cells.

    Args:
        rows: Rows of cells; a tile's unless given.
        columns: Columns of cells.

    Attributes:
        total: Sum of weighted probabilities, (4, rows, columns).
        weight: Sum of weights, (rows, columns); 0 where no window lay.
    """

    def __init__(self, rows: int = GRID_SIZE, columns: int = GRID_SIZE) -> None:
        self.total = torch.zeros(NUM_CLASSES, rows, columns)
        self.weight = torch.zeros(rows, columns)

    def add(self, probabilities: Tensor, corners: Corners, weights: Tensor) -> None:
        """Add windows.

        Args:
            probabilities: Of each window, (N, 4, k, k).
            corners: Row and column of each window's first cell.
            weights: Of a window's cells, (k, k).
        """
        size = weights.shape[-1]
        for window, (top, left) in zip(probabilities, corners, strict=True):
            self.total[:, top : top + size, left : left + size] += weights * window
            self.weight[top : top + size, left : left + size] += weights

    def result(self) -> Tensor:
        """Return the mean (4, rows, columns), once all cells were added."""
        return self.total / self.weight


def predict_tiles(
    checkpoints: Sequence[LoadedCheckpoint],
    store: Store,
    tiles: Sequence[str],
    device: Device,
    batch_size: int | None = None,
    passes: Passes = ONE_PASS,
) -> Iterator[TilePrediction]:
    """Predict tiles by the mean of several checkpoints' probabilities, one tile after the other.

    A tile is read once, and normalised once for each checkpoint: see :func:`predict_together`.

    Args:
        checkpoints: What predicts, at least one; their models are moved to the device. They may differ in
            model, channels and windows.
        store: The store that holds the tiles; what a tile lacks of their channels is no data.
        tiles: Names of the tiles.
        device: Where to compute.
        batch_size: Windows of a tile predicted at once; by default what the device is fastest with.
        passes: Turns and flips, and the overlap of the windows.

    Yields:
        The prediction of each tile, in the order of ``tiles``; NaN in the cells of which a network has less
        than :data:`~esdseg.prediction.channel_share.MIN_CHANNEL_SHARE` of its channels.

    Raises:
        InputDataError: A tile cannot be read, or a network gives numbers that are not finite.
    """
    for checkpoint in checkpoints:
        place_model(checkpoint, device)
    predicted_by = tuple(str(checkpoint.path) for checkpoint in checkpoints)
    for tile, image in read_ahead(store, tiles, channels_of(checkpoints)):
        plain, tempered, share = predict_together(checkpoints, image, device, batch_size, passes)
        is_plain = all(checkpoint.metadata.temperature == 1 for checkpoint in checkpoints)
        yield TilePrediction(
            tile, store.labels(tile), tempered, None if is_plain else plain, predicted_by, share
        )


def channels_of(checkpoints: Sequence[LoadedCheckpoint]) -> tuple[Channel, ...]:
    """Return the channels of all checkpoints, each once."""
    return tuple(dict.fromkeys(channel for checkpoint in checkpoints for channel in checkpoint.channels))


def predict_together(
    checkpoints: Sequence[LoadedCheckpoint],
    image: Tensor,
    device: Device,
    batch_size: int | None = None,
    passes: Passes = ONE_PASS,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Predict an image by the mean of several checkpoints' probabilities.

    Probabilities are averaged at every step, over turns, over windows and over checkpoints: the mean of
    logarithms would let one pass that is all but sure of a mistake outvote the others, and only with one kind
    of mean does the order of the steps not matter. Each checkpoint's temperature acts on its logits first.

    Args:
        checkpoints: What predicts; their models lie on the device.
        image: A tile (C, 800, 800) as the store holds it, with the channels of :func:`channels_of`.
        device: Where to compute.
        batch_size: Windows predicted at once; by default what the device is fastest with.
        passes: Turns and flips, and the overlap of the windows.

    Returns:
        Probabilities (4, 16, 16) without and with the temperatures, NaN in the cells of which a network has
        too few channels; and the smallest share (16, 16) of its channels that any network has.
    """
    place = {channel: index for index, channel in enumerate(channels_of(checkpoints))}
    members, cell_shares = [], []
    for checkpoint in checkpoints:
        places = [place[channel] for channel in checkpoint.channels]
        own = image if places == list(range(len(image))) else image[places]
        members.append(predict_image(checkpoint, own, device, batch_size, passes))
        cell_shares.append(measure_channel_share(own.numpy(force=True)))
    # A network that saw nothing is as sure of its answer as the others, and would spoil their mean.
    share = np.min(cell_shares, axis=0)
    plain, tempered = (
        leave_out_unseen(torch.stack(means).mean(dim=0).numpy(), share)
        for means in zip(*members, strict=True)
    )
    return plain, tempered, share


@torch.inference_mode()
def predict_image(
    checkpoint: LoadedCheckpoint, image: Tensor, device: Device, batch_size: int | None, passes: Passes
) -> tuple[Tensor, Tensor]:
    """Return class probabilities (4, 16, 16) of a tile (C, 800, 800) without and with the temperature."""
    if isinstance(checkpoint, BaselineCheckpoint):
        return checkpoint.predict(image.numpy(force=True))
    assert isinstance(checkpoint, NetworkCheckpoint)
    means = WindowMeans(checkpoint, device, passes)
    corners = passes.tile_corners(checkpoint.window_size)
    for chosen, windows in normalized_windows(checkpoint, image, corners, device, batch_size):
        means.add(windows, chosen)
    return means.result()


@torch.inference_mode()
def blend_windows(
    checkpoint: NetworkCheckpoint,
    image: Tensor,
    corners: Corners,
    device: Device,
    batch_size: int | None,
    passes: Passes,
) -> CellMean:
    """Return what windows of an image of any size say of its cells, with the checkpoint's temperature.

    Args:
        checkpoint: Its model lies on the device.
        image: The checkpoint's channels (C, 50 * rows, 50 * columns) as the store holds them.
        corners: Row and column of each window's first cell.
        device: Where to compute.
        batch_size: Windows at once; by default what the device is fastest with.
        passes: Turns and flips, and how overlapping windows count.
    """
    rows, columns = image.shape[1] // CELL_SIZE_PX, image.shape[2] // CELL_SIZE_PX
    means = WindowMeans(checkpoint, device, passes, rows, columns)
    for chosen, windows in normalized_windows(checkpoint, image, corners, device, batch_size):
        means.add(windows, chosen)
    return means.tempered


def read_ahead(
    store: Store, tiles: Sequence[str], channels: Sequence[Channel]
) -> Iterator[tuple[str, Tensor]]:
    """Yield each tile's name and image (C, 800, 800), reading the next while the last is computed on."""

    def read(tile: str) -> HalfArray:
        return store.read_tile(tile, store.positions(tile, channels))

    with ThreadPoolExecutor(max_workers=1) as reader:
        following = [reader.submit(read, tile) for tile in tiles[:1]]
        for tile, coming in zip(tiles, (*tiles[1:], None), strict=False):
            image = torch.from_numpy(following.pop().result())
            if coming is not None:
                following.append(reader.submit(read, coming))
            yield tile, image


def place_model(checkpoint: LoadedCheckpoint, device: Device) -> None:
    """Move a network to where it predicts, with the channels last in memory, which is fastest there."""
    if isinstance(checkpoint, NetworkCheckpoint):
        checkpoint.model.to(device.torch_device).eval().to(memory_format=torch.channels_last)


def normalized_windows(
    checkpoint: NetworkCheckpoint, image: Tensor, corners: Corners, device: Device, batch_size: int | None
) -> Iterator[tuple[Corners, Pixels]]:
    """Yield windows in batches, with their first cells, as a checkpoint's network takes them.

    Args:
        checkpoint: Its model lies on the device.
        image: A tile (C, 800, 800), or an image of any size, as the store holds it, in the order of the
            checkpoint's channels.
        corners: Row and column of each window's first cell.
        device: Where to compute.
        batch_size: Windows at once; by default what the device is fastest with.
    """
    model, size = checkpoint.model, checkpoint.window_size
    image = image.to(device.torch_device, non_blocking=True)
    step = batch_size or max(1, device.cells_at_once // size**2)
    for first in range(0, len(corners), step):
        chosen = corners[first : first + step]
        pixels = model.sample(cut_windows(image, chosen, size))
        # Half as many bytes to sort as once they are normalised.
        sorted_pixels = [grid_pixels.contiguous(memory_format=torch.channels_last) for grid_pixels in pixels]
        yield chosen, model.normalize(sorted_pixels)


class WindowMeans:
    """The mean of what a checkpoint says of cells, over turns and windows.

    Args:
        checkpoint: Its model lies on the device.
        device: Where to compute.
        passes: Turns and flips, and the overlap of the windows.
        rows: Rows of cells; a tile's unless given.
        columns: Columns of cells.
    """

    def __init__(
        self,
        checkpoint: NetworkCheckpoint,
        device: Device,
        passes: Passes,
        rows: int = GRID_SIZE,
        columns: int = GRID_SIZE,
    ) -> None:
        self._checkpoint, self._device, self._passes = checkpoint, device, passes
        self._weights = passes.window_weights(checkpoint.window_size)
        temperatures = (1.0, checkpoint.metadata.temperature)
        self._means = {temperature: CellMean(rows, columns) for temperature in temperatures}

    def add(self, windows: Pixels, corners: Corners) -> None:
        """Classify windows of :func:`normalized_windows` and add what is said of them.

        Raises:
            InputDataError: The network gives numbers that are not finite.
        """
        model = self._checkpoint.model
        logits = [_classify_turned(model, windows, turn, self._device) for turn in self._passes.turns]
        _check_finite(logits, self._checkpoint)
        for temperature, mean in self._means.items():
            turned = [torch.softmax(turned_logits / temperature, dim=1) for turned_logits in logits]
            mean.add(torch.stack(turned).mean(dim=0), corners, self._weights)

    @property
    def tempered(self) -> CellMean:
        """The mean with the checkpoint's temperature."""
        return self._means[self._checkpoint.metadata.temperature]

    def result(self) -> tuple[Tensor, Tensor]:
        """Return class probabilities (4, rows, columns) without and with the temperature."""
        return self._means[1.0].result(), self.tempered.result()


def cut_windows(image: Tensor, corners: Corners, size: int) -> Tensor:
    """Return windows (N, C, 50k, 50k) of a tile (C, 800, 800), given their first cells."""
    side = size * CELL_SIZE_PX
    windows = [
        image[:, top * CELL_SIZE_PX :, left * CELL_SIZE_PX :][:, :side, :side] for top, left in corners
    ]
    return windows[0][None] if len(windows) == 1 else torch.stack(windows)


def _classify_turned(
    model: SegmentationModel, windows: Sequence[Tensor], turn: Turn, device: Device
) -> Tensor:
    """Return logits (N, 4, k, k), float32 on the CPU, of windows seen turned; they lie as the windows do."""
    moved = [
        turn.move(grid_windows).contiguous(memory_format=torch.channels_last) for grid_windows in windows
    ]
    with device.autocast():
        logits = model.classify(moved)
    return turn.move_back(logits.float().cpu())


def _check_finite(logits: Sequence[Tensor], checkpoint: LoadedCheckpoint) -> None:
    if not all(bool(torch.isfinite(torch.softmax(turned_logits, dim=1)).all()) for turned_logits in logits):
        raise InputDataError(
            f"{checkpoint.path}: gives numbers that are not finite; its training diverged. Use another "
            "checkpoint, or train again with a lower --learning-rate."
        )
