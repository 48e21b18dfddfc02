"""How a checkpoint was chosen, and whether it beats the simple models.

What chose a checkpoint never says how good it is. Where the scored tiles chose it, the run's last checkpoint,
which no score chose, is scored on the same tiles and is judged in its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from esdseg.baselines.checkpoint import BaselineCheckpoint, open_checkpoint
from esdseg.baselines.simple_baselines import BaselineTask, predict_baselines, why_no_baselines
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
from esdseg.models.checkpoint import LoadedCheckpoint
from esdseg.models.runs import LAST_NAME
from esdseg.prediction.known_tiles import KnownTiles
from esdseg.prediction.predictor import Predictor
from esdseg.prediction.sources import Ensemble, Sources
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

    A tile chose a checkpoint if the run validated on it and monitored a metric, unless the file is
    ``last.ckpt``, which is written after every epoch whatever its score, or holds a model that is fitted in
    one go. Of several checkpoints that predict together one is enough. Test tiles and tiles that a fold held
    out chose nothing.

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
    try:
        by_model, why_none = predict_simple_models(sources, config.predictions_dir, on_step), None
    except InputDataError as error:
        by_model, why_none = {}, str(error)
    # On the same cells as the network, which leaves out those of too few channels.
    truth_of = {prediction.tile: prediction.scored_truth for prediction in predictions}
    by_model = {
        name: [replace(tile, truth=truth_of[tile.tile]) for tile in tiles] for name, tiles in by_model.items()
    }
    baselines = {
        name: BaselineScores(**dict(scored_tiles(tiles).scores())) for name, tiles in by_model.items()
    }
    judgement = replace(selection.judgement, baselines=baselines)
    if why_none is not None:
        return replace(judgement, notes=(why_none, *judgement.notes))
    if not baselines or all(isinstance(checkpoint, BaselineCheckpoint) for checkpoint in sources.checkpoints):
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


def predict_simple_models(
    sources: Sources, predictions_dir: Path, on_step: ItemListener = ignore
) -> dict[str, list[TilePrediction]]:
    """Return what the simple models predict of the scored tiles, by model, in natural order of tiles.

    The tiles of each ensemble are predicted by models that are fitted to the ensemble's training tiles. A
    model that is scored itself is left out.

    Args:
        sources: The checkpoints with their tiles.
        predictions_dir: Folder of all results, in which the predictions are kept.
        on_step: Receives each step of the fits.

    Raises:
        InputDataError: The simple models cannot be fitted; the message says why.
    """
    store = sources.store
    for checkpoint in sources.checkpoints:
        reason = why_no_baselines(checkpoint.metadata, checkpoint.path, store)
        if reason is not None:
            raise InputDataError(reason)
    tasks = [BaselineTask(ensemble.trained(), ensemble.tiles) for ensemble in sources.ensembles]
    try:
        maps = predict_baselines(tasks, store, predictions_dir, on_step)
    except InputDataError as error:
        raise InputDataError(f"The simple models could not be fitted: {error}") from None
    fitted_to = {tile: (", ".join(task.trained.train_tiles),) for task in tasks for tile in task.tiles}
    return {
        name: [
            TilePrediction(tile, store.labels(tile), by_tile[tile], predicted_by=fitted_to[tile])
            for tile in sorted(by_tile, key=natural_key)
        ]
        for name, by_tile in maps.items()
        if name != sources.model_names
    }


def answer(differences: dict[str, Difference]) -> Literal["beats", "does not beat", "not settled"]:
    """Say what the differences of the deciding scores settle."""
    if not all(differences[name].is_settled for name in DECIDING_SCORES):
        return "not settled"
    is_higher = all((differences[name].value or 0.0) > 0 for name in DECIDING_SCORES)
    return "beats" if is_higher else "does not beat"


def tiles_that_chose(ensemble: Ensemble) -> KnownTiles:
    """Return the scored tiles whose score chose a checkpoint that predicts them."""
    chosen = tuple(filter(_is_chosen_by_score, ensemble.checkpoints))
    return replace(ensemble, checkpoints=chosen).validated_on()


def _is_chosen_by_score(checkpoint: LoadedCheckpoint) -> bool:
    is_last = checkpoint.path.name == LAST_NAME or checkpoint.config.trainer.monitor is None
    return not is_last and not isinstance(checkpoint, BaselineCheckpoint)


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
    biased = [ensemble for ensemble in sources.ensembles if tiles_that_chose(ensemble).all]
    ensemble = next(
        (certain for certain in biased if tiles_that_chose(certain).same), next(iter(biased), None)
    )
    if ensemble is None:
        return _Selection(Judgement(notes=tuple(_last_notes(sources))))
    is_calibrated = any(checkpoint.metadata.is_calibrated for checkpoint in ensemble.checkpoints)
    checkpoint = next(filter(_is_chosen_by_score, ensemble.checkpoints))
    known = tiles_that_chose(ensemble)
    choosers = known.same or known.perhaps
    whose = "These tiles" if len(choosers) == len(ensemble.tiles) else f"{len(choosers)} of these tiles"
    too_good = "the scores are too good for new tiles"
    if not known.same:
        whose = f"Tiles of the same names as {whose.lower()}"
        too_good = f"if they are the same tiles, {too_good}"
    also = ", and its temperature and threshold" if is_calibrated else ""
    among = f" of {len(ensemble.checkpoints)} checkpoints" if len(ensemble.checkpoints) > 1 else ""
    trials = ", and the trials of the sweep that are taken" if sources.of_sweep else ""
    note = (
        f"{whose} chose {checkpoint.path.name}{among}, the epoch with the best "
        f"{checkpoint.config.trainer.monitor} on them{also}{trials}: {too_good}."
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
    """Say what the scored tiles decided about checkpoints of a last epoch, which no score chose."""
    watched = {
        checkpoint.path: (checkpoint, replace(ensemble, checkpoints=(checkpoint,)).validated_on())
        for ensemble in sources.ensembles
        for checkpoint in ensemble.checkpoints
        if not isinstance(checkpoint, BaselineCheckpoint)
    }
    watching = [checkpoint for checkpoint, known in watched.values() if known.all]
    these = "these tiles" if any(known.same for _, known in watched.values()) else "tiles of the same names"
    names = ", ".join(dict.fromkeys(checkpoint.path.name for checkpoint in watching))
    notes = []
    if any(checkpoint.config.trainer.patience is not None for checkpoint in watching):
        notes.append(f"{names} was chosen by no score, but early stopping watched {these}.")
    if any(checkpoint.metadata.is_calibrated for checkpoint in watching):
        notes.append(
            f"{these.capitalize()} chose the temperature and the threshold of {names}: calibration "
            "error, Brier score, AUC and the F1 at the threshold are too good for them; the other scores do "
            "not depend on them."
        )
    return notes


def _last_of(checkpoint: LoadedCheckpoint) -> LoadedCheckpoint | None:
    """Return the last checkpoint of a run, for the same windows; ``None`` without one."""
    if isinstance(checkpoint, BaselineCheckpoint):
        return checkpoint
    path = checkpoint.path.with_name(LAST_NAME)
    try:
        last = open_checkpoint(path, checkpoint.window_size)
    except InputDataError:
        return None
    # A file that was copied here from another run says nothing of this one. The settings may differ: a
    # resumption can have raised the number of epochs; and each has its own temperature and threshold.
    mine = checkpoint.metadata
    own = ("config", "temperature", "contest_threshold", "is_calibrated")
    if last.metadata.model_copy(update={name: getattr(mine, name) for name in own}) != mine:
        return None
    return last
