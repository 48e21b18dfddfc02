"""Settings of networks of segmentation_models.pytorch, which are named ``smp:DECODER/ENCODER``.

The library says which decoders, encoders and weights there are when such a network is named. Importing it
takes seconds, which no other command waits for. Whether a decoder goes with an encoder shows when they are
built: :func:`esdseg.models.registry.check_model`.
"""

import difflib
import functools
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ValidationInfo, field_validator

from esdseg.config.eo_weights import EO_WEIGHTS, EOWeights, eo_weights_of, find_eo_weights, short_name
from esdseg.config.section import CellPooling, PretrainedSection, nearest_hint

ZOO_PREFIX = "smp:"
ZOO_FORM = "smp:DECODER/ENCODER"
"""How a network of the library is named."""
ZOO_EXAMPLE = "smp:unetplusplus/efficientnet-b3"
TIMM_PREFIX = "tu-"
"""Start of the names of encoders that timm supplies."""


def is_of_zoo(name: str) -> bool:
    """Return whether a model's name is meant as one of the library."""
    return name == ZOO_PREFIX.rstrip(":") or name.startswith(ZOO_PREFIX)


def decoder_names() -> tuple[str, ...]:
    """Return the names of the library's decoders."""
    from segmentation_models_pytorch import MODEL_ARCHITECTURES_MAPPING

    return tuple(MODEL_ARCHITECTURES_MAPPING)


def encoder_names(pattern: str = "*") -> tuple[str, ...]:
    """Return the names of encoders.

    Args:
        pattern: Of their names, with ``*`` and ``?``. Only one that begins with ``tu-`` looks through timm's,
            most of which give maps of features.
    """
    if pattern.startswith(TIMM_PREFIX):
        from timm import list_models

        known = [f"{TIMM_PREFIX}{name}" for name in list_models()]
    else:
        from segmentation_models_pytorch.encoders import get_encoder_names

        known = get_encoder_names()
    return tuple(name for name in known if fnmatchcase(name, pattern))


def nearest_encoders(pattern: str) -> list[str]:
    """Return up to five encoders that a pattern without a match may have meant, the likeliest first."""
    known = encoder_names(f"{TIMM_PREFIX}*" if pattern.startswith(TIMM_PREFIX) else "*")
    word = pattern.strip("*?").lower()
    containing = [name for name in known if word in name]
    return containing[:5] or difflib.get_close_matches(word, known, n=5, cutoff=0)


def weights_of(encoder: str) -> tuple[str, ...]:
    """Return the names of an encoder's pretrained weights, the usual ones first; there may be none.

    Those from satellite images come last, by torchgeo's names.
    """
    satellite = [weights.name for weights in eo_weights_of(encoder)]
    if not encoder.startswith(TIMM_PREFIX):
        from segmentation_models_pytorch.encoders import encoders

        return (*encoders[encoder]["pretrained_settings"], *satellite)
    from timm import get_pretrained_cfg

    name = encoder.removeprefix(TIMM_PREFIX)
    usual = get_pretrained_cfg(name)
    tags = sorted(_timm_tags().get(name, ()), key=lambda tag: usual is None or tag != usual.tag)
    return (*tags, *satellite)


@functools.cache
def _timm_tags() -> dict[str, list[str]]:
    """Return the names of all of timm's weights, by encoder."""
    from timm import list_pretrained

    tags: dict[str, list[str]] = {}
    for full in list_pretrained():
        name, _, tag = full.partition(".")
        if tag:
            tags.setdefault(name, []).append(tag)
    return tags


def _split(name: str) -> tuple[str, str]:
    decoder, _, encoder = name.removeprefix(ZOO_PREFIX).partition("/")
    return decoder, encoder


