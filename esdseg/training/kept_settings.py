"""The settings that a resumption keeps, and those that it may change."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from esdseg.config.training import ESDConfig
from esdseg.errors import UsageError

CHANGEABLE_ON_RESUME = ("max_epochs", "calibrate")
"""Settings of the section ``trainer`` that a resumption may change."""


def merge_settings(kept: ESDConfig, asked: ESDConfig, path: Path) -> ESDConfig:
    """Return the kept settings with the changes that are allowed.

    Args:
        kept: The run's settings.
        asked: Those that were asked for; only what was given explicitly counts.
        path: The file that holds the run's, for messages.

    Raises:
        UsageError: Others are to change; they are named.
    """
    differing = []
    for key, value in _given(asked):
        held = _held(kept, key)
        section, _, setting = key.rpartition(".")
        is_changeable = section == "trainer" and setting in CHANGEABLE_ON_RESUME
        if held != value and not is_changeable:
            differing.append(f"{key} is {held}, not {value}")
    if differing:
        raise UsageError(
            f"--resume goes on with the settings in {path}, and these were asked for "
            f"differently: {'; '.join(differing)}. Leave them out, or start a new run under another --name."
        )
    given = asked.trainer.model_fields_set.intersection(CHANGEABLE_ON_RESUME)
    trainer = kept.trainer.model_copy(update={name: getattr(asked.trainer, name) for name in given})
    return kept.model_copy(update={"trainer": trainer})


def _given(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and value of every setting that was given rather than left at its default."""
    for name in type(section).model_fields:
        if name in section.model_fields_set:
            value = getattr(section, name)
            if isinstance(value, BaseModel):
                yield from _given(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", value


def _held(section: BaseModel, key: str) -> Any:
    value: Any = section
    for name in key.split("."):
        value = getattr(value, name, None)
    return value
