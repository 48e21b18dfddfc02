"""Files of tensors that may come from strangers: read without running code, and compared with a network."""

import hashlib
import io
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from esdseg.errors import InputDataError
from esdseg.models.bundle import bundle_of, read_bundled

_REFUSED_OBJECT = re.compile(r"GLOBAL (\S+)")
"""Where PyTorch's message names a function or class beyond tensors and plain values."""

_PICKLE_START = b"\x80"
"""First byte of a pickle that was written outside an archive (protocol 2 and later)."""

_HEAD_BYTES = 512
"""How much of a file is looked at to guess what it is instead."""


def read_torch_file(path: Path, kind: str) -> object:
    """Read a file that ``torch.save`` wrote, of tensors and plain values alone.

    Args:
        path: The file, or a checkpoint in a bundle of ``esdseg export``, such as
            ``shared.zip/checkpoint.ckpt``.
        kind: What it should be, for messages, such as ``checkpoint``.

    Returns:
        Its content, with all tensors on the CPU.

    Raises:
        InputDataError: The file is missing, unreadable, something else, or holds objects that would run code.
    """
    bundle = bundle_of(path)
    source = _existing(path, kind) if bundle is None else read_bundled(path, bundle)
    head = _head(source, kind)
    packed = _packed_record(source)
    if packed is not None:
        raise InputDataError(
            f"{path}: refused, since it unpacks to more than its own size ({packed}), which PyTorch never "
            f"writes; ask for the {kind} as `torch.save` writes it."
        )
    if isinstance(source, io.BytesIO):
        source.seek(0)
    try:
        with warnings.catch_warnings():
            # A warning on the format is followed by the error that is translated below.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(source, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    # A broken pickle or archive can raise nearly anything; all of it means that the file is not one of ours.
    except Exception as error:
        refused = _REFUSED_OBJECT.search(str(error))
        if refused is None:
            raise InputDataError(f"{path}: is not a {kind}: {_guess(source, head)}.") from None
        raise InputDataError(
            f"{path}: refused, since opening this {kind} would run code ({refused[1]}); only tensors and "
            "plain values are read. Ask its author for a file without code."
        ) from None


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file that :func:`read_torch_file` reads, in hexadecimal digits."""
    bundle = bundle_of(path)
    content = path.read_bytes() if bundle is None else read_bundled(path, bundle).getvalue()
    return hashlib.sha256(content).hexdigest()


def _existing(path: Path, kind: str) -> Path:
    if not path.exists():
        raise InputDataError(f"{path}: there is no such {kind}.")
    if not path.is_file():
        raise InputDataError(f"{path}: is a folder, not a {kind} file.")
    return path


def _head(source: Path | io.BytesIO, kind: str) -> bytes:
    """Return the first bytes."""
    if isinstance(source, io.BytesIO):
        return source.getvalue()[:_HEAD_BYTES]
    try:
        with source.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise InputDataError(f"{source}: the {kind} cannot be read: {error.strerror}.") from None


def _packed_record(source: Path | io.BytesIO) -> str | None:
    """Return a record of an archive that takes more memory than its file: PyTorch packs nothing.

    A few kilobytes could otherwise fill all memory before anything of them is looked at.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            records = archive.infolist()
    # A pickle outside an archive, or no file of PyTorch at all: what reads it next tells them apart.
    # NotImplementedError is what zipfile itself raises for an archive of a version that it does not read.
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return None
    size = source.getbuffer().nbytes if isinstance(source, io.BytesIO) else source.stat().st_size
    for record in records:
        if record.compress_type != zipfile.ZIP_STORED or record.file_size > size:
            return f"{record.filename!r}: {record.file_size:,} bytes"
    total = sum(record.file_size for record in records)
    return f"{len(records)} records: {total:,} bytes" if total > size else None


def _guess(source: Path | io.BytesIO, head: bytes) -> str:
    if not head:
        return "it is empty"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "it is a web page, probably of a failed download"
    if zipfile.is_zipfile(source):
        return "it is an archive that PyTorch did not write"
    if head.startswith(_PICKLE_START):
        return "it is a bare pickle, refused since opening it could run code"
    return "it is damaged, cut off or of another kind"


SHOWN_NAMES = 3
"""Names listed a kind of misfit; the rest is counted."""


def describe_misfit(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """Compare tensors by name, shape and kind of number.

    Args:
        found: Tensors by name, as a file holds them.
        expected: Tensors by name, as the network has them; their values do not matter.

    Returns:
        What is missing, unknown or of another shape or type; ``None`` where all fit.
    """
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    misshapen = [
        f"{name} {_describe(found[name])} instead of {_describe(tensor)}"
        for name, tensor in expected.items()
        if name in found and _describe(found[name]) != _describe(tensor)
    ]
    findings = (("missing", missing), ("unknown", unknown), ("not fitting", misshapen))
    return "; ".join(_list(title, names) for title, names in findings if names) or None


def _describe(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" {tensor.dtype}".replace("torch.", "")
    return f"{tuple(tensor.shape)}{kind}"


def _list(title: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return f"{title}: {', '.join(names[:SHOWN_NAMES])}{more}"
