"""Training networks again without groups of channels, and scoring them on the same tiles."""

from collections.abc import Sequence

import numpy as np

from esdseg.ablation.opening import Opened
from esdseg.ablation.predicting import TileVariants, predict_variants
from esdseg.ablation.result import Row
from esdseg.ablation.retraining import Retraining, Run, RunListener
from esdseg.ablation.scoring import Scorer
from esdseg.tiles.discovery import natural_key
from esdseg.training.callbacks import EpochListener, StepListener
from esdseg.training.fit import measure_pace


def runs_to_train(retrainings: Sequence[Retraining]) -> tuple[Run, ...]:
    """Return the runs that are not finished."""
    return tuple(run for one in retrainings for run in one.runs if not run.is_finished)


def estimate_seconds(runs: Sequence[Run]) -> float:
    """Say how long trainings will take at most, early stopping aside, by a few steps of the first.

    Args:
        runs: What is to be trained, at least one.

    Raises:
        ESDSegError: The first cannot be trained.
    """
    pace = measure_pace(runs[0].config)
    return sum(pace.seconds(run.epochs_left) for run in runs)


def train_again(
    opened: Opened,
    scorer: Scorer,
    on_run: RunListener | None = None,
    on_epoch: EpochListener | None = None,
    on_step: StepListener | None = None,
) -> tuple[Row, ...]:
    """Train what is not finished yet, then predict the tiles with each network and compare.

    Args:
        opened: What is to be trained.
        scorer: Knows the scores with all channels.
        on_run: Told of each run that is about to be trained.
        on_epoch: Told of each finished epoch.
        on_step: Told of each training step.

    Returns:
        A row for each retraining.

    Raises:
        ESDSegError: As for :func:`esdseg.training.fit.fit` and :func:`esdseg.scoring.evaluate.evaluate`.
    """
    to_train = runs_to_train(opened.retrainings)
    for number, run in enumerate(to_train, start=1):
        if on_run is not None:
            on_run(number, len(to_train), run.path)
        run.train(on_epoch, on_step)
    return tuple(_score(retraining, opened, scorer) for retraining in opened.retrainings)


def _score(retraining: Retraining, opened: Opened, scorer: Scorer) -> Row:
    tiles: list[TileVariants] = []
    for run in retraining.runs:
        checkpoint = run.load()
        store, names = run.part.store, run.part.tiles
        device, batch_size = opened.device, opened.config.batch_size
        tiles += predict_variants(checkpoint, store, names, (), device, batch_size, opened.passes)
    tiles.sort(key=lambda one: natural_key(one.whole.tile))
    predictions = [one.whole for one in tiles]
    return Row(
        removal=retraining.removal,
        how="retrained",
        removed=tuple(c.name for c in opened.channels if c not in checkpoint.channels),
        remaining=len(checkpoint.channels),
        scores=scorer.score(predictions),
        differences=scorer.compare(predictions),
        seconds_per_tile=float(np.mean([one.seconds for one in tiles])),
        parameters=sum(one.numel() for one in checkpoint.model.parameters()),
        checkpoint=retraining.checkpoint,
    )
