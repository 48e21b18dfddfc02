"""The base of every configuration section, and value types that several sections share."""

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from esdseg.errors import InputDataError
from esdseg.sensors.classes import GRID_SIZE, SUBTILE_SIZES


class Section(BaseModel):
    """A frozen group of settings; unknown keys are refused. The text below a field is its flag's help too."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def refusal_of(self, key: str) -> str | None:
        """Say why these settings have no use for a dotted key, or return ``None`` where it acts."""
        return None


def _check_subtile_size(value: int) -> int:
    if value not in SUBTILE_SIZES:
        sizes = ", ".join(map(str, SUBTILE_SIZES))
        raise ValueError(
            f"a subtile of {value} cells does not divide a tile of {GRID_SIZE}; use one of {sizes}"
        )
    return value


def read_list(value: object) -> object:
    """Return a list for one that is written as text, such as ``5,5,2`` or ``[5, 5, 2]``, or for one value."""
    if isinstance(value, str):
        return [item.strip() for item in value.strip("[]() ").split(",")]
    return [value] if isinstance(value, (int, float, date)) else value


COURSE_SENSORS = {"landsat": "landsat8", "viirs_maxproj": "viirs"}
"""The course's names of sensors, accepted beside ours."""

COURSE_LABELS = "gt"
"""What the course calls the labels, which it lists beside the sensors."""


def _list_bands(value: object) -> object:
    """Turn ``sentinel2: all``, ``sentinel2: B02,B03`` and the course's names into lists of band names."""
    if not isinstance(value, dict):
        return value
    listed: dict[object, object] = {}
    for written, bands in value.items():
        sensor = COURSE_SENSORS.get(written, written)
        bands = read_list(bands)
        if isinstance(bands, (list, tuple)):
            bands = [_named_band(written, band) for band in bands]
            # `viirs` and `viirs_maxproj` of the course are one sensor.
            already = listed.get(sensor, [])
            bands = [*already, *bands] if isinstance(already, list) else bands
        if written != COURSE_LABELS:
            listed[sensor] = bands
    return listed


def _named_band(sensor: object, band: object) -> object:
    """Return our name of a band that goes by a number, as the course has it: Sentinel-2's ``04`` is B04."""
    number = str(band).lstrip("0") or "0"
    if not re.fullmatch(r"\d{1,2}A?", number):
        return band
    match sensor:
        case "sentinel2":
            return f"B{number:0>2}"
        case "landsat" | "landsat8":
            return f"B{number}"
        case "viirs":
            return "DNB"
        case "viirs_maxproj":
            return "DNB_max"
    return band


def _check_scheduler_address(address: str) -> str:
    if not re.fullmatch(r"([a-z]+://)?[^\s/]+:\d+", address):
        raise ValueError(f"{address!r} is no scheduler's address; it looks like tcp://HOST:8786")
    return address


Probability = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
SubtileSize = Annotated[int, AfterValidator(_check_subtile_size)]
WrittenAsText = BeforeValidator(read_list)
"""Marks a list that may be written as text too, as on a command line: ``5,5,2``."""

SelectedBands = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_list_bands)]
"""Bands to use a sensor; a sensor that is not named is left out. ``all`` stands for every band. Whether there
are such sensors and bands shows once their description is read."""
SchedulerAddress = Annotated[str, AfterValidator(_check_scheduler_address)]
"""Of a Dask scheduler, such as ``tcp://10.0.0.1:8786``."""
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
Accelerator = Literal["auto", "cpu", "gpu", "mps"]

CellPooling = Literal["mean", "max", "logsumexp"]
"""How a network's outputs inside a label cell become the cell's logits."""

WindowPositions = Literal["grid", "random"]
"""Where training windows lie in their tile."""


