"""An ablation in words: its tables, the sentence on what it shows, and what to keep in mind."""

from collections.abc import Sequence

from esdseg.ablation.removals import RemovalKind
from esdseg.ablation.result import Row, Whole
from esdseg.metrics.score_table import (
    SCORE_TITLES,
    TextTable,
    show,
    show_interval,
    show_signed,
    show_win_probability,
)
from esdseg.metrics.scorecard import Difference

SHOWN_SCORES = ("contest_f1", "f1_macro", "auc_macro")
"""The differences that tables and picture show; ``ablation.json`` has those of all headline scores."""

SECTION_TITLES: dict[RemovalKind, str] = {
    "sensor": "Without a sensor",
    "alone": "With one sensor alone",
    "date": "Without a date",
    "band": "Without a band, on all dates",
}
NAMED = 4
"""Rows that the summary names at most, of those that cost most."""

_DECIDING_TITLE = "contest F1"

WITHIN_CHANCE = 0.05
"""Share of 95 % intervals that miss the true difference."""


def tables(whole: Whole, rows: Sequence[Row]) -> tuple[TextTable, ...]:
    """Return the whole network's scores, then a table a section, of rows in order."""
    scores = TextTable(
        f"All {whole.channels} channels",
        ("score", "value", "95 % interval"),
        tuple(
            (title, show(whole.scores.values[name]), show_interval(whole.scores.intervals[name]))
            for name, title in SCORE_TITLES.items()
            if name in SHOWN_SCORES
        ),
    )
    sections = []
    for kind, title in SECTION_TITLES.items():
        cells = tuple(_cells(row) for row in rows if row.removal.kind == kind)
        if cells:
            first = "left" if kind == "alone" else "without"
            header = (first, "channels", *(SCORE_TITLES[name] for name in SHOWN_SCORES), "wins")
            sections.append(TextTable(f"{title}: difference (95 % interval)", header, cells))
    return (scores, *sections, *_cost_tables(whole, rows))


def _cost_tables(whole: Whole, rows: Sequence[Row]) -> tuple[TextTable, ...]:
    """Return size and time of the networks, where there are several."""
    retrained = [row for row in rows if row.how == "retrained"]
    if not retrained:
        return ()
    cells = [
        (
            f"without {row.removal.label}",
            str(row.remaining),
            f"{row.parameters:,}",
            f"{row.seconds_per_tile:.2f} s",
        )
        for row in retrained
    ]
    own = ("all channels", str(whole.channels), f"{whole.parameters:,}", f"{whole.seconds_per_tile:.2f} s")
    return (
        TextTable("Size and time", ("network", "channels", "parameters", "its time a tile"), (own, *cells)),
    )


def _cells(row: Row) -> tuple[str, ...]:
    number = row.remaining if row.removal.kind == "alone" else len(row.removed)
    return (
        row_label(row),
        str(number),
        *(show_difference(row.differences[name]) for name in SHOWN_SCORES),
        show_win_probability(row.deciding.win_probability),
    )


def row_label(row: Row) -> str:
    """Return what a row is called in tables and picture, where what was trained again stands below."""
    return "  trained again" if row.how == "retrained" else row.removal.label.removesuffix(" alone")


def show_difference(difference: Difference) -> str:
    """Return a difference as ``-0.213 (-0.270, -0.150)``."""
    if difference.interval is None:
        return show_signed(difference.value)
    low, high = difference.interval
    return f"{show_signed(difference.value)} ({show_signed(low)}, {show_signed(high)})"


def summarize(rows: Sequence[Row]) -> str:
    """Say in a sentence what the rows show, and in another what those do that were trained again.

    Sensors are spoken of where there are any, else dates, else bands.
    """
    sentences = []
    for how, start in (("inference", "Without"), ("retrained", "Trained again without")):
        mine = [row for row in rows if row.how == how and row.removal.kind != "alone"]
        kinds = [kind for kind in SECTION_TITLES if any(row.removal.kind == kind for row in mine)]
        if kinds:
            sentences.append(_sentence([row for row in mine if row.removal.kind == kinds[0]], start))
    return " ".join(sentences)


def _sentence(rows: Sequence[Row], start: str) -> str:
    ranked = sorted(
        (row for row in rows if row.deciding.value is not None), key=lambda row: row.deciding.value or 0.0
    )
    if not ranked:
        return f"{start} a group, the {_DECIDING_TITLE} is undefined on these tiles."
    if all(row.deciding.interval is None for row in ranked):
        parts = [f"{row.removal.label} by {show_signed(row.deciding.value)}" for row in ranked[:NAMED]]
        return f"{start} a group the {_DECIDING_TITLE} changes: {', '.join(parts)}; nothing says how surely."
    falls = [row for row in ranked if row.deciding.interval and row.deciding.interval[1] < 0]
    rises = [row for row in ranked if row.deciding.interval and row.deciding.interval[0] > 0]
    unsure = [row.removal.label for row in ranked if row not in falls and row not in rises]
    named = [("falls", row) for row in falls[:NAMED]] + [("rises", row) for row in rises[::-1][:NAMED]]
    parts = [
        f"{start.lower()} {row.removal.label} {'it' if index else f'the {_DECIDING_TITLE}'} {verb} by "
        f"{_around(row.deciding)}"
        for index, (verb, row) in enumerate(named)
    ]
    if len(falls) > NAMED:
        parts.append(f"{len(falls) - NAMED} more cost something too")
    if unsure:
        names = _listed(unsure) if len(unsure) <= NAMED else f"any of {len(unsure)} others"
        verb = "removing" if start == "Without" else "leaving out"
        of_what = "" if parts else f" of the {_DECIDING_TITLE}"
        parts.append(f"{verb} {names} costs nothing measurable{of_what} on these tiles")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _around(difference: Difference) -> str:
    assert difference.value is not None
    assert difference.interval is not None
    low, high = sorted(abs(bound) for bound in difference.interval)
    return f"{abs(difference.value):.2f} ({low:.2f} to {high:.2f})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def general_notes(rows: Sequence[Row]) -> tuple[str, ...]:
    """Say how the rows are to be read."""
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
    distinct = len({(row.removal.effect, row.how) for row in rows})
    if distinct > 1:
        by_chance = distinct * WITHIN_CHANCE
        notes.append(
            f"Of {distinct} differences that are all zero, about 5 % ({by_chance:.1f}) of each score's "
            "intervals would exclude zero by chance: read a single row among many with that in mind."
        )
    return tuple(notes)
