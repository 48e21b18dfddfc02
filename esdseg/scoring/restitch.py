"""``restitch``: from checkpoints and a store to maps."""

from dataclasses import replace

from esdseg.config.evaluation import RestitchConfig
from esdseg.config.loading import dump_config
from esdseg.errors import InputDataError
from esdseg.prediction.channel_share import MIN_CHANNEL_SHARE, show_share
from esdseg.prediction.open_checkpoints import open_for_mapping
from esdseg.prediction.predictor import open_predictor
from esdseg.prediction.sources import missing_places
from esdseg.scoring.results import RESTITCH_CONFIG_NAME, RestitchResult
from esdseg.scoring.submission import check_submission, write_submission
from esdseg.scoring.tile_maps import write_maps
from esdseg.system.files import make_folder, remove_parts, write_text
from esdseg.system.locks import exclusive_writer
from esdseg.system.processes import ItemListener, ignore


def restitch(
    config: RestitchConfig, on_tile: ItemListener = ignore, on_choosing: ItemListener = ignore
) -> RestitchResult:
    """Predict tiles and write maps and pictures of each: see :func:`esdseg.scoring.tile_maps.write_tile`.

    Of a run in folds, each tile is mapped by the fold that held it out, and tiles that no fold held out, such
    as those of ``Test/``, by the mean of all folds' probabilities. Each file is written whole; other tiles'
    maps in the folder stay. What is handed in is written where the settings ask for it: see
    :mod:`esdseg.scoring.submission`.

    Args:
        config: What to predict, and where the maps go.
        on_tile: Receives each finished tile.
        on_choosing: Receives each tile that was predicted to choose a temperature.

    Raises:
        InputDataError: A checkpoint, the store or a tile is missing, unreadable or does not fit; or no cell
            has enough of the network's channels.
        UsageError: The machine lacks the accelerator that the settings name, or the settings cannot work with
            these checkpoints.
        MissingResourceError: There is no space left for the maps, or the Dask cluster is not there or cannot
            do it.
        OutOfMemoryError: The windows that are predicted together do not fit into memory.
    """
    sources = open_for_mapping(config)
    check_submission(config, sources.tiles)
    folder = sources.output_dir
    with open_predictor(config) as predictor:
        make_folder(folder)
        with exclusive_writer(folder, "choose another --name"):
            write_text(folder / RESTITCH_CONFIG_NAME, dump_config(config))
            for tile in sources.tiles:
                remove_parts(folder / tile)
            ensembles = tuple(predictor.calibrate(ensemble, on_choosing) for ensemble in sources.ensembles)
            sources = replace(sources, ensembles=ensembles)
            tiles = len(sources.tiles)
            predicted = predictor.predict(sources)
            maps, classes = {}, {}
            for prediction, written in write_maps(predicted, sources, folder):
                maps[written.tile], classes[written.tile] = written, prediction.classes
                on_tile(written.tile, len(maps), tiles)
            submission = write_submission(folder, config, classes)
    if not any(tile.mapped_cells for tile in maps.values()):
        most = max(tile.channel_share for tile in maps.values())
        raise InputDataError(
            f"No cell was mapped: the tiles have {show_share(most)} or less of the channels that "
            f"{sources.paths} takes, and a map needs {show_share(MIN_CHANNEL_SHARE)} in a cell. The maps in "
            f"{folder} are no data (code 0) everywhere. Take tiles of the sensors and dates that the network "
            "was trained on, or train on tiles like these."
        )
    in_order = config.tiles or tuple(sources.store.manifest.tiles)
    return RestitchResult(
        sources.paths,
        folder,
        tuple(maps[tile] for tile in dict.fromkeys(in_order)),
        sources.is_one_in_folds,
        sources.held_out_by_name_alone(),
        tuple(
            (ensemble.tiles, ensemble.calibration.temperature)
            for ensemble in ensembles
            if ensemble.calibration is not None
        ),
        sources.places(),
        tuple(note for ensemble in ensembles for note in missing_places(ensemble)),
        submission,
    )
