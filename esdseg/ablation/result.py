"""The result of an ablation: ``ablation.json``, its tables, and its words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from esdseg.ablation.removal import RemovalKind
from esdseg.metrics.score_table import (
    SCORE_TITLES,
    TextTable,
    show,
    show_interval,
    show_signed,
    show_win_probability,
)
from esdseg.metrics.scorecard import (
    BootstrapSettings,
    Difference,
    FoldScored,
    HeadlineScores,
    Interval,
    Versions,
)

How = Literal["inference", "retrained"]
"""Taken away from a finished network, or from the training."""

JSON_NAME = "ablation.json"

DECIDING_SCORE = "contest_f1"
"""The score that rows are sorted by and that the summary speaks of."""

SHOWN_SCORES = ("contest_f1", "f1_macro", "auc_macro")
"""The differences that tables and picture show; ``ablation.json`` has those of all headline scores."""

SECTION_TITLES: dict[RemovalKind, str] = {
    "sensor": "Without a sensor",
    "alone": "With one sensor alone",
    "place": "Without a place",
    "band": "Without a band, at all places",
}
NAMED = 4
"""Rows that the summary names at most, of those that cost most."""

WITHIN_CHANCE = 0.05
"""Share of 95 % intervals that miss the true difference."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class NetworkScores(_Frozen):
    """A network's scores on the ablation's tiles, and what it costs.

    Attributes:
        scores: Headline scores; ``None`` where undefined.
        intervals: Their 95 % intervals from resampled tiles, where there are any.
        seconds_per_tile: Time of the network's pass alone.
        parameters: Numbers that the network learned.
    """

    scores: HeadlineScores
    intervals: dict[str, Interval | None]
    seconds_per_tile: float
    parameters: int


class WholeNetwork(NetworkScores):
    """The network with all its channels.

    Attributes:
        channels: How many these are.
    """

    channels: int


class Row(NetworkScores):
    """A network without a group of channels.

    Attributes:
        label: Name of the group.
        kind: What makes the group.
        how: Taken away from a finished network, or from the training.
        sensor: The sensor that the group belongs to; with ``alone`` the one that stays.
        place: The place of a ``place``, counted from 1.
        band: The band of a ``band``.
        removed_channels: Names of the channels that are gone.
        remaining_channels: How many are left.
        differences: Scores less those of the network with all channels, on the same tiles.
        checkpoint: The checkpoint, or the pattern of the folds' paths, where the network was trained again.
    """

    label: str
    kind: RemovalKind
    how: How
    sensor: str
    place: int | None
    band: str | None
    removed_channels: tuple[str, ...]
    remaining_channels: int
    differences: dict[str, Difference]
    checkpoint: Path | None

    @property
    def deciding(self) -> Difference:
        """The difference that rows are sorted by."""
        return self.differences[DECIDING_SCORE]

    @property
    def title(self) -> str:
        """Name of the row in its section, where what was trained again stands below."""
        return "  trained again" if self.how == "retrained" else self.label.removesuffix(" alone")


class DataOrigin(_Frozen):
    """The store that holds the tiles."""

    store: str
    manifest_hash: str


class Ablation(_Frozen):
    """What all groups of channels of a checkpoint are worth: the content of ``ablation.json``.

    Attributes:
        model: Name of the model.
        run: Name of the run.
        checkpoint: Path of the checkpoint; of folds the pattern of their paths.
        split: The split that was scored; ``fold`` are the tiles that each fold held out.
        tta: Test-time augmentation.
        overlap: Label cells that neighbouring windows share.
        window_size: Label cells along a window's side.
        tiles: The scored tiles in natural order.
        folds: Each fold's checkpoint and tiles; ``None`` without folds.
        channels: Names of all channels.
        prediction_seconds: Time of all passes of the finished network together.
        bootstrap: How the intervals were drawn.
        data: The store.
        versions: The software.
        whole: The network with all channels.
        rows: The network without each group, in the order in which they are shown.
        summary: What the rows show, in a sentence or two.
        notes: What to keep in mind.
        output_dir: Folder of the results.
        picture: ``ablation.png``.
    """

    model: str
    run: str
    checkpoint: str
    split: str
    tta: str
    overlap: int
    window_size: int
    tiles: tuple[str, ...]
    folds: tuple[FoldScored, ...] | None
    channels: tuple[str, ...]
    prediction_seconds: float
    bootstrap: BootstrapSettings
    data: DataOrigin
    versions: Versions
    whole: WholeNetwork
    rows: tuple[Row, ...]
    summary: str
    notes: tuple[str, ...]
    output_dir: Path
    picture: Path

    @property
    def json_path(self) -> Path:
        """``ablation.json``."""
        return self.output_dir / JSON_NAME

    def tables(self) -> tuple[TextTable, ...]:
        """Return the scores with all channels, then a table for each section, and what the networks cost."""
        scores = TextTable(
            f"All {self.whole.channels} channels",
            ("score", "value", "95 % interval"),
            tuple(
                (title, show(getattr(self.whole.scores, name)), show_interval(self.whole.intervals[name]))
                for name, title in SCORE_TITLES.items()
                if name in SHOWN_SCORES
            ),
        )
        sections = []
        for kind, title in SECTION_TITLES.items():
            cells = tuple(_cells(row) for row in self.rows if row.kind == kind)
            if cells:
                first = "left" if kind == "alone" else "without"
                header = (first, "channels", *(SCORE_TITLES[name] for name in SHOWN_SCORES), "wins")
                sections.append(TextTable(f"{title}: difference (95 % interval)", header, cells))
        return (scores, *sections, *self._cost_tables())

    def _cost_tables(self) -> tuple[TextTable, ...]:
        """Return size and time of the networks, where several were trained."""
        retrained = [row for row in self.rows if row.how == "retrained"]
        if not retrained:
            return ()
        counts = {"all channels": (self.whole, self.whole.channels)} | {
            f"without {row.label}": (row, row.remaining_channels) for row in retrained
        }
        cells = tuple(
            (name, str(channels), f"{network.parameters:,}", f"{network.seconds_per_tile:.2f} s")
            for name, (network, channels) in counts.items()
        )
        return (TextTable("Size and time", ("network", "channels", "parameters", "its time a tile"), cells),)


