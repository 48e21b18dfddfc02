"""The recipes and sweep files that come with esdseg, which are found by name from any folder."""

from pathlib import Path
from typing import Literal

from esdseg.errors import ConfigError

Kind = Literal["recipes", "sweeps"]

SHIPPED_FOLDER = Path(__file__).parents[1] / "shipped"


def shipped_names(kind: Kind) -> list[str]:
    """Return the names of the files of a kind that come with esdseg, such as ``unet``."""
    return sorted(path.stem for path in (SHIPPED_FOLDER / kind).glob("*.yml"))


def find_file(path: Path, kind: Kind) -> Path:
    """Return a file of the user's, or else the one that comes with esdseg under the name.

    Args:
        path: The user's file; or a name such as ``unet``, ``recipes/unet`` or ``recipes/unet.yml``.
        kind: Which of the files that come with esdseg may be meant.

    Raises:
        ConfigError: There is nothing at the path, and no such name.
    """
    shipped = SHIPPED_FOLDER / kind / f"{path.stem}.yml"
    is_name = path.parent == Path(kind) or path == Path(path.stem)
    if path.is_file():
        return path
    if is_name and path.suffix in ("", ".yml") and shipped.is_file():
        return shipped
    if path.exists():
        return path
    raise ConfigError(
        f"{path}: there is no such file. By name alone, {kind} that come with esdseg can be given: "
        f"{', '.join(shipped_names(kind))}; they lie in {SHIPPED_FOLDER / kind}."
    )
