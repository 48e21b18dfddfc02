"""What temperature and threshold do to the scores: a checkpoint's own, or those fitted to an average."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from esdseg.config.evaluation import EvalConfig
from esdseg.metrics.calibration import confidence_scores, f1_from_counts, threshold_counts
from esdseg.metrics.resampling import LEVEL, draw_resamples, percentile_interval
from esdseg.metrics.score_table import show
from esdseg.metrics.scorecard import ClassificationScores, ConfidenceScores, ContestThreshold, Temperature
from esdseg.metrics.scores import score_or_none
from esdseg.models.bundle import bundle_of
from esdseg.prediction.known_tiles import KnownTiles
from esdseg.prediction.sources import Sources
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.sensors.classes import CONTEST_CLASS


@dataclass(frozen=True)
class Calibrated:
    """Scores that depend on temperature and threshold.

    Attributes:
        temperature: The temperature behind the probabilities; ``None`` where none was chosen.
        threshold: The contest's F1 at the chosen threshold; ``None`` where none was chosen.
        uncalibrated: The scores of the probabilities without the temperature.
        notes: The same in words.
    """

    temperature: Temperature | None
    threshold: ContestThreshold | None
    uncalibrated: ConfidenceScores | None
    notes: tuple[str, ...]


def describe_calibrated(
    sources: Sources, predictions: Sequence[TilePrediction], scores: ClassificationScores, config: EvalConfig
) -> Calibrated:
    """Score the threshold, and the probabilities as they were before the temperature.

    Args:
        sources: The checkpoints with their tiles. Each fold has its own temperature and threshold; several
            checkpoints that predict together have what was fitted to their mean.
        predictions: What they say of all scored tiles.
        scores: The scores of these predictions.
        config: The resamples behind the interval.
    """
    ensembles = sources.ensembles
    is_fitted_here = all(ensemble.calibration is not None for ensemble in ensembles)
    metadata = [checkpoint.metadata for ensemble in ensembles for checkpoint in ensemble.checkpoints]
    if not is_fitted_here and not all(trained.is_calibrated for trained in metadata):
        asked = any(trained.config.trainer.calibrate and not trained.is_calibrated for trained in metadata)
        return Calibrated(None, None, None, (_interrupted_note(sources),) if asked else ())
    uncalibrated = _confidence_scores([_uncalibrated(prediction) for prediction in predictions])
    if not is_fitted_here and any(ensemble.is_changed(config) for ensemble in ensembles):
        return Calibrated(None, None, uncalibrated, (_moved_note(config),))
    origin = _origin(sources, is_fitted_here)
    temperatures = [ensemble.temperature for ensemble in ensembles if ensemble.temperature is not None]
    before, after = uncalibrated, _confidence_scores(predictions)
    notes = [
        f"{_describe(temperatures, 'temperature', '.2f')}, chosen on {origin.words}, acts on the "
        f"probabilities: their calibration error is {show(after.expected_calibration_error)}, and was "
        f"{show(before.expected_calibration_error)} without."
    ]
    threshold = _threshold_scores(sources, predictions, config, origin)
    if threshold is None:
        notes.append(
            "No threshold was chosen: the tiles that choose it hold no settlement without electricity."
        )
    else:
        thresholds = [ensemble.threshold for ensemble in ensembles if ensemble.threshold is not None]
        notes.append(_threshold_note(threshold, thresholds, origin, scores.contest_f1))
    return Calibrated(
        Temperature(value=_shared(temperatures), chosen_on=origin.words, selection_bias=origin.is_scored),
        threshold,
        uncalibrated,
        tuple(notes),
    )


def _moved_note(config: EvalConfig) -> str:
    """Say that what was averaged has no temperature of its own, and why."""
    why = (
        "as --no-calibrate says"
        if config.calibrate is False
        else "since no tile validated every checkpoint and trained none"
    )
    return (
        f"Each checkpoint's own temperature acts on what it says, and none on their mean, {why}. Thresholds "
        "are not scored: they were chosen for plain predictions."
    )


def _interrupted_note(sources: Sources) -> str:
    unfinished = next(
        checkpoint
        for ensemble in sources.ensembles
        for checkpoint in ensemble.checkpoints
        if checkpoint.metadata.config.trainer.calibrate and not checkpoint.metadata.is_calibrated
    )
    told = (
        "The run was to be calibrated (--calibrate) and has not finished: the probabilities are as the "
        "network gives them."
    )
    if bundle_of(unfinished.path) is not None:
        return told
    run_dir = unfinished.path.parent
    folds = f"--folds {len(sources.ensembles)} " if len(sources.ensembles) > 1 else ""
    name = sources.name if folds else run_dir.name
    runs = run_dir.parent
    where = "" if runs == EvalConfig().checkpoints_dir else f" --checkpoints-dir {shlex.quote(str(runs))}"
    return f"{told} `esdseg train {folds}--name {shlex.quote(name)} --resume{where}` goes on with it."


@dataclass(frozen=True)
class _Origin:
    """What temperature and threshold were chosen on.

    Attributes:
        words: The same for people.
        is_scored: Whether any of these tiles is scored.
    """

    words: str
    is_scored: bool


def _origin(sources: Sources, is_fitted_here: bool) -> _Origin:
    ensemble = sources.ensembles[0]
    is_fold = ensemble.checkpoint.config.folds.fold is not None
    words = "inner tiles of the fold's training part" if is_fold else "the run's validation tiles"
    if len(ensemble.checkpoints) > 1:
        words = "the validation tiles of every checkpoint"
    if is_fitted_here:
        words += ", where it was fitted to the prediction as it is averaged here"
    scored = KnownTiles.union(ensemble.validated_on() for ensemble in sources.ensembles)
    if scored.same:
        words += ", which are scored here"
    elif scored.perhaps:
        words += "; tiles of the same names are scored here"
    return _Origin(words, bool(scored.all))


def _uncalibrated(prediction: TilePrediction) -> TilePrediction:
    if prediction.uncalibrated is None:
        return prediction
    return TilePrediction(prediction.tile, prediction.truth, prediction.uncalibrated)


def _confidence_scores(predictions: Sequence[TilePrediction]) -> ConfidenceScores:
    truths, probabilities = zip(*(prediction.known_cells() for prediction in predictions), strict=True)
    return confidence_scores(np.concatenate(truths), np.concatenate(probabilities))


def _threshold_scores(
    sources: Sources, predictions: Sequence[TilePrediction], config: EvalConfig, origin: _Origin
) -> ContestThreshold | None:
    """Score class 1 from each ensemble's threshold on; ``None`` where one has none."""
    threshold_of: dict[str, float] = {}
    for ensemble in sources.ensembles:
        threshold = ensemble.threshold
        if threshold is None:
            return None
        threshold_of |= dict.fromkeys(ensemble.tiles, threshold)
    counts = np.stack(
        [
            threshold_counts(
                prediction.scored_truth,
                prediction.probabilities[CONTEST_CLASS.index],
                threshold_of[prediction.tile],
            )
            for prediction in predictions
        ]
    )
    interval = None
    if len(counts) > 1:
        weights = draw_resamples(len(counts), config.bootstrap_resamples, config.bootstrap_seed)
        interval = percentile_interval(f1_from_counts(weights @ counts), len(counts))
    return ContestThreshold(
        threshold=_shared(list(threshold_of.values())),
        contest_f1=score_or_none(f1_from_counts(counts.sum(axis=0))),
        interval=interval,
        chosen_on=origin.words,
        selection_bias=origin.is_scored,
    )


def _threshold_note(
    scored: ContestThreshold, thresholds: Sequence[float], origin: _Origin, likeliest: float | None
) -> str:
    around = ""
    if scored.interval is not None:
        low, high = scored.interval
        around = f" ({100 * LEVEL:.0f} % interval {low:.3f} to {high:.3f})"
    return (
        f"{_describe(thresholds, 'threshold', '.3f')} on the probability of settlements without "
        f"electricity, chosen on {origin.words}, gives a contest F1 of {show(scored.contest_f1)}{around}; "
        f"the likeliest class, which the maps show, {show(likeliest)}."
    )


def _describe(values: Sequence[float], what: str, form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return f"A {what} of {low}" if low == high else f"Each fold's own {what}, {low} to {high}"


def _shared(values: Sequence[float]) -> float | None:
    """Return the value that all share, ``None`` where they differ: then ``folds`` tells them."""
    return values[0] if len(set(values)) == 1 else None