def _cells(row: Row) -> tuple[str, ...]:
    number = row.remaining_channels if row.kind == "alone" else len(row.removed_channels)
    return (
        row.title,
        str(number),
        *(show_difference(row.differences[name]) for name in SHOWN_SCORES),
        show_win_probability(row.deciding.win_probability),
    )


def show_difference(difference: Difference) -> str:
    """Return a difference as ``-0.213 (-0.270, -0.150)``."""
    if difference.interval is None:
        return show_signed(difference.value)
    low, high = difference.interval
    return f"{show_signed(difference.value)} ({show_signed(low)}, {show_signed(high)})"


def in_order(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Sort rows: sensors, sensors alone, places, bands; sensors by what they are worth, then their parts.

    What was trained again stands below what was taken away at inference.
    """
    at_inference = {row.label: _loss(row) for row in rows if row.how == "inference"}
    kinds = list(SECTION_TITLES)

    def key(row: Row) -> tuple[int, float, str, float, str, bool]:
        return (
            kinds.index(row.kind),
            at_inference.get(row.sensor, 0.0),
            row.sensor,
            at_inference.get(row.label, _loss(row)),
            row.label,
            row.how == "retrained",
        )

    return tuple(sorted(rows, key=key))


def _loss(row: Row) -> float:
    return row.deciding.value if row.deciding.value is not None else 0.0


def summarize(rows: Sequence[Row]) -> str:
    """Return a sentence on what was taken away, and one on what was trained again.

    They speak of sensors where any were taken away, else of places, else of bands.
    """
    sentences = []
    for how, start in (("inference", "Without"), ("retrained", "Trained again without")):
        shown = [row for row in rows if row.how == how and row.kind != "alone"]
        kinds = [kind for kind in SECTION_TITLES if any(row.kind == kind for row in shown)]
        if kinds:
            sentences.append(_sentence([row for row in shown if row.kind == kinds[0]], start))
    return " ".join(sentences)


def _sentence(rows: Sequence[Row], start: str) -> str:
    defined = [row for row in rows if row.deciding.value is not None]
    ranked = sorted(defined, key=_loss)
    if not ranked:
        return f"{start} a group, the contest F1 is undefined on these tiles."
    if all(row.deciding.interval is None for row in ranked):
        parts = [f"{row.label} by {show_signed(row.deciding.value)}" for row in ranked[:NAMED]]
        return f"{start} a group the contest F1 changes: {', '.join(parts)}; nothing says how surely."
    settled = [row for row in ranked if row.deciding.is_settled]
    falls = [row for row in settled if _loss(row) < 0]
    rises = [row for row in settled if _loss(row) > 0]
    unsure = [row.label for row in ranked if row not in settled]
    named = [("falls", row) for row in falls[:NAMED]] + [("rises", row) for row in rises[::-1][:NAMED]]
    parts = [
        f"{start.lower()} {row.label} {'it' if index else 'the contest F1'} {verb} by "
        f"{_show_size(row.deciding)}"
        for index, (verb, row) in enumerate(named)
    ]
    if len(falls) > NAMED:
        parts.append(f"{len(falls) - NAMED} more cost something too")
    if unsure:
        names = _listed(unsure) if len(unsure) <= NAMED else f"any of {len(unsure)} others"
        verb = "removing" if start == "Without" else "leaving out"
        of_what = "" if parts else " of the contest F1"
        parts.append(f"{verb} {names} costs nothing measurable{of_what} on these tiles")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _show_size(difference: Difference) -> str:
    assert difference.value is not None
    assert difference.interval is not None
    low, high = sorted(abs(bound) for bound in difference.interval)
    return f"{abs(difference.value):.2f} ({low:.2f} to {high:.2f})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def reading_notes(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return how the rows are to be read."""
    notes = [
        "A difference is the score without the channels less that with all; wins is the share of the "
        "resamples in which the contest F1 is higher without them."
    ]
    if any(row.how == "inference" for row in rows):
        notes.append(
            "A channel that is taken away at inference becomes no data, which networks see as the mean of "
            "the training tiles. This one never learned to do without: the differences say what it leans on, "
            "not what one without these channels could reach. --retrain says that."
        )
    if any(row.how == "retrained" for row in rows):
        notes.append(
            "A network that was trained again differs by chance too: another seed alone moves its scores, "
            "and the intervals, which come from the tiles, do not hold that."
        )
    # Groups of the same channels are one difference; a night may be gone from projections alone.
    distinct = len({(row.removed_channels or row.label, row.how) for row in rows})
    if distinct > 1:
        by_chance = distinct * WITHIN_CHANCE
        notes.append(
            f"Of {distinct} differences that are all zero, about 5 % ({by_chance:.1f}) of each score's "
            "intervals would exclude zero by chance: read a single row among many with that in mind."
        )
    return tuple(notes)
