"""Checking the names of the zoo: decoders, encoders, pairs of them, and pretrained weights."""

import functools
from collections.abc import Sequence
from pathlib import PurePath

from esdseg.config.section import nearest_name
from esdseg.config.zoo import DECODERS, ENCODERS, TIMM_PREFIX, ZOO_EXAMPLE, ZOO_FORM, ZOO_PREFIX

ATROUS_DECODERS = ("deeplabv3", "deeplabv3plus")
"""They take features that were not halved any more, but seen through dilated convolutions."""
EVERY_HALVING_DECODERS = ("unetplusplus", "linknet")
"""They take features at half the resolution, which Mix Transformers (``mit_*``) do not have."""
TOKEN_DECODER = "dpt"
"""It takes vision transformers."""


def is_of_zoo(name: str) -> bool:
    """Say whether a model's name is meant as one of the zoo."""
    return name == ZOO_PREFIX.rstrip(":") or name.startswith(ZOO_PREFIX)


def split_name(name: str) -> tuple[str, str]:
    """Split ``smp:DECODER/ENCODER`` into decoder and encoder."""
    decoder, _, encoder = name.removeprefix(ZOO_PREFIX).partition("/")
    return decoder, encoder


def check_name(name: str) -> str:
    """Refuse a name with an unknown decoder or encoder, or with two that do not go together.

    Args:
        name: A text that :func:`is_of_zoo`.

    Returns:
        The same.

    Raises:
        ValueError: With the nearest right name, or what does go together.
    """
    decoder, encoder = split_name(name)
    if not name.startswith(ZOO_PREFIX) or not decoder or not encoder:
        raise ValueError(f"'{name}' names no decoder and encoder: write {ZOO_FORM}, such as {ZOO_EXAMPLE}")
    if decoder not in DECODERS:
        nearest = nearest_name(decoder.lower(), tuple(DECODERS))
        hint = f"did you mean '{nearest}'? " if nearest else ""
        raise ValueError(f"unknown decoder '{decoder}'; {hint}Decoders: {', '.join(DECODERS)}")
    _check_encoder(encoder)
    check_pair(decoder, encoder)
    return name


def _check_encoder(encoder: str) -> None:
    is_timms = encoder.startswith(TIMM_PREFIX)
    plain, dot, tag = encoder.partition(".")
    known = timm_encoders() if is_timms else tuple(ENCODERS)
    if is_timms and dot and plain in known:
        raise ValueError(f"{plain} is the encoder and {tag} its weights: write them as model.weights={tag}")
    if encoder not in known:
        nearest = nearest_name(encoder, known)
        hint = f"did you mean '{nearest}'? " if nearest else ""
        raise ValueError(f"unknown encoder '{encoder}'; {hint}`esdseg models --zoo` lists them")


def check_pair(decoder: str, encoder: str) -> None:
    """Refuse a decoder and an encoder of which one lacks what the other needs (``ValueError``).

    What timm's encoders offer shows once they are built: :func:`esdseg.models.registry.check_model`.
    """
    is_timms = encoder.startswith(TIMM_PREFIX)
    if decoder == TOKEN_DECODER and not is_timms:
        raise ValueError(
            f"{decoder} needs a vision transformer, which {encoder} is not; use one of timm's, such as "
            f"{ZOO_PREFIX}{decoder}/{TIMM_PREFIX}vit_small_patch16_224, or another decoder, such as unet"
        )
    if is_timms:
        return
    if decoder in ATROUS_DECODERS and not ENCODERS[encoder].dilates:
        raise ValueError(
            f"{decoder} needs an encoder whose last stages can keep their resolution, and {encoder} halves "
            "it by pooling; use an encoder such as resnet34 or efficientnet-b3, or another decoder, such as "
            "unet, fpn or upernet"
        )
    if decoder in EVERY_HALVING_DECODERS and encoder.startswith("mit_"):
        raise ValueError(
            f"{decoder} needs features at half the resolution, and {encoder} has none; use another decoder, "
            "such as unet, fpn or segformer, or an encoder such as resnet34 or efficientnet-b3"
        )


def weights_of(encoder: str) -> tuple[str, ...]:
    """Return the names of an encoder's pretrained weights, the usual ones first; there may be none."""
    if not encoder.startswith(TIMM_PREFIX):
        return ENCODERS[encoder].weights
    # Only who names one of its encoders waits for timm, which loads torch.
    from timm import get_pretrained_cfg

    name = encoder.removeprefix(TIMM_PREFIX)
    usual = get_pretrained_cfg(name)
    tags = _timm_tags().get(name, ())
    return tuple(sorted(tags, key=lambda tag: usual is None or tag != usual.tag))


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


def timm_encoders() -> tuple[str, ...]:
    """Return the names of all of timm's encoders, most of which give maps of features."""
    from timm import list_models

    return tuple(f"{TIMM_PREFIX}{name}" for name in list_models())


def names_a_file(weights: str) -> bool:
    """Say whether weights are given as a path: names of weights have no suffix and no folder."""
    path = PurePath(weights)
    return bool(path.suffix) or len(path.parts) > 1 or path.is_absolute()


def check_weights(encoder: str, weights: str) -> None:
    """Refuse a name of weights that the encoder does not have (``ValueError``)."""
    known = weights_of(encoder)
    if weights in ("auto", "none", *known) or names_a_file(weights):
        return
    nearest = nearest_name(weights, known)
    hint = f"did you mean '{nearest}'? " if nearest else ""
    raise ValueError(f"{encoder} has no weights '{weights}'; {hint}It has {_listed(known)}")


def _listed(known: Sequence[str]) -> str:
    own = f"{', '.join(known)}; " if known else "none of its own; "
    return f"{own}or write auto, none, or the path of a file"
