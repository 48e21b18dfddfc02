"""Pretrained weights that a user names: reading them from a file, and what to do where they cannot be had."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from esdseg.errors import InputDataError, MissingResourceError
from esdseg.models.torch_file import read_torch_file

SAFETENSORS_SUFFIX = ".safetensors"
_BATCH_COUNTER = "num_batches_tracked"
"""End of the names of tensors that nothing reads, and older files lack."""


def read_weights(path: Path, choices: str, owner: str) -> dict[str, Tensor]:
    """Read tensors by name from a file of ``torch.save`` or safetensors, without running code from it.

    Args:
        path: The file.
        choices: What else ``model.weights`` may be, for the message where the file is missing.
        owner: Whose weights they should be, for messages.

    Raises:
        InputDataError: The file is missing or holds something else.
    """
    if not path.exists():
        raise InputDataError(
            f"{path}: there is no such weights file; model.weights is {choices} or the path of a file."
        )
    if path.suffix == SAFETENSORS_SUFFIX:
        return _read_safetensors(path)
    content = read_torch_file(path, "weights file")
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise InputDataError(
            f"{path}: does not hold the tensors of a network by name (a state_dict), as a file of {owner} "
            "does."
        )
    return content


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise InputDataError(f"{path}: is not a safetensors file: {error}.") from None


def without_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without the counters of batches."""
    return {name: value for name, value in state.items() if not name.endswith(_BATCH_COUNTER)}


def missing_weights(owner: str, error: Exception, by_hand: str) -> MissingResourceError:
    """Word that weights could not be downloaded, and the ways out.

    Args:
        owner: Whose weights they are.
        error: What the download ended with.
        by_hand: How they are brought here otherwise.
    """
    reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
    return MissingResourceError(
        f"The pretrained weights of {owner} cannot be downloaded ({reason}). Run once where there is a "
        f"network; or {by_hand}; or train from scratch with --set model.weights=none."
    )