def _check_name(name: str) -> str:
    decoder, encoder = _split(name)
    if not name.startswith(ZOO_PREFIX) or not decoder or not encoder:
        raise ValueError(f"'{name}' names no decoder and encoder: write {ZOO_FORM}, such as {ZOO_EXAMPLE}")
    decoders = decoder_names()
    if decoder not in decoders:
        hint = nearest_hint(decoder.lower(), decoders)
        raise ValueError(f"unknown decoder '{decoder}'; {hint}Decoders: {', '.join(decoders)}")
    plain, dot, tag = encoder.partition(".")
    is_timms = encoder.startswith(TIMM_PREFIX)
    known = encoder_names(f"{TIMM_PREFIX}*" if is_timms else "*")
    if is_timms and dot and plain in known:
        raise ValueError(f"{plain} is the encoder and {tag} its weights: write them as model.weights={tag}")
    if encoder not in known:
        hint = nearest_hint(encoder, known)
        raise ValueError(f"unknown encoder '{encoder}'; {hint}`esdseg models --zoo` lists them")
    return name


def _names_a_file(weights: str) -> bool:
    """Return whether weights are given as a path: names of weights have no suffix and no folder."""
    path = PurePath(weights)
    return bool(path.suffix) or len(path.parts) > 1 or path.is_absolute()


class SMPConfig(PretrainedSection):
    """A decoder and an encoder of segmentation_models.pytorch, with their output on the label grid."""

    usual_weights: ClassVar[str] = "auto, the name of some"

    name: Annotated[str, AfterValidator(_check_name)] = ZOO_EXAMPLE
    """``smp:DECODER/ENCODER``."""
    weights: str = "auto"
    """Name of the encoder's weights, ``auto`` (its usual ones, or none where it has none), ``none``, or the
    path of a file or of a run."""
    weights_name: str | None = None
    """torchgeo's name of the weights in the file, such as SENTINEL2_ALL_MOCO; known by itself where the file
    still has the name under which it was published."""
    cell_pooling: CellPooling = "mean"
    """How the logits of a cell's pixels become the cell's."""

    @property
    def decoder(self) -> str:
        """Name of the decoder."""
        return _split(self.name)[0]

    @property
    def encoder(self) -> str:
        """Name of the encoder."""
        return _split(self.name)[1]

    @property
    def named_weights(self) -> str | None:
        """Name of the pretrained weights to download; ``None`` where there are none or a file holds them."""
        if self.weights == "none" or _names_a_file(self.weights):
            return None
        return next(iter(weights_of(self.encoder)), None) if self.weights == "auto" else self.weights

    @property
    def weights_file(self) -> Path | None:
        """The file that holds the weights, where one is named."""
        return Path(self.weights) if _names_a_file(self.weights) else None

    @property
    def eo_weights(self) -> EOWeights | None:
        """The weights from satellite images that are meant; ``None`` for others."""
        return find_eo_weights(self.encoder, self.weights_name or self.weights)

    @field_validator("weights", mode="before")
    @classmethod
    def _without_torchgeos_class(cls, value: object) -> object:
        if isinstance(value, str) and (short := short_name(value)) in {
            weights.name for weights in EO_WEIGHTS
        }:
            return short
        return value

    @field_validator("weights")
    @classmethod
    def _encoder_has_the_weights(cls, value: str, info: ValidationInfo) -> str:
        if value in ("auto", "none") or _names_a_file(value) or "name" not in info.data:
            return value
        encoder = _split(info.data["name"])[1]
        known = weights_of(encoder)
        if value not in known:
            own = ", ".join(known) if known else "none of its own"
            raise ValueError(
                f"{encoder} has no weights '{value}'; {nearest_hint(value, known)}It has {own}; or write "
                "auto, none, or the path of a file"
            )
        return value

    @field_validator("weights_name")
    @classmethod
    def _names_weights_of_the_file(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None or "name" not in info.data or "weights" not in info.data:
            return value
        encoder = _split(info.data["name"])[1]
        if find_eo_weights(encoder, value) is None:
            own = ", ".join(weights.name for weights in eo_weights_of(encoder)) or "none"
            raise ValueError(f"no weights of {encoder} from satellite images are called '{value}': {own}")
        if not _names_a_file(info.data["weights"]):
            raise ValueError(f"says which weights a file holds; without a file, write model.weights={value}")
        return value
