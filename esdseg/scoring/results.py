"""The folder of a run's results: finding it by name, and what ``evaluate`` and ``restitch`` return of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from esdseg.errors import InputDataError
from esdseg.metrics.score_table import ScoreTable, TextTable, build_score_table
from esdseg.metrics.scorecard import Scorecard
from esdseg.tiles.discovery import natural_key

METRICS_NAME = "metrics.json"
CONFIG_NAME = "config.yml"


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


@dataclass(frozen=True)
class TileMaps:
    """The files of one mapped tile.

    Attributes:
        tile: The tile's name.
        prediction: ``prediction.tif``.
        probabilities: ``probabilities.tif``.
        picture: ``comparison.png``.
        mapped_by: The run that predicted it, or, where that says too little, its checkpoint; several where it
            is the mean of their probabilities.
    """

    tile: str
    prediction: Path
    probabilities: Path
    picture: Path
    mapped_by: tuple[str, ...]

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
        }


@dataclass(frozen=True)
class RestitchResult:
    """Mapped tiles.

    Attributes:
        checkpoint: The checkpoint that was taken; of folds the pattern of their paths, of several runs with
            commas.
        output_dir: Folder of the results.
        maps: The files of each tile, in the order in which they were asked for.
        in_folds: Whether a run in folds predicted, each tile by the fold that held it out where one did.
        temperatures: What was fitted to the prediction of tiles, beside their names.
    """

    checkpoint: str
    output_dir: Path
    maps: tuple[TileMaps, ...]
    in_folds: bool = False
    temperatures: tuple[tuple[tuple[str, ...], float], ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Which run mapped which tiles, where there are several, and with what temperature of their own."""
        tempered = tuple(
            f"{', '.join(tiles)}: a temperature of {temperature:.2f}, fitted to this prediction on the tiles "
            "that chose the epochs, acts on the probabilities."
            for tiles, temperature in self.temperatures
        )
        return (*self._mapped_by_notes(), *tempered)

    def _mapped_by_notes(self) -> tuple[str, ...]:
        tiles_of: dict[tuple[str, ...], list[str]] = {}
        for one in self.maps:
            tiles_of.setdefault(one.mapped_by, []).append(one.tile)
        if len(tiles_of) < 2 and all(len(runs) < 2 for runs in tiles_of):
            return ()
        in_order = sorted(tiles_of.items(), key=lambda item: (len(item[0]), natural_key(item[0][0])))
        return tuple(self._mapped_by_note(tiles, runs) for runs, tiles in in_order)

    def _mapped_by_note(self, tiles: Sequence[str], runs: Sequence[str]) -> str:
        named, them = ", ".join(tiles), "it" if len(tiles) == 1 else "them"
        if not self.in_folds:
            return f"{named}: mapped by the mean of the probabilities of {', '.join(runs)}."
        if len(runs) == 1:
            return f"{named}: mapped by {runs[0]}, which held {them} out."
        return f"{named}: mapped by the mean of all {len(runs)} folds' probabilities; none held {them} out."

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The comparison picture of each tile."""
        return tuple(one.picture for one in self.maps)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the result as plain JSON types."""
        return {
            "checkpoint": self.checkpoint,
            "output_dir": str(self.output_dir),
            "maps": {one.tile: one.to_json() for one in self.maps},
        }


@dataclass(frozen=True)
class EvaluationResult:
    """A scored split.

    Attributes:
        card: The scores, which ``metrics.json`` holds.
        metrics_path: ``metrics.json``.
        report_path: ``report.html``.
        restitched: The maps of the scored tiles.
    """

    card: Scorecard
    metrics_path: Path
    report_path: Path
    restitched: RestitchResult

    @property
    def output_dir(self) -> Path:
        """Folder of the results."""
        return self.restitched.output_dir

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The comparison picture of each tile."""
        return self.restitched.pictures

    @property
    def score_table(self) -> ScoreTable:
        """The scores as rows."""
        return build_score_table(self.card)

    @property
    def tables(self) -> tuple[TextTable, ...]:
        """The scores as tables of texts, to print."""
        split = "held-out" if self.card.split == "fold" else self.card.split
        return self.score_table.tables(f"{self.card.run} on the {split} tiles")

    def to_json(self) -> dict[str, JsonValue]:
        """Return the content of ``metrics.json`` and the paths of all results as plain JSON types."""
        return {
            **self.card.model_dump(mode="json"),
            **self.restitched.to_json(),
            "metrics_path": str(self.metrics_path),
            "report_path": str(self.report_path),
        }
