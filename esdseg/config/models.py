"""Settings of the models: one section a model, told apart by ``name``."""

from math import prod
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator

from esdseg.config.section import (
    CellPooling,
    DefaultChannels,
    ModelSection,
    NetworkSection,
    PretrainedSection,
    WindowPositions,
    WrittenAsText,
)
from esdseg.config.zoo import ZOO_FORM, SMPConfig, is_of_zoo
from esdseg.sensors.classes import CELL_SIZE_PX, PIXEL_SIZE_M

COURSE_NAMES = {
    "SegmentationCNN": "segmentation_cnn",
    "FCNResnetTransfer": "fcn_resnet101",
    "UNet": "unet",
}
"""The course's names of the models, accepted beside ours."""

SMALLEST_FEATURE_MAP_PX = 2
"""Side of the smallest feature map that a network may come down to."""


class SegmentationCNNConfig(NetworkSection):
    """A convolutional network from scratch that pools its way down to the label grid."""

    default_max_epochs: ClassVar[int] = 12
    default_channels: ClassVar[DefaultChannels] = "few"

    name: Literal["segmentation_cnn"] = "segmentation_cnn"
    depth: Annotated[int, Field(ge=1, le=8)] = 2
    """Convolutions before each pooling."""
    embedding_size: Annotated[int, Field(ge=1, le=1024)] = 64
    """Channels of the first block; each block doubles them."""
    pool_sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], WrittenAsText] = (5, 5, 2)
    """Pooling after each block; their product is a cell's 50 px."""
    kernel_size: Annotated[int, Field(ge=1, le=15)] = 3
    """Side of the convolutions in pixels, odd."""
    cell_pooling: CellPooling = "mean"
    """How the logits of a cell's pixels become the cell's."""

    @field_validator("pool_sizes")
    @classmethod
    def _pools_make_a_cell(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if prod(value) != CELL_SIZE_PX:
            raise ValueError(
                f"pool sizes {list(value)} multiply to {prod(value)}, a label cell has {CELL_SIZE_PX} px; "
                "use for example [5, 5, 2], [2, 5, 5], [5, 10], [10, 5] or [50]"
            )
        return value

    @field_validator("kernel_size")
    @classmethod
    def _kernel_has_a_centre(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"a kernel of {value} px has no centre; use {value - 1} or {value + 1}")
        return value


class UNetConfig(NetworkSection):
    """A UNet from scratch: encoders, a bottleneck, and decoders with skip connections."""

    default_channels: ClassVar[DefaultChannels] = "few"

    name: Literal["unet"] = "unet"
    n_encoders: Annotated[int, Field(ge=1, le=8)] = 3
    """Halvings of the resolution."""
    embedding_size: Annotated[int, Field(ge=1, le=1024)] = 16
    """Channels of the first encoder; each further one doubles them."""
    input_stride: Literal[1, 2, 5, 10] = 2
    """Pixels of 10 m along each side of one of the first encoder's: 2 lets it work at 20 m. A convolution at
    10 m and a maximum come first; 1 leaves them out."""
    cell_pooling: CellPooling = "mean"
    """How the logits of a cell's pixels become the cell's."""

    def check_subtile(self, subtile_size: int) -> None:
        """Refuse a depth that a subtile of ``subtile_size`` cells cannot carry (``ValueError``)."""
        size_px = subtile_size * CELL_SIZE_PX // self.input_stride
        deepest = (size_px // SMALLEST_FEATURE_MAP_PX).bit_length() - 1
        if self.n_encoders > deepest:
            raise ValueError(
                f"{self.n_encoders} encoders halve the {size_px} px of "
                f"{self.input_stride * PIXEL_SIZE_M:.0f} m along a subtile of {subtile_size} x "
                f"{subtile_size} cells below {SMALLEST_FEATURE_MAP_PX} px; use 1 to {deepest}, or a larger "
                "subtile"
            )


class FCNResNet101Config(PretrainedSection):
    """torchvision's FCN-ResNet101 with a first layer for any channels and a last one for the classes."""

    usual_weights: ClassVar[str] = "coco"
    default_learning_rate: ClassVar[float] = 3e-4
    default_max_epochs: ClassVar[int] = 20
    default_channels: ClassVar[DefaultChannels] = "few"

    name: Literal["fcn_resnet101"] = "fcn_resnet101"
    weights: str = "coco"
    """``coco`` (torchvision's download), ``none`` (from scratch), or the path of a weights file or a run."""
    cell_pooling: CellPooling = "mean"
    """How the logits of a cell's pixels become the cell's."""


class SensorBranchesConfig(NetworkSection):
    """A network shaped like the sensors: a branch for each, with its context on the label grid."""

    smallest_window: ClassVar[int] = 2
    """A batch of a single cell would leave nothing to normalise over."""
    default_window_size: ClassVar[int | None] = 8
    default_window_positions: ClassVar[WindowPositions] = "random"
    default_batch_size: ClassVar[int] = 2
    default_learning_rate: ClassVar[float] = 3e-3
    default_cross_entropy_q: ClassVar[float] = 0.5
    default_night_glow: ClassVar[float] = 0.8
    unused_settings: ClassVar[tuple[str, ...]] = ("augmentation.place_shuffle", "augmentation.date_dropout")
    unused_because: ClassVar[str] = (
        "sees the lowest, median and highest value of each band over the dates, whichever dates they are"
    )

    name: Literal["sensor_branches"] = "sensor_branches"
    width: Annotated[int, Field(ge=1, le=256)] = 16
    """Channels of a sensor's branch; where the branches meet there are four times as many."""
    context_width: Annotated[int, Field(ge=1, le=1024)] = 96
    """Channels on the label grid."""
    context_blocks: Annotated[int, Field(ge=0, le=16)] = 2
    """Residual blocks of two convolutions on the label grid; each reaches two cells further."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the channels on the label grid that a training step leaves out."""


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


class CellSection(ModelSection):
    """Settings of a simple baseline, which scikit-learn fits to the statistics of label cells."""

    unused_settings: ClassVar[tuple[str, ...]] = (
        "optimizer", "augmentation", "data.cache", "data.window_positions", "trainer.max_epochs",
        "trainer.patience", "trainer.weight_averaging", "trainer.ema_epochs", "trainer.swa_start",
        "trainer.gradient_clip_norm", "trainer.precision", "trainer.memory_format", "trainer.devices",
        "trainer.num_nodes", "loss.terms", "loss.cross_entropy_q", "loss.label_smoothing",
        "loss.focal_gamma", "loss.tversky_alpha", "loss.tversky_beta",
    )  # fmt: skip
    unused_because: ClassVar[str] = "is fitted in one go, without epochs, optimizer, augmentation or devices"


class CellLogisticConfig(CellSection):
    """Multinomial logistic regression on the statistics of each label cell: a simple baseline."""

    name: Literal["cell_logistic"] = "cell_logistic"
    C: Annotated[float, Field(gt=0)] = 0.1
    """Inverse strength of the L2 penalty on standardised features."""


class CellBoostingConfig(CellSection):
    """Gradient-boosted trees on the statistics of each label cell: a simple baseline that is hard to beat."""

    name: Literal["cell_boosting"] = "cell_boosting"
    max_iter: Annotated[int, Field(ge=1, le=2000)] = 70
    """Rounds of boosting, each with a tree a class."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.14
    """Share of each tree that is added."""
    max_leaf_nodes: Annotated[int, Field(ge=2, le=255)] = 15
    """Leaves of a tree at most."""
    max_depth: Annotated[int, Field(ge=1, le=16)] = 6
    """Splits between a tree's root and its leaves at most."""
    min_samples_leaf: Annotated[int, Field(ge=1)] = 20
    """Training cells in a leaf at least."""
    cell_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training cells, drawn anew for each tree, that it is fitted to. On synthetic tiles 0.8
    scored about 0.007 below 1."""
    feature_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of the features, drawn anew at each split, that it may use."""


CellModelConfig = CellLogisticConfig | CellBoostingConfig
"""Models that are fitted to the statistics of cells in one go: they have no windows, epochs or rates."""

AnyModelConfig = (
    SensorBranchesConfig
    | SegmentationCNNConfig
    | UNetConfig
    | FCNResNet101Config
    | OlmoEarthConfig
    | SMPConfig
    | CellLogisticConfig
    | CellBoostingConfig
)
MODEL_CONFIGS: dict[str, type[AnyModelConfig]] = {
    "sensor_branches": SensorBranchesConfig,
    "segmentation_cnn": SegmentationCNNConfig,
    "fcn_resnet101": FCNResNet101Config,
    "unet": UNetConfig,
    "olmoearth": OlmoEarthConfig,
    ZOO_FORM: SMPConfig,
    "cell_logistic": CellLogisticConfig,
    "cell_boosting": CellBoostingConfig,
}
"""Every model's settings by its name, in the order in which models are listed."""


def listed_name(name: object) -> str | None:
    """Return what a model is listed as in :data:`MODEL_CONFIGS`.

    Args:
        name: A name as it is given: a model's own, the course's, or one of the zoo.

    Returns:
        The key, or ``None`` where no model has the name.
    """
    if not isinstance(name, str):
        return None
    if is_of_zoo(name):
        return ZOO_FORM
    name = COURSE_NAMES.get(name, name)
    return name if name in MODEL_CONFIGS else None


def model_uses(name: str, key: str) -> bool:
    """Say whether a training of a model uses a setting.

    Args:
        name: The model's name, as it is given.
        key: The setting's dotted name, such as ``optimizer.learning_rate`` or ``model.width``.

    Raises:
        KeyError: No model has the name.
    """
    return MODEL_CONFIGS[listed_name(name) or name].uses(key)


def _read_model(value: object) -> object:
    """Accept a bare name and the course's names; a section without a name is the default model's."""
    if isinstance(value, str):
        value = {"name": value}
    if isinstance(value, dict):
        name = value.get("name", SensorBranchesConfig.model_fields["name"].default)
        value = {**value, "name": COURSE_NAMES.get(name, name) if isinstance(name, str) else name}
    return value


def _tag_of(value: object) -> str | None:
    return listed_name(value.get("name") if isinstance(value, dict) else getattr(value, "name", None))


def chosen_model(value: object) -> str | None:
    """Return what the model of a section, or of a bare name, is listed as; ``None`` where there is none."""
    return _tag_of(_read_model(value))


ModelConfig = Annotated[
    Annotated[SensorBranchesConfig, Tag("sensor_branches")]
    | Annotated[SegmentationCNNConfig, Tag("segmentation_cnn")]
    | Annotated[UNetConfig, Tag("unet")]
    | Annotated[FCNResNet101Config, Tag("fcn_resnet101")]
    | Annotated[OlmoEarthConfig, Tag("olmoearth")]
    | Annotated[SMPConfig, Tag(ZOO_FORM)]
    | Annotated[CellLogisticConfig, Tag("cell_logistic")]
    | Annotated[CellBoostingConfig, Tag("cell_boosting")],
    Discriminator(_tag_of),
    BeforeValidator(_read_model),
]
