"""The model that is trained, its checkpoint file, and the start of a training from a checkpoint.

A checkpoint is read without running code from it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, runtime_checkable

import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from esdseg.config.models import AnyModelConfig
from esdseg.config.preprocessing import Recipe, ReflectanceOffset
from esdseg.config.section import NetworkSection, Section, SubtileSize, first_fault
from esdseg.config.training import ESDConfig
from esdseg.datasets.pixel_grid import PixelGrid, native_grids, whole_image, whole_image_of
from esdseg.errors import ESDSegError, InputDataError, MissingResourceError, UsageError
from esdseg.models.course_networks import FCNResNet101, SegmentationCNN, UNet
from esdseg.models.first_layers import match_filters
from esdseg.models.normalization import NetworkInput, Normalization
from esdseg.models.olmoearth import OlmoEarthNetwork, set_scale
from esdseg.models.pretrained_weights import ENCODER_PREFIX, FIRST_FILTERS, without_counters
from esdseg.models.registry import build_network, load_pretrained
from esdseg.models.runs import resolve_checkpoint
from esdseg.models.sensor_branches import SensorBranches
from esdseg.models.tensor_file import describe_misfit, read_torch_file
from esdseg.models.zoo import SMPNetwork
from esdseg.sensors.acquisitions import AcquisitionChoice
from esdseg.sensors.channels import Channel, bands_of, channel_from_name
from esdseg.sensors.classes import CLASS_NAMES
from esdseg.sensors.sensors import SensorTable
from esdseg.store.identity import TilePlace

Pixels = tuple[Tensor, ...]
"""What a network takes of a batch of images: one tensor (N, c, pk, pk) for each of its pixel grids."""


@runtime_checkable
class SamplesPixels(Protocol):
    """A network that takes only some of an image's pixels, so that no others are augmented and normalised."""

    grids: tuple[PixelGrid, ...]

    def classify(self, *pixels: Tensor) -> Tensor:
        """Map the grids' normalised pixels to logits (N, 4, k, k)."""


class SegmentationModel(nn.Module):
    """A network that takes images as the store holds them.

    Args:
        normalization: The first layer; it scales channels and treats no data.
        network: Maps normalised images (N, C, 50k, 50k) to logits (N, 4, k, k).
        grids: The pixels to take of an image before it is normalised; all of them unless given. They are
            spread to a whole image again before the network. A network that samples pixels itself
            (:class:`SamplesPixels`) has grids of its own instead.

    Attributes:
        grids: The pixels that are taken of an image.
    """

    def __init__(
        self, normalization: Normalization, network: nn.Module, grids: Sequence[PixelGrid] | None = None
    ) -> None:
        super().__init__()
        self.normalization = normalization
        self.network = network
        if isinstance(network, SamplesPixels):
            grids = network.grids
        self.grids = (whole_image(len(normalization.shift)),) if grids is None else tuple(grids)

    def sample(self, image: Tensor) -> Pixels:
        """Take the pixels of :attr:`grids` from stored images (N, C, 50k, 50k)."""
        return tuple(grid.sample(image) for grid in self.grids)

    def normalize(self, pixels: Sequence[Tensor]) -> Pixels:
        """Scale stored pixels of :meth:`sample`, NaN where there is no data, to finite float32."""
        if self.grids == (whole_image(len(self.normalization.shift)),):
            return tuple(self.normalization(image) for image in pixels)
        return tuple(
            self.normalization(image, grid.channels) for image, grid in zip(pixels, self.grids, strict=True)
        )

    def classify(self, normalized: Sequence[Tensor]) -> Tensor:
        """Map normalised pixels to logits (N, 4, k, k), float32; training augments before this step."""
        if isinstance(self.network, SamplesPixels):
            logits = self.network.classify(*normalized)
        else:
            logits = self.network(whole_image_of(normalized, self.grids))
        assert isinstance(logits, Tensor)
        return logits.float()

    def forward(self, image: Tensor) -> Tensor:
        """Map stored images (N, C, 50k, 50k), NaN where there is no data, to logits (N, 4, k, k)."""
        return self.classify_stored(self.sample(image))

    def classify_stored(self, pixels: Sequence[Tensor]) -> Tensor:
        """Map stored pixels of :meth:`sample` to logits (N, 4, k, k), as :meth:`forward` does images."""
        return self.classify(self.normalize(pixels))


METADATA_KEY = "esdseg"
"""Where :class:`CheckpointMetadata` lies in a checkpoint, beside what the training loop keeps there."""

FORMAT_VERSION: Final = 2
"""Raised whenever an older esdseg could not read the file."""

