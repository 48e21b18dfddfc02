"""What the zoo holds, for people who choose from it."""

from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase

from esdseg.config.zoo import DECODERS, ENCODERS, TIMM_PREFIX
from esdseg.config.zoo_names import check_pair, timm_encoders, weights_of


@dataclass(frozen=True)
class EncoderRow:
    """One encoder.

    Attributes:
        name: Its name.
        parameters: Millions of numbers that are learned; ``None`` for timm's, which it has no table of.
        weights: Names of its pretrained weights.
        refused_by: Decoders that never take it; those of timm are tried when they are named.
    """

    name: str
    parameters: float | None
    weights: tuple[str, ...]
    refused_by: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the row for machines."""
        return asdict(self)


def list_encoders(pattern: str = "*") -> tuple[EncoderRow, ...]:
    """List encoders.

    Args:
        pattern: Of their names, with ``*`` and ``?``; timm's are looked through where it begins with ``tu-``.
    """
    known = timm_encoders() if pattern.startswith(TIMM_PREFIX) else tuple(ENCODERS)
    return tuple(
        EncoderRow(
            name=name,
            parameters=ENCODERS[name].parameters if name in ENCODERS else None,
            weights=weights_of(name),
            refused_by=tuple(decoder for decoder in DECODERS if not _go_together(decoder, name)),
        )
        for name in known
        if fnmatchcase(name, pattern)
    )


def _go_together(decoder: str, encoder: str) -> bool:
    try:
        check_pair(decoder, encoder)
    except ValueError:
        return False
    return True
