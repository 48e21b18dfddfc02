"""Pretrained weights of the zoo's encoders: the library's download, or a file of the same form."""

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from esdseg.config.zoo import TIMM_PREFIX
from esdseg.config.zoo_model import SMPConfig
from esdseg.config.zoo_names import weights_of
from esdseg.errors import ConfigError, InputDataError, MissingResourceError
from esdseg.models.inflation import COLORS, inflate_first_layers
from esdseg.models.state_fit import describe_misfit
from esdseg.models.weights_file import missing_weights, read_weights, without_counters
from esdseg.models.zoo.library import Recipe
from esdseg.models.zoo.network import SMPNetwork
from esdseg.sensors.channels import Channel

_PREFIX = "library.encoder."
"""Of the encoder's tensors among those of the network."""


def load_smp_weights(network: nn.Module, config: SMPConfig, channels: Sequence[Channel]) -> None:
    """Fill in the encoder's weights that ``config.weights`` names, their first filters spread by band role.

    Args:
        network: An :class:`SMPNetwork` for ``channels``.
        config: Its settings.
        channels: The channels of the image.

    Raises:
        MissingResourceError: The weights are to be downloaded and cannot be.
        InputDataError: The file is missing or does not hold weights of this encoder.
        ConfigError: The encoder's first layer cannot be spread over other channels.
    """
    assert isinstance(network, SMPNetwork)
    if config.weights == "none":
        return
    if config.named_weights is not None:
        state, origin = _download(network.recipe, config.named_weights), config.named_weights
    elif config.weights == "auto":
        return
    else:
        choices = ", ".join((*weights_of(config.encoder), "auto", "none"))
        state = _read(Path(config.weights), choices, network.recipe)
        origin = config.weights
    try:
        inflated = inflate_first_layers(without_counters(state), network.first_layers, channels)
    except ValueError as error:
        raise ConfigError(
            f"model {config.name}: its pretrained first layer cannot be spread over the bands ({error}); "
            "train from scratch with --set model.weights=none, or use another encoder."
        ) from None
    misfit = describe_misfit(inflated, without_counters(network.encoder.state_dict()))
    if misfit is not None:
        raise InputDataError(f"{origin}: not weights of the encoder {config.encoder}; {misfit}.")
    network.load_state_dict({f"{_PREFIX}{name}": value for name, value in inflated.items()}, strict=False)


def _download(recipe: Recipe, weights: str) -> Mapping[str, Tensor]:
    try:
        state = recipe.make(len(COLORS), weights).get_submodule("encoder").state_dict()
    # The hub's errors are of this kind, and say for themselves what failed.
    except OSError as error:
        raise _missing(recipe.encoder, weights, error) from None
    return state


def _missing(encoder: str, weights: str, error: Exception) -> MissingResourceError:
    from huggingface_hub import constants, hf_hub_url
    from segmentation_models_pytorch.encoders import encoders

    by_hand = f"bring the cache {constants.HF_HUB_CACHE} from there"
    if not encoder.startswith(TIMM_PREFIX):
        place = encoders[encoder]["pretrained_settings"][weights]
        url = hf_hub_url(place["repo_id"], "model.safetensors", revision=place["revision"])
        by_hand += f"; or fetch {url} and name it with --set model.weights=FILE.safetensors"
    return missing_weights(f"the encoder {encoder} ({weights})", error, by_hand)


def _read(path: Path, choices: str, recipe: Recipe) -> Mapping[str, Tensor]:
    state = read_weights(path, choices, f"the encoder {recipe.encoder}")
    with torch.device("meta"):
        encoder = recipe.make(len(COLORS)).get_submodule("encoder")
    with contextlib.suppress(RuntimeError), warnings.catch_warnings():
        # It drops layers for classification and turns older names into its own, in place, before it looks
        # whether all fit, which is told better below; the meta device takes no values.
        warnings.simplefilter("ignore")
        encoder.load_state_dict(state)
    misfit = describe_misfit(without_counters(state), without_counters(encoder.state_dict()))
    if misfit is not None:
        raise InputDataError(f"{path}: not weights of the encoder {recipe.encoder}; {misfit}.")
    return state