STATE_KEY = "state_dict"
MODEL_PREFIX = "model."
"""Start of the names of a :class:`SegmentationModel`'s tensors; others belong to the training."""


class CheckpointMetadata(Section):
    """What a checkpoint says of itself; ``model_dump(mode="json")`` is what is stored."""

    format_version: Literal[2] = FORMAT_VERSION
    config: ESDConfig
    sensors: SensorTable
    """The description of the sensors."""
    channels: tuple[str, ...]
    """Names of the images' channels in their order, such as ``sentinel2_1_B04``."""
    acquisitions: dict[str, AcquisitionChoice]
    """In which order a tile's acquisitions of each sensor are counted, and how many are taken."""
    subtile_size: SubtileSize
    """Label cells along each side of the subtiles of the store that it was trained on."""
    window_size: SubtileSize | None = None
    """Label cells along each side of the windows that it was trained on; the subtiles unless given."""
    class_names: tuple[str, ...] = CLASS_NAMES
    """Meaning of the logits, in their order."""
    recipe: Recipe
    """How the store's values came about; part of the scale lies in the normalisation layer."""
    reflectance_offset: ReflectanceOffset = "by_date"
    """From which dates of the store's rasters the offset of newer products was subtracted. Reflectances
    mean the same under every setting, so rasters of another source may be read with another one."""
    manifest_hash: str
    """Of the store that it was trained on."""
    run_name: str
    train_tiles: tuple[str, ...]
    val_tiles: tuple[str, ...]
    """The tiles of Val/, or the inner tiles of a fold. They chose the epoch where a metric was monitored, and
    temperature and threshold where the checkpoint is calibrated."""
    held_out_tiles: tuple[str, ...] = ()
    """Of a fold: the tiles that the run never saw. ``config.folds`` says which fold it is."""
    tile_contents: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Digests of what each of these tiles holds, by which it is known under any name; see
    :mod:`esdseg.store.identity`. Of a tile that is not here only the name is known."""
    tile_places: dict[str, TilePlace] = Field(default_factory=dict)
    """What is known of each of these tiles that is the same on other dates."""
    labelled_by: str | None = None
    """Digest of the checkpoint that labelled those of ``train_tiles`` that have no labels, where
    ``config.data.pseudo_labels`` names one."""
    adapted_to: str | None = None
    """Over what the scale of its channels and its batch normalisation were measured without labels; the
    training tiles unless given."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """What logits are divided by before the softmax; chosen on ``val_tiles``, 1 where none was."""
    contest_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Probability of class 1 from which the contest's F1 was highest on ``val_tiles``; where none was chosen,
    or they hold no class 1, ``None``."""
    is_calibrated: bool = False
    """Whether temperature and threshold were chosen."""

    def read_channels(self) -> tuple[Channel, ...]:
        """Return the images' channels.

        Raises:
            InputDataError: A name is not that of a channel of the described sensors.
        """
        orders = {name: choice.order for name, choice in self.acquisitions.items() if choice.order}
        return tuple(channel_from_name(name, self.sensors, orders) for name in self.channels)

    @property
    def trained_window_size(self) -> int:
        """Label cells along each side of the windows that it was trained on."""
        return self.window_size or self.subtile_size


@dataclass(frozen=True)
class LoadedCheckpoint(ABC):
    """A model ready to predict, and where it comes from.

    Attributes:
        path: The file.
        channels: The channels that images must have, in this order.
        metadata: All that the file says of itself.
        window_size: Label cells along each side of the windows that the model is to see.
    """

    path: Path
    channels: tuple[Channel, ...]
    metadata: CheckpointMetadata
    window_size: int

    @property
    @abstractmethod
    def parameters(self) -> int:
        """How many numbers the model learned."""

    @property
    def config(self) -> ESDConfig:
        """Settings of the training."""
        return self.metadata.config

    @property
    def subtile_size(self) -> int:
        """Label cells along each side of the subtiles of the store that it was trained on."""
        return self.metadata.subtile_size

    @property
    def class_names(self) -> tuple[str, ...]:
        """Meaning of the logits, in their order."""
        return self.metadata.class_names

    @property
    def run_name(self) -> str:
        """The run that wrote it."""
        return self.metadata.run_name


@dataclass(frozen=True)
class NetworkCheckpoint(LoadedCheckpoint):
    """A network ready to predict, and where it comes from.

    Attributes:
        model: The network behind its normalisation, in evaluation mode, on the CPU.
    """

    model: SegmentationModel

    @property
    def parameters(self) -> int:
        """How many numbers the network learned."""
        return sum(values.numel() for values in self.model.parameters())


