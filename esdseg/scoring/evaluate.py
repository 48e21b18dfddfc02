"""``evaluate``: from a checkpoint and a store to maps, scores and a report."""

from datetime import UTC, datetime

from esdseg.config.evaluation import EvalConfig
from esdseg.prediction.open_checkpoints import open_for_scoring
from esdseg.prediction.predictor import open_predictor
from esdseg.scoring.results import EvaluationResult, replacing_results, write_results
from esdseg.scoring.score import score
from esdseg.scoring.tile_maps import write_maps
from esdseg.scoring.verdict import judge
from esdseg.system.processes import ItemListener, ignore
from esdseg.tiles.discovery import natural_key


def evaluate(
    config: EvalConfig,
    on_tile: ItemListener = ignore,
    on_choosing: ItemListener = ignore,
    on_simple: ItemListener = ignore,
    on_result: ItemListener = ignore,
) -> EvaluationResult:
    """Predict and score the labelled tiles of a split; write scores, report, pictures and maps.

    Of a run in folds, each tile is predicted by the fold that held it out, and all are scored together.
    Several runs predict together, by the mean of their probabilities. Cells and tiles that lack most of the
    network's channels are no data in the maps, and are not scored. The results' folder is replaced as a
    whole once all is written; until then the old one stands.

    Args:
        config: What to score, and where the results go.
        on_tile: Receives each finished tile.
        on_choosing: Receives each tile that was predicted to choose a temperature.
        on_simple: Receives each step of fitting the simple models that the scores are compared with, where
            they are not fitted yet.
        on_result: Receives what is made of the predictions: scores, then pictures.

    Raises:
        InputDataError: The checkpoint, the store or a tile is missing, unreadable or does not fit; or the
            split has no labelled tiles, or none with enough of the network's channels; or another process is
            writing the same results.
        MissingResourceError: There is no space left for the results, or the Dask cluster is not there or
            cannot do it; the results are then as they were.
        OutOfMemoryError: The windows that are predicted together do not fit into memory.
        UsageError: The machine lacks the accelerator that the settings name, or the checkpoints cannot be
            scored on that split or used as the settings say; or the folder holds something else than results.
    """
    sources = open_for_scoring(config)
    with open_predictor(config) as predictor, replacing_results(sources.output_dir) as folder:
        sources = predictor.calibrate_all(sources, on_choosing)
        tiles = len(sources.tiles)
        predicted = predictor.predict(sources)
        written = []
        for tile in write_maps(predicted, sources, folder):
            written.append(tile)
            on_tile(tile[0].tile, len(written), tiles)
        written.sort(key=lambda tile: natural_key(tile[0].tile))
        predictions = tuple(prediction for prediction, _ in written)
        seconds_per_tile = predictor.seconds / predictor.predicted
        scored = tuple(prediction for prediction in predictions if prediction.is_scored)
        sources = sources.scoring([prediction.tile for prediction in scored])
        judgement = judge(sources, scored, config, predictor, on_simple)
        on_result("scores and their error bars", 0, 2)
        card = score(scored, sources, config, judgement, seconds_per_tile, predictions)
        card = card.model_copy(update={"evaluated_at": datetime.now(UTC).replace(microsecond=0)})
        on_result("report and pictures", 1, 2)
        write_results(folder, card, scored, config)
    output_dir = sources.output_dir
    return EvaluationResult(card, output_dir, tuple(maps.moved(folder, output_dir) for _, maps in written))
