"""Settings of ``esdseg train``: the tree that is kept in every checkpoint."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from esdseg.config.models import MODEL_CONFIGS, ModelConfig, SensorBranchesConfig
from esdseg.config.section import (
    Accelerator,
    Precision,
    Probability,
    Section,
    Seed,
    SelectedBands,
    SubtileSize,
    WindowPositions,
    did_you_mean,
    nearest_names,
)
from esdseg.sensors.acquisitions import Acquisitions
from esdseg.sensors.channels import Channel, few_acquisitions, few_bands
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

METRIC_SYNONYMS = {
    "acc": "accuracy",
    "auroc": "auc",
    "dice": "f1",
    "iou": "jaccard",
    "miou": "jaccard",
    **dict.fromkeys(("validation", "valid", "eval", "dev"), "val"),
    "training": "train",
}
"""Words in other programs' names of metrics, and ours."""

LOGGED_METRICS = (
    *MONITORED_METRICS,
    *(f"val_{score}_{name}" for score in ("jaccard", "precision", "recall", "auc") for name in CLASS_NAMES),
)
"""Everything that training logs once an epoch."""


SHORT_NAMES = {
    "model": "model.name",
    "processed_dir": "data.processed_dir",
    "subtile_size": "data.subtile_size",
    "batch_size": "data.batch_size",
    "max_epochs": "trainer.max_epochs",
    "learning_rate": "optimizer.learning_rate",
    "seed": "trainer.seed",
    "calibrate": "trainer.calibrate",
    "fold": "folds.fold",
    "buffer_km": "folds.buffer_km",
    "accelerator": "trainer.accelerator",
    "devices": "trainer.devices",
    "precision": "trainer.precision",
    "wandb": "tracking.wandb",
}
"""Settings of a training that flags and keywords name shortly: ``--max-epochs`` is ``trainer.max_epochs``."""

PLACE_SETTINGS = (
    "data.processed_dir",
    "data.num_workers",
    "data.cache",
    "trainer.accelerator",
    "tracking.wandb",
    "tracking.project",
    "tracking.entity",
    "tracking.image_every_epochs",
    "tracking.image_tiles",
)
"""Settings that say where and how a run is trained rather than what: they may differ between the machines of
a sweep, and all but the store may change when a run is resumed."""


def meant_metrics(name: str) -> tuple[str, ...]:
    """Return the monitored metrics that another program's name may stand for.

    Args:
        name: Such as ``validation/loss``, ``eval_accuracy`` or ``F1 score``.

    Returns:
        Three at most, the likeliest first.
    """
    written = re.findall(r"[a-z]+\d*", name.lower().replace("_", " "))
    words = {METRIC_SYNONYMS.get(word, word) for word in written}
    words &= {word for metric in MONITORED_METRICS for word in metric.split("_")}
    # What names no split means the validation tiles, which come first.
    metrics = sorted(MONITORED_METRICS, key=lambda metric: metric.startswith("train"))
    score = words - {"val", "train"}
    for meant in (words, score):
        found = tuple(metric for metric in metrics if meant <= set(metric.split("_")))
        if score and found:
            return found[:3]
    return nearest_names(name, MONITORED_METRICS)


class DataConfig(Section):
    """Which subtiles are read, and how."""

    processed_dir: Path = Path("data/processed")
    """Folder that holds the processed data, with 4x4/ in it."""
    subtile_size: SubtileSize | None = None
    """Side of the store's subtiles in label cells: 1, 2, 4, 8 or 16; needed where there are several."""
    selected_bands: SelectedBands | None = None
    """Bands to use of each sensor; unless given, all but projections of nights that are stored themselves.
    unet, segmentation_cnn and fcn_resnet101 take long over many channels: unless given, they take of the
    finest optical sensor the finest band each of blue, green, red, near and short-wave infrared, and all
    bands of radars and night lights."""
    acquisitions: Acquisitions | None = None
    """Acquisitions to take of each sensor in every tile: in which order (clearest, date, darkest) and how
    many, such as {sentinel2: {order: clearest, count: 2}}, or {sentinel2: 2}. Unless given, as many as any
    training tile has, the clearest of optical sensors first, the oldest of radar, and the five darkest nights
    that the moon does not light up. unet, segmentation_cnn and fcn_resnet101 take two of optical sensors and
    of radars unless given."""
    window_size: SubtileSize | None = None
    """Label cells along each side of the windows that the network sees, up to whole tiles of 16. Unless
    given, the model's own; a model without one takes the store's subtiles."""
    window_positions: WindowPositions | None = None
    """Where training windows lie in their tile: side by side on a grid, or each epoch at new random cells, as
    many as on the grid. The model's own unless given. Validation and prediction keep to the grid."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Windows a step and device; the model's own unless given."""
    num_workers: Annotated[int, Field(ge=0)] = 0
    """Loader processes; 0 reads in the training process."""
    cache: CacheSetting = "auto"
    """Where decoded pixels are kept: on each GPU that trains, in memory, or nowhere (disk reads them each
    time). auto chooses by what is free. Loader processes do not serve pixels that lie on a GPU."""
    pseudo_labels: str | None = None
    """A run that labels the tiles without labels, so that this one learns from them too: its name, its
    folder or a checkpoint. Cells of which it is less than 80 % sure stay unknown. See docs/models.md."""


