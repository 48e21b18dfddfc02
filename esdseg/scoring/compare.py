"""``compare``: runs side by side on the tiles that all of them were scored on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from esdseg.config.evaluation import EvalConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.metrics.ranking import ScoredCells
from esdseg.metrics.resampling import (
    LEVEL,
    ScoredTiles,
    class_f1_intervals,
    few_tiles_notes,
    paired_differences,
)
from esdseg.metrics.score_table import (
    SCORE_TITLES,
    UNDEFINED,
    TextTable,
    describe_tiles,
    show,
    show_interval,
    show_signed,
    show_win_probability,
)
from esdseg.metrics.scorecard import Difference, Interval, Scorecard, read_scorecard
from esdseg.metrics.scores import IntArray, confusion_matrix
from esdseg.prediction.maps import PROBABILITIES_NAME, TRUTH_NAME, read_codes, read_probabilities
from esdseg.scoring.results import METRICS_NAME, find_folder
from esdseg.sensors.classes import CLASSES, UNKNOWN_LABEL
from esdseg.system.files import make_folder

PICTURE_ENDING = ".png"
MAX_NAME_LENGTH = 120
"""Characters of a picture's name; file systems end at 255 bytes."""

SHOWN_TILES = 5
"""Tiles that a message names."""

_RESCORE = "score them on the same store and split with `esdseg evaluate --processed-dir DIR --split SPLIT`"


