"""Taking channels away from a finished network."""

from dataclasses import dataclass

import numpy as np

from esdseg.ablation.opening import Opened
from esdseg.ablation.predicting import TileVariants, predict_variants
from esdseg.ablation.removals import Effect
from esdseg.ablation.result import Row, Whole
from esdseg.ablation.scoring import Scorer, Scores
from esdseg.metrics.scorecard import Difference
from esdseg.system.processes import ItemListener
from esdseg.tiles.discovery import natural_key


@dataclass(frozen=True)
class TakenAway:
    """The scores of a network with all channels, and without groups of them.

    Attributes:
        scorer: Compares others with the network with all channels.
        whole: The network with all channels.
        rows: One for each removal.
        seconds: Time of all passes of the network together.
    """

    scorer: Scorer
    whole: Whole
    rows: tuple[Row, ...]
    seconds: float


def take_away(opened: Opened, on_tile: ItemListener | None = None) -> TakenAway:
    """Predict every tile with all channels and after each removal, and score the differences.

    Args:
        opened: Checkpoints, tiles and removals.
        on_tile: Told of each tile that all variants of were predicted.

    Raises:
        InputDataError: A tile cannot be read, or the network gives numbers that are not finite.
    """
    scored, config = opened.scored, opened.config
    tiles: list[TileVariants] = []
    for part in scored.ensembles:
        for one in predict_variants(
            part.checkpoint,
            part.store,
            part.tiles,
            opened.removals,
            opened.device,
            config.batch_size,
            opened.passes,
        ):
            tiles.append(one)
            if on_tile is not None:
                on_tile(one.whole.tile, len(tiles), len(scored.tiles))
    tiles.sort(key=lambda one: natural_key(one.whole.tile))
    seconds = np.mean([one.seconds for one in tiles], axis=0)
    scorer = Scorer([one.whole for one in tiles], config.bootstrap_resamples, config.bootstrap_seed)
    parameters = scored.parameters
    known: dict[Effect, tuple[Scores, dict[str, Difference]]] = {}
    rows = []
    for index, removal in enumerate(opened.removals):
        if removal.effect not in known:
            reduced = [one.reduced[index] for one in tiles]
            known[removal.effect] = scorer.score(reduced), scorer.compare(reduced)
        scores, differences = known[removal.effect]
        removed = tuple(channel.name for channel in opened.channels if channel in removal.effect.absent)
        rows.append(
            Row(
                removal=removal,
                how="inference",
                removed=removed,
                remaining=len(opened.channels) - len(removed),
                scores=scores,
                differences=differences,
                seconds_per_tile=float(seconds[index + 1]),
                parameters=parameters,
            )
        )
    whole = Whole(scorer.whole, len(opened.channels), float(seconds[0]), parameters)
    return TakenAway(scorer, whole, tuple(rows), float(sum(one.seconds.sum() for one in tiles)))
