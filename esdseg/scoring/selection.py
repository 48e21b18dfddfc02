"""Whether the scored tiles chose the checkpoint, and what the last checkpoint, which none chose, scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import JsonValue

from esdseg.config.evaluation import EvalConfig
from esdseg.errors import InputDataError
from esdseg.metrics.confusion import confusion_matrix, scores_from_confusion
from esdseg.metrics.ranking import area_under_roc, auc_scores
from esdseg.models.checkpoint import LoadedCheckpoint, load_checkpoint
from esdseg.models.checkpoint_lookup import LAST_NAME
from esdseg.prediction.parts import Part, Scored
from esdseg.prediction.predicting import calibrate_inputs, predict_inputs
from esdseg.prediction.predictor import TilePredictor
from esdseg.prediction.stopwatch import Stopwatch
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.scores import headline_values


@dataclass(frozen=True)
class Selection:
    """What there is to say of how the checkpoint was chosen.

    Attributes:
        is_biased: Whether any scored tile chose it.
        last_checkpoint: Path and headline scores of the last checkpoint on the same tiles; ``None`` where
            nothing is biased, or there is no last checkpoint.
        notes: The same in words.
    """

    is_biased: bool
    last_checkpoint: dict[str, JsonValue] | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """Return the keys of ``metrics.json``."""
        return {"selection_bias": self.is_biased, "last_checkpoint": self.last_checkpoint}


def describe_selection(scored: Scored, config: EvalConfig, predict: TilePredictor) -> Selection:
    """Say whether scored tiles chose the checkpoint; if so, score the run's last one on the same tiles.

    A tile chose a checkpoint if the run validated on it, unless the file is ``last.ckpt``, which is written
    after every epoch whatever its score. Of several that predict together one is
    enough. Test tiles and tiles that a fold held out chose nothing.

    Raises:
        InputDataError: The last checkpoint gives numbers that are not finite.
    """
    chosen_on = [part for part in scored.parts if _choosers(part)]
    if not chosen_on:
        return Selection(False, None, ())
    part = chosen_on[0]
    is_calibrated = any(one.metadata.is_calibrated for one in part.inputs.checkpoints)
    if all(one.path.name == LAST_NAME for one in part.inputs.checkpoints):
        notes = []
        if any(one.config.trainer.patience is not None for one in part.inputs.checkpoints):
            notes.append(f"{LAST_NAME} was chosen by no score, but early stopping watched these tiles.")
        if is_calibrated:
            notes.append(
                f"These tiles chose the temperature and the threshold of {LAST_NAME}: calibration error, "
                "Brier score, AUC and the F1 at the threshold are too good for new tiles; the other scores "
                "do not depend on them."
            )
        return Selection(False, None, tuple(notes))
    checkpoint = next(one for one in part.inputs.checkpoints if one.path.name != LAST_NAME)
    choosers = _choosers(part)
    whose = "These tiles" if len(choosers) == len(part.tiles) else f"{len(choosers)} of these tiles"
    also = ", and its temperature and threshold" if is_calibrated else ""
    among = f" of {len(part.inputs.checkpoints)} checkpoints" if len(part.inputs.checkpoints) > 1 else ""
    trials = ", and the trials of the sweep that are taken" if scored.of_sweep else ""
    note = (
        f"{whose} chose {checkpoint.path.name}{among}, the epoch with the best "
        f"{checkpoint.config.trainer.monitor} on them{also}{trials}: the scores are too good for new tiles."
    )
    last = _score_last(part, config, predict)
    if last is None:
        return Selection(
            True, None, (f"{note} There is no {LAST_NAME} beside it, which no score chose, to compare.",)
        )
    values = {name: last[name] for name in ("contest_f1", "f1_macro")}
    contest_f1, f1_macro = (
        f"{value:.3f}" if isinstance(value, float) else "undefined" for value in values.values()
    )
    return Selection(
        True,
        last,
        (f"{note} {LAST_NAME}, which no score chose: contest F1 {contest_f1}, macro F1 {f1_macro}.",),
    )


def _choosers(part: Part) -> set[str]:
    return {tile for one in part.inputs.checkpoints for tile in one.metadata.val_tiles} & set(part.tiles)


def _score_last(part: Part, config: EvalConfig, predict: TilePredictor) -> dict[str, JsonValue] | None:
    """Return path and headline scores of the same runs' last checkpoints, ``None`` where one has none."""
    last = [_last_of(one) for one in part.inputs.checkpoints]
    if not all(last):
        return None
    # Best and last of one run have the same last one.
    found = tuple({one.path: one for one in last if one is not None}.values())
    inputs = replace(part.inputs, checkpoints=found, calibration=None)
    inputs = calibrate_inputs(inputs, config, predict, Stopwatch())
    predictions = predict_inputs(inputs, part.tiles, predict, Stopwatch())
    paths = ", ".join(str(one.path) for one in found)
    return {"checkpoint": paths, **headline_scores_of(list(predictions))}


def _last_of(checkpoint: LoadedCheckpoint) -> LoadedCheckpoint | None:
    """Return the last checkpoint of a run, for the same windows; ``None`` without one."""
    path = checkpoint.path.with_name(LAST_NAME)
    try:
        last = load_checkpoint(path, checkpoint.window_size)
    except InputDataError:
        return None
    # A file that was copied here from another run says nothing of this one. The settings may differ: a
    # resumption can have raised the number of epochs; and each has its own temperature and threshold.
    mine = checkpoint.metadata
    own = ("config", "temperature", "contest_threshold", "is_calibrated")
    if last.metadata.model_copy(update={name: getattr(mine, name) for name in own}) != mine:
        return None
    return last


def headline_scores_of(predictions: Sequence[TilePrediction]) -> dict[str, float | None]:
    """Return the headline scores of labelled tiles together, by the names of ``metrics.json``'s intervals."""
    pooled = np.sum([confusion_matrix(one.truth, one.classes) for one in predictions], axis=0)
    truths, probabilities = zip(*(one.known_cells() for one in predictions), strict=True)
    areas = area_under_roc(np.concatenate(truths), np.concatenate(probabilities))
    return headline_values({**scores_from_confusion(pooled), "auc": auc_scores(areas)})