DefaultChannels = Literal["all", "few"]
"""What a model takes where no bands and dates are named."""


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
        default_cross_entropy_q: Exponent of the loss where ``loss.cross_entropy_q`` does not say it.
        default_night_glow: Light of nights where ``augmentation.night_glow`` does not say it.
        default_max_epochs: Epochs where ``trainer.max_epochs`` does not say it.
        default_channels: ``few`` takes the bands and dates that say most where ``data.selected_bands`` and
            ``data.acquisitions`` do not say it, for models that take long over many channels.
        unused_settings: Sections and keys of a training that the model has no use for.
        unused_because: What the model does instead, for messages.
    """

    smallest_window: ClassVar[int] = 1
    default_window_size: ClassVar[int | None] = None
    default_window_positions: ClassVar[WindowPositions] = "grid"
    default_batch_size: ClassVar[int] = 8
    default_learning_rate: ClassVar[float] = 1e-3
    default_cross_entropy_q: ClassVar[float] = 0.0
    default_night_glow: ClassVar[float] = 0.0
    default_max_epochs: ClassVar[int] = 40
    default_channels: ClassVar[DefaultChannels] = "all"
    unused_settings: ClassVar[tuple[str, ...]] = ()
    unused_because: ClassVar[str] = ""

    name: str

    @classmethod
    def uses(cls, key: str) -> bool:
        """Say whether a training of the model uses a dotted key, such as ``optimizer.learning_rate``."""
        section, _, rest = key.partition(".")
        if section == "model" and rest:
            return rest.partition(".")[0] in cls.model_fields
        return not any(key == unused or key.startswith(f"{unused}.") for unused in cls.unused_settings)

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


CHECKPOINT_SUFFIX = ".ckpt"
"""What names of checkpoints of a run end with."""


class NetworkSection(ModelSection):
    """Settings of a network, which can start from the weights of another run."""

    weights: str = "none"
    """``none`` (from scratch), or a run of the same model to start from: its name, folder or checkpoint."""

    @property
    def starts_from_run(self) -> bool:
        """Whether the weights are those of a run of esdseg."""
        return self.weights != "none"


def require_weights_file(path: Path, choices: str) -> None:
    """Check that a file of weights is there.

    Args:
        path: The file.
        choices: What else ``model.weights`` may be, for the message.

    Raises:
        InputDataError: There is none.
    """
    if not path.exists():
        raise InputDataError(
            f"{path}: there is no such weights file; model.weights is {choices} or the path of a file."
        )


WEIGHTS_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")
"""Endings of files of others' weights."""


class PretrainedSection(NetworkSection):
    """Settings of a network with a backbone that can start from pretrained weights."""

    usual_weights: ClassVar[str] = "a name of weights"
    """What messages offer instead of none."""

    weights: str
    """Name of pretrained weights, ``none`` (from scratch), or the path of a weights file or of a run."""
    frozen_backbone_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs at the start in which only the first layer and what is new learn."""

    @property
    def starts_from_run(self) -> bool:
        """Whether the weights are those of a run of esdseg, given by its folder or a checkpoint in it."""
        path = Path(self.weights)
        return path.suffix == CHECKPOINT_SUFFIX or path.is_dir()

    def require_weights(self) -> None:
        """Check that the file of others' weights is there, where one is named.

        Raises:
            InputDataError: There is none.
        """
        if Path(self.weights).suffix in WEIGHTS_SUFFIXES:
            require_weights_file(Path(self.weights), f"{self.usual_weights}, none")

    @model_validator(mode="after")
    def _frozen_weights_are_pretrained(self) -> Self:
        if self.frozen_backbone_epochs and self.weights == "none":
            raise ValueError(
                "a backbone without pretrained weights has nothing to keep; set frozen_backbone_epochs to 0, "
                f"or weights to {self.usual_weights} or a file"
            )
        return self


def nearest_names(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return the known names that ``name`` may be a misspelling of: three at most, the likeliest first."""
    # Of names that differ in case alone the first counts.
    by_lower = {known_name.lower(): known_name for known_name in reversed(tuple(known))}
    if name.lower() in by_lower:
        return (by_lower[name.lower()],)
    return tuple(by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, cutoff=0.6))


def did_you_mean(names: Sequence[str]) -> str:
    """Ask for one of some names: ``did you mean 'a', 'b' or 'c'?``; nothing where there are none."""
    if not names:
        return ""
    quoted = [f"'{name}'" for name in names]
    *first, last = quoted
    return f"did you mean {', '.join(first)} or {last}?" if first else f"did you mean {last}?"


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """Ask for the nearest of some names, and a space for what follows; nothing where none is near."""
    question = did_you_mean(nearest_names(name, known))
    return f"{question} " if question else ""


def shown_value(value: object) -> str:
    """Return a value as a user would write it: ``null``, ``true`` and dates rather than Python's names."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return value.isoformat() if isinstance(value, date) else repr(value)


def first_fault(error: ValidationError) -> str:
    """Return the place of the first fault in a file of ours, in quotes, and what is wrong there."""
    details = error.errors()[0]
    place = ".".join(map(str, details["loc"])) or "its start"
    return f"'{place}': {details['msg']}"
