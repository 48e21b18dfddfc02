"""The folder of a map: what is in it is replaced whole, and blocks of a killed run wait beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from esdseg.errors import InputDataError, UsageError
from esdseg.system.files import (
    exchange_folders,
    naming_write_faults,
    part_path,
    remove_folder,
    write_text,
)
from esdseg.system.locks import exclusive_writer

DESCRIPTION_NAME = "predict.yml"
"""Says how a map was made, and lists its files."""

IDENTITY_NAME = "identity"
"""In the folder of finished blocks: what they were predicted from."""

_SIDE_FILES = (".aux.xml", "-wal", "-shm", ".ovr")
"""Endings of what programs that show maps leave beside them."""


def require_input(path: Path) -> None:
    """Refuse an input that is no folder (``InputDataError``)."""
    if not path.is_dir():
        fault = "is a file" if path.exists() else "does not exist"
        raise InputDataError(
            f"{path} {fault}; give a folder of scenes, a folder of tiles such as data/raw/Test, or a "
            "processed store such as data/processed."
        )


def require_replaceable(out: Path) -> None:
    """Refuse a folder that holds anything but an earlier map of ours.

    Raises:
        UsageError: It is a file, or holds something else that would be lost.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; name a folder for the map.")
    if not out.is_dir():
        return
    ours = {DESCRIPTION_NAME, *_listed_files(out)}
    strange = sorted(path.name for path in out.iterdir() if not _is_ours(path.name, ours))
    if strange:
        raise UsageError(
            f"--out {out} is replaced as a whole, and {strange[0]!r} in it is none of the files of a map; "
            "move it elsewhere, or choose another --out."
        )


def _listed_files(out: Path) -> tuple[str, ...]:
    try:
        described = yaml.safe_load((out / DESCRIPTION_NAME).read_text(encoding="utf-8"))
        return tuple(map(str, described["files"]))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return ()


def _is_ours(name: str, ours: set[str]) -> bool:
    plain = next((name.removesuffix(end) for end in _SIDE_FILES if name.endswith(end)), name)
    return name.startswith(".") or name in ours or plain in ours


def blocks_folder(out: Path) -> Path:
    """Return where finished blocks wait: a hidden folder beside that of the map."""
    return out.absolute().with_name(f".{out.absolute().name}.blocks")


@contextmanager
def keeping_blocks(out: Path, identity: str) -> Iterator[Path]:
    """Keep finished blocks until the map is written: those of a run that was ended are found again.

    Args:
        out: The folder of the map.
        identity: Changes whenever another map would come out; blocks of another are thrown away.

    Yields:
        The folder of the blocks. It is removed at the end, unless the block is left by an error.

    Raises:
        InputDataError: Another process is making this map, or the folder cannot be written to.
    """
    folder = blocks_folder(out)
    with exclusive_writer(folder, "choose another --out"):
        try:
            is_same = (folder / IDENTITY_NAME).read_text(encoding="utf-8") == identity
        except OSError:
            is_same = False
        if not is_same:
            for path in folder.glob("*.npz"):
                path.unlink()
            write_text(folder / IDENTITY_NAME, identity)
        yield folder
        remove_folder(folder)


@contextmanager
def replacing_map(out: Path) -> Iterator[Path]:
    """Let a map be written apart, and put it in the place of an earlier one in one step.

    Yields:
        An empty folder to write to.

    Raises:
        UsageError: The folder holds something that is no map, and would be lost.
        InputDataError: It cannot be written.
        MissingResourceError: There is no space left.
    """
    out = out.absolute()
    new = part_path(out)
    remove_folder(new)
    try:
        with naming_write_faults(out):
            new.mkdir(parents=True)
        yield new
        require_replaceable(out)
        with naming_write_faults(out):
            if out.exists():
                exchange_folders(new, out)
            else:
                new.rename(out)
    finally:
        remove_folder(new)
