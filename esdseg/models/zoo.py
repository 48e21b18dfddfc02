"""Networks of segmentation_models.pytorch by name, on the label grid."""

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from esdseg.config.section import CellPooling as CellPoolingMode
from esdseg.config.zoo import TIMM_PREFIX, SMPConfig
from esdseg.errors import ConfigError
from esdseg.models.layers import CellPooling
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import CELL_SIZE_PX, GRID_SIZE, NUM_CLASSES, SUBTILE_SIZES


@dataclass(frozen=True)
class Recipe:
    """What a network of the library is made of.

    Attributes:
        decoder: Its name.
        encoder: Its name.
        options: Further arguments of its constructor.
    """

    decoder: str
    encoder: str
    options: Mapping[str, object]

    def make(self, in_channels: int, weights: str | None = None) -> nn.Module:
        """Make the network with four classes.

        Args:
            in_channels: Channels of the image.
            weights: Name of the encoder's pretrained weights, which are downloaded; random ones without.

        Raises:
            OSError: The weights cannot be downloaded.
            ValueError, TypeError, AssertionError, RuntimeError: The library or timm refuses the combination.
        """
        # Importing it takes two seconds, and the other networks do without it.
        import segmentation_models_pytorch as smp

        encoder = self.encoder
        if weights is not None and encoder.startswith("tu-"):
            # timm's weights are part of the name there.
            encoder = f"{encoder}.{weights}"
        with warnings.catch_warnings(), _ShapesAlone():
            # On names that timm prefers otherwise, and readout tokens that some encoders lack.
            warnings.simplefilter("ignore")
            network: nn.Module = smp.create_model(
                self.decoder,
                encoder_name=encoder,
                encoder_weights=weights,
                in_channels=in_channels,
                classes=NUM_CLASSES,
                **self.options,
            )
        return network


_DRAWS = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.clamp_)


class _ShapesAlone(TorchFunctionMode):
    """Lets networks be laid out on the meta device, whose tensors have no values, and draws none for it.

    Pretending to draw the weights of a transformer takes most of the time otherwise. Mix Transformers read
    their dropout rates from a tensor, which must have values.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function; ``torch.linspace`` always on the processor, and draws on the meta device not."""
        kwargs = dict(kwargs or {})
        if func in _DRAWS and args[0].is_meta:
            return args[0]
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


SIDE_MULTIPLE_PX = 32
"""Of what the library's networks see: encoders halve five times at most, patches have 32 px at most."""

BATCH_STATISTICS_SHARE = 0.1
"""Share of a step's batch in the statistics that batch normalisation keeps for evaluation: PyTorch's default.

Encoders of EfficientNet's kind take 0.01, made for a million images: after the few hundred steps of few tiles
they would be judged by the statistics of the random network that they began as.
"""

_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


class SMPNetwork(nn.Module):
    """An encoder and a decoder of the library, padded inside and pooled into label cells.

    A side that the encoder cannot halve evenly is padded on both sides with its outermost pixels, and the
    logits are cropped again: a window of 50 px becomes one of 64 px in between.

    Args:
        library: The library's network for four classes.
        recipe: What made it, and makes it for images of three channels where weights are loaded.
        first_layers: Names of the weights in ``library.encoder`` that see the image's channels.
        unused: Names of the parameters in ``library`` that no output depends on.
        cell_pooling: How the logits of a cell's pixels become the cell's.
        frozen_backbone_epochs: Epochs at the start in which the encoder does not learn, apart from its first
            layers; see :func:`esdseg.models.pretrained_weights.schedule_backbone`.
    """

    def __init__(
        self,
        library: nn.Module,
        recipe: Recipe,
        first_layers: Collection[str],
        unused: Collection[str],
        cell_pooling: CellPoolingMode,
        frozen_backbone_epochs: int,
    ) -> None:
        super().__init__()
        self.library = library
        self.recipe = recipe
        self.first_layers = tuple(first_layers)
        self.cell_pooling = CellPooling(CELL_SIZE_PX, cell_pooling)
        self.frozen_backbone_epochs = frozen_backbone_epochs
        self._is_frozen = False
        self._unused = frozenset(unused)
        for name, parameter in library.named_parameters():
            parameter.requires_grad_(name not in self._unused)
        for module in library.modules():
            if isinstance(module, nn.BatchNorm2d) and module.momentum is not None:
                module.momentum = max(module.momentum, BATCH_STATISTICS_SHARE)

    @property
    def encoder(self) -> nn.Module:
        """The library's encoder."""
        return self.library.get_submodule("encoder")

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images (N, C, 50k, 50k) to logits (N, 4, k, k)."""
        height, width = image.shape[-2:]
        above, below = _margins(height)
        left, right = _margins(width)
        if above or below or left or right:
            image = F.pad(image, (left, right, above, below), mode="replicate")
        logits = self.library(image)[..., above : above + height, left : left + width]
        pooled: Tensor = self.cell_pooling(logits)
        return pooled

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; a frozen encoder keeps its batch statistics in both."""
        super().train(mode)
        if self._is_frozen:
            self.encoder.eval()
            for layer in self._new_layers():
                layer.train(mode)
        return self

    def set_frozen(self, frozen: bool) -> None:
        """Let the encoder's first layers and the decoder learn, the rest's statistics kept; or all layers."""
        self._is_frozen = frozen
        for name, parameter in self.library.named_parameters():
            is_kept = frozen and name.startswith("encoder.")
            parameter.requires_grad_(name not in self._unused and not is_kept)
        if frozen:
            for layer in self._new_layers():
                layer.requires_grad_(True)
        self.train(self.training)

    def _new_layers(self) -> list[nn.Module]:
        """The encoder's layers that see the image's bands, each with the normalisation behind it."""
        owners = {name.rpartition(".")[0] for name in self.first_layers}
        layers: list[nn.Module] = []
        waiting = False
        for name, module in self.encoder.named_modules():
            if name in owners:
                layers.append(module)
                waiting = True
            elif waiting and isinstance(module, _NORMALISATIONS):
                layers.append(module)
                waiting = False
        return layers