def load_checkpoint(path: Path) -> NetworkCheckpoint:
    """Read a network's checkpoint of ``esdseg train``.

    Only tensors and plain values are read (``weights_only=True``), and nothing is downloaded. Checkpoints of
    the simple models are read by :func:`esdseg.baselines.checkpoint.open_checkpoint`, which reads both kinds.

    Args:
        path: The file.

    Raises:
        InputDataError: The file is missing, is no checkpoint of esdseg, would run code, is of another format
            version, or does not hold the network that it describes.
    """
    content = read_torch_file(path, "checkpoint")
    return network_checkpoint(content, read_metadata(content, path), path)


def network_checkpoint(
    content: object, metadata: CheckpointMetadata, path: Path, window_size: int | None = None
) -> NetworkCheckpoint:
    """Make the network of a checkpoint's content.

    The network is laid out without memory first, so a file cannot make this machine build a network that it
    does not hold.

    Args:
        content: The file's content.
        metadata: What it says of itself.
        path: The file, for messages.
        window_size: Label cells along each side of the windows to predict; as in training unless given.

    Raises:
        InputDataError: The content does not hold the network that it describes.
        UsageError: The network cannot work on windows of ``window_size``.
        MissingResourceError: A package that the network is made of is not installed.
    """
    state = _model_state(content, path)
    size = metadata.trained_window_size
    if window_size is not None:
        size = _checked_window(window_size, metadata, path)
    try:
        channels = metadata.read_channels()
        with torch.device("meta"):
            model = _build_model(metadata, channels, size)
    except MissingResourceError:
        raise
    except ESDSegError as error:
        raise InputDataError(f"{path}: describes a model that cannot be built: {error}") from None
    misfit = describe_misfit(state, model.state_dict())
    if misfit is not None:
        raise InputDataError(
            f"{path}: does not hold the {metadata.config.model.name} it describes; {misfit}. "
            "If another esdseg wrote it, read it with that one, or train again."
        )
    if _computes_tensors(model):
        model = _build_model(metadata, channels, size)
    else:
        model.to_empty(device="cpu")
    model.load_state_dict(dict(state))
    return NetworkCheckpoint(path, channels, metadata, size, model.eval())


def network_content(model: SegmentationModel, metadata: CheckpointMetadata) -> dict[str, Any]:
    """Return what ``torch.save`` is to write of a network, all of it tensors and plain values."""
    return {
        METADATA_KEY: metadata.model_dump(mode="json"),
        STATE_KEY: {f"{MODEL_PREFIX}{name}": value for name, value in model.state_dict().items()},
    }


def _build_model(
    metadata: CheckpointMetadata, channels: Sequence[Channel], window_size: int
) -> SegmentationModel:
    network = build_network(metadata.config.model, channels, window_size)
    return SegmentationModel(Normalization(len(channels)), network, native_grids(channels))


def _checked_window(window_size: int, metadata: CheckpointMetadata, path: Path) -> int:
    model = metadata.config.model
    try:
        model.check_subtile(window_size)
    except ValueError as error:
        raise UsageError(
            f"--window-size {window_size}: {path}, a {model.name}, cannot work on such windows: {error}; or "
            f"leave --window-size out for those of its training, {metadata.trained_window_size}."
        ) from None
    return window_size


def _computes_tensors(model: nn.Module) -> bool:
    """Return whether building a network computes tensors that its checkpoints do not hold."""
    stored = model.state_dict().keys()
    return any(name not in stored for name, _ in model.named_buffers()) or any(
        isinstance(value, Tensor) for module in model.modules() for value in vars(module).values()
    )


def read_metadata(content: object, path: Path) -> CheckpointMetadata:
    """Read what a checkpoint says of itself.

    Args:
        content: The file's content.
        path: The file, for messages.

    Raises:
        InputDataError: It is no checkpoint of esdseg, is damaged, or is of another format version.
    """
    stored = content.get(METADATA_KEY) if isinstance(content, dict) else None
    if not isinstance(stored, dict):
        raise InputDataError(
            f"{path}: is not a checkpoint of esdseg; name one that `esdseg train` wrote, such as "
            "checkpoints/RUN/best.ckpt."
        )
    version = stored.get("format_version")
    if version != FORMAT_VERSION or type(version) is not int:
        # Lists in lists can be short in the file and endless in words.
        shown = type(version).__name__ if isinstance(version, list | dict) else f"{version!r:.40}"
        raise InputDataError(
            f"{path}: has checkpoint format {shown}, this esdseg reads format {FORMAT_VERSION}; "
            "read it with the esdseg that wrote it, or train again."
        )
    try:
        metadata = CheckpointMetadata.model_validate(stored)
    except ValidationError as error:
        raise InputDataError(
            f"{path}: the checkpoint's description is damaged at {first_fault(error)}."
        ) from None
    if metadata.class_names != CLASS_NAMES:
        raise InputDataError(
            f"{path}: predicts the classes {', '.join(metadata.class_names)}; this esdseg maps "
            f"{', '.join(CLASS_NAMES)}."
        )
    return metadata


