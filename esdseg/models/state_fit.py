"""Whether stored tensors fit a network, said so that the difference can be seen."""

from collections.abc import Mapping, Sequence

from torch import Tensor

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
