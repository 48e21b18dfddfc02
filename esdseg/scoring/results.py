"""The folder of a run's results: finding it by name, and what ``evaluate`` and ``restitch`` return of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import JsonValue

from esdseg.config.evaluation import EvalConfig
from esdseg.config.loading import dump_config
from esdseg.errors import InputDataError, UsageError
from esdseg.metrics.score_table import ScoreTable, TextTable, build_score_table, describe_tiles
from esdseg.metrics.scorecard import Scorecard, read_scorecard
from esdseg.prediction.channel_share import channel_note, show_share
from esdseg.prediction.places import Places, places_to_json
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.submission import TABLE_NAME, ZIP_NAME, Submission
from esdseg.sensors.classes import GRID_SIZE
from esdseg.system.files import (
    exchange_folders,
    make_folder,
    naming_write_faults,
    part_path,
    remove_folder,
    write_text,
)
from esdseg.system.locks import LOCK_NAME, exclusive_writer
from esdseg.tiles.discovery import natural_key

METRICS_NAME = "metrics.json"
CONFIG_NAME = "config.yml"
RESTITCH_CONFIG_NAME = "restitch.yml"
"""Apart from that of ``evaluate``, since both commands may write to one folder."""

RESULT_NAMES = frozenset(
    {
        METRICS_NAME,
        CONFIG_NAME,
        RESTITCH_CONFIG_NAME,
        TABLE_NAME,
        ZIP_NAME,
        "report.html",
        "confusion_matrix.png",
        "roc.png",
        "precision_recall.png",
        "reliability.png",
        "coverage_risk.png",
        "errors.png",
    }
)
"""All files that a folder of results holds, beside the tiles' folders."""

TILE_NAMES = frozenset(
    {
        "prediction.tif",
        "probabilities.tif",
        "truth.tif",
        "comparison.png",
        "satellite.jpg",
    }
)
"""All files that a tile's folder holds."""


def find_folder(name: str, predictions_dir: Path) -> Path:
    """Return the folder that holds a run's ``metrics.json``.

    Args:
        name: A folder's path from here, or the name of one in ``predictions_dir``.
        predictions_dir: Folder of all results.

    Raises:
        InputDataError: There is no such folder, or no ``metrics.json`` in it.
    """
    candidates = [Path(name), predictions_dir / name]
    for folder in candidates:
        if (folder / METRICS_NAME).is_file():
            return folder
    command = f"`esdseg evaluate --checkpoint {Path(name).name} --name {Path(name).name}`"
    existing = next((folder for folder in reversed(candidates) if folder.is_dir()), None)
    if existing is not None:
        raise InputDataError(f"{existing} holds no {METRICS_NAME}; make it with {command}.")
    known = sorted(path.parent.name for path in predictions_dir.glob(f"*/{METRICS_NAME}"))
    there = f"it holds {', '.join(known)}" if known else "it holds no scores yet"
    raise InputDataError(
        f"There are no scores of {name!r}, neither from here nor in {predictions_dir} ({there}); make them "
        f"with {command}."
    )


@contextmanager
def replacing_results(folder: Path) -> Iterator[Path]:
    """Let results be written apart, and put them in the place of the folder's old ones in one step.

    What the folder held is as it was until then, and nobody else writes to it meanwhile. A process that is
    killed leaves the old results or the new ones, whole.

    Args:
        folder: Where they go; made if it is not there.

    Yields:
        The folder to write to.

    Raises:
        InputDataError: Another process is writing to the folder, or it cannot be written to.
        MissingResourceError: There is no space left.
        UsageError: The folder holds something that is no result, and would be lost.
    """
    strange = _first_strange(folder)
    if strange is not None:
        raise UsageError(
            f"{folder} is replaced as a whole, and {strange.name!r} in it is none of the results of evaluate "
            "or restitch; move it elsewhere, or choose another --name."
        )
    make_folder(folder)
    new, elsewhere = part_path(folder), "choose another --name"
    with exclusive_writer(folder, elsewhere):
        remove_folder(new)
        # The lock of the new folder goes on keeping others away once it has taken the old one's place.
        with exclusive_writer(new, elsewhere):
            try:
                yield new
                with naming_write_faults(folder):
                    exchange_folders(new, folder)
            finally:
                remove_folder(new)
                (folder / LOCK_NAME).unlink(missing_ok=True)


