"""What can be refused of an export before PyTorch is loaded, which this file does not import."""

import re
from importlib.util import find_spec
from pathlib import Path

from esdseg.errors import MissingResourceError, UsageError
from esdseg.models.bundle import read_bundle

EXTRA = "export"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What the extra of that name installs."""


def check_request(out: Path, license: str) -> None:
    """Refuse an export that can never work.

    Args:
        out: The zip; nothing, or a bundle of esdseg, may be there.
        license: Identifier of a licence as Hugging Face spells it.

    Raises:
        UsageError: ``out`` is no zip, or is something else; or ``license`` is no identifier.
        MissingResourceError: A package is missing that writes or runs ONNX.
    """
    if out.suffix.lower() != ".zip":
        raise UsageError(f"{out}: the network is written as one zip; call it {out.name}.zip.")
    if out.is_dir() or (out.is_file() and read_bundle(out) is None):
        raise UsageError(f"{out} is there and is no bundle of esdseg; choose another name.")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,60}", license):
        raise UsageError(
            f"--license {license}: is no identifier of a licence; write it in small letters as Hugging Face "
            "does, such as cc-by-4.0, mit or other."
        )
    missing = [package for package in PACKAGES if find_spec(package) is None]
    if missing:
        raise MissingResourceError(
            f"export needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            f"installed; run `pip install -c constraints.txt -e '.[{EXTRA}]'`."
        )
