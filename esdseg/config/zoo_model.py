"""Settings of a network of the zoo."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, ValidationInfo, field_validator

from esdseg.config.section import PretrainedSection
from esdseg.config.zoo import ENCODERS, ZOO_EXAMPLE
from esdseg.config.zoo_names import check_name, check_weights, names_a_file, split_name, weights_of

SMALLEST_PAN_WINDOWS = {True: 2, False: 8}
"""Cells of the smallest windows of ``pan``, by whether the encoder dilates: it halves the last features, at
1/16 or 1/32 of the resolution, three times more."""


class SMPConfig(PretrainedSection):
    """A decoder and an encoder of segmentation_models.pytorch, with their output on the label grid."""

    usual_weights: ClassVar[str] = "auto, the name of some"

    name: Annotated[str, AfterValidator(check_name)] = ZOO_EXAMPLE
    """``smp:DECODER/ENCODER``."""
    weights: str = "auto"
    """Name of the encoder's weights, ``auto`` (its usual ones, or none where it has none), ``none``, or the
    path of a file."""

    @property
    def decoder(self) -> str:
        """Name of the decoder."""
        return split_name(self.name)[0]

    @property
    def encoder(self) -> str:
        """Name of the encoder."""
        return split_name(self.name)[1]

    @property
    def named_weights(self) -> str | None:
        """Name of the pretrained weights to download; ``None`` where there are none or a file holds them."""
        if self.weights == "none" or names_a_file(self.weights):
            return None
        return next(iter(weights_of(self.encoder)), None) if self.weights == "auto" else self.weights

    @field_validator("weights")
    @classmethod
    def _encoder_has_the_weights(cls, value: str, info: ValidationInfo) -> str:
        if "name" in info.data:
            check_weights(split_name(info.data["name"])[1], value)
        return value

    def check_subtile(self, subtile_size: int) -> None:
        """Refuse windows of ``subtile_size`` cells that the decoder cannot work on (``ValueError``)."""
        if self.decoder != "pan":
            return
        own = ENCODERS.get(self.encoder)
        smallest = SMALLEST_PAN_WINDOWS[own is None or own.dilates]
        if subtile_size < smallest:
            raise ValueError(
                f"windows of {subtile_size} cells are too small for pan on {self.encoder}; use --set "
                f"data.window_size={smallest} or more, or another decoder, such as fpn"
            )
