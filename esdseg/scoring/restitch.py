"""``restitch``: from checkpoints and a store to maps."""

from esdseg.config.evaluation import RestitchConfig
from esdseg.config.loading import dump_config
from esdseg.prediction.files import make_folder, write_text
from esdseg.prediction.inputs import select_tiles
from esdseg.prediction.predicting import ChoosingListener, calibrate_inputs, open_predictor
from esdseg.prediction.sources import open_sources
from esdseg.prediction.stopwatch import Stopwatch
from esdseg.scoring.mapping import TileListener, drawing_processes, map_tiles, naming_large_windows
from esdseg.scoring.results import RestitchResult, TileMaps
from esdseg.system.files import remove_parts
from esdseg.system.locks import exclusive_writer
from esdseg.system.processes import background

RESTITCH_CONFIG_NAME = "restitch.yml"
"""Apart from that of ``evaluate``, since both commands may write to one folder."""


def restitch(
    config: RestitchConfig,
    on_tile: TileListener | None = None,
    on_choosing: ChoosingListener | None = None,
) -> RestitchResult:
    """Predict tiles and write maps and pictures of each: see :func:`esdseg.scoring.map_files.write_maps`.

    Of a run in folds, each tile is mapped by the fold that held it out, and tiles that no fold held out, such
    as those of ``Test/``, by the mean of all folds' probabilities.

    Args:
        config: What to predict, and where the maps go.
        on_tile: Told of each finished tile.
        on_choosing: Told of each tile that was predicted to choose a temperature.

    Raises:
        InputDataError: A checkpoint, the store or a tile is missing, unreadable or does not fit.
        UsageError: The machine lacks the accelerator that the settings name, or the settings cannot work with
            these checkpoints.
        MissingResourceError: There is no space left for the maps, or the Dask cluster is not there or cannot
            do it.
        OutOfMemoryError: The windows that are predicted together do not fit into memory.
    """
    sources = open_sources(config)
    tiles = select_tiles(sources.inputs.store, config.tiles)
    finished: dict[str, TileMaps] = {}
    temperatures: list[tuple[tuple[str, ...], float]] = []
    output_dir = sources.inputs.output_dir
    with open_predictor(config) as predict:
        make_folder(output_dir)
        with (
            exclusive_writer(output_dir, "choose another --name"),
            background(drawing_processes(len(tiles))) as drawing,
            naming_large_windows(sources.inputs, config),
        ):
            for tile in tiles:
                remove_parts(output_dir / tile)
            for inputs, group in sources.grouped(tiles):
                calibrated = calibrate_inputs(inputs, config, predict, Stopwatch(), on_choosing)
                if calibrated.calibration is not None:
                    temperatures.append((group, calibrated.calibration.temperature))
                for _, maps in map_tiles(calibrated, group, predict, drawing, None, Stopwatch()):
                    finished[maps.tile] = maps
                    if on_tile is not None:
                        on_tile(maps.tile, len(finished), len(tiles))
            write_text(output_dir / RESTITCH_CONFIG_NAME, dump_config(config))
    maps_in_order = tuple(finished[tile] for tile in tiles)
    return RestitchResult(
        sources.paths, output_dir, maps_in_order, sources.is_one_in_folds, tuple(temperatures)
    )
