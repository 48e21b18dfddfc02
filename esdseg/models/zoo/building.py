"""Building a network of the zoo: found out without memory whether it works, then made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from esdseg.config.zoo import ENCODERS, TIMM_PREFIX
from esdseg.config.zoo_model import SMPConfig
from esdseg.config.zoo_names import ATROUS_DECODERS, TOKEN_DECODER
from esdseg.errors import ConfigError
from esdseg.models.zoo.library import Recipe
from esdseg.models.zoo.network import SMPNetwork, padded_side
from esdseg.models.zoo.steady_norm import steady_norms
from esdseg.sensors.channels import Channel
from esdseg.sensors.grid import CELL_SIZE_PX

_ADVICE = {
    **dict.fromkeys(
        (*ATROUS_DECODERS, "pan"),
        "it needs an encoder whose last stages can keep their resolution, such as resnet34, efficientnet-b3 "
        "or tu-convnext_tiny; unet, fpn and upernet take others too",
    ),
    TOKEN_DECODER: "it needs a vision transformer for any size of image with patches of 8, 16 or 32 px, such "
    "as tu-vit_small_patch16_224; unet, fpn and upernet take encoders with maps of several sizes",
}
_USUAL_ADVICE = (
    "it needs an encoder with maps of 1/4 to 1/32 of the size, such as resnet34, efficientnet-b3 or "
    "tu-convnext_tiny; vision transformers go with dpt"
)


@dataclass(frozen=True)
class Plan:
    """How a network is made, as a trial on the meta device has shown.

    Attributes:
        recipe: Makes the library's network.
        first_layers: Names of the encoder's weights that see the image's channels.
        unused: Names of parameters that no output depends on.
    """

    recipe: Recipe
    first_layers: tuple[str, ...]
    unused: tuple[str, ...]


def build_smp(config: SMPConfig, channels: Sequence[Channel], subtile_size: int) -> SMPNetwork:
    """Build the network from its settings, with random weights.

    Raises:
        ConfigError: Decoder and encoder do not go together, or not on windows of this size.
    """
    plan = _plan(config, len(channels), subtile_size)
    library = plan.recipe.make(len(channels))
    steady_norms(library)
    return SMPNetwork(
        library,
        plan.recipe,
        plan.first_layers,
        plan.unused,
        config.cell_pooling,
        config.frozen_backbone_epochs,
    )


def check_smp(config: SMPConfig, subtile_size: int) -> None:
    """Refuse a pair that does not work, before any data is looked at.

    The configuration knows which of the library's own encoders go with which decoder; only timm's have to be
    tried.

    Raises:
        ConfigError: As for :func:`build_smp`.
    """
    if config.encoder.startswith(TIMM_PREFIX):
        _plan(config, 1, subtile_size)


def _plan(config: SMPConfig, in_channels: int, subtile_size: int) -> Plan:
    side_px = padded_side(subtile_size * CELL_SIZE_PX)
    reason = ""
    for options in _options(config, side_px):
        recipe = Recipe(config.decoder, config.encoder, options)
        try:
            with torch.device("meta"), torch.enable_grad():
                return Plan(
                    recipe, first_layers_of(recipe, in_channels), _unused(recipe, in_channels, side_px)
                )
        # The libraries refuse with nearly any error; what they say of the first, plainest form is told.
        except Exception as error:
            reason = reason or next(iter(str(error).splitlines()), "").rstrip(".")
    advice = _ADVICE.get(config.decoder, _USUAL_ADVICE)
    told = f" ({reason})" if reason else ""
    raise ConfigError(
        f"model {config.name}: {config.decoder} does not work with {config.encoder} on windows of "
        f"{subtile_size} x {subtile_size} cells{told}: {advice}."
    )


def _options(config: SMPConfig, side_px: int) -> Iterator[Mapping[str, object]]:
    """Yield the constructor's options that may be needed, the plainest first."""
    strides: tuple[Mapping[str, object], ...] = ({},)
    own = ENCODERS.get(config.encoder)
    if config.decoder == "pan" and (own is None or not own.dilates):
        # Where features cannot stay at 1/16 of the resolution, it takes them at 1/32.
        strides = ({"encoder_output_stride": 32},) if own is not None else ({}, {"encoder_output_stride": 32})
    sizes: tuple[Mapping[str, object], ...] = ({},)
    if own is None:
        # Some of timm's transformers are made for one size, which can be another than they were trained on.
        sizes = ({}, {"img_size": side_px})
        if config.decoder == TOKEN_DECODER:
            sizes = ({"dynamic_img_size": True}, *sizes)
    for stride in strides:
        for size in sizes:
            yield {**stride, **size}


def first_layers_of(recipe: Recipe, in_channels: int) -> tuple[str, ...]:
    """Find the weights whose shape follows the number of channels."""
    shapes = [
        {
            name: value.shape
            for name, value in recipe.make(count).get_submodule("encoder").state_dict().items()
        }
        for count in (in_channels, in_channels + 1)
    ]
    return tuple(name for name, shape in shapes[0].items() if shapes[1][name] != shape)


def _unused(recipe: Recipe, in_channels: int, side_px: int) -> tuple[str, ...]:
    """Run a step of a single image, and find the parameters that it does not reach."""
    network: nn.Module = recipe.make(in_channels).to("meta").train()
    steady_norms(network)
    logits = network(torch.empty(1, in_channels, side_px, side_px))
    if logits.shape[-2:] != (side_px, side_px):
        raise ValueError(f"its output has {tuple(logits.shape[-2:])} px for an input of {side_px}")
    logits.sum().backward()
    return tuple(name for name, parameter in network.named_parameters() if parameter.grad is None)