@dataclass(frozen=True)
class ComparedRun:
    """A run in a comparison.

    Attributes:
        label: Name of its folder, or the path as given where two folders have the same name.
        folder: Folder of its predictions.
        card: Its scores.
        differences: Its scores less those of the first run, by score; ``None`` for the first itself.
    """

    label: str
    folder: Path
    card: Scorecard
    differences: dict[str, Difference] | None = None

    @property
    def scores(self) -> dict[str, float | None]:
        """Headline scores in the order in which they are shown."""
        headline = self.card.headline()
        return {name: getattr(headline, name) for name in SCORE_TITLES}

    def confusions(self, tiles: Sequence[str]) -> IntArray:
        """Return the counts of the named tiles, shape (tiles, 4, 4)."""
        return np.array([self.card.tiles_detail[tile].confusion_matrix for tile in tiles])

    def class_intervals(self) -> dict[str, Interval | None]:
        """Return the 95 % interval of the F1 of each class, from the resamples behind its other intervals."""
        bootstrap = self.card.bootstrap
        return class_f1_intervals(self.confusions(self.card.tiles), bootstrap.resamples, bootstrap.seed)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the run as plain JSON types."""
        differences: JsonValue = None
        if self.differences is not None:
            differences = {
                name: difference.model_dump(mode="json") for name, difference in self.differences.items()
            }
        return {
            "label": self.label,
            "folder": str(self.folder),
            "model": self.card.model,
            "checkpoint": self.card.checkpoint,
            "scores": dict(self.scores),
            "intervals": {
                name: list(interval) if interval else None
                for name in SCORE_TITLES
                for interval in (self.card.intervals[name],)
            },
            "class_f1": dict(self.card.f1.per_class),
            "class_f1_intervals": {
                name: list(interval) if interval else None
                for name, interval in self.class_intervals().items()
            },
            "parameters": self.card.model_parameters,
            "seconds_per_tile": self.card.seconds_per_tile,
            "differences": differences,
        }


@dataclass(frozen=True)
class Comparison:
    """Runs that were scored on the same tiles.

    Attributes:
        runs: The runs; the others are compared with the first.
        resamples: Resamples of the tiles behind each difference's interval.
        seed: Seed of the resamples.
        notes: What to keep in mind.
        picture: The comparison as a picture.
    """

    runs: tuple[ComparedRun, ...]
    resamples: int
    seed: int
    notes: tuple[str, ...]
    picture: Path

    @property
    def tables(self) -> tuple[TextTable, ...]:
        """The comparison as tables of texts, to print."""
        return self._score_table(), self._class_table(), self._cost_table()

    def to_json(self) -> dict[str, JsonValue]:
        """Return the comparison as plain JSON types."""
        first = self.runs[0]
        return {
            "reference": first.label,
            "runs": [run.to_json() for run in self.runs],
            "tiles": list(first.card.tiles),
            "split": first.card.split,
            "manifest_hash": first.card.data.manifest_hash,
            "bootstrap": {"unit": "tile", "level": LEVEL, "resamples": self.resamples, "seed": self.seed},
            "notes": list(self.notes),
            "picture": str(self.picture),
        }

    def _score_table(self) -> TextTable:
        first = self.runs[0]
        header = ("score", "value", "95 % interval", f"to {first.label}", "95 % interval", "win probability")
        rows: list[tuple[str, ...]] = []
        for name, title in SCORE_TITLES.items():
            rows.append((title, *[""] * (len(header) - 1)))
            rows += [_score_row(run, name) for run in self.runs]
        tiles = describe_tiles(first.card.split, len(first.card.tiles))
        return TextTable(f"{len(self.runs)} runs on the same {tiles}", header, tuple(rows))

    def _class_table(self) -> TextTable:
        header = ("run", *(label_class.title_with_code for label_class in CLASSES))
        rows = (
            (run.label, *(show(run.card.f1.per_class[label_class.name]) for label_class in CLASSES))
            for run in self.runs
        )
        return TextTable("F1 of each class", header, tuple(rows))

    def _cost_table(self) -> TextTable:
        rows = (
            (
                run.label,
                run.card.model,
                f"{run.card.model_parameters:,}",
                f"{run.card.seconds_per_tile:.2f} s",
            )
            for run in self.runs
        )
        return TextTable("Size and time", ("run", "model", "parameters", "time a tile"), tuple(rows))


def compare(
    names: Sequence[str],
    predictions_dir: Path | None = None,
    output: Path | None = None,
    seed: int | None = None,
) -> Comparison:
    """Compare runs that were evaluated, and draw the comparison.

    Args:
        names: Folders of predictions, or names of such folders in ``predictions_dir``; two or more.
        predictions_dir: Folder of all results; that of ``evaluate`` unless given.
        output: The picture; ``compare-A-B.png`` in ``predictions_dir`` unless given.
        seed: Seed of the resamples; that of ``evaluate`` unless given.

    Raises:
        UsageError: The runs are fewer than two or one is named twice, the picture is no PNG, or the seed is
            negative.
        InputDataError: A run has no scores or damaged ones, the runs were scored on different tiles or
            truths, or the picture cannot be written.
    """
    if output is not None and output.suffix.lower() != PICTURE_ENDING:
        raise UsageError(f"--output {output}: the picture is a PNG; let its name end in {PICTURE_ENDING}.")
    if seed is not None and seed < 0:
        raise UsageError(f"seed {seed}: use 0 or more.")
    defaults = EvalConfig()
    folder = predictions_dir or defaults.predictions_dir
    resamples = defaults.bootstrap_resamples
    drawn_with = defaults.bootstrap_seed if seed is None else seed
    runs = open_runs(names, folder)
    check_comparable(runs)
    # Imported here, since a refusal need not wait for what draws.
    from esdseg.report.comparison_picture import PictureRun, write_comparison_picture

    tiles = runs[0].card.tiles
    cells = [read_cells(run, tiles) for run in runs]
    first, *others = (
        ScoredTiles(run.confusions(tiles), None if isinstance(mine, str) else mine)
        for run, mine in zip(runs, cells, strict=True)
    )
    compared = (
        runs[0],
        *(
            ComparedRun(
                run.label, run.folder, run.card, paired_differences(scored, first, resamples, drawn_with)
            )
            for run, scored in zip(runs[1:], others, strict=True)
        ),
    )
    picture = output or folder / picture_name([run.label for run in runs])
    make_folder(picture.parent)
    return Comparison(
        runs=compared,
        resamples=resamples,
        seed=drawn_with,
        notes=(
            *(
                f"No paired difference of the {SCORE_TITLES['auc_macro']}: {why}"
                for why in cells
                if isinstance(why, str)
            ),
            *few_tiles_notes(len(tiles)),
        ),
        picture=write_comparison_picture(
            picture,
            [
                PictureRun(run.label, run.card, run.class_intervals(), run.differences or {})
                for run in compared
            ],
        ),
    )


def open_runs(names: Sequence[str], predictions_dir: Path) -> tuple[ComparedRun, ...]:
    """Read the scores of several runs.

    Args:
        names: Folders of predictions, or names of such folders in ``predictions_dir``.
        predictions_dir: Folder of all results.

    Raises:
        UsageError: They are fewer than two, or one is named twice.
        InputDataError: A run has no ``metrics.json``, or a damaged one.
    """
    if len(names) < 2:
        raise UsageError("A comparison needs two runs or more: esdseg compare RUN RUN ...")
    folders = [find_folder(name, predictions_dir) for name in names]
    places = [folder.resolve() for folder in folders]
    for position, place in enumerate(places):
        if place in places[:position]:
            first = names[places.index(place)]
            raise UsageError(f"{first!r} and {names[position]!r} are the same run, {place}; name it once.")
    short = [place.name for place in places]
    return tuple(
        ComparedRun(
            label=name if short.count(place.name) > 1 else place.name,
            folder=folder,
            card=read_scorecard(folder / METRICS_NAME),
        )
        for name, folder, place in zip(names, folders, places, strict=True)
    )


def check_comparable(runs: Sequence[ComparedRun]) -> None:
    """Refuse runs that were not scored on the same cells.

    Raises:
        InputDataError: They differ in their tiles, in the true classes of a tile, or in their store.
    """
    first = runs[0]
    for other in runs[1:]:
        _check_tiles(first, other)
        _check_truths(first, other)
        mine, theirs = first.card.data.manifest_hash, other.card.data.manifest_hash
        if mine != theirs:
            raise InputDataError(
                f"{first.label} and {other.label} were scored on different stores or versions of a store "
                f"(manifest {mine[:12]} and {theirs[:12]}), so nothing says that their truths are the same; "
                f"{_RESCORE}."
            )


def _check_tiles(first: ComparedRun, other: ComparedRun) -> None:
    mine, theirs = set(first.card.tiles), set(other.card.tiles)
    if mine == theirs:
        return
    differing = [
        f"{run.label} alone has {_shorten(sorted(own))}"
        for run, own in ((first, mine - theirs), (other, theirs - mine))
        if own
    ]
    raise InputDataError(
        f"{first.label} and {other.label} were scored on different tiles: {'; '.join(differing)}; {_RESCORE}."
    )


def _check_truths(first: ComparedRun, other: ComparedRun) -> None:
    tiles = first.card.tiles
    mine, theirs = (run.confusions(tiles).sum(axis=-1).tolist() for run in (first, other))
    for tile, my_cells, their_cells in zip(tiles, mine, theirs, strict=True):
        if my_cells != their_cells:
            raise InputDataError(
                f"{first.label} and {other.label} were scored against different truths: the cells of classes "
                f"1 to 4 of tile {tile} are {', '.join(map(str, my_cells))} and "
                f"{', '.join(map(str, their_cells))}; {_RESCORE}."
            )


def read_cells(run: ComparedRun, tiles: Sequence[str]) -> ScoredCells | str:
    """Read the cells that ``evaluate`` scored from the maps beside the scores.

    Args:
        run: The run.
        tiles: Names of the tiles.

    Returns:
        The cells, or in words why there are none.
    """
    truths, probabilities = [], []
    for tile, counts in zip(tiles, run.confusions(tiles), strict=True):
        try:
            truth = read_codes(run.folder / tile / TRUTH_NAME)
            scores = read_probabilities(run.folder / tile / PROBABILITIES_NAME)
        except InputDataError as error:
            return str(error)
        truth = np.where(np.isfinite(scores).all(axis=0), truth, UNKNOWN_LABEL)
        if not np.array_equal(confusion_matrix(truth, scores.argmax(axis=0)), counts):
            return (
                f"The maps in {run.folder / tile} are not those that were scored; make them anew with "
                "`esdseg evaluate`."
            )
        known = truth != UNKNOWN_LABEL
        truths.append(truth[known])
        probabilities.append(scores[:, known].T)
    network_of = dict(zip(run.card.tiles, run.card.networks(), strict=True))
    return ScoredCells(truths, probabilities, [network_of[tile] for tile in tiles])


def picture_name(labels: Sequence[str]) -> str:
    """Name the picture after the runs: ``compare-A-B.png``, or after the first where that grows too long."""
    names = [Path(label).name for label in labels]
    whole = f"compare-{'-'.join(names)}"
    if len(whole.encode()) > MAX_NAME_LENGTH:
        whole = f"compare-{names[0][: MAX_NAME_LENGTH // 4]}-and-{len(names) - 1}-more"
    return whole + PICTURE_ENDING


def _score_row(run: ComparedRun, name: str) -> tuple[str, ...]:
    difference = run.differences.get(name) if run.differences else None
    own = (f"  {run.label}", show(run.scores[name]), show_interval(run.card.intervals[name]))
    if difference is None:
        return *own, "", "", ""
    interval = difference.interval
    return (
        *own,
        show_signed(difference.value),
        f"{show_signed(interval[0])} to {show_signed(interval[1])}" if interval else UNDEFINED,
        show_win_probability(difference.win_probability),
    )


def _shorten(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_TILES
    return ", ".join(names[:SHOWN_TILES]) + (f" and {more} more" if more > 0 else "")
