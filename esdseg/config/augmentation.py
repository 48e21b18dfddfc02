"""Settings of the random changes to training batches."""

from typing import Annotated

from pydantic import Field

from esdseg.config.section import Probability, Section

DropoutShare = Annotated[float, Field(ge=0, lt=1)]


class AugmentationConfig(Section):
    """Random changes to training batches; validation and prediction are never changed."""

    flip_probability: Probability = 0.5
    """Of a left-right flip, and of an up-down flip."""
    quarter_turn_probability: Probability = 0.5
    """Of a turn by 90, 180 or 270 degrees."""
    mixing_probability: Probability = 0.0
    """Of a rectangle of cells from another sample of the batch in a sample's place, pixels and labels
    (CutMix, arXiv:1905.04899). A batch of a single sample, such as an epoch's last, has none to mix with."""
    band_gain_std: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Standard deviation of a factor on each channel of a sample, around 1."""
    band_offset_std: Annotated[float, Field(ge=0, le=5)] = 0.0
    """Standard deviation of a number added to each channel of a sample, as a share of the channel's own."""
    date_dropout: DropoutShare = 0.0
    """Probability that a date of a sensor has no data in a sample; each sensor keeps one at least.
    Projections over dates stay as they are."""
    sensor_dropout: DropoutShare = 0.0
    """Probability that a sensor has no data in a sample, projections included; one sensor stays at least."""
    noise_probability: Probability = 0.0
    noise_std: Annotated[float, Field(ge=0)] = 0.1
    """Standard deviation of the noise as a share of each channel's own."""
    blur_probability: Probability = 0.0
    blur_sigma_px: Annotated[float, Field(gt=0, le=10)] = 1.0
