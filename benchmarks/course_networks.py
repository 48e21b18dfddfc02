"""The course's way of training and predicting, plainly: float32, default memory format, batches of one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from benchmarks.course_preprocessing import SUBTILES_PER_SIDE
from esdseg.sensors.classes import UNKNOWN_LABEL, label_grid_to_rgb


@dataclass(frozen=True)
class CourseSamples:
    """The subtiles of some tiles, a file each.

    Attributes:
        folders: Of the tiles.
        channels: Of the images.
    """

    folders: tuple[Path, ...]
    channels: int = 99

    def __len__(self) -> int:
        return len(self.folders) * SUBTILES_PER_SIDE**2

    def load(self, index: int) -> tuple[Tensor, Tensor]:
        """Load an image (C, 200, 200) float32 and its label (4, 4) int64."""
        tile, place = divmod(int(index), SUBTILES_PER_SIDE**2)
        name = "{}-{}".format(*divmod(place, SUBTILES_PER_SIDE))
        image = torch.from_numpy(np.load(self.folders[tile] / f"{name}.npy"))
        return image, torch.from_numpy(np.load(self.folders[tile] / f"{name}-label.npy"))


def augment(image: Tensor, label: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Add noise, blur and flip a sample, each with probability one half."""
    pixels, cells = image.numpy(), label.numpy()
    if generator.random() < 0.5:
        pixels = pixels + generator.normal(0, 0.05, pixels.shape).astype(np.float32)
    if generator.random() < 0.5:
        pixels = gaussian_filter(pixels, (0, 1, 1))
    for axis in (-2, -1):
        if generator.random() < 0.5:
            pixels, cells = np.flip(pixels, axis), np.flip(cells, axis)
    return torch.from_numpy(pixels.copy()), torch.from_numpy(cells.copy())


def train_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, samples: list[tuple[Tensor, Tensor]]
) -> float:
    """Take a step of float32 training on loaded samples, and return its loss, which the course logs."""
    images, labels = (torch.stack(parts) for parts in zip(*samples, strict=True))
    loss = nn.functional.cross_entropy(network(images), labels, ignore_index=UNKNOWN_LABEL)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.item()


def predict_tile(network: nn.Module, tile: CourseSamples) -> npt.NDArray[np.int64]:
    """Predict the classes (16, 16) of a tile subtile by subtile, with gradients on."""
    return _stitch(
        [network(tile.load(index)[0][None]).argmax(dim=1)[0].numpy() for index in range(len(tile))]
    )


def draw_tile(classes: npt.NDArray[np.int64], tile: CourseSamples, path: Path) -> None:
    """Draw three channels of a tile, its ground truth and its prediction side by side."""
    loaded = [tile.load(index) for index in range(len(tile))]
    figure, axes = plt.subplots(1, 3, figsize=(15, 5))
    axes[0].imshow(_stitch([np.moveaxis(image[:3].numpy(), 0, -1) for image, _ in loaded]))
    axes[1].imshow(label_grid_to_rgb(_stitch([label.numpy() for _, label in loaded])))
    axes[2].imshow(label_grid_to_rgb(classes))
    figure.savefig(path)
    plt.close(figure)


def _stitch(subtiles: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    side = SUBTILES_PER_SIDE
    return np.vstack([np.hstack(subtiles[row * side : (row + 1) * side]) for row in range(side)])
