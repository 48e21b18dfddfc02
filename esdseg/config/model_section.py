"""What the sections of all models, and of those that start from pretrained weights, have in common."""

import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from esdseg.config.section import Section

CellPooling = Literal["mean", "max", "logsumexp"]
"""How a network's outputs inside a label cell become the cell's logits."""

WindowPositions = Literal["grid", "random"]
"""Where training windows lie in their tile."""


class ModelSection(Section):
    """What the settings of every model share.

    Attributes:
        name: The model's name, as it is given.
        smallest_window: Side, in label cells, of the smallest windows that the model can be trained on.
        default_window_size: Side of its windows where ``data.window_size`` does not say
            it; ``None`` for the store's subtiles.
        default_window_positions: Where training windows lie where ``data.window_positions`` does not say it.
        default_batch_size: Windows a step where ``data.batch_size`` does not say it.
        default_learning_rate: Highest rate where ``optimizer.learning_rate`` does not say it.
    """

    smallest_window: ClassVar[int] = 1
    default_window_size: ClassVar[int | None] = None
    default_window_positions: ClassVar[WindowPositions] = "grid"
    default_batch_size: ClassVar[int] = 8
    default_learning_rate: ClassVar[float] = 1e-3

    name: str

    @property
    def folder_name(self) -> str:
        """The model's name as a part of names of folders."""
        return re.sub(r"\W+", "-", self.name)

    def check_subtile(self, subtile_size: int) -> None:
        """Refuse windows of ``subtile_size`` cells that the model cannot work on (``ValueError``)."""
        if subtile_size < self.smallest_window:
            raise ValueError(
                f"windows of {subtile_size} cell are too small for it; use --set data.window_size=16, or any "
                f"from {self.smallest_window} that divides 16"
            )


class PretrainedSection(ModelSection):
    """Settings of a network with a backbone that can start from pretrained weights."""

    usual_weights: ClassVar[str] = "a name of weights"
    """What messages offer instead of none."""

    weights: str
    """Name of pretrained weights, ``none`` (from scratch), or the path of a weights file."""
    frozen_backbone_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs at the start in which only the first layer and what is new learn."""
    cell_pooling: CellPooling = "mean"

    @model_validator(mode="after")
    def _frozen_weights_are_pretrained(self) -> Self:
        if self.frozen_backbone_epochs and self.weights == "none":
            raise ValueError(
                "a backbone without pretrained weights has nothing to keep; set frozen_backbone_epochs to 0, "
                f"or weights to {self.usual_weights} or a file"
            )
        return self
