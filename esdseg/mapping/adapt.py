"""``adapt``: fit a trained network to a new place by its images alone, without labels.

Two things in a network say what the training tiles looked like: the scale of each channel, and the mean and
the variance of each feature in batch normalisation. Where soil, roofs, plants or air are others, so are these
numbers, and a feature that stood for a house falls below what the next layer takes for one. Both are measured
anew over the new place. All weights stay as they were learned (Li et al., Revisiting Batch Normalization For
Practical Domain Adaptation, 2016, arXiv:1603.04779).

Medians over blocks of 8 x 8 km are taken, which a cloud over some of them does not move.

Two things stay: the scale of night light, whose level tells lit from dark, and the numbers of layers on the
label grid, which are of settlements more than of soil.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from esdseg.config.evaluation import AdaptConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.mapping.area_input import AreaInput
from esdseg.mapping.input_folder import open_area
from esdseg.mapping.lattice import Block
from esdseg.mapping.output_folder import require_input
from esdseg.models.checkpoint import NetworkCheckpoint, network_content
from esdseg.models.device import choose_torch_device, naming_memory_faults
from esdseg.models.runs import BEST_NAME, LAST_NAME, check_name, check_new
from esdseg.prediction.channel_share import MIN_CHANNEL_SHARE, measure_channel_share, show_share
from esdseg.prediction.open_checkpoints import open_runs
from esdseg.prediction.windows import ONE_PASS
from esdseg.sensors.channels import bands_of, resolve
from esdseg.sensors.classes import CELL_SIZE_PX
from esdseg.system.files import make_folder, naming_write_faults, part_path, remove_folder
from esdseg.system.processes import ItemListener, ignore

MOST_BLOCKS = 32
"""Blocks of 8 x 8 km that are looked at; of a larger area so many, evenly spread. More say the same."""

FEWEST_BLOCKS = 4
"""Fewer blocks show a few villages more than the place."""

NORMAL_DEVIATION = 1.4826
"""Standard deviation of normal values, by the median of their distances from their median."""

SCALE_STEP_PX = 4
"""Spacing of the pixels from which the scale of a channel is measured."""

COPIED_FILES = ("config.yml", "metrics.csv", "curves.png")
"""What tells of the training in a run's folder."""


