"""Settings of the models: one section a model, told apart by ``name``."""

from math import prod
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from esdseg.config.section import Section
from esdseg.grid import CELL_SIZE_PX

CellPooling = Literal["mean", "max", "logsumexp"]
"""How a network's outputs inside a label cell become the cell's logits."""

COURSE_NAMES = {
    "SegmentationCNN": "segmentation_cnn",
    "FCNResnetTransfer": "fcn_resnet101",
    "UNet": "unet",
}
"""The course's names of the models, accepted beside ours."""

SMALLEST_FEATURE_MAP_PX = 2
"""Side of the smallest feature map that a network may come down to."""


class ModelSection(Section):
    """What the settings of every model share.

    Attributes:
        smallest_window: Side, in label cells, of the smallest windows that the model can be trained on.
        default_window_size: Side of its windows where ``data.window_size`` does not say
            it; ``None`` for the store's subtiles.
        default_batch_size: Windows a step where ``data.batch_size`` does not say it.
        default_learning_rate: Highest rate where ``optimizer.learning_rate`` does not say it.
    """

    smallest_window: ClassVar[int] = 1
    default_window_size: ClassVar[int | None] = None
    default_batch_size: ClassVar[int] = 8
    default_learning_rate: ClassVar[float] = 1e-3

    def check_subtile(self, subtile_size: int) -> None:
        """Refuse windows of ``subtile_size`` cells that the model cannot work on (``ValueError``)."""
        if subtile_size < self.smallest_window:
            raise ValueError(
                f"windows of {subtile_size} cell are too small for it; use --set data.window_size=16, or any "
                f"from {self.smallest_window} that divides 16"
            )


class SegmentationCNNConfig(ModelSection):
    """A convolutional network from scratch that pools its way down to the label grid."""

    name: Literal["segmentation_cnn"] = "segmentation_cnn"
    depth: Annotated[int, Field(ge=1, le=8)] = 2
    """Convolutions before each pooling."""
    embedding_size: Annotated[int, Field(ge=1, le=1024)] = 64
    """Channels of the first block; each block doubles them."""
    pool_sizes: tuple[Annotated[int, Field(ge=1)], ...] = (5, 5, 2)
    """Pooling after each block; their product is a cell's 50 px."""
    kernel_size: Annotated[int, Field(ge=1, le=15)] = 3
    """Side of the convolutions in pixels, odd."""
    cell_pooling: CellPooling = "mean"

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


class UNetConfig(ModelSection):
    """A UNet from scratch: encoders, a bottleneck, and decoders with skip connections."""

    name: Literal["unet"] = "unet"
    n_encoders: Annotated[int, Field(ge=1, le=8)] = 4
    """Halvings of the resolution."""
    embedding_size: Annotated[int, Field(ge=1, le=1024)] = 16
    """Channels of the first encoder; each further one doubles them."""
    cell_pooling: CellPooling = "mean"

    def check_subtile(self, subtile_size: int) -> None:
        """Refuse a depth that a subtile of ``subtile_size`` cells cannot carry (``ValueError``)."""
        size_px = subtile_size * CELL_SIZE_PX
        deepest = (size_px // SMALLEST_FEATURE_MAP_PX).bit_length() - 1
        if self.n_encoders > deepest:
            raise ValueError(
                f"{self.n_encoders} encoders halve a subtile of {size_px} px below "
                f"{SMALLEST_FEATURE_MAP_PX} px; use 1 to {deepest}, or a larger subtile"
            )


class FCNResNet101Config(ModelSection):
    """torchvision's FCN-ResNet101 with a first layer for any channels and a last one for the classes."""

    name: Literal["fcn_resnet101"] = "fcn_resnet101"
    weights: str = "coco"
    """``coco`` (torchvision's download), ``none`` (from scratch), or the path of a weights file."""
    frozen_backbone_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs at the start in which only the first layer and the classifier learn."""
    cell_pooling: CellPooling = "mean"

    @model_validator(mode="after")
    def _frozen_weights_are_pretrained(self) -> Self:
        if self.frozen_backbone_epochs and self.weights == "none":
            raise ValueError(
                "a backbone without pretrained weights has nothing to keep; set frozen_backbone_epochs to 0, "
                "or weights to coco or a file"
            )
        return self


class SensorBranchesConfig(ModelSection):
    """A network shaped like the sensors: a branch for each, with its context on the label grid."""

    smallest_window: ClassVar[int] = 2
    """A batch of a single cell would leave nothing to normalise over."""
    default_window_size: ClassVar[int | None] = 16
    default_batch_size: ClassVar[int] = 2
    default_learning_rate: ClassVar[float] = 3e-3

    name: Literal["sensor_branches"] = "sensor_branches"
    width: Annotated[int, Field(ge=1, le=256)] = 16
    """Channels of a sensor's branch; where the branches meet there are four times as many."""
    context_width: Annotated[int, Field(ge=1, le=1024)] = 96
    """Channels on the label grid."""
    context_blocks: Annotated[int, Field(ge=0, le=16)] = 2
    """Residual blocks of two convolutions on the label grid; each reaches two cells further."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the channels on the label grid that a training step leaves out."""


class CellLogisticConfig(ModelSection):
    """Multinomial logistic regression on the statistics of each label cell: a simple baseline."""

    name: Literal["cell_logistic"] = "cell_logistic"
    C: Annotated[float, Field(gt=0)] = 0.1
    """Inverse strength of the L2 penalty on standardised features."""


class CellBoostingConfig(ModelSection):
    """Gradient-boosted trees on the statistics of each label cell: a simple baseline that is hard to beat."""

    name: Literal["cell_boosting"] = "cell_boosting"
    max_iter: Annotated[int, Field(ge=1, le=2000)] = 100
    """Rounds of boosting, each with a tree a class."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of each tree that is added."""
    max_leaf_nodes: Annotated[int, Field(ge=2, le=255)] = 15
    max_depth: Annotated[int, Field(ge=1, le=16)] = 6
    """Splits between a tree's root and its leaves at most."""
    min_samples_leaf: Annotated[int, Field(ge=1)] = 20
    """Training cells in a leaf at least."""
    l2: Annotated[float, Field(ge=0)] = 1.0
    """Penalty on the values of leaves."""
    max_bins: Annotated[int, Field(ge=2, le=255)] = 127
    """Values of a feature that a split can tell apart. Fewer fit faster; on synthetic tiles 63 scored about
    0.01 below 255."""
    feature_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of the features, drawn anew at each split, that it may use."""


AnyModelConfig = (
    SensorBranchesConfig
    | SegmentationCNNConfig
    | UNetConfig
    | FCNResNet101Config
    | CellLogisticConfig
    | CellBoostingConfig
)
MODEL_CONFIGS: dict[str, type[AnyModelConfig]] = {
    "sensor_branches": SensorBranchesConfig,
    "segmentation_cnn": SegmentationCNNConfig,
    "unet": UNetConfig,
    "fcn_resnet101": FCNResNet101Config,
    "cell_logistic": CellLogisticConfig,
    "cell_boosting": CellBoostingConfig,
}
"""Every model's settings by its name, in the order in which models are listed."""


def _read_model(value: object) -> object:
    """Accept a bare name and the course's names; a section without a name is the default model's."""
    if isinstance(value, str):
        value = {"name": value}
    if isinstance(value, dict):
        name = value.get("name", "unet")
        value = {**value, "name": COURSE_NAMES.get(name, name) if isinstance(name, str) else name}
    return value


ModelConfig = Annotated[
    Annotated[AnyModelConfig, Field(discriminator="name")],
    BeforeValidator(_read_model),
]
