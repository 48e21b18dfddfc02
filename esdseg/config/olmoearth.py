"""Settings of the network with OlmoEarth's encoder."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from esdseg.config.section import PretrainedSection, WindowPositions


class OlmoEarthConfig(PretrainedSection):
    """OlmoEarth's encoder on Sentinel-1, Sentinel-2 and Landsat, with its context on the label grid."""

    usual_weights: ClassVar[str] = "auto"
    smallest_window: ClassVar[int] = 2
    """A batch of a single cell would leave nothing to normalise over."""
    default_window_size: ClassVar[int | None] = 8
    default_window_positions: ClassVar[WindowPositions] = "random"
    default_batch_size: ClassVar[int] = 2
    default_learning_rate: ClassVar[float] = 3e-4

    name: Literal["olmoearth"] = "olmoearth"
    weights: str = "auto"
    """``auto`` (the download of the version and size), ``none`` (from scratch), or the path of a
    weights.pth."""
    version: Literal["v1", "v1.1", "v1.2"] = "v1.2"
    """Of the encoder: which weights it takes."""
    size: Literal["nano", "tiny", "base"] = "nano"
    """Of the encoder: 1.4, 8.1 or 95 million parameters in version 1.2, for all three sensors."""
    patch_size: Literal[5, 10] = 5
    """Side of a token's patch in pixels of 10 m. The encoder was trained on 1 to 8; 10 makes a quarter of the
    tokens."""
    month: Annotated[int, Field(ge=1, le=12)] = 8
    """Month of the images, which the encoder is told; the contest's are of August."""

    @property
    def repository(self) -> str:
        """Where the Hugging Face Hub keeps the weights."""
        return f"allenai/OlmoEarth-{self.version.replace('.', '_')}-{self.size.capitalize()}"