def _check_fold(text: str) -> str:
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if not match or not int(match[2]) >= 2 or int(match[1]) > int(match[2]):
        raise ValueError(f"'{text}' is no fold; write 2/5 for the second of five, of two folds at least")
    return text


FoldName = Annotated[str, AfterValidator(_check_fold)]
"""A fold as ``2/5``: the second of five."""


class FoldsConfig(Section):
    """Folds over the labelled tiles of Train/ and Val/ together; the tiles of Test/ are in none.

    A fold's run never sees the tiles that it holds out: they are for scoring. Its epoch is chosen on inner
    tiles, a part of its training tiles that is set aside from the weights.
    """

    fold: FoldName | None = None
    """Hold out fold K of N, such as 2/5, and train on the other labelled tiles, a fifth of which chooses the
    epoch. Unless given, the run trains on Train/ and validates on Val/."""
    seed: Seed = 0
    """Seed of the folds; apart from the training's, so that runs of several seeds share their folds."""
    buffer_km: Annotated[float, Field(ge=0)] = 0.0
    """Tiles nearer to each other than this, edge to edge in kilometres, stay in one fold, where rasters carry
    coordinates. Tiles that touch always do."""
    inner_parts: Annotated[int, Field(ge=2)] = 5
    """The tiles that are not held out are divided into this many parts; one of them chooses the epoch. 5
    means 20 %."""

    @model_validator(mode="after")
    def _buffer_has_folds(self) -> Self:
        if self.buffer_km and self.fold is None:
            raise ValueError(
                "buffer_km keeps tiles in one fold, and there are none; give --fold or --folds too"
            )
        return self

    @property
    def number(self) -> int:
        """Position of the fold, counted from 1.

        Raises:
            ValueError: There are no folds.
        """
        return self._parts()[0]

    @property
    def count(self) -> int:
        """How many folds there are; see :attr:`number`."""
        return self._parts()[1]

    def _parts(self) -> tuple[int, int]:
        if self.fold is None:
            raise ValueError("a run without folds has no number")
        number, count = self.fold.split("/")
        return int(number), int(count)


class OptimizerConfig(Section):
    """The optimizer and its learning-rate schedule."""

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    """The optimizer."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] | None = None
    """Highest learning rate; the model's own unless given."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Weight decay, decoupled for ``adamw`` and an L2 penalty for the others; unless given, 0.01 for
    ``adamw`` and 0 for the others."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of ``sgd``; the others do not use it."""
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    """How the learning rate falls; ``plateau`` divides it by ten after four epochs, or a quarter of
    ``patience``, without progress of ``trainer.monitor``."""
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

    max_epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs at most; the model's own unless given. cell_* models are fitted in one go and have none."""
    seed: Seed = 0
    """Seed of everything random."""
    monitor: str | None = None
    """The metric whose best epoch ``best.ckpt`` holds. Unless given, it holds the last epoch, which no score
    chooses, so that the scores of the validation tiles stay fair."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without progress of ``monitor`` before training stops; null never stops early."""
    calibrate: bool = False
    """At the end, choose a temperature for the probabilities and a threshold for settlements without
    electricity, on the validation tiles."""
    weight_averaging: Literal["none", "ema", "swa"] = "none"
    """What is validated and kept: the weights as they are, their moving average over steps, or their mean
    over the last epochs."""
    ema_epochs: Annotated[float, Field(gt=0)] = 2.0
    """For ``ema``: epochs after which a step's weights count 1/e in the average."""
    swa_start: Annotated[float, Field(ge=0, lt=1)] = 0.75
    """For ``swa``: share of ``max_epochs`` after which epochs count."""
    gradient_clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Highest norm of the gradients of a step; null clips none."""
    precision: Precision = "auto"
    """Floating-point precision of the network."""
    memory_format: Literal["auto", "channels_last", "contiguous"] = "auto"
    """How images lie in memory."""
    accelerator: Accelerator = "auto"
    """Hardware that trains."""
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Number of GPUs, or of processes on a CPU."""
    num_nodes: Annotated[int, Field(ge=1)] = 1
    """Number of machines."""

    @field_validator("monitor")
    @classmethod
    def _monitor_is_logged(cls, value: str | None) -> str | None:
        if value is not None and value not in MONITORED_METRICS:
            question = did_you_mean(meant_metrics(value))
            fix = f"{question} Or monitor another" if question else "monitor one"
            raise ValueError(f"nothing logs '{value}'; {fix} of {', '.join(MONITORED_METRICS)}")
        return value

    @model_validator(mode="after")
    def _patience_has_a_metric(self) -> Self:
        if self.patience is not None and self.monitor is None:
            raise ValueError(
                f"patience {self.patience} waits for progress of a metric, and monitor names none; add one, "
                "such as trainer.monitor=val_loss, or leave patience out"
            )
        return self

    @property
    def epochs(self) -> int:
        """Epochs at most, which :meth:`ESDConfig.resolved` fills in."""
        assert self.max_epochs is not None, "ESDConfig.resolved fills it in"
        return self.max_epochs

    @property
    def monitor_mode(self) -> Literal["min", "max"]:
        """Whether the monitored metric is better when lower or when higher."""
        return "min" if self.monitor in LOWER_IS_BETTER else "max"


