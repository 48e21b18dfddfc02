"""What evaluating and mapping tiles costs, beside the course's way."""

import shutil
from collections.abc import Iterator
from functools import partial

import matplotlib as mpl
import numpy as np
from sklearn.metrics import confusion_matrix

from benchmarks.course_networks import CourseSamples, draw_tile, predict_tile
from benchmarks.data import BenchmarkData
from benchmarks.measuring import side_by_side
from benchmarks.results import Row, times_faster
from esdseg.config.evaluation import EvalConfig
from esdseg.config.training import ESDConfig
from esdseg.models.registry import build_network
from esdseg.scoring.evaluate import evaluate
from esdseg.sensors.classes import NUM_CLASSES
from esdseg.training.fit import fit

STEP = "evaluation"
TILES = 12
MODEL = "unet"


def measure(data: BenchmarkData) -> Iterator[Row]:
    """Yield how long scores, report and maps of twelve tiles take.

    ``best.ckpt`` was chosen by these tiles, so that ``evaluate`` scores ``last.ckpt`` too; ``last.ckpt`` is
    scored alone.
    """
    mpl.use("agg")
    store = data.store_of_samples(TILES + 1, val_fraction=TILES / (TILES + 1))
    config = ESDConfig.model_validate(
        {
            "model": {"name": MODEL},
            "data": {"processed_dir": store.path.parent},
            "trainer": {"max_epochs": 1, "monitor": "val_loss"},
            "tracking": {"wandb": "disabled"},
        }
    )
    runs, predictions_dir = data.folder / "runs", data.folder / "predictions"
    shutil.rmtree(runs, ignore_errors=True)
    fit(config, checkpoints_dir=runs, name="bench")
    settings = EvalConfig(
        checkpoint=str(runs / "bench/best.ckpt"),
        processed_dir=store.path.parent,
        predictions_dir=predictions_dir,
        simple_baselines=False,
    )
    last = settings.model_copy(update={"checkpoint": str(runs / "bench/last.ckpt")})
    tiles = [CourseSamples((folder,)) for folder in data.course_folders(store, "val")]
    network = build_network(config.model, store.channels[: tiles[0].channels], store.subtile_size).eval()

    def evaluate_and_restitch() -> None:
        # The course has a script for each, and each predicts.
        pooled = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
        for tile in tiles:
            truth = np.concatenate([tile.load(index)[1].numpy().ravel() for index in range(len(tile))])
            classes = predict_tile(network, tile)
            pooled += confusion_matrix(truth, classes.ravel(), labels=range(NUM_CLASSES))
        for number, tile in enumerate(tiles):
            draw_tile(predict_tile(network, tile), tile, predictions_dir / f"{number}.png")

    seconds = side_by_side(
        {
            "last": partial(evaluate, last),
            "best": partial(evaluate, settings),
            "course": evaluate_and_restitch,
        },
        max(1, data.repeats // 3),
    )
    for name, target in (("last", 5.0), ("best", None)):
        what = f"evaluate + restitch of {TILES} tiles, {MODEL}, {name}.ckpt"
        yield times_faster(STEP, what, seconds[name], "course", seconds["course"], target)
    shutil.rmtree(runs)
    shutil.rmtree(predictions_dir)
