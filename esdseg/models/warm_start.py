"""What a network starts from: the weights of a run of one's own, or pretrained ones, or none."""

from pathlib import Path

from torch import nn

from esdseg.config.models import AnyModelConfig
from esdseg.config.section import NetworkSection
from esdseg.errors import InputDataError
from esdseg.models.checkpoint import CheckpointMetadata, load_checkpoint
from esdseg.models.course_networks import FCNResNet101, SegmentationCNN, UNet
from esdseg.models.first_layers import match_filters
from esdseg.models.normalization import NetworkInput
from esdseg.models.olmoearth import OlmoEarthNetwork, set_scale
from esdseg.models.pretrained_weights import ENCODER_PREFIX, FIRST_FILTERS, without_counters
from esdseg.models.registry import load_pretrained
from esdseg.models.runs import resolve_checkpoint
from esdseg.models.sensor_branches import SensorBranches
from esdseg.models.tensor_file import describe_misfit
from esdseg.models.zoo import SMPNetwork
from esdseg.sensors.channels import bands_of


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
            # It takes each product with all bands, in their order.
            return {}
    raise AssertionError(f"{type(network).__name__} has no first filters")
