"""The rows of the benchmark's table, on the screen and in a file."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from benchmarks.measuring import Timing


@dataclass(frozen=True)
class Row:
    """One figure beside what it is measured against.

    Attributes:
        step: The step of esdseg.
        what: What is measured.
        unit: Of ``value`` and ``reference``.
        value: Of esdseg.
        against: What the reference is.
        reference: Of the reference; ``None`` where the figure stands alone.
        ratio: The figure that the target speaks of; ``value`` itself where the figure stands alone.
        cpu_ratio: The same from processor time, which other programs on the machine move less; ``None`` for
            what is no time.
        goal: Whether ``ratio`` should be at most or at least ``target``.
        target: The target; ``None`` where there is none.
    """

    step: str
    what: str
    unit: str
    value: float
    against: str
    reference: float | None
    ratio: float
    cpu_ratio: float | None
    goal: Literal["at most", "at least"]
    target: float | None

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached, ``None`` without one."""
        if self.target is None:
            return None
        return self.ratio <= self.target if self.goal == "at most" else self.ratio >= self.target


def times_longer(
    step: str, what: str, ours: Timing, against: str, reference: Timing, target: float | None
) -> Row:
    """Return a row that says how many times as long as the reference esdseg takes, the less the better."""
    return Row(
        step,
        what,
        "s",
        ours.wall,
        against,
        reference.wall,
        ours.wall / reference.wall,
        ours.cpu / reference.cpu,
        "at most",
        target,
    )


def times_faster(
    step: str, what: str, ours: Timing, against: str, reference: Timing, target: float | None
) -> Row:
    """Return a row that says how many times as fast as the reference esdseg is, the more the better."""
    return Row(
        step,
        what,
        "s",
        ours.wall,
        against,
        reference.wall,
        reference.wall / ours.wall,
        reference.cpu / ours.cpu,
        "at least",
        target,
    )


def amount(step: str, what: str, unit: str, value: float, target: float | None) -> Row:
    """Return a row of a figure that stands alone, the less the better."""
    return Row(step, what, unit, value, "", None, value, None, "at most", target)


def seconds(step: str, what: str, ours: Timing, target: float | None) -> Row:
    """Return a row of a time that stands alone, the less the better."""
    return Row(step, what, "s", ours.wall, "", None, ours.wall, ours.cpu, "at most", target)


def print_rows(machine: str, rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(title=machine, title_justify="left")
    for column in (
        "step",
        "what",
        "esdseg",
        "against",
        "reference",
        "ratio",
        "CPU ratio",
        "target",
        "reached",
    ):
        table.add_column(column, justify="left" if column in ("step", "what", "against") else "right")
    for row in rows:
        alone = row.reference is None
        table.add_row(
            row.step,
            row.what,
            f"{row.value:.3g} {row.unit}",
            row.against,
            "" if alone else f"{row.reference:.3g} {row.unit}",
            "" if alone else f"{row.ratio:.2f}",
            "" if row.cpu_ratio is None else f"{row.cpu_ratio:.2f}",
            "" if row.target is None else f"{row.goal} {row.target:g}",
            {True: "yes", False: "no", None: ""}[row.reached],
        )
    Console(width=160).print(table)


def write_rows(path: Path, machine: str, rows: Sequence[Row]) -> None:
    """Write the table as JSON; rows of steps that were not measured now are kept from the file."""
    measured = {row.step for row in rows}
    before = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    kept = [row for row in before if row["step"] not in measured]
    now = [{**asdict(row), "reached": row.reached, "machine": machine} for row in rows]
    path.write_text(json.dumps({"rows": [*kept, *now]}, indent=2) + "\n", encoding="utf-8")