def _first_strange(folder: Path) -> Path | None:
    """Return something in a folder that is none of the results; ``None`` if all is."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        is_hidden = path.name.startswith(".")
        is_tile = path.is_dir() and all(_is_tile_file(inner.name) for inner in path.iterdir())
        if not (is_hidden or is_tile or path.name in RESULT_NAMES):
            return path
    return None


def _is_tile_file(name: str) -> bool:
    # Programs that show maps leave statistics beside them.
    return name.startswith(".") or name.removesuffix(".aux.xml") in TILE_NAMES


def write_results(
    folder: Path, card: Scorecard, predictions: Sequence[TilePrediction], config: EvalConfig
) -> None:
    """Write pictures, settings, report and scores of an evaluation beside the tiles' maps.

    Raises:
        InputDataError: A file cannot be written.
        MissingResourceError: There is no space left.
    """
    # Imported here, since who looks for a folder need not wait for what draws.
    from esdseg.report.error_picture import write_error_picture
    from esdseg.report.page import write_report

    write_error_picture(folder, predictions, card)
    settings = dump_config(config)
    write_text(folder / CONFIG_NAME, settings)
    write_report(folder, card, settings)
    write_text(folder / METRICS_NAME, card.dump())


def make_report(name: str, predictions_dir: Path | None = None) -> Path:
    """Write report and pictures of an evaluated run again; neither checkpoint nor store is needed.

    Args:
        name: A folder of predictions, or the name of such a folder in ``predictions_dir``.
        predictions_dir: Folder of all results; that of ``evaluate`` unless given.

    Returns:
        The report.

    Raises:
        InputDataError: The run has no scores, or its scores, settings or maps are missing, damaged, or not of
            one evaluation.
    """
    folder = find_folder(name, predictions_dir or EvalConfig().predictions_dir)
    card = read_scorecard(folder / METRICS_NAME)
    try:
        config = (folder / CONFIG_NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputDataError(
            f"{folder / CONFIG_NAME} cannot be read ({error}); make it anew with `esdseg evaluate`."
        ) from None
    # Imported here, since who names a folder that is not there need not wait for what draws.
    from esdseg.report.page import write_report

    return write_report(folder, card, config)


@dataclass(frozen=True)
class TileMaps:
    """The files of one mapped tile.

    Attributes:
        tile: The tile's name.
        prediction: ``prediction.tif``.
        probabilities: ``probabilities.tif``.
        picture: ``comparison.png``.
        mapped_by: Name of the run that predicted the tile, or the checkpoint's path where runs are called
            alike; several where the map is the mean of their probabilities.
        channel_share: Share of the network's channels that the tile has, the mean over its cells.
        mapped_cells: Cells that are not no data for want of channels.
    """

    tile: str
    prediction: Path
    probabilities: Path
    picture: Path
    mapped_by: tuple[str, ...]
    channel_share: float
    mapped_cells: int

    def moved(self, source: Path, target: Path) -> "TileMaps":
        """Return the same files after the folder ``source`` has become ``target``."""
        return replace(
            self,
            prediction=target / self.prediction.relative_to(source),
            probabilities=target / self.probabilities.relative_to(source),
            picture=target / self.picture.relative_to(source),
        )

    def to_json(self) -> dict[str, JsonValue]:
        """Return paths and runs as plain JSON types."""
        return {
            "prediction": str(self.prediction),
            "probabilities": str(self.probabilities),
            "comparison": str(self.picture),
            "mapped_by": list(self.mapped_by),
            "channel_share": self.channel_share,
            "mapped_cells": self.mapped_cells,
        }


def channel_table(maps: Sequence[TileMaps]) -> TextTable | None:
    """Return the share of the network's channels of each tile that lacks some; ``None`` where none does."""
    rows = tuple(
        (tile.tile, show_share(tile.channel_share), f"{tile.mapped_cells} of {GRID_SIZE**2}")
        for tile in maps
        if tile.channel_share < 1
    )
    return (
        TextTable("Tiles without all channels", ("tile", "channels", "cells mapped"), rows) if rows else None
    )


