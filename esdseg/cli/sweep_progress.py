"""How the trials of a sweep stand, while it runs."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from esdseg.cli.output import duration, log_console, plain

if TYPE_CHECKING:
    from esdseg.sweeping.record import TrialRecord
    from esdseg.sweeping.spec import Sweep

    Listener = Callable[[Sweep, Sequence[TrialRecord]], None]

ROWS_SHOWN = 15
STYLES = {"finished": "green", "running": "cyan", "pruned": "yellow", "failed": "red", "waiting": "dim"}


@contextmanager
def show_trials() -> Iterator["Listener"]:
    """Show a live table on a terminal, and a line for each ended trial elsewhere, both on standard error."""
    console = log_console()
    if not console.is_terminal:
        yield _line_printer(console)
        return

    from rich.live import Live

    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield lambda sweep, records: live.update(_table(sweep, records))


def _line_printer(console: Console) -> "Listener":
    """Return what prints a trial's line once it is over; those of earlier calls are counted in one line."""
    printed: dict[str, set[int]] = {}

    def show(sweep: "Sweep", records: Sequence["TrialRecord"]) -> None:
        ended = [one for one in records if one.state not in ("waiting", "running")]
        if sweep.name not in printed:
            printed[sweep.name] = {one.number for one in ended}
            total = f" of {sweep.trials}" if sweep.trials else ""
            console.print(plain(f"{sweep.name}: {len(ended)}{total} trials are done"))
        for one in ended:
            if one.number not in printed[sweep.name]:
                printed[sweep.name].add(one.number)
                console.print(plain(trial_line(sweep, one)))

    return show


def trial_line(sweep: "Sweep", record: "TrialRecord") -> str:
    """Return a trial as one line."""
    settings = "  ".join(f"{name} {words(value)}" for name, value in record.settings.items())
    parts = [f"Trial {record.number} {record.state}"]
    if record.value is not None:
        parts.append(f"{sweep.metric.name} {score(record.value)} in epoch {record.best_epoch}")
    parts.append(settings)
    if record.seconds is not None:
        parts.append(duration(record.seconds))
    if record.state == "failed" and record.reason:
        parts.append(record.reason)
    return "  ".join(part for part in parts if part)


def _table(sweep: "Sweep", records: Sequence["TrialRecord"]) -> Table:
    done = sum(one.state not in ("waiting", "running") for one in records)
    total = f" of {sweep.trials}" if sweep.trials else ""
    table = Table(title=plain(f"{sweep.name}: {done}{total} trials done"), title_justify="left")
    for column in ("trial", "state", sweep.metric.name, "epochs", *sweep.parameters):
        table.add_column(column, overflow="fold")
    for one in records[-ROWS_SHOWN:]:
        table.add_row(
            str(one.number),
            Text(one.state, style=STYLES[one.state]),
            score(one.value),
            str(one.epochs),
            *(plain(words(one.settings.get(name))) for name in sweep.parameters),
        )
    return table


def score(value: float | None) -> str:
    """Word a score that may not be there."""
    return "-" if value is None else f"{value:.4f}"


def words(value: object) -> str:
    """Word a setting's value."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value)
