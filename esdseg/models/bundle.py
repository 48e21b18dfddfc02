"""A shared network as one file: what ``esdseg export`` wrote, read as a stranger's.

A bundle is a zip with one checkpoint or several that predict together. A checkpoint in it has the path of the
zip and its own name behind it, such as ``shared.zip/checkpoint.ckpt``; nothing is ever unpacked to the disk.
"""

import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from esdseg.config.evaluation import FolderName
from esdseg.config.section import Section, first_fault
from esdseg.errors import InputDataError

DESCRIPTION_NAME = "bundle.json"
"""What makes a zip a bundle: it names the checkpoints."""

CHECKPOINT_NAME = "checkpoint.ckpt"
"""The only checkpoint of a bundle; several lie in folders ``1``, ``2`` and so on. One that no score chose
keeps the name ``last.ckpt``."""

MAX_DESCRIPTION_BYTES = 1_000_000

_CHECKPOINT_PATTERN = r"^(?:[1-9]\d{0,3}/)?(?:checkpoint|last)\.ckpt$"

_FAULTS = (
    OSError,
    ValueError,
    RuntimeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What Python raises for archives that are damaged, encrypted, or of a kind that it does not read."""


class BundledRun(Section):
    """A run in a bundle: one checkpoint, or those of all folds."""

    name: FolderName
    """What the run is called."""
    checkpoints: Annotated[
        tuple[Annotated[str, Field(pattern=_CHECKPOINT_PATTERN)], ...], Field(min_length=1, max_length=1000)
    ]
    """Names of its checkpoints in the zip."""
    is_trial: bool = False
    """Whether it is one of a sweep's best trials."""


class BundleDescription(Section):
    """The content of ``bundle.json``."""

    format_version: Literal[1] = 1
    esdseg: str
    """Version of esdseg that wrote it."""
    runs: Annotated[tuple[BundledRun, ...], Field(min_length=1, max_length=1000)]
    """All that predict together."""


@dataclass(frozen=True)
class Bundle:
    """A bundle on the disk.

    Attributes:
        path: The zip.
        runs: The runs in it, which predict together.
    """

    path: Path
    runs: tuple[BundledRun, ...]

    @property
    def checkpoints(self) -> tuple[Path, ...]:
        """The paths of all checkpoints, the zip's first."""
        return tuple(self.path / name for run in self.runs for name in run.checkpoints)

    def only_checkpoint(self) -> Path:
        """Return the path of the one checkpoint.

        Raises:
            InputDataError: There are several.
        """
        if len(self.checkpoints) > 1:
            raise InputDataError(
                f"{self.path} holds {len(self.checkpoints)} checkpoints that predict together, and one is "
                f"wanted here; name it, such as {self.checkpoints[0]}."
            )
        return self.checkpoints[0]


def read_bundle(path: Path) -> Bundle | None:
    """Read what a bundle holds, without loading its checkpoints.

    Args:
        path: A file; any other than a bundle gives ``None``.

    Raises:
        InputDataError: The bundle is damaged, or of another version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if DESCRIPTION_NAME not in archive.namelist():
                return None
    except _FAULTS:
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            content = _read(archive, DESCRIPTION_NAME, MAX_DESCRIPTION_BYTES)
        description = BundleDescription.model_validate_json(content)
    except ValidationError as error:
        raise InputDataError(
            f"{path}: its {DESCRIPTION_NAME} is not of this version of esdseg, at {first_fault(error)}; ask "
            "for a bundle of `esdseg export`."
        ) from None
    except _FAULTS as error:
        raise InputDataError(f"{path}: the bundle is damaged: {error}; fetch it again.") from None
    return Bundle(path, description.runs)


def bundle_of(checkpoint: Path) -> Path | None:
    """Return the zip that a checkpoint lies in; ``None`` for a file of its own."""
    for parent in list(checkpoint.parents)[:2]:
        if parent.is_file():
            return parent
    return None


def read_bundled(checkpoint: Path, bundle: Path) -> io.BytesIO:
    """Read a checkpoint's bytes out of its bundle.

    Args:
        checkpoint: Its path, the zip's first.
        bundle: The zip.

    Raises:
        InputDataError: There is no such checkpoint, or it cannot be read whole.
    """
    name = checkpoint.relative_to(bundle).as_posix()
    if not re.fullmatch(_CHECKPOINT_PATTERN, name):
        raise InputDataError(f"{checkpoint}: {bundle} holds no checkpoint of this name.")
    try:
        with zipfile.ZipFile(bundle) as archive:
            if name not in archive.namelist():
                raise InputDataError(f"{checkpoint}: {bundle} holds no checkpoint of this name.")
            # A few kilobytes could otherwise fill all memory before anything of them is looked at.
            if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{name} is packed, which `esdseg export` never does")
            return io.BytesIO(_read(archive, name, bundle.stat().st_size))
    except _FAULTS as error:
        raise InputDataError(f"{checkpoint}: the bundle is damaged: {error}; fetch it again.") from None


def _read(archive: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    """Return a record whole, its checksum verified (``ValueError`` where it is too large or stands twice)."""
    records = [record for record in archive.infolist() if record.filename == name]
    if len(records) > 1:
        raise ValueError(f"{name} stands in it {len(records)} times")
    if records[0].file_size > most_bytes:
        raise ValueError(f"{name} claims {records[0].file_size:,} bytes, more than it can have")
    return archive.read(records[0])