@dataclass(frozen=True)
class RestitchResult:
    """Mapped tiles.

    Attributes:
        checkpoint: The checkpoint that was taken; of folds the pattern of their paths, of several runs with
            commas.
        output_dir: Folder of the results.
        maps: The files of each tile, in the order in which they were asked for.
        in_folds: Whether a run in folds predicted, each tile by the fold that held it out where one did.
        known_by_name: Tiles of which a name alone says that a fold held them out.
        temperatures: What was fitted to the prediction of tiles, beside their names.
        places: The dates of each tile that fill the networks' places, by sensor.
        missing: A sentence for each sensor of which tiles lack acquisitions.
        submission: What is handed in, where that was asked for.
    """

    checkpoint: str
    output_dir: Path
    maps: tuple[TileMaps, ...]
    in_folds: bool = False
    known_by_name: frozenset[str] = frozenset()
    temperatures: tuple[tuple[tuple[str, ...], float], ...] = ()
    places: Mapping[str, Places] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    submission: Submission | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Which channels tiles lack, which run mapped which of several, and with what temperature."""
        tempered = tuple(
            f"{', '.join(tiles)}: a temperature of {temperature:.2f}, fitted to this prediction on the "
            "validation tiles, acts on the probabilities."
            for tiles, temperature in self.temperatures
        )
        shares = {tile.tile: (tile.channel_share, tile.mapped_cells) for tile in self.maps}
        handed_in = self.submission.notes if self.submission else ()
        return (channel_note(shares), *self._mapped_by_notes(), *tempered, *self.missing, *handed_in)

    @property
    def channel_table(self) -> TextTable | None:
        """The share of the network's channels of each tile that lacks some."""
        return channel_table(self.maps)

    def _mapped_by_notes(self) -> tuple[str, ...]:
        tiles_of: dict[tuple[str, ...], list[str]] = {}
        for tile_maps in self.maps:
            tiles_of.setdefault(tile_maps.mapped_by, []).append(tile_maps.tile)
        if len(tiles_of) < 2 and all(len(runs) < 2 for runs in tiles_of) and not self.known_by_name:
            return ()
        in_order = sorted(tiles_of.items(), key=lambda item: (len(item[0]), natural_key(item[0][0])))
        return tuple(self._mapped_by_note(tiles, runs) for runs, tiles in in_order)

    def _mapped_by_note(self, tiles: Sequence[str], runs: Sequence[str]) -> str:
        named, them = ", ".join(tiles), "it" if len(tiles) == 1 else "them"
        if not self.in_folds:
            return f"{named}: mapped by the mean of the probabilities of {', '.join(runs)}."
        if len(runs) == 1 and self.known_by_name.isdisjoint(tiles):
            return f"{named}: mapped by {runs[0]}, which held {them} out."
        if len(runs) == 1:
            that_is = "it is the same tile" if len(tiles) == 1 else "they are the same tiles"
            others = "a tile of that name" if len(tiles) == 1 else "tiles of these names"
            return (
                f"{named}: mapped by {runs[0]}, which held out {others}. Whether {that_is} cannot be "
                f"known; the network may have been trained on {them}."
            )
        return f"{named}: mapped by the mean of all {len(runs)} folds' probabilities; none held {them} out."

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The comparison picture of each tile."""
        return tuple(tile_maps.picture for tile_maps in self.maps)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the result as plain JSON types."""
        return {
            "checkpoint": self.checkpoint,
            "output_dir": str(self.output_dir),
            "maps": {tile_maps.tile: tile_maps.to_json() for tile_maps in self.maps},
            "places": {
                tile: {sensor: [*days] for sensor, days in places_to_json(places).items()}
                for tile, places in self.places.items()
            },
            "submission": str(self.submission.path) if self.submission else None,
        }


@dataclass(frozen=True)
class EvaluationResult:
    """A scored split.

    Attributes:
        card: The scores, which ``metrics.json`` holds.
        output_dir: Folder of the results.
        maps: The files of each scored tile.
    """

    card: Scorecard
    output_dir: Path
    maps: tuple[TileMaps, ...]

    @property
    def metrics_path(self) -> Path:
        """``metrics.json``."""
        return self.output_dir / METRICS_NAME

    @property
    def report_path(self) -> Path:
        """``report.html``."""
        return self.output_dir / "report.html"

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The comparison picture of each tile."""
        return tuple(maps.picture for maps in self.maps)

    @property
    def score_table(self) -> ScoreTable:
        """The scores as rows."""
        return build_score_table(self.card)

    @property
    def tables(self) -> tuple[TextTable, ...]:
        """The scores as tables of texts, to print."""
        tiles = describe_tiles(self.card.split, len(self.card.tiles))
        lacking = channel_table(self.maps)
        tables = self.score_table.tables(f"{self.card.run} on {tiles}")
        return tables if lacking is None else (*tables, lacking)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the content of ``metrics.json`` and the paths of all results as plain JSON types."""
        return {
            **self.card.model_dump(mode="json"),
            "output_dir": str(self.output_dir),
            "maps": {maps.tile: maps.to_json() for maps in self.maps},
            "metrics_path": str(self.metrics_path),
            "report_path": str(self.report_path),
        }
