"""Whether a network beats the simple models: their scores beside its own, and the answer in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from esdseg.baselines.simple_baselines import StepListener, predict_simple_models
from esdseg.config.evaluation import EvalConfig
from esdseg.config.models import CellBoostingConfig
from esdseg.metrics.arrays import IntArray, json_rows
from esdseg.metrics.confusion import confusion_matrix, scores_from_confusion
from esdseg.metrics.ranking import area_under_roc, auc_scores
from esdseg.prediction.parts import Scored
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.paired import Difference, paired_differences
from esdseg.tiles.discovery import natural_key

TREES = CellBoostingConfig().name
DECIDING_SCORES = {"contest_f1": "contest F1", "f1_macro": "macro F1"}
"""A network beats the trees where both are higher."""


@dataclass(frozen=True)
class Verdict:
    """How a network stands beside the simple models.

    Attributes:
        baselines: Scores of each simple model by its name.
        beats_trees: Whether it scores higher than the trees; ``None`` where that cannot be said.
        differences: Its scores less the trees', by score; none where there are no trees beside.
        notes: The answer in words, or why there is none.
    """

    baselines: dict[str, JsonValue]
    beats_trees: bool | None
    differences: dict[str, Difference]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """Return the keys of ``metrics.json`` beside ``baselines``."""
        differences: JsonValue = {name: one.to_json() for name, one in self.differences.items()}
        return {"beats_cell_boosting": self.beats_trees, "cell_boosting_differences": differences or None}


def judge(
    scored: Scored,
    predictions: Sequence[TilePrediction],
    config: EvalConfig,
    on_step: StepListener | None = None,
) -> Verdict:
    """Score the simple models on the same tiles and compare the network with the trees.

    Args:
        scored: The checkpoints with their tiles.
        predictions: What they say of all scored tiles, in natural order of tiles.
        config: Where fitted models are kept, the resamples, and whether simple models are wanted at all.
        on_step: Told of each step of the fits.
    """
    if not config.simple_baselines:
        return Verdict({}, None, {}, ())
    simple = predict_simple_models(scored, config.predictions_dir, on_step)
    if simple.why_none is not None:
        return Verdict({}, None, {}, (simple.why_none,))
    by_model = {
        name: sorted(tiles, key=lambda one: natural_key(one.tile)) for name, tiles in simple.by_model.items()
    }
    baselines: dict[str, JsonValue] = {name: simple_scores(tiles) for name, tiles in by_model.items()}
    if TREES not in by_model:
        return Verdict(baselines, None, {}, ())
    compared = paired_differences(
        _confusions(predictions),
        _confusions(by_model[TREES]),
        config.bootstrap_resamples,
        config.bootstrap_seed,
    )
    differences = {name: compared[name] for name in DECIDING_SCORES}
    return Verdict(baselines, beats(differences), differences, (describe_verdict(differences),))


def simple_scores(predictions: Sequence[TilePrediction]) -> dict[str, JsonValue]:
    """Return the pooled scores of a simple model, in the form of the trivial answers' scores."""
    pooled = _confusions(predictions).sum(axis=0)
    truths, probabilities = zip(*(one.known_cells() for one in predictions), strict=True)
    return {
        **scores_from_confusion(pooled),
        "auc": auc_scores(area_under_roc(np.concatenate(truths), np.concatenate(probabilities))),
        "confusion_matrix": json_rows(pooled),
    }


def beats(differences: dict[str, Difference]) -> bool | None:
    """Say whether all deciding scores are higher; ``None`` where one of them is undefined."""
    values = [differences[name].value for name in DECIDING_SCORES]
    if any(value is None for value in values):
        return None
    return all(value is not None and value > 0 for value in values)


def describe_verdict(differences: dict[str, Difference]) -> str:
    """Word whether the network beats the trees, by how much, and how sure that is."""
    trees = "gradient-boosted trees on cell statistics (cell_boosting, same training tiles)"
    answer = beats(differences)
    if answer is None:
        missing = [title for name, title in DECIDING_SCORES.items() if differences[name].value is None]
        return (
            f"Nothing says whether this beats {trees}: {' and '.join(missing)} is undefined on these tiles."
        )
    by = ", ".join(_describe_difference(title, differences[name]) for name, title in DECIDING_SCORES.items())
    unsure = [title for name, title in DECIDING_SCORES.items() if not _is_sure(differences[name])]
    doubt = f" These tiles alone do not settle it for {' and '.join(unsure)}." if unsure else ""
    is_mixed = any((differences[name].value or 0) > 0 for name in DECIDING_SCORES) and not answer
    both = f" in both {' and '.join(DECIDING_SCORES.values())}" if is_mixed else ""
    return f"{'Beats' if answer else 'Does not beat'} {trees}{both}: {by}.{doubt}"


def _describe_difference(title: str, difference: Difference) -> str:
    interval = difference.interval
    around = f" (95 % interval {interval[0]:+.3f} to {interval[1]:+.3f})" if interval else ""
    return f"{title} {difference.value:+.3f}{around}"


def _is_sure(difference: Difference) -> bool:
    return difference.interval is not None and not difference.interval[0] <= 0 <= difference.interval[1]


def _confusions(predictions: Sequence[TilePrediction]) -> IntArray:
    return np.stack([confusion_matrix(one.truth, one.classes) for one in predictions])
