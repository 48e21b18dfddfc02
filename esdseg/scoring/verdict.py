"""How a checkpoint was chosen, and whether it beats the simple models.

What chose a checkpoint never says how good it is. Where the scored tiles chose it, the run's last checkpoint,
which no score chose, is scored on the same tiles and is judged in its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from esdseg.baselines.simple_baselines import predict_simple_models
from esdseg.config.evaluation import EvalConfig
from esdseg.errors import InputDataError
from esdseg.metrics.resampling import paired_differences
from esdseg.metrics.scorecard import (
    DECIDING_SCORES,
    BaselineScores,
    Difference,
    LastCheckpoint,
    Verdict,
)
from esdseg.models.checkpoint import LoadedCheckpoint, load_checkpoint
from esdseg.models.checkpoint_lookup import LAST_NAME
from esdseg.models.registry import is_fitted
from esdseg.prediction.checkpoints import Ensemble, Sources
from esdseg.prediction.predictor import Predictor
from esdseg.prediction.tile_prediction import TilePrediction, scored_tiles
from esdseg.system.processes import ItemListener, ignore
from esdseg.tiles.discovery import natural_key


@dataclass(frozen=True)
class Judgement:
    """How a checkpoint was chosen, and how it stands beside the simple models.

    Attributes:
        selection_bias: Whether any scored tile chose it.
        last_checkpoint: Scores of the last checkpoint on the same tiles; ``None`` where nothing is biased, or
            there is no last checkpoint.
        baselines: Scores of each simple model by its name.
        verdict: Whether the network beats the best of them; ``None`` where that cannot be asked.
        notes: The same in words.
    """

    selection_bias: bool = False
    last_checkpoint: LastCheckpoint | None = None
    baselines: dict[str, BaselineScores] = field(default_factory=dict)
    verdict: Verdict | None = None
    notes: tuple[str, ...] = ()


def judge(
    sources: Sources,
    predictions: Sequence[TilePrediction],
    config: EvalConfig,
    predictor: Predictor,
    on_step: ItemListener = ignore,
) -> Judgement:
    """Look at how the checkpoints were chosen, and compare them with the simple models.

    A tile chose a checkpoint if the run validated on it, unless the file is ``last.ckpt``, which is written
    after every epoch whatever its score, or holds a model that is fitted in one go. Of several checkpoints
    that predict together one is enough. Test tiles and tiles that a fold held out chose nothing.

    Args:
        sources: The checkpoints with their tiles.
        predictions: What they say of all scored tiles, in natural order of tiles.
        config: Where fitted simple models are kept, the resamples, and whether simple models are wanted.
        predictor: Predicts by the last checkpoint.
        on_step: Receives each step of the simple models' fits.

    Raises:
        InputDataError: The last checkpoint gives numbers that are not finite.
    """
    selection = _look_at_selection(sources, predictor)
    if not config.simple_baselines:
        return selection.judgement
    simple = predict_simple_models(sources, config.predictions_dir, on_step)
    by_model = {
        name: sorted(tiles, key=lambda prediction: natural_key(prediction.tile))
        for name, tiles in simple.by_model.items()
    }
    baselines = {
        name: BaselineScores(**dict(scored_tiles(tiles).scores())) for name, tiles in by_model.items()
    }
    judgement = replace(selection.judgement, baselines=baselines)
    if simple.why_none is not None:
        return replace(judgement, notes=(simple.why_none, *judgement.notes))
    if not baselines or all(is_fitted(checkpoint.config.model) for checkpoint in sources.checkpoints):
        return judgement
    if selection.unchosen is None:
        why = f"Nothing says whether this beats the simple models: {selection.why_none_is_unchosen}."
        return replace(judgement, notes=(why, *judgement.notes))
    best = max(baselines, key=lambda name: baselines[name].contest_f1 or 0.0)
    judged = [selection.unchosen.get(prediction.tile, prediction) for prediction in predictions]
    differences = paired_differences(
        scored_tiles(judged), scored_tiles(by_model[best]), config.bootstrap_resamples, config.bootstrap_seed
    )
    deciding = {name: differences[name] for name in DECIDING_SCORES}
    last = judgement.last_checkpoint
    verdict = Verdict.model_validate(
        {
            "answer": answer(deciding),
            "against": best,
            "checkpoint": sources.paths if last is None else last.checkpoint,
            "differences": deciding,
        }
    )
    return replace(judgement, verdict=verdict, notes=(verdict.sentence(), *judgement.notes))


def answer(differences: dict[str, Difference]) -> Literal["beats", "does not beat", "not settled"]:
    """Say what the differences of the deciding scores settle."""
    if not all(differences[name].is_settled for name in DECIDING_SCORES):
        return "not settled"
    is_higher = all((differences[name].value or 0.0) > 0 for name in DECIDING_SCORES)
    return "beats" if is_higher else "does not beat"


def tiles_that_chose(ensemble: Ensemble) -> set[str]:
    """Return the scored tiles whose score chose a checkpoint that predicts them."""
    choosers = {
        tile
        for checkpoint in ensemble.checkpoints
        if checkpoint.path.name != LAST_NAME and not is_fitted(checkpoint.config.model)
        for tile in checkpoint.metadata.val_tiles
    }
    return choosers & set(ensemble.tiles)


@dataclass(frozen=True)
class _Selection:
    """How the checkpoints were chosen.

    Attributes:
        judgement: What there is to say of it.
        unchosen: Predictions of checkpoints that no score chose, for the tiles that chose the scored ones;
            ``None`` where there are none.
        why_none_is_unchosen: In words.
    """

    judgement: Judgement
    unchosen: dict[str, TilePrediction] | None = field(default_factory=dict)
    why_none_is_unchosen: str = ""


def _look_at_selection(sources: Sources, predictor: Predictor) -> _Selection:
    ensemble = next((ensemble for ensemble in sources.ensembles if tiles_that_chose(ensemble)), None)
    if ensemble is None:
        return _Selection(Judgement(notes=tuple(_last_notes(sources))))
    is_calibrated = any(checkpoint.metadata.is_calibrated for checkpoint in ensemble.checkpoints)
    checkpoint = next(checkpoint for checkpoint in ensemble.checkpoints if checkpoint.path.name != LAST_NAME)
    choosers = tiles_that_chose(ensemble)
    whose = "These tiles" if len(choosers) == len(ensemble.tiles) else f"{len(choosers)} of these tiles"
    also = ", and its temperature and threshold" if is_calibrated else ""
    among = f" of {len(ensemble.checkpoints)} checkpoints" if len(ensemble.checkpoints) > 1 else ""
    trials = ", and the trials of the sweep that are taken" if sources.of_sweep else ""
    note = (
        f"{whose} chose {checkpoint.path.name}{among}, the epoch with the best "
        f"{checkpoint.config.trainer.monitor} on them{also}{trials}: the scores are too good for new tiles."
    )
    lasts = [_last_of(checkpoint) for checkpoint in ensemble.checkpoints]
    if any(checkpoint is None for checkpoint in lasts):
        none = f"There is no {LAST_NAME} beside it, which no score chose, to compare."
        return _Selection(
            Judgement(True, notes=(f"{note} {none}",)),
            unchosen=None,
            why_none_is_unchosen=f"these tiles chose {checkpoint.path.name}, and there is no {LAST_NAME}",
        )
    # Best and last of one run have the same last one.
    found = tuple({checkpoint.path: checkpoint for checkpoint in lasts if checkpoint is not None}.values())
    unchosen = predictor.calibrate(replace(ensemble, checkpoints=found, calibration=None))
    predictions = tuple(predictor.predict_ensemble(unchosen))
    headline = scored_tiles(predictions).scores().headline()
    contest_f1, f1_macro = (
        "undefined" if value is None else f"{value:.3f}" for value in (headline.contest_f1, headline.f1_macro)
    )
    judgement = Judgement(
        selection_bias=True,
        last_checkpoint=LastCheckpoint(
            checkpoint=", ".join(str(checkpoint.path) for checkpoint in found), **dict(headline)
        ),
        notes=(f"{note} {LAST_NAME}, which no score chose: contest F1 {contest_f1}, macro F1 {f1_macro}.",),
    )
    if sources.of_sweep:
        return _Selection(judgement, None, "the sweep's trials were compared on these tiles")
    return _Selection(judgement, {prediction.tile: prediction for prediction in predictions})


def _last_notes(sources: Sources) -> list[str]:
    """Say what the scored tiles decided about a last checkpoint, which no score chose."""
    watched = [
        checkpoint
        for ensemble in sources.ensembles
        for checkpoint in ensemble.checkpoints
        if not is_fitted(checkpoint.config.model) and set(checkpoint.metadata.val_tiles) & set(ensemble.tiles)
    ]
    notes = []
    if any(checkpoint.config.trainer.patience is not None for checkpoint in watched):
        notes.append(f"{LAST_NAME} was chosen by no score, but early stopping watched these tiles.")
    if any(checkpoint.metadata.is_calibrated for checkpoint in watched):
        notes.append(
            f"These tiles chose the temperature and the threshold of {LAST_NAME}: calibration error, Brier "
            "score, AUC and the F1 at the threshold are too good for new tiles; the other scores do not "
            "depend on them."
        )
    return notes


def _last_of(checkpoint: LoadedCheckpoint) -> LoadedCheckpoint | None:
    """Return the last checkpoint of a run, for the same windows; ``None`` without one."""
    if is_fitted(checkpoint.config.model):
        return checkpoint
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