@dataclass(frozen=True)
class AdaptedRun:
    """A run whose network was adapted.

    Attributes:
        run_dir: Its folder in ``checkpoints/``.
        checkpoints: The files of its checkpoints, the best one first.
        layers: How many layers of batch normalisation were measured anew.
        channels: How many channels got another scale.
        blocks: Over how many blocks of 8 x 8 km.
        area_blocks: How many blocks the area has.
        notes: Sentences for the user.
    """

    run_dir: Path
    checkpoints: tuple[Path, ...]
    layers: int
    channels: int
    blocks: int
    area_blocks: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return what ``--json`` prints."""
        return {
            "run_dir": str(self.run_dir),
            "checkpoints": [str(path) for path in self.checkpoints],
            "layers": self.layers,
            "channels": self.channels,
            "blocks": self.blocks,
            "area_blocks": self.area_blocks,
            "notes": list(self.notes),
        }


def adapt(config: AdaptConfig, source: Path, on_block: ItemListener = ignore) -> AdaptedRun:
    """Write a run whose network is fitted to an area.

    Of a run that is given by its name both checkpoints are adapted. Labels are never looked at.

    Args:
        config: The run, the area, and the name of the new run.
        source: Folder of scenes or tiles, or of a processed store.
        on_block: Receives each block of 8 x 8 km that was looked at; each is looked at twice.

    Raises:
        InputDataError: The run or the input is missing, unreadable or does not fit, or the input has nowhere
            enough of the network's channels.
        UsageError: It is not a single network with batch normalisation, or there is a run of this name.
        MissingResourceError: There is no space left.
        OutOfMemoryError: A block does not fit into memory.
    """
    require_input(source)
    networks = _open_networks(config)
    name = config.name or f"{networks[0].run_name}-adapted"
    check_name(name)
    run_dir = config.checkpoints_dir / name
    check_new(run_dir, "choose another --name")
    area = open_area(source, config, networks)
    blocks = spread(area.blocks, MOST_BLOCKS)
    device = choose_torch_device(config.accelerator)
    models = [network.model.to(device) for network in networks]

    scale, seen = ChannelScale(), 0
    for number, block in enumerate(blocks, start=1):
        windows = _read_windows(networks[0], area, block)
        if windows is not None:
            scale.add(windows)
            seen += 1
        on_block(f"scale of {block.name}", number, 2 * len(blocks))
    if not seen:
        raise InputDataError(
            f"No part of {source} has {show_share(MIN_CHANNEL_SHARE)} of the channels that "
            f"{networks[0].path} was trained on; its sensors, bands or dates are others."
        )
    rescaled = [_set_scale(network, scale) for network in networks]
    features = [FeatureStatistics(model) for model in models]
    for number, block in enumerate(blocks, start=len(blocks) + 1):
        windows = _read_windows(networks[0], area, block)
        if windows is not None:
            what = f"a block of {len(windows)} windows and {len(networks[0].channels)} channels"
            with naming_memory_faults(what, "Use a machine with more memory."):
                for statistics in features:
                    statistics.add(windows.to(device))
        on_block(f"features of {block.name}", number, 2 * len(blocks))
    measured = [statistics.act() for statistics in features]

    place = f"{seen} blocks of 8 x 8 km in {source.absolute().name}"
    with _new_run(run_dir) as folder:
        for network in networks:
            metadata = network.metadata.model_copy(update={"run_name": name, "adapted_to": place})
            torch.save(network_content(network.model.cpu(), metadata), folder / _file_name(network))
        for file in COPIED_FILES:
            if (networks[0].path.parent / file).is_file():
                shutil.copyfile(networks[0].path.parent / file, folder / file)
    return AdaptedRun(
        run_dir,
        tuple(run_dir / _file_name(network) for network in networks),
        measured[0],
        rescaled[0],
        seen,
        len(area.blocks),
        tuple(_notes(networks[0], seen, source)),
    )


class ChannelScale:
    """Measures mean and standard deviation of channels over the blocks of a place.

    Both come from medians over the blocks, so that a cloud over some of them does not act.
    """

    def __init__(self) -> None:
        self._blocks: list[Tensor] = []

    def add(self, images: Tensor) -> None:
        """Add the images (N, C, 50k, 50k) of a block as the store holds them; NaN is no data."""
        pixels = images[..., ::SCALE_STEP_PX, ::SCALE_STEP_PX].transpose(0, 1).flatten(1).double()
        mean = pixels.nanmean(1, keepdim=True)
        variance = (pixels - mean).square().nanmean(1)
        self._blocks.append(torch.stack([mean[:, 0], variance]))

    def of(self, channel: int) -> tuple[float, float]:
        """Return mean and standard deviation of a channel in stored values; NaN where it has no data."""
        means, variances = torch.stack(self._blocks)[..., channel].T
        mean = _median(means)
        between = NORMAL_DEVIATION * _median((means - mean).abs())
        return float(mean), float((_median(variances) + between**2).sqrt())


class FeatureStatistics:
    """Measures what batch normalisation holds of the features that are finer than the label grid.

    The features of each block of images are normalised by their own mean and variance on the way; a layer
    gets the medians of these over all blocks. A feature that is the same everywhere in a block, as that of a
    sensor without data, has the numbers of the training there.

    Args:
        model: The network behind its normalisation, in evaluation mode.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._layers = normalization_layers(model)
        self._trained = [_statistics(layer) for layer in self._layers]
        self._blocks: list[list[Tensor]] = [[] for _ in self._layers]

    @torch.inference_mode()
    def add(self, images: Tensor) -> None:
        """Add the images (N, C, 50k, 50k) of a block as the store holds them."""
        cells = images.shape[-1] // CELL_SIZE_PX
        hooks = [
            layer.register_forward_pre_hook(partial(self._measure, position, cells))
            for position, layer in enumerate(self._layers)
        ]
        try:
            self._model(images)
        finally:
            for hook in hooks:
                hook.remove()

    def _measure(self, position: int, cells: int, layer: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(layer, _BatchNorm)
        features = inputs[0].float()
        if features.shape[-1] <= cells:
            return
        variance, mean = torch.var_mean(features, (0, *range(2, features.ndim)), correction=0)
        measured = torch.where(variance > 0, torch.stack([mean, variance]), torch.nan)
        _set_statistics(layer, torch.where(measured.isnan(), self._trained[position], measured))
        self._blocks[position].append(measured)

    @torch.inference_mode()
    def act(self) -> int:
        """Give each layer the medians over all blocks; return how many layers were measured."""
        for layer, trained, blocks in zip(self._layers, self._trained, self._blocks, strict=True):
            found = _median(torch.stack(blocks)) if blocks else trained
            _set_statistics(layer, torch.where(found.isnan(), trained, found))
        return sum(map(bool, self._blocks))


def _median(values: Tensor) -> Tensor:
    """Return the median over the first dimension without NaN; of two middle values the mean."""
    return values.nanquantile(0.5, dim=0)


def normalization_layers(model: nn.Module) -> tuple[_BatchNorm, ...]:
    """Return a network's layers of batch normalisation that hold statistics of the training."""
    return tuple(
        layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.running_mean is not None
    )


def spread(blocks: Sequence[Block], most: int) -> tuple[Block, ...]:
    """Return at most so many blocks, evenly spread over all of them."""
    count = min(most, len(blocks))
    return tuple(blocks[(2 * number + 1) * len(blocks) // (2 * count)] for number in range(count))


def _statistics(layer: _BatchNorm) -> Tensor:
    """Return mean and variance of a layer's features, (2, features)."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    return torch.stack([layer.running_mean, layer.running_var])


def _set_statistics(layer: _BatchNorm, statistics: Tensor) -> None:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    layer.running_mean.copy_(statistics[0])
    layer.running_var.copy_(statistics[1])


def _set_scale(network: NetworkCheckpoint, scale: ChannelScale) -> int:
    """Give the channels of a network but night light the scale of the new place; return how many."""
    recipe = network.metadata.recipe
    if recipe.rescale != "standardize" or recipe.scale_by != "training_tiles":
        return 0
    rescaled = 0
    for position, channel in enumerate(network.channels):
        mean, std = scale.of(position)
        if channel.sensor.kind != "night_light" and std > 0:
            network.model.normalization.restandardize(position, mean, std)
            rescaled += 1
    return rescaled


def _open_networks(config: AdaptConfig) -> tuple[NetworkCheckpoint, ...]:
    """Open the checkpoint that is named, and the last one beside the best where a run is named."""
    checkpoints = tuple(checkpoint for run in open_runs(config) for checkpoint in run.checkpoints)
    if len(checkpoints) > 1:
        raise UsageError(
            f"{config.checkpoint} are {len(checkpoints)} networks, and one is adapted at a time; name each, "
            f"such as {checkpoints[0].path}."
        )
    (checkpoint,) = checkpoints
    if not isinstance(checkpoint, NetworkCheckpoint) or not normalization_layers(checkpoint.model):
        raise UsageError(
            f"{checkpoint.path} is a {checkpoint.config.model.name}, which has no batch normalisation that "
            "could be adapted; learn from the new place's tiles by data.pseudo_labels, or label some of them."
        )
    last = checkpoint.path.with_name(LAST_NAME)
    if (
        Path(str(config.checkpoint)).name == BEST_NAME
        or checkpoint.path.name != BEST_NAME
        or not last.is_file()
    ):
        return (checkpoint,)
    (run,) = open_runs(config.model_copy(update={"checkpoint": str(last)}))
    (beside,) = run.checkpoints
    assert isinstance(beside, NetworkCheckpoint)
    return checkpoint, beside


def _file_name(network: NetworkCheckpoint) -> str:
    """Return the name of a checkpoint in its new run; in a bundle, or as a file by itself, it has another."""
    return LAST_NAME if network.path.name == LAST_NAME else BEST_NAME


def _read_windows(network: NetworkCheckpoint, area: AreaInput, block: Block) -> Tensor | None:
    """Return the windows (N, C, 50k, 50k) of a block that could be mapped whole; ``None`` for none."""
    size = network.window_size
    extent = block.extent([size], ONE_PASS)
    with area.open(block, extent, bands_of(network.channels)) as ground:
        if not ground.acquisitions:
            return None
        image = ground.read(resolve(network.channels, ground.acquisitions))
    share = measure_channel_share(image)
    windows = []
    for row, column in block.corners(size, ONE_PASS):
        top, left = row - extent.row, column - extent.column
        if (share[top : top + size, left : left + size] >= MIN_CHANNEL_SHARE).all():
            rows = slice(top * CELL_SIZE_PX, (top + size) * CELL_SIZE_PX)
            columns = slice(left * CELL_SIZE_PX, (left + size) * CELL_SIZE_PX)
            windows.append(torch.from_numpy(image[:, rows, columns]))
    return torch.stack(windows) if windows else None


def _notes(network: NetworkCheckpoint, seen: int, source: Path) -> Iterator[str]:
    if seen < FEWEST_BLOCKS:
        yield (
            f"{source} has {seen} of the {FEWEST_BLOCKS} or more blocks of 8 x 8 km that show a place rather "
            "than a few villages. Compare the maps of both networks, or give a larger area."
        )
    if network.metadata.is_calibrated:
        yield "Temperature and threshold were chosen where the network was trained, and stay as they are."


@contextmanager
def _new_run(run_dir: Path) -> Iterator[Path]:
    """Let a run's folder be written beside its place, and put it there whole."""
    make_folder(run_dir.parent, "choose another folder with --checkpoints-dir")
    part = part_path(run_dir)
    remove_folder(part)
    try:
        with naming_write_faults(run_dir):
            part.mkdir()
            yield part
            # Settings and a history alone are left from a run that ended before its first epoch.
            remove_folder(run_dir)
            part.rename(run_dir)
    finally:
        remove_folder(part)
