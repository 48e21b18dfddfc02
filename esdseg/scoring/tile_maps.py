"""Writing the maps and pictures of tiles, in processes that start at once: nothing here needs torch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esdseg.metrics.scores import confusion_matrix, tile_scores
from esdseg.prediction.maps import write_prediction, write_probabilities, write_truth
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.report.satellite import read_satellite_picture, write_satellite
from esdseg.report.tile_picture import describe_origin, write_comparison
from esdseg.scoring.results import TileMaps
from esdseg.sensors.channels import Channel
from esdseg.store.store import NO_LAYER, Store
from esdseg.system.files import make_folder
from esdseg.system.memory import available_cores
from esdseg.system.processes import background

if TYPE_CHECKING:
    from esdseg.prediction.sources import Sources

MANY_TILES = 20
"""From here on processes that draw are worth their start, which takes as long as five tiles' files."""


@dataclass(frozen=True)
class TileToWrite:
    """A predicted tile, and where its files go.

    Attributes:
        prediction: The tile.
        store: The store that holds it.
        output_dir: Folder of all tiles' folders.
        mapped_by: Names of the checkpoints that predicted it.
        taken: Positions of the tile's layers that these took.
    """

    prediction: TilePrediction
    store: Store
    output_dir: Path
    mapped_by: tuple[str, ...]
    taken: tuple[int, ...]


def write_maps(
    predictions: Iterable[TilePrediction], sources: "Sources", output_dir: Path
) -> Iterator[tuple[TilePrediction, TileMaps]]:
    """Write maps and pictures of tiles, while the next ones are predicted.

    Args:
        predictions: The tiles as they are predicted.
        sources: What predicts them.
        output_dir: Folder of all tiles' folders.

    Yields:
        Each tile with its files, in the order of the predictions.

    Raises:
        InputDataError: A tile cannot be read, or its files cannot be written.
        MissingResourceError: There is no space left.
    """
    names = sources.short_names()
    channels = {str(checkpoint.path): checkpoint.channels for checkpoint in sources.checkpoints}
    to_write = (
        TileToWrite(
            prediction,
            sources.store,
            output_dir,
            tuple(names[path] for path in prediction.predicted_by),
            _taken_layers(sources.store, prediction, channels),
        )
        for prediction in predictions
    )
    with background(drawing_processes(len(sources.tiles))) as drawing:
        for tile, maps in drawing.map(write_tile, to_write):
            yield tile.prediction, maps


def _taken_layers(
    store: Store, prediction: TilePrediction, channels: Mapping[str, Sequence[Channel]]
) -> tuple[int, ...]:
    """Return the positions of the layers of a tile that the channels of its checkpoints take."""
    taken: set[int] = set()
    for path in prediction.predicted_by:
        positions = store.positions(prediction.tile, channels[path])
        taken.update(range(len(store.layers(prediction.tile))) if positions is None else positions.tolist())
    return tuple(sorted(taken - {NO_LAYER}))


def drawing_processes(tiles: int) -> int:
    """Return how many processes are to write the files of so many tiles: for few of them none but this."""
    return available_cores() if tiles >= MANY_TILES else 1


def write_tile(tile: TileToWrite) -> TileMaps:
    """Write a tile's maps and pictures: see :class:`~esdseg.scoring.results.TileMaps`.

    Beside them lie ``satellite.jpg`` and, of labelled tiles, ``truth.tif``.

    Raises:
        InputDataError: The tile cannot be read, or the files cannot be written.
        MissingResourceError: There is no space left.
    """
    prediction = tile.prediction
    folder = make_folder(tile.output_dir / prediction.tile)
    entry = tile.store.manifest.tiles[prediction.tile]
    georeference, origin = entry.georeference, describe_origin(entry.split, tile.mapped_by)
    scores = None
    if prediction.is_labelled:
        scores = tile_scores(confusion_matrix(prediction.scored_truth, prediction.classes))
        write_truth(folder, prediction, georeference)
    satellite = read_satellite_picture(tile.store, prediction.tile, tile.taken)
    write_satellite(folder, satellite)
    return TileMaps(
        prediction.tile,
        write_prediction(folder, prediction, georeference),
        write_probabilities(folder, prediction, georeference),
        write_comparison(folder, prediction, satellite, scores, origin),
        tile.mapped_by,
        prediction.channel_share,
        int(prediction.is_mapped.sum()),
    )
