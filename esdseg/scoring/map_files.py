"""The files of one mapped tile. Nothing here needs torch, so that processes that write them start at once."""

from dataclasses import dataclass
from pathlib import Path

from esdseg.metrics.confusion import confusion_matrix, tile_scores
from esdseg.prediction.files import make_folder
from esdseg.prediction.maps import write_prediction, write_probabilities, write_truth
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.report.satellite import read_satellite_picture
from esdseg.report.satellite_file import write_satellite
from esdseg.report.tile_picture import write_comparison
from esdseg.scoring.results import TileMaps
from esdseg.store.store import Store


@dataclass(frozen=True)
class Mapped:
    """A predicted tile, and where its files go.

    Attributes:
        store: The store that holds the tile.
        output_dir: Folder of all tiles' folders.
        prediction: The tile's.
        mapped_by: Names of the checkpoints that it comes from.
    """

    store: Store
    output_dir: Path
    prediction: TilePrediction
    mapped_by: tuple[str, ...]


def write_maps(mapped: Mapped) -> TileMaps:
    """Write a tile's maps and pictures: see :class:`~esdseg.scoring.results.TileMaps`.

    Beside them lie ``satellite.jpg`` and, of labelled tiles, ``truth.tif``.

    Raises:
        InputDataError: The tile cannot be read, or the files cannot be written.
        MissingResourceError: There is no space left.
    """
    prediction, tile = mapped.prediction, mapped.prediction.tile
    folder = make_folder(mapped.output_dir / tile)
    georeference = mapped.store.manifest.tiles[tile].georeference
    scores = None
    if prediction.is_labelled:
        scores = tile_scores(confusion_matrix(prediction.truth, prediction.classes))
    satellite = read_satellite_picture(mapped.store, tile)
    write_satellite(folder, satellite)
    if prediction.is_labelled:
        write_truth(folder, prediction, georeference)
    return TileMaps(
        tile,
        write_prediction(folder, prediction, georeference),
        write_probabilities(folder, prediction, georeference),
        write_comparison(folder, prediction, satellite, scores),
        mapped.mapped_by,
    )
