"""How the scored checkpoints were trained: their settings, and the epochs behind them."""

from collections.abc import Sequence

from pydantic import JsonValue

from esdseg.metrics.arrays import json_number
from esdseg.models.checkpoint_lookup import HISTORY_NAME, read_history
from esdseg.prediction.parts import Part


def describe_training(parts: Sequence[Part]) -> dict[str, JsonValue]:
    """Return what ``metrics.json`` says under ``training_config`` and ``history``.

    Args:
        parts: The checkpoints; of several the settings are those of the first.

    Returns:
        ``training_config``, the settings; and ``history``, an entry a run that still has its ``metrics.csv``
        beside the checkpoint: ``run``, ``fold`` and ``epochs``, its rows.

    Raises:
        InputDataError: A ``metrics.csv`` is damaged.
    """
    history: list[JsonValue] = []
    # Best and last of one run have one history.
    checkpoints = {one.path.parent: one for part in parts for one in part.inputs.checkpoints}
    for checkpoint in checkpoints.values():
        rows = read_history(checkpoint.path.with_name(HISTORY_NAME))
        if not rows:
            continue
        epochs: list[JsonValue] = [
            {name: int(value) if name == "epoch" else json_number(value) for name, value in row.items()}
            for row in rows
        ]
        history.append({"run": checkpoint.run_name, "fold": checkpoint.config.folds.fold, "epochs": epochs})
    return {
        "training_config": parts[0].inputs.checkpoint.config.model_dump(mode="json"),
        "history": history,
    }
