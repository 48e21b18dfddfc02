"""What commands print: results on standard output, everything else on standard error."""

import json
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from textwrap import TextWrapper
from typing import TYPE_CHECKING

from esdseg.system.memory import megabytes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from esdseg.prediction.places import Places
    from esdseg.tiles.cost import Cost


def results_console() -> "Console":
    """Console on standard output."""
    return _console(stderr=False)


def log_console() -> "Console":
    """Console on standard error."""
    return _console(stderr=True)


@cache
def _console(stderr: bool) -> "Console":
    # One for all that is printed, since a message lands inside a bar that another console draws.
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def plain(text: str) -> "Text":
    """Return one line of text to be shown as it is: brackets are no markup, and nothing steers a terminal.

    Names of files and tiles may come from strangers, and with them escape sequences, line feeds that feign a
    message of their own, or marks that turn the direction of writing.
    """
    from rich.text import Text

    from esdseg.tiles.discovery import shown_name

    return Text(shown_name(text))


def wrap(line: str, width: int, indent: str = "") -> list[str]:
    """Break a line at spaces; a word that is wider than the width, such as a path, stays whole.

    Args:
        line: The line.
        width: Characters of a line.
        indent: What each further line begins with.
    """
    wrapper = TextWrapper(width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(line) or [""]


def _print(console: "Console", lines: Iterable[str], label: str = "", style: str = "") -> None:
    """Print lines after a label, as they are: wrapped on a terminal, unbroken for files and programs."""
    from rich.text import Text

    shown = [plain(line).plain for line in lines]
    shown[0] = label + shown[0]
    if console.is_terminal:
        shown = [part for line in shown for part in wrap(line, console.width)]
    text = Text("\n".join(shown))
    text.stylize(style, 0, len(label) or None)
    console.print(text)


def print_error(message: str) -> None:
    """Print an error to standard error."""
    _print(log_console(), message.split("\n"), "Error: ", "bold red")


def print_note(message: str) -> None:
    """Print something the user may want to know to standard error."""
    _print(log_console(), message.split("\n"))


def print_warning(message: str) -> None:
    """Print something the user can act on to standard error."""
    _print(log_console(), [message], "Warning: ", "bold yellow")


def print_json(content: Mapping[str, object]) -> None:
    """Print one JSON object to standard output; NaN and infinity never appear in it."""
    sys.stdout.write(json.dumps(content, indent=2, allow_nan=False, default=str) + "\n")


def print_line(message: str) -> None:
    """Print one line of a result to standard output."""
    _print(results_console(), [message])


def command_lines(command: str, width: int, indent: str = "") -> list[str]:
    """Break a shell command into lines that can be copied as one; flags keep their values beside them."""
    unbroken = re.sub(r"( --[\w-]+) (?=[^-\s])", "\\1\N{NO-BREAK SPACE}", command)
    lines = wrap(indent + unbroken, width - 2, indent + "    ")
    *lines, last = (line.replace("\N{NO-BREAK SPACE}", " ") for line in lines)
    return [*(f"{line} \\" for line in lines), last]


def print_command(label: str, command: str) -> None:
    """Print a command to copy, with what it is for."""
    console, line = results_console(), f"{label}: {command}"
    _print(console, command_lines(line, console.width) if console.is_terminal else [line])


def print_text(text: str) -> None:
    """Print a result of several lines to standard output, none of them wrapped."""
    for line in text.split("\n"):
        results_console().print(plain(line))


def print_table(
    title: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, texts: Collection[str] = ()
) -> None:
    """Print a table to standard output, within the width of the terminal, or 80 characters without one.

    Args:
        title: Its heading.
        header: The columns' names.
        rows: The cells, as long as the header each.
        texts: Columns of texts, aligned to the left as the first is, which may wrap; the others hold numbers
            and names, which are never broken.
    """
    from esdseg.cli.tables import fit_table

    _print(results_console(), [title], style="bold")
    for part in fit_table(header, rows, results_console().width, texts):
        results_console().print(part)


def print_places(places: "Mapping[str, Places]") -> None:
    """Print which dates of tiles fill the places that a network asks for, a row a sensor and set of dates."""
    from esdseg.prediction.places import places_table

    table = places_table(places)
    print_table(table.title, table.header, table.rows, texts=("dates", "tiles"))


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Word a number of things: ``1 tile``, ``2 tiles``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def duration(seconds: float) -> str:
    """Word a time: ``12 s``, ``3 min`` or ``2.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def needs(cost: "Cost") -> str:
    """Word what preprocessing will need."""
    return (
        f"about {cost.seconds:.0f} s with {counted(cost.workers, 'process', 'processes')}, at most "
        f"{megabytes(cost.memory_bytes)} of memory, and {megabytes(cost.disk_bytes)} of disk"
    )
