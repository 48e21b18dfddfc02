"""Writing an ablation down."""

import json
from collections.abc import Sequence

import torch
from pydantic import JsonValue

from esdseg import __version__
from esdseg.ablation.opening import Opened
from esdseg.ablation.picture import PICTURE_NAME, write_ablation_picture
from esdseg.ablation.result import Ablation, Row, in_order
from esdseg.ablation.taking_away import TakenAway
from esdseg.ablation.wording import general_notes, summarize
from esdseg.config.loading import dump_config
from esdseg.metrics.resampling import LEVEL, few_tiles_notes
from esdseg.scoring.results import CONFIG_NAME
from esdseg.system.files import make_folder, write_text
from esdseg.tiles.discovery import natural_key

JSON_NAME = "ablation.json"


def write_ablation(opened: Opened, taken_away: TakenAway, retrained: Sequence[Row] = ()) -> Ablation:
    """Write ``ablation.png``, ``config.yml`` and, last, ``ablation.json``.

    Args:
        opened: What was scored.
        taken_away: The rows of the finished network.
        retrained: The rows of networks that were trained again.

    Raises:
        InputDataError: A file cannot be written.
    """
    rows = in_order((*taken_away.rows, *retrained))
    folder = make_folder(opened.output_dir)
    result = Ablation(
        facts=_facts(opened, taken_away),
        whole=taken_away.whole,
        rows=rows,
        summary=summarize(rows),
        notes=(*general_notes(rows), *opened.notes, *few_tiles_notes(len(opened.scored.tiles))),
        output_dir=folder,
        json_path=folder / JSON_NAME,
        picture=folder / PICTURE_NAME,
    )
    write_ablation_picture(folder, result.whole, rows)
    write_text(folder / CONFIG_NAME, dump_config(opened.config))
    text = json.dumps(result.to_json(), indent=2, allow_nan=False, ensure_ascii=False)
    write_text(result.json_path, text + "\n")
    return result


def _facts(opened: Opened, taken_away: TakenAway) -> dict[str, JsonValue]:
    scored, config = opened.scored, opened.config
    checkpoint = scored.ensembles[0].checkpoint
    tiles: list[JsonValue] = [*sorted(scored.tiles, key=natural_key)]
    folds = scored.describe_folds()
    return {
        "model": checkpoint.config.model.name,
        "run": scored.name,
        "checkpoint": scored.paths,
        "split": scored.split,
        "tta": config.tta,
        "overlap": config.overlap,
        "window_size": checkpoint.window_size,
        "tiles": tiles,
        "folds": None if folds is None else [fold.model_dump(mode="json") for fold in folds],
        "channels": [channel.name for channel in opened.channels],
        "prediction_seconds": taken_away.seconds,
        "bootstrap": {
            "unit": "tile",
            "level": LEVEL,
            "resamples": config.bootstrap_resamples,
            "seed": config.bootstrap_seed,
        },
        "data": {"store": str(scored.store.path), "manifest_hash": scored.store.manifest_hash},
        "versions": {"esdseg": __version__, "torch": torch.__version__},
    }
