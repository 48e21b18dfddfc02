"""From predictions of labelled tiles to the scorecard of a run."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from esdseg import __version__
from esdseg.config.evaluation import EvalConfig
from esdseg.metrics.calibration import calibration_scores
from esdseg.metrics.ranking import precision_recall_curves, roc_curves
from esdseg.metrics.resampling import LEVEL, bootstrap_intervals, few_tiles_notes
from esdseg.metrics.scorecard import (
    BootstrapSettings,
    ClassificationScores,
    DataOrigin,
    RunHistory,
    Scorecard,
    Versions,
)
from esdseg.metrics.scores import (
    IntArray,
    constant_scores,
    score_or_none,
    tile_scores,
)
from esdseg.models.runs import HISTORY_NAME, read_history
from esdseg.prediction.channel_share import channel_note
from esdseg.prediction.known_tiles import KnownTiles, knows_contents
from esdseg.prediction.sources import Ensemble, Sources, missing_places, shorten
from esdseg.prediction.tile_prediction import TilePrediction, scored_tiles
from esdseg.scoring.error_analysis import find_worst_cells, summarize_errors
from esdseg.scoring.temperature import describe_calibrated
from esdseg.scoring.verdict import Judgement
from esdseg.sensors.classes import CLASSES, CONTEST_CLASS
from esdseg.store.folds import tile_centres


def score(
    predictions: Sequence[TilePrediction],
    sources: Sources,
    config: EvalConfig,
    judgement: Judgement,
    seconds_per_tile: float,
    mapped: Sequence[TilePrediction] | None = None,
) -> Scorecard:
    """Score labelled tiles together.

    Args:
        predictions: The tiles; cells of unknown class are left out.
        sources: The checkpoints that predicted them.
        config: The settings of the evaluation, with the resamples behind each interval.
        judgement: How the checkpoint was chosen, and how it stands beside the simple models.
        seconds_per_tile: Time to predict a tile.
        mapped: These tiles and those that have too few of the network's channels to be scored; the scored
            ones unless given.
    """
    tiles = scored_tiles(predictions)
    cells = tiles.cells
    assert cells is not None
    truth, probabilities = cells.truth, cells.all_probabilities
    pooled = tiles.confusions.sum(axis=0)
    scores = tiles.scores()
    training_counts, counted_on = sources.training_counts()
    if not training_counts.any():
        counted_on = "the scored tiles themselves, since the store has no training tiles"
    in_training = training_counts if training_counts.any() else pooled.sum(axis=1)
    majority = int(np.argmax(in_training))
    calibrated = describe_calibrated(sources, predictions, scores, config)
    checkpoint, store = sources.ensembles[0].checkpoint, sources.store
    scored = {prediction.tile for prediction in predictions}
    return Scorecard(
        **dict(scores),
        model=sources.model_names,
        run=sources.name,
        checkpoint=sources.paths,
        split=sources.split,
        folds=sources.describe_folds(),
        ensemble=sources.describe_ensemble(),
        tta=config.tta,
        overlap=config.overlap,
        window_size=checkpoint.window_size,
        model_parameters=sources.parameters,
        seconds_per_tile=seconds_per_tile,
        selection_bias=judgement.selection_bias,
        tiles_known_by=_tiles_known_by(sources),
        last_checkpoint=judgement.last_checkpoint,
        tiles=tuple(prediction.tile for prediction in predictions),
        coordinates=tile_centres(
            {tile: entry.georeference for tile, entry in store.manifest.tiles.items() if tile in scored}
        ),
        cells=int(pooled.sum()),
        baselines={
            "majority": constant_scores(pooled.sum(axis=1), majority).model_copy(
                update={"most_frequent_in": counted_on}
            ),
            "all_class_1": constant_scores(pooled.sum(axis=1), CONTEST_CLASS.index),
            **judgement.baselines,
        },
        verdict=judgement.verdict,
        intervals=bootstrap_intervals(tiles, config.bootstrap_resamples, config.bootstrap_seed),
        bootstrap=BootstrapSettings(
            unit="tile", level=LEVEL, resamples=config.bootstrap_resamples, seed=config.bootstrap_seed
        ),
        tiles_detail={
            prediction.tile: tile_scores(confusion)
            for prediction, confusion in zip(predictions, tiles.confusions, strict=True)
        },
        places=sources.places(),
        roc=roc_curves(truth, probabilities),
        precision_recall=precision_recall_curves(truth, probabilities),
        calibration=calibration_scores(truth, probabilities).model_copy(
            update={"uncalibrated": calibrated.uncalibrated}
        ),
        temperature=calibrated.temperature,
        threshold_contest_f1=calibrated.threshold,
        errors=summarize_errors(predictions),
        worst_cells=find_worst_cells(predictions),
        training_config=checkpoint.config.model_dump(mode="json"),
        history=_histories(sources.ensembles),
        channel_shares={tile.tile: tile.channel_share for tile in mapped or predictions},
        cells_without_data=sum(int((~tile.is_mapped).sum()) for tile in mapped or predictions),
        notes=(
            *judgement.notes,
            *calibrated.notes,
            *_class_notes(scores),
            *few_tiles_notes(len(predictions)),
            f'The most frequent class is "{CLASSES[majority].title}", counted on {counted_on}.',
            *_channel_notes(mapped or predictions),
            *identity_notes(sources),
            *(note for ensemble in sources.ensembles for note in training_notes(ensemble)),
            *(note for ensemble in sources.ensembles for note in missing_places(ensemble)),
        ),
        data=DataOrigin(
            store=str(store.path),
            manifest_hash=store.manifest_hash,
            trained_on_manifest_hash=checkpoint.metadata.manifest_hash,
            subtile_size=store.subtile_size,
            channels=len(sources.ensembles[0].trained().channels),
            split_seed=store.manifest.split.seed,
            val_fraction=store.manifest.split.val_fraction,
            test_fraction=store.manifest.split.test_fraction,
            training_seed=checkpoint.config.trainer.seed,
        ),
        versions=Versions(esdseg=__version__, torch=torch.__version__),
    )


def training_notes(ensemble: Ensemble) -> tuple[str, ...]:
    """Say where scored tiles may have been trained on, and so have too good scores, and what was adapted."""
    known = ensemble.trained_on()
    same = shorten([tile for tile in ensemble.tiles if tile in known.same])
    perhaps = shorten([tile for tile in ensemble.tiles if tile in known.perhaps])
    notes = []
    if same:
        notes.append(
            f"The network was trained on scored tiles ({same}): these scores say nothing of new tiles."
        )
    if perhaps:
        notes.append(
            f"The network was trained on tiles of the same names ({perhaps}): if they are the same tiles, "
            "these scores are too good."
        )
    notes += [
        f"{checkpoint.run_name} was adapted to {checkpoint.metadata.adapted_to}, by their images alone."
        for checkpoint in ensemble.checkpoints
        if checkpoint.metadata.adapted_to is not None
    ]
    return tuple(notes)


def _channel_notes(mapped: Sequence[TilePrediction]) -> tuple[str, ...]:
    note = channel_note({tile.tile: (tile.channel_share, int(tile.is_mapped.sum())) for tile in mapped})
    without = sum(int((~tile.is_mapped).sum()) for tile in mapped)
    return (f"{note} These {without:,} cells are not scored." if without else note,)


def _tiles_known_by(sources: Sources) -> Literal["content", "name"]:
    known = [of for ensemble in sources.ensembles for of in (ensemble.trained_on(), ensemble.validated_on())]
    return "name" if identity_notes(sources) or KnownTiles.union(known).perhaps else "content"


def identity_notes(sources: Sources) -> tuple[str, ...]:
    """Say which checkpoints know their tiles by name alone."""
    unknown = [
        str(checkpoint.path)
        for checkpoint in sources.checkpoints
        if not knows_contents(checkpoint.metadata, sources.store)
    ]
    if not unknown:
        return ()
    return (
        f"{shorten(unknown)} does not say what its tiles hold, so they are known by their names alone: "
        "another tile of the same name may have been taken for one of them, and one of them under another "
        "name for a new tile.",
    )


def _class_notes(scores: ClassificationScores) -> tuple[str, ...]:
    """Say which classes are absent, and what that does to their scores."""
    counts: IntArray = np.array(scores.confusion_matrix)
    in_truth, predicted = counts.sum(axis=1), counts.sum(axis=0)
    notes = []
    for label_class in CLASSES:
        index, name = label_class.index, f'"{label_class.title}"'
        if not in_truth[index] and not predicted[index]:
            notes.append(
                f"{name} is neither in the truth nor predicted: its scores are null and left out of every "
                "macro mean."
            )
        elif not in_truth[index]:
            notes.append(f"{name} is not in the truth: its recall and AUC are null, and its F1 is 0.")
        elif not predicted[index]:
            notes.append(f"{name} is never predicted: its precision is null, and its F1 is 0.")
        if in_truth[index] and in_truth[index] == in_truth.sum():
            notes.append(f"{name} is the only class of the truth: its AUC is null.")
    return tuple(notes)


def _histories(ensembles: Sequence[Ensemble]) -> tuple[RunHistory, ...]:
    """Return the epochs of each run that still has its ``metrics.csv`` beside the checkpoint.

    Raises:
        InputDataError: A ``metrics.csv`` is damaged.
    """
    # Best and last of one run have one history.
    checkpoints = {
        checkpoint.path.parent: checkpoint for ensemble in ensembles for checkpoint in ensemble.checkpoints
    }
    histories = []
    for checkpoint in checkpoints.values():
        rows = read_history(checkpoint.path.with_name(HISTORY_NAME))
        if rows:
            epochs = tuple({name: score_or_none(value) for name, value in row.items()} for row in rows)
            histories.append(
                RunHistory(
                    run=checkpoint.run_name,
                    fold=checkpoint.config.folds.fold,
                    train_tiles=len(checkpoint.metadata.train_tiles),
                    val_tiles=len(checkpoint.metadata.val_tiles),
                    epochs=epochs,
                )
            )
    return tuple(histories)