def padded_side(side_px: int) -> int:
    """Return the padded side in pixels that the library's network takes."""
    return side_px + sum(_margins(side_px))


def _margins(side_px: int) -> tuple[int, int]:
    missing = -side_px % SIDE_MULTIPLE_PX
    return missing // 2, missing - missing // 2


class SteadyBatchNorm(nn.BatchNorm2d):
    """Batch normalisation that takes its running statistics where there is nothing to take new ones from.

    Decoders such as ``deeplabv3`` and ``pan`` pool a whole image into one value a channel. A step of a single
    image, such as the last of an epoch, then has no variance, and PyTorch refuses it.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise features (N, C, height, width)."""
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


def steady_norms(network: nn.Module) -> None:
    """Turn every plain batch normalisation in a network into a :class:`SteadyBatchNorm`, tensors and all."""
    for parent in network.modules():
        for name, layer in parent.named_children():
            if type(layer) is nn.BatchNorm2d:
                steady = SteadyBatchNorm(
                    layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
                )
                for kind in ("_parameters", "_buffers"):
                    getattr(steady, kind).update(getattr(layer, kind))
                setattr(parent, name, steady)


TOKEN_DECODER = "dpt"
"""The decoder that takes vision transformers."""

_ADVICE = {
    **dict.fromkeys(
        ("deeplabv3", "deeplabv3plus", "pan"),
        "it needs an encoder whose last stages can keep their resolution, such as resnet34, efficientnet-b3 "
        "or tu-convnext_tiny; unet, fpn and upernet take others too",
    ),
    TOKEN_DECODER: "it needs a vision transformer for any size of image with patches of 8, 16 or 32 px, such "
    "as tu-vit_small_patch16_224; unet, fpn and upernet take encoders with maps of several sizes",
}
_USUAL_ADVICE = (
    "it needs an encoder with maps of 1/2 to 1/32 of the size, such as resnet34 or efficientnet-b3; fpn and "
    "segformer do without 1/2; vision transformers go with dpt"
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
    """Refuse a decoder and an encoder that do not work together, before any data is looked at.

    Raises:
        ConfigError: As for :func:`build_smp`.
    """
    _plan(config, 1, subtile_size)


def _plan(config: SMPConfig, in_channels: int, subtile_size: int) -> Plan:
    pair = config.decoder, config.encoder
    plan, reason = _try_out(*pair, in_channels, subtile_size)
    if plan is not None:
        return plan
    if _try_out(*pair, in_channels, GRID_SIZE)[0] is not None:
        larger = next(
            size for size in SUBTILE_SIZES if size > subtile_size and _try_out(*pair, in_channels, size)[0]
        )
        raise ConfigError(
            f"model {config.name}: windows of {subtile_size} cells are too small for {config.decoder} on "
            f"{config.encoder}; use --set data.window_size={larger} or more, or another decoder, such as fpn."
        )
    why = f" ({reason})" if reason else ""
    raise ConfigError(
        f"model {config.name}: {config.decoder} does not work with {config.encoder} on windows of "
        f"{subtile_size} x {subtile_size} cells{why}: {_ADVICE.get(config.decoder, _USUAL_ADVICE)}."
    )


@lru_cache
def _try_out(decoder: str, encoder: str, in_channels: int, subtile_size: int) -> tuple[Plan | None, str]:
    """Return a plan of the network, or the library's first error where no options work.

    A trial draws no numbers of the process' generator, so a network is the same after it and without it.
    """
    side_px = padded_side(subtile_size * CELL_SIZE_PX)
    reason = ""
    for options in _options(decoder, encoder, side_px):
        recipe = Recipe(decoder, encoder, options)
        try:
            with torch.random.fork_rng(devices=()), torch.device("meta"), torch.enable_grad():
                first_layers = first_layers_of(recipe, in_channels)
                return Plan(recipe, first_layers, _unused(recipe, in_channels, side_px)), ""
        # The libraries refuse with nearly any error.
        except Exception as error:
            reason = reason or next(iter(str(error).splitlines()), "").rstrip(".")
    return None, reason


def _options(decoder: str, encoder: str, side_px: int) -> Iterator[Mapping[str, object]]:
    """Yield the constructor's options that may be needed, the plainest first."""
    strides: tuple[Mapping[str, object], ...] = ({},)
    if decoder == "pan":
        # Where features cannot stay at 1/16 of the resolution, it takes them at 1/32.
        strides = ({}, {"encoder_output_stride": 32})
    sizes: tuple[Mapping[str, object], ...] = ({},)
    if encoder.startswith(TIMM_PREFIX):
        # Some of timm's transformers are made for one size, which can be another than they were trained on.
        sizes = ({}, {"img_size": side_px})
        if decoder == TOKEN_DECODER:
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
