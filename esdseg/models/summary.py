"""Size and cost of each network, without its weights being made."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from esdseg.config.models import COURSE_NAMES, AnyModelConfig
from esdseg.config.zoo import ZOO_FORM
from esdseg.models.registry import REGISTRY, build_network, spec_of
from esdseg.sensors.channels import Channel, channel_table
from esdseg.sensors.grid import CELL_SIZE_PX
from esdseg.sensors.sensors import SENSORS

_COURSE_NAME_OF = {name: course_name for course_name, name in COURSE_NAMES.items()}


@dataclass(frozen=True)
class ModelSummary:
    """One row of ``esdseg models``.

    Attributes:
        name: The network's name.
        course_name: The course's name of it, which is accepted too; empty where it had none.
        title: What it is.
        parameters: Numbers that are learned.
        flops: Floating-point operations of the convolutions and products for one subtile, forwards; a
            multiplication and its addition count as two.
    """

    name: str
    course_name: str
    title: str
    parameters: int
    flops: int

    def to_json(self) -> dict[str, str | int]:
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
    return tuple(
        describe_model(spec.config_class(), channels, subtile_size)
        for spec in REGISTRY
        if spec.name != ZOO_FORM
    )


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
    if channels is None:
        channels = channel_table({sensor.name: sensor.dates for sensor in SENSORS})
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
