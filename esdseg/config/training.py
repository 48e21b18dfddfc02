"""Settings of ``esdseg train``: the tree that is kept in every checkpoint."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from esdseg.config.augmentation import AugmentationConfig
from esdseg.config.folds import FoldsConfig
from esdseg.config.loss import LossConfig
from esdseg.config.model_section import WindowPositions
from esdseg.config.models import ModelConfig, SensorBranchesConfig
from esdseg.config.section import (
    Accelerator,
    Precision,
    Section,
    Seed,
    SelectedBands,
    SelectedDates,
    SubtileSize,
)
from esdseg.sensors.classes import CLASS_NAMES

CacheSetting = Literal["auto", "gpu", "memory", "disk"]

ADAMW_WEIGHT_DECAY = 1e-2
"""PyTorch's own default."""

SWEEPS_FOLDER = "sweeps"
"""Holds the sweeps' folders, below that of the runs; no run may take its name."""

ABLATIONS_FOLDER = "ablations"
"""Holds the runs that were trained again without some channels; no run may take its name either."""

LOWER_IS_BETTER = ("train_loss", "val_loss")
MONITORED_METRICS = (
    "train_loss",
    "val_loss",
    "val_accuracy",
    "val_f1_macro",
    "val_jaccard_macro",
    "val_auc_macro",
    "val_contest_f1",
    *(f"val_f1_{name}" for name in CLASS_NAMES),
)
"""Scores of an epoch that early stopping, checkpoints and sweeps may watch."""

LOGGED_METRICS = (
    *MONITORED_METRICS,
    *(f"val_{score}_{name}" for score in ("jaccard", "precision", "recall", "auc") for name in CLASS_NAMES),
)
"""Everything that training logs once an epoch."""


class DataConfig(Section):
    """Which subtiles are read, and how."""

    processed_dir: Path = Path("data/processed")
    """Folder that holds ``4x4/`` and other sizes."""
    subtile_size: SubtileSize | None = None
    """Which of the sizes to use; may be left out where there is only one."""
    selected_bands: SelectedBands | None = None
    selected_dates: SelectedDates | None = None
    window_size: SubtileSize | None = None
    """Label cells along each side of the windows that the network sees, up to whole tiles of 16; by default
    what the model asks for, else the store's subtiles."""
    window_positions: WindowPositions | None = None
    """Where training windows lie in their tile: side by side on a ``grid``, or each epoch anew at any cell,
    ``random``, as many as on the grid; by default what the model asks for. Validation and prediction keep to
    the grid, and windows of 16 cells have one position."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Windows a step and device; by default what the model asks for."""
    num_workers: Annotated[int, Field(ge=0)] = 0
    """Loader processes; 0 reads in the training process."""
    cache: CacheSetting = "auto"
    """Keep decoded pixels on the GPU that trains, each with a copy of its own, keep them in memory, read them
    from disk each time, or choose by what is free. Loader processes have no part in what lies on a GPU."""


class OptimizerConfig(Section):
    """The optimizer and its learning-rate schedule."""

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0, le=10)] | None = None
    """The highest rate; by default what the model asks for."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Decoupled for ``adamw``, an L2 penalty for the others; by default 0.01 for ``adamw``, else 0."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """For ``sgd`` alone."""
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    """``plateau`` divides the rate by ten after a quarter of ``patience`` epochs without progress."""
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    """Epochs over which the rate rises from zero."""

    @property
    def resolved_weight_decay(self) -> float:
        """The weight decay to use."""
        if self.weight_decay is not None:
            return self.weight_decay
        return ADAMW_WEIGHT_DECAY if self.name == "adamw" else 0.0


class TrainerConfig(Section):
    """How long and on what to train."""

    max_epochs: Annotated[int, Field(ge=1)] = 40
    seed: Seed = 0
    monitor: str = "val_f1_macro"
    """The metric that chooses the best checkpoint and stops training."""
    patience: Annotated[int, Field(ge=1)] | None = 15
    """Epochs without progress before training stops; null never stops early."""
    calibrate: bool = False
    """At the end, choose for each checkpoint a temperature for its probabilities and a threshold on the
    probability of class 1, both on the tiles that chose the epoch. Scores of these tiles then say so."""
    weight_averaging: Literal["none", "ema", "swa"] = "none"
    """What is validated and kept: the weights as they are, their moving average over steps, or their mean
    over the last epochs."""
    ema_epochs: Annotated[float, Field(gt=0)] = 2.0
    """For ``ema``: epochs over which what the average remembers falls to 1/e."""
    swa_start: Annotated[float, Field(ge=0, lt=1)] = 0.75
    """For ``swa``: share of ``max_epochs`` after which epochs count."""
    gradient_clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    precision: Precision = "auto"
    memory_format: Literal["auto", "channels_last", "contiguous"] = "auto"
    accelerator: Accelerator = "auto"
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    num_nodes: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _monitor_is_logged(self) -> Self:
        if self.monitor not in MONITORED_METRICS:
            raise ValueError(f"nothing logs '{self.monitor}'; monitor one of {', '.join(MONITORED_METRICS)}")
        return self

    @property
    def monitor_mode(self) -> Literal["min", "max"]:
        """Whether the monitored metric is better when lower or when higher."""
        return "min" if self.monitor in LOWER_IS_BETTER else "max"


class TrackingConfig(Section):
    """Monitoring with Weights & Biases."""

    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """``auto`` is online where a login exists, else offline."""
    project: Annotated[str, Field(min_length=1)] = "esdseg"
    entity: str | None = None
    group: str | None = None
    """Gathers runs there, such as those of a sweep."""
    image_every_epochs: Annotated[int, Field(ge=0)] = 5
    """Epochs between restitched validation maps; 0 logs none."""
    image_tiles: Annotated[int, Field(ge=1)] = 2
    """How many validation tiles are shown, always the same."""


class ESDConfig(Section):
    """All settings of a training run."""

    data: DataConfig = DataConfig()
    folds: FoldsConfig = FoldsConfig()
    model: ModelConfig = SensorBranchesConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    loss: LossConfig = LossConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    trainer: TrainerConfig = TrainerConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _window_carries_model(self) -> Self:
        window_size = self.data.window_size or self.model.default_window_size or self.data.subtile_size
        if window_size is not None:
            self.model.check_subtile(window_size)
        return self

    @model_validator(mode="after")
    def _batch_can_be_mixed(self) -> Self:
        if self.augmentation.mixing_probability and self.batch_size == 1:
            raise ValueError(
                "augmentation.mixing_probability mixes the samples of a batch, and data.batch_size is 1; use "
                "a batch size of 2 or more, or no mixing"
            )
        return self

    @property
    def batch_size(self) -> int:
        """Windows a step and device, the model's own where none is set."""
        return self.data.batch_size or self.model.default_batch_size

    def resolved(self, subtile_size: int) -> Self:
        """Fill in what follows from the store's subtiles and from the model.

        Args:
            subtile_size: Side of the store's subtiles in label cells.
        """
        data, optimizer, model = self.data, self.optimizer, self.model
        return self.model_copy(
            update={
                "data": data.model_copy(
                    update={
                        "subtile_size": subtile_size,
                        "window_size": data.window_size or model.default_window_size or subtile_size,
                        "window_positions": data.window_positions or model.default_window_positions,
                        "batch_size": self.batch_size,
                    }
                ),
                "optimizer": optimizer.model_copy(
                    update={"learning_rate": optimizer.learning_rate or model.default_learning_rate}
                ),
            }
        )
