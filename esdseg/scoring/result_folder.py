"""The folder of an evaluated run: its files, and finding it by name."""

from pathlib import Path

from esdseg.errors import InputDataError

METRICS_NAME = "metrics.json"
CONFIG_NAME = "config.yml"


def find_folder(name: str, predictions_dir: Path) -> Path:
    """Return the folder that holds a run's ``metrics.json``.

    Args:
        name: A folder's path from here, or the name of one in ``predictions_dir``.
        predictions_dir: Folder of all results.

    Raises:
        InputDataError: There is no such folder, or no ``metrics.json`` in it.
    """
    candidates = [Path(name), predictions_dir / name]
    for folder in candidates:
        if (folder / METRICS_NAME).is_file():
            return folder
    command = f"`esdseg evaluate --checkpoint {Path(name).name} --name {Path(name).name}`"
    existing = next((folder for folder in reversed(candidates) if folder.is_dir()), None)
    if existing is not None:
        raise InputDataError(f"{existing} holds no {METRICS_NAME}; make it with {command}.")
    known = sorted(path.parent.name for path in predictions_dir.glob(f"*/{METRICS_NAME}"))
    there = f"it holds {', '.join(known)}" if known else "it holds no scores yet"
    raise InputDataError(
        f"There are no scores of {name!r}, neither from here nor in {predictions_dir} ({there}); make them "
        f"with {command}."
    )
