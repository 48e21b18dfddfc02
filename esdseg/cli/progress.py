"""What a command is doing while it runs, and how it went on where it was interrupted."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from esdseg.cli.options import is_further_process
from esdseg.cli.output import log_console, plain, print_note

if TYPE_CHECKING:
    from rich.progress import Progress as ProgressBar

    from esdseg.system.processes import ItemListener

GO_ON = "What is finished is kept; run the same command again to go on where it stopped."
"""Advice after an interruption."""

START_AGAIN = "Run the same command again; it starts anew."
"""Advice after an interruption of what is not kept in parts."""

LOADING = "loading PyTorch"
"""What a command that needs PyTorch does first."""

BAR_WIDTH = 20


@contextmanager
def interruptible(advice: str) -> Iterator[None]:
    """Say after an interruption how to go on: as the interruption itself says, or else by ``advice``."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        print_note(f"Interrupted. {str(interruption) or advice}")
        raise


@contextmanager
def progress(
    title: str, first: str = "starting", *, is_line_an_item: bool = True
) -> Iterator["ItemListener"]:
    """Show at once, and from then on, what a command is doing.

    A terminal shows one bar, which is gone at the end. Elsewhere each item is a line, all on standard error.

    Args:
        title: The command.
        first: What it does first.
        is_line_an_item: Whether an item with a number is a line of its own where there is no terminal.

    Yields:
        What shows an item with the number of finished ones and of all. Where that is 0, how much there is
        to do is not known.
    """
    if is_further_process():
        yield lambda item, done, total: None
        return
    if log_console().is_terminal:
        with _bar() as bar:
            shown = _Shown(bar, title)
            shown(first, 0, 0)
            yield shown
        return

    def show(item: str, done: int, total: int) -> None:
        if is_line_an_item or not total:
            print_note(f"{title}: {item} ({done}/{total})" if total else f"{title}: {item}")

    show(first, 0, 0)
    yield show


class _Shown:
    """The one line of a bar; what is counted anew starts it anew, with its own time that is left."""

    def __init__(self, bar: "ProgressBar", title: str) -> None:
        self._bar, self._title = bar, title
        self._task, self._done, self._total = bar.add_task(title, item="", count=""), 0, 0

    def __call__(self, item: str, done: int, total: int) -> None:
        is_new = total != self._total or done < self._done
        if is_new:
            self._bar.remove_task(self._task)
            self._task = self._bar.add_task(self._title, total=total or None, item="", count="")
        self._done, self._total = done, total
        count = f"{done}/{total}" if total else ""
        self._bar.update(self._task, completed=done, item=plain(item).plain, count=count)
        if is_new or not total:
            # What comes next may keep the bar's own thread from drawing.
            self._bar.refresh()


def prefixed(advance: "ItemListener", prefix: str) -> "ItemListener":
    """Return the same progress with a word before each item."""
    return lambda item, done, total: advance(f"{prefix}: {item}", done, total)


def _bar() -> "ProgressBar":
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as ProgressBar
    from rich.table import Column

    columns = (
        TextColumn("{task.description}"),
        BarColumn(BAR_WIDTH),
        TextColumn("{task.fields[count]}"),
        TimeRemainingColumn(),
        # A tile may be called [bold] or [/]; a long name takes two lines.
        TextColumn("{task.fields[item]}", markup=False, table_column=Column(overflow="fold")),
    )
    return ProgressBar(*columns, console=log_console(), transient=True)