def _model_state(content: object, path: Path) -> Mapping[str, Tensor]:
    stored = content.get(STATE_KEY) if isinstance(content, dict) else None
    if not isinstance(stored, dict):
        raise InputDataError(f"{path}: holds no weights; it is damaged, train again.")
    state = {
        name.removeprefix(MODEL_PREFIX): value
        for name, value in stored.items()
        if isinstance(name, str) and name.startswith(MODEL_PREFIX)
    }
    strange = next((name for name, value in state.items() if not isinstance(value, Tensor)), None)
    if strange is not None:
        raise InputDataError(f"{path}: {strange} is no tensor; the checkpoint is damaged, train again.")
    return state


def load_starting_weights(
    network: nn.Module, config: AnyModelConfig, seen: NetworkInput, checkpoints_dir: Path
) -> tuple[CheckpointMetadata | None, tuple[str, ...]]:
    """Fill in what ``config.weights`` names, at the start of a training.

    Args:
        network: As :func:`esdseg.models.registry.build_network` made it.
        config: Its settings.
        seen: What the network sees.
        checkpoints_dir: Folder of the runs, in which a run is looked up by its name.

    Returns:
        What the checkpoint of a run says of itself, ``None`` for other weights; and sentences for the user.

    Raises:
        MissingResourceError: The weights are to be downloaded and cannot be.
        InputDataError: A file is missing or does not fit.
        ConfigError: The weights are for other bands or units.
    """
    if not isinstance(config, NetworkSection) or not config.starts_from_run:
        return None, load_pretrained(network, config, seen)
    channels = seen.channels
    path = resolve_checkpoint(config.weights, checkpoints_dir)
    source = load_checkpoint(path)
    if source.config.model.name != config.name:
        raise InputDataError(
            f"{path}: holds a {source.config.model.name}, whose weights do not fit a {config.name}. Name a "
            f"run of the same model, or train with --model {source.config.model.name}."
        )
    state = without_counters(source.model.network.state_dict())
    known = _first_filters(source.model.network, len(source.channels))
    wanted = _first_filters(network, len(channels))
    for name in known.keys() & wanted.keys():
        state[name] = match_filters(
            state[name],
            [source.channels[position] for position in known[name]],
            [channels[position] for position in wanted[name]],
        )
    if isinstance(network, OlmoEarthNetwork):
        # How its inputs are scaled follows from the data, not from the run.
        set_scale(network, seen)
        state |= {name: value for name, value in network.state_dict().items() if name.startswith("inputs.")}
    misfit = describe_misfit(state, without_counters(network.state_dict()))
    if misfit is not None:
        raise InputDataError(
            f"{path}: its weights do not fit this {config.name}; {misfit}. The settings of model must be "
            "those of the run, and a sensor_branches needs the run's sensors and number of nights."
        )
    if wanted and not any(state[name].any() for name in wanted):
        held = ", ".join(f"{sensor} {' '.join(bands)}" for sensor, bands in bands_of(source.channels).items())
        raise InputDataError(f"{path}: was trained on none of the bands here, but on {held}.")
    network.load_state_dict(state, strict=False)
    return source.metadata, ()


def _first_filters(network: nn.Module, n_channels: int) -> dict[str, tuple[int, ...]]:
    """Return the names of the filters that see the image, each with the positions of the channels it sees."""
    everything = tuple(range(n_channels))
    match network:
        case SensorBranches():
            branches = zip(network.summary_branches.named_children(), network.grids, strict=False)
            return {
                f"summary_branches.{name}.convolution.weight": grid.channels for (name, _), grid in branches
            }
        case UNet():
            return {network.first_filters: everything}
        case SegmentationCNN():
            return {"features.0.0.weight": everything}
        case FCNResNet101():
            return {FIRST_FILTERS: everything}
        case SMPNetwork():
            return {f"{ENCODER_PREFIX}{name}": everything for name in network.first_layers}
        case OlmoEarthNetwork():
            # Its input always has all bands of a product in the product's order, so nothing is matched.
            return {}
    raise AssertionError(f"{type(network).__name__} has no first filters")
