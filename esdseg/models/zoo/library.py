"""The one place that calls segmentation_models.pytorch."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from esdseg.sensors.classes import NUM_CLASSES


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
        with warnings.catch_warnings(), _SchedulesOnHost():
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


class _SchedulesOnHost(TorchFunctionMode):
    """Mix Transformers read their dropout rates from a tensor, which the meta device has no values for."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function; ``torch.linspace`` always on the processor."""
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)