TermWeight = Annotated[float, Field(ge=0)]


class LossTerms(Section):
    """Weights of the sum that is minimised; a term that is not named has weight 0 and is left out.

    ``cross_entropy`` and ``focal`` are means over cells; ``dice``, ``lovasz`` and ``tversky`` look at all
    cells of a batch together, and average over the classes that are among them.
    """

    cross_entropy: TermWeight = 0.0
    """Cross-entropy, the mean over cells, weighted by class."""
    focal: TermWeight = 0.0
    """Cross-entropy that takes less notice of cells the more certain they are (arXiv:1708.02002)."""
    dice: TermWeight = 0.0
    """One minus each class' F1, counted in probabilities (arXiv:1606.04797)."""
    lovasz: TermWeight = 0.0
    """Lovasz-softmax: a surface over each class' intersection over union (arXiv:1705.08790)."""
    tversky: TermWeight = 0.0
    """As ``dice``, with false positives and false negatives weighed apart (arXiv:1706.05721)."""

    @model_validator(mode="before")
    @classmethod
    def _name_all(cls, value: object) -> object:
        # Settings that were written down win over those of a run that is resumed; "not named" is one of them.
        return {**dict.fromkeys(cls.model_fields, 0.0), **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _some_weigh(self) -> Self:
        if not any(getattr(self, name) for name in LossTerms.model_fields):
            raise ValueError(
                "no term has a weight above 0; give one, such as {cross_entropy: 1, dice: 0.5}; the terms: "
                f"{', '.join(LossTerms.model_fields)}"
            )
        return self


class LossConfig(Section):
    """The loss over the cells with a known label: a weighted sum of terms."""

    terms: LossTerms = LossTerms(cross_entropy=1.0)
    class_weights: Literal["none", "balanced", "sqrt"] = "sqrt"
    """Weights of the classes in ``cross_entropy`` and ``focal``: the inverse share of a class among the
    training cells, or its square root. The other terms count all classes alike."""
    cross_entropy_q: Annotated[float, Field(ge=0, le=1)] | None = None
    """Exponent that makes ``cross_entropy`` a generalised one (arXiv:1805.07836): the higher, the less count
    cells whose label the network contradicts, so that wrong labels do less harm. 0 is the usual one, 1 the
    mean absolute error. The model's own unless given."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target that is spread over all classes; for ``cross_entropy`` alone."""
    focal_gamma: Annotated[float, Field(ge=0, le=10)] = 2.0
    """How fast certain cells fade from ``focal``; 0 is cross-entropy."""
    tversky_alpha: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Weight of false positives in ``tversky``."""
    tversky_beta: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Weight of false negatives in ``tversky``; it is ``dice`` where both are 0.5."""


DropoutShare = Annotated[float, Field(ge=0, lt=1)]


class AugmentationConfig(Section):
    """Random changes to training batches; validation and prediction are never changed."""

    flip_probability: Probability = 0.5
    """Probability of a left-right flip, and of an up-down flip."""
    quarter_turn_probability: Probability = 0.5
    """Probability of a turn by 90, 180 or 270 degrees."""
    mixing_probability: Probability = 0.0
    """Probability that a rectangle of cells, pixels and labels, is replaced by that of another sample of the
    batch (CutMix, arXiv:1905.04899). A batch of a single sample, such as an epoch's last, is not mixed."""
    band_gain_std: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Standard deviation of a factor on each channel of a sample, around 1."""
    band_offset_std: Annotated[float, Field(ge=0, le=5)] = 0.0
    """Standard deviation of a number added to each channel of a sample, as a share of the channel's own."""
    night_glow: Annotated[float, Field(ge=0, le=100)] | None = None
    """Mean of the light that is added everywhere to the nights of half of the samples, as airglow and stray
    moonlight add it, in numbers of the raster; each night gets another share. So dark land need not be as
    dark in another month. A store whose recipe scales each tile by itself stays as it is. The model's own
    unless given."""
    place_shuffle: Probability = 0.5
    """Probability that the acquisitions of each sensor exchange their places in a sample at random. A network
    then reads any of them under clouds, not the last places alone."""
    date_dropout: DropoutShare = 0.0
    """Probability that a date of a sensor has no data in a sample; each sensor keeps one at least.
    Projections over dates stay as they are."""
    sensor_dropout: DropoutShare = 0.0
    """Probability that a step sees one of the sensors without data, projections included."""
    noise_probability: Probability = 0.0
    """Probability that noise is added to a sample."""
    noise_std: Annotated[float, Field(ge=0)] = 0.1
    """Standard deviation of the noise as a share of each channel's own."""
    blur_probability: Probability = 0.0
    """Probability that a sample is blurred."""
    blur_sigma_px: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Standard deviation of the blur in pixels."""


class TrackingConfig(Section):
    """Monitoring with Weights & Biases."""

    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """How Weights & Biases logs the run; auto is online where a login exists, else offline."""
    project: Annotated[str, Field(min_length=1)] = "esdseg"
    """Project at Weights & Biases that runs go to."""
    entity: str | None = None
    """User or team at Weights & Biases that runs go to; your own user unless given."""
    group: str | None = None
    """Group of runs at Weights & Biases, such as those of a sweep."""
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
    def _plateau_has_a_metric(self) -> Self:
        if self.optimizer.schedule == "plateau" and self.trainer.monitor is None:
            raise ValueError(
                "optimizer.schedule=plateau waits for progress of a metric, and trainer.monitor names none; "
                "add one, such as trainer.monitor=val_loss"
            )
        return self

    @model_validator(mode="after")
    def _batch_can_be_mixed(self) -> Self:
        if self.augmentation.mixing_probability and self.batch_size == 1:
            raise ValueError(
                "augmentation.mixing_probability mixes the samples of a batch, and data.batch_size is 1; use "
                "a batch size of 2 or more, or no mixing"
            )
        return self

    def refusal_of(self, key: str) -> str | None:
        """Say why the chosen model has no use for a dotted key, or return ``None`` where it acts."""
        if self.model.uses(key):
            return None
        other = next(name for name, section in MODEL_CONFIGS.items() if section.uses(key))
        return (
            f"{key} does not apply to {self.model.name}, which {self.model.unused_because}; leave it out, or "
            f"choose another model, such as {other}"
        )

    @property
    def batch_size(self) -> int:
        """Windows a step and device, the model's own where none is set."""
        return self.data.batch_size or self.model.default_batch_size

    @property
    def max_epochs(self) -> int:
        """Epochs at most, the model's own where none are set."""
        return self.trainer.max_epochs or self.model.default_max_epochs

    def resolved(self, subtile_size: int | None, channels: Sequence[Channel] = ()) -> Self:
        """Fill in what follows from the store and from the model.

        Args:
            subtile_size: Side of the store's subtiles in label cells; ``None`` where the store is not known.
            channels: All that the store offers; none where the store is not known, and bands and dates then
                stay as they are.
        """
        data, optimizer, model = self.data, self.optimizer, self.model
        bands, acquisitions = data.selected_bands, data.acquisitions
        if channels and model.default_channels == "few":
            if bands is None:
                bands = few_bands(channels, acquisitions or {})
            few = few_acquisitions([channel for channel in channels if channel.sensor.name in bands])
            acquisitions = {**few, **(acquisitions or {})}
        return self.model_copy(
            update={
                "data": data.model_copy(
                    update={
                        "subtile_size": subtile_size,
                        "selected_bands": bands,
                        "acquisitions": acquisitions,
                        "window_size": data.window_size or model.default_window_size or subtile_size,
                        "window_positions": data.window_positions or model.default_window_positions,
                        "batch_size": self.batch_size,
                    }
                ),
                "augmentation": self._resolved_augmentation(),
                "loss": self.loss.model_copy(
                    update={
                        "cross_entropy_q": model.default_cross_entropy_q
                        if self.loss.cross_entropy_q is None
                        else self.loss.cross_entropy_q
                    }
                ),
                "optimizer": optimizer.model_copy(
                    update={
                        "learning_rate": optimizer.learning_rate or model.default_learning_rate,
                        "weight_decay": optimizer.resolved_weight_decay,
                    }
                ),
                "trainer": self.trainer.model_copy(update={"max_epochs": self.max_epochs}),
            }
        )

    def _resolved_augmentation(self) -> AugmentationConfig:
        of_dates = ("place_shuffle", "date_dropout")
        changed = {name: 0.0 for name in of_dates if not self.model.uses(f"augmentation.{name}")}
        if self.augmentation.night_glow is None:
            changed["night_glow"] = self.model.default_night_glow
        return self.augmentation.model_copy(update=changed)
