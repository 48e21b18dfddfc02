"""The one table of models, and what each costs: a new model is a file beside this and a row here."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from esdseg.config.models import (
    COURSE_NAMES,
    MODEL_CONFIGS,
    AnyModelConfig,
    CellModelConfig,
    FCNResNet101Config,
    OlmoEarthConfig,
    SegmentationCNNConfig,
    SensorBranchesConfig,
    UNetConfig,
)
from esdseg.config.zoo import ZOO_FORM, SMPConfig
from esdseg.errors import ConfigError, MissingResourceError
from esdseg.models.course_networks import build_fcn_resnet101, build_segmentation_cnn, build_unet
from esdseg.models.normalization import NetworkInput
from esdseg.models.olmoearth import build_olmoearth, check_olmoearth
from esdseg.models.pretrained_weights import load_fcn_weights, load_olmoearth_weights, load_smp_weights
from esdseg.models.sensor_branches import build_sensor_branches
from esdseg.models.zoo import build_smp, check_smp
from esdseg.sensors.channels import Channel, channel_table
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE
from esdseg.sensors.sensors import contest_sensors

Config = TypeVar("Config", bound=AnyModelConfig)


@dataclass(frozen=True)
class ModelSpec(Generic[Config]):
    """One row of the table.

    Attributes:
        title: What the network is, for people.
        config_class: Its settings.
        build: Makes the network from settings, channels and subtile size, with random weights.
        check: Refuses settings that cannot work on windows of so many cells, where only building shows it.
        load_pretrained: Fills in the pretrained weights that the settings name, and returns sentences for
            the user.
    """

    title: str
    config_class: type[Config]
    build: Callable[[Config, Sequence[Channel], int], nn.Module]
    check: Callable[[Config, int], None] | None = None
    load_pretrained: Callable[[nn.Module, Config, NetworkInput], tuple[str, ...]] | None = None

    @property
    def name(self) -> str:
        """What the network is listed as, which is its name but for the many of the zoo."""
        return next(name for name, section in MODEL_CONFIGS.items() if section is self.config_class)


REGISTRY: tuple[ModelSpec[Any], ...] = (
    ModelSpec(
        title="A branch a sensor at its native resolution, with context on the label grid",
        config_class=SensorBranchesConfig,
        build=build_sensor_branches,
    ),
    ModelSpec(
        title="Convolutions from scratch that pool their way down to the label grid",
        config_class=SegmentationCNNConfig,
        build=build_segmentation_cnn,
    ),
    ModelSpec(
        title="torchvision's FCN-ResNet101, pretrained on COCO, for transfer learning",
        config_class=FCNResNet101Config,
        build=build_fcn_resnet101,
        load_pretrained=load_fcn_weights,
    ),
    ModelSpec(
        title="UNet from scratch: encoders and decoders with skip connections",
        config_class=UNetConfig,
        build=build_unet,
    ),
    ModelSpec(
        title="OlmoEarth's pretrained encoder, with context on the label grid; needs the extra eo",
        config_class=OlmoEarthConfig,
        build=build_olmoearth,
        check=check_olmoearth,
        load_pretrained=load_olmoearth_weights,
    ),
    ModelSpec(
        title="Any decoder and encoder of segmentation_models.pytorch; --zoo lists them",
        config_class=SMPConfig,
        build=build_smp,
        check=check_smp,
        load_pretrained=load_smp_weights,
    ),
)
"""All models in the order in which they are listed."""


def check_model(config: AnyModelConfig, subtile_size: int | None) -> None:
    """Refuse settings that cannot work, before any data is looked at.

    Args:
        config: Settings of a model.
        subtile_size: Label cells along each side of the windows; whole tiles where ``None``.

    Raises:
        ConfigError: The message says what would work.
    """
    check = spec_of(config).check
    if check is not None:
        check(config, subtile_size or GRID_SIZE)


def build_network(config: AnyModelConfig, channels: Sequence[Channel], subtile_size: int) -> nn.Module:
    """Build a network with random weights.

    Args:
        config: Its settings.
        channels: The C channels of the images.
        subtile_size: Label cells k along each side of a subtile.

    Returns:
        A module that maps normalised images (N, C, 50k, 50k) to logits (N, 4, k, k).

    Raises:
        ConfigError: The network cannot work on subtiles of this size; the message says what would.
        MissingResourceError: A package that the network is made of is not installed.
    """
    try:
        config.check_subtile(subtile_size)
    except ValueError as error:
        raise ConfigError(f"model {config.name}: {error}.") from None
    return spec_of(config).build(config, channels, subtile_size)


def load_pretrained(network: nn.Module, config: AnyModelConfig, seen: NetworkInput) -> tuple[str, ...]:
    """Fill in the pretrained weights that the settings name, at the start of a training; most have none.

    Args:
        network: As :func:`build_network` made it.
        config: Its settings.
        seen: What the network sees.

    Returns:
        Sentences for the user, such as on bands that the weights know and the data lack.

    Raises:
        MissingResourceError: The weights are to be downloaded and cannot be.
        InputDataError: A weights file is missing or does not fit.
        ConfigError: The weights are for other bands or units.
    """
    load = spec_of(config).load_pretrained
    return () if load is None else load(network, config, seen)


def spec_of(config: AnyModelConfig) -> ModelSpec[Any]:
    """Return the row of the table that settings belong to (``ConfigError`` where they are no network's)."""
    for spec in REGISTRY:
        if isinstance(config, spec.config_class):
            return spec
    raise ConfigError(f"model {config.name}: is no network, but a model of cell statistics.")


SIMPLE_MODEL_TITLES = {
    "cell_logistic": "Logistic regression on each cell's channel statistics, a simple baseline",
    "cell_boosting": "Gradient-boosted trees on each cell's channel statistics, a simple baseline",
}
"""Models that are no networks (:mod:`esdseg.baselines`); their parameters follow from the fit."""

_COURSE_NAME_OF = {name: course_name for course_name, name in COURSE_NAMES.items()}


@dataclass(frozen=True)
class ModelSummary:
    """One row of ``esdseg models``.

    Attributes:
        name: The network's name.
        course_name: The course's name of it, which is accepted too; empty where it had none.
        title: What it is.
        parameters: Numbers that are learned; ``None`` for a model that is no network, or whose package is not
            installed.
        flops: Floating-point operations of the convolutions and products for one subtile, forwards; a
            multiplication and its addition count as two. ``None`` where ``parameters`` is.
    """

    name: str
    course_name: str
    title: str
    parameters: int | None
    flops: int | None

    def to_json(self) -> dict[str, str | int | None]:
        """Return the row for machines."""
        return asdict(self)


def describe_models(
    channels: Sequence[Channel] | None = None, subtile_size: int = 4
) -> tuple[ModelSummary, ...]:
    """Describe every registered network with its default settings, but for the many of the zoo.

    Args:
        channels: Channels of the image; all 100 of a full tile unless given.
        subtile_size: Label cells along each side of the subtile.

    Returns:
        A row a network, in the order of the registry.
    """
    rows = []
    for name, config_class in MODEL_CONFIGS.items():
        if name == ZOO_FORM:
            continue
        try:
            rows.append(describe_model(config_class(), channels, subtile_size))
        except MissingResourceError:
            rows.append(ModelSummary(name, "", spec_of(config_class()).title, None, None))
    return tuple(rows)


def describe_model(
    config: AnyModelConfig, channels: Sequence[Channel] | None = None, subtile_size: int = 4
) -> ModelSummary:
    """Describe one network.

    Args:
        config: Its settings.
        channels: Channels of the image; all 100 of a full tile unless given.
        subtile_size: Label cells along each side of the subtile.

    Raises:
        ConfigError: It cannot work on subtiles of this size.
    """
    if isinstance(config, CellModelConfig):
        return ModelSummary(config.name, "", SIMPLE_MODEL_TITLES[config.name], None, None)
    if channels is None:
        sensors = contest_sensors()
        channels = channel_table({sensor.name: len(sensor.dates) for sensor in sensors.all}, sensors)
    size_px = subtile_size * CELL_SIZE_PX
    # The meta device knows shapes alone, which is all that counting needs.
    with torch.device("meta"):
        image = torch.empty(1, len(channels), size_px, size_px)
        network = build_network(config, channels, subtile_size).eval()
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            network(image)
    return ModelSummary(
        name=config.name,
        course_name=_COURSE_NAME_OF.get(config.name, ""),
        title=spec_of(config).title,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        flops=counter.get_total_flops(),
    )
