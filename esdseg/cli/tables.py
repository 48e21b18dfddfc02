"""Tables that fit a terminal: no number and no name is ever broken or cut."""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from esdseg.cli.output import plain, wrap
from esdseg.tiles.discovery import shown_name

READABLE_WIDTH = 40
"""Characters that a column of texts has at least, unless all its texts are shorter."""

_FRAME_WIDTH, _FRAME_WIDTH_A_COLUMN = 1, 3
"""Characters that the lines and the space between columns take."""

Row = Sequence[str]


def fit_table(
    header: Row, rows: Iterable[Row], width: int, texts: Collection[str] = ()
) -> Iterator[Table | Text]:
    """Lay a table out in a width: as one table, as several below each other, or as a list of its rows.

    Columns of numbers and names keep their cells whole. Their headers, and columns of texts, wrap at words.
    Where that is too wide, columns that are empty in every row are left out. What is still too wide is split:
    further tables below, which repeat the first column, take the other columns. A table with long texts is
    listed instead, each row as its first cell with the other cells below.

    Args:
        header: The columns' names.
        rows: The cells, as long as the header each.
        width: Characters of a line.
        texts: Columns of texts, which may wrap.

    Yields:
        What to print, in order.
    """
    columns = _Columns(header, [map(shown_name, row) for row in rows], texts)
    if columns.least_width() > width:
        columns = columns.with_content()
    groups = columns.split(width)
    if columns.least_width() <= width:
        yield columns.table(width)
    elif groups and not columns.has_long_texts():
        for group in groups:
            yield group.table(width)
    else:
        yield from columns.listed(width)


def fit_columns(header: Row, rows: Iterable[Row], width: int) -> Table:
    """Return a table of the leading columns that fit a width; the others are left out."""
    columns = _Columns(header, [map(shown_name, row) for row in rows])
    prefixes = (columns.leading(count) for count in range(len(header), 1, -1))
    return next((some for some in prefixes if some.least_width() <= width), columns.leading(1)).table(width)


class _Columns:
    """Columns of a table, each with its cells."""

    def __init__(self, header: Row, rows: Iterable[Iterable[str]], texts: Collection[str] = ()) -> None:
        self._header, self._rows, self._texts = tuple(header), [tuple(row) for row in rows], texts
        self._cells = [[row[index] for row in self._rows] for index in range(len(self._header))]
        # The narrowest and the widest that each column may be.
        self._least = [self._least_width_of(index) for index in range(len(self._header))]
        self._natural = [max(map(cell_len, (name, *self._cells[i]))) for i, name in enumerate(self._header)]

    def _least_width_of(self, index: int) -> int:
        name, cells = self._header[index], self._cells[index]
        if name not in self._texts:
            return max(map(cell_len, (*name.split(), *cells)))
        longest_word = max(cell_len(word) for cell in (name, *cells) for word in cell.split())
        return max(longest_word, min(READABLE_WIDTH, *map(cell_len, cells)) if cells else 0)

    def has_long_texts(self) -> bool:
        """Whether any texts are too long for a narrow column."""
        return any(
            name in self._texts and width > READABLE_WIDTH
            for name, width in zip(self._header, self._natural, strict=True)
        )

    def least_width(self) -> int:
        """Return the width of the table where all that may wrap is wrapped."""
        return _framed(self._least)

    def with_content(self) -> "_Columns":
        """Return these columns without those that are empty in every row."""
        return self._chosen([index for index, cells in enumerate(self._cells) if index == 0 or any(cells)])

    def _chosen(self, indices: Sequence[int]) -> "_Columns":
        rows = ([row[index] for index in indices] for row in self._rows)
        return _Columns([self._header[index] for index in indices], rows, self._texts)

    def leading(self, count: int) -> "_Columns":
        """Return the first columns."""
        return self._chosen(range(count))

    def split(self, width: int) -> list["_Columns"]:
        """Return groups of columns that fit, each with the first column; none where two do not fit."""
        others = range(1, len(self._header))
        # As few groups as hold them, of as many columns each as go round.
        for count in range(1, len(others) + 1):
            size = math.ceil(len(others) / count)
            starts = range(0, len(others), size)
            groups = [self._chosen([0, *others[start : start + size]]) for start in starts]
            if all(group.least_width() <= width for group in groups):
                return groups
        return []

    def table(self, width: int) -> Table:
        """Return the columns as one table."""
        table = Table()
        for index, (name, column_width) in enumerate(zip(self._header, self._widths(width), strict=True)):
            left = index == 0 or name in self._texts
            table.add_column(plain(name), justify="left" if left else "right", width=column_width)
        for row in self._rows:
            table.add_row(*map(plain, row))
        return table

    def _widths(self, width: int) -> list[int]:
        """Return each column's width: what is left over goes to those that wrap most."""
        widths = list(self._least)
        while _framed(widths) < width and widths != self._natural:
            missing = [natural - now for natural, now in zip(self._natural, widths, strict=True)]
            widths[missing.index(max(missing))] += 1
        return widths

    def listed(self, width: int) -> Iterator[Text]:
        """Yield each row as its first cell, and its other cells below with their columns' names."""
        label_width = max(map(len, self._header))
        for key, *cells in self._rows:
            yield plain(key)
            for name, cell in zip(self._header[1:], cells, strict=True):
                lines = wrap(cell, width - label_width - 4)
                for label, line in zip((name, *[""] * len(lines)), lines, strict=False):
                    yield plain(f"  {label:{label_width}}  {line}")


def _framed(widths: Iterable[int]) -> int:
    return _FRAME_WIDTH + sum(width + _FRAME_WIDTH_A_COLUMN for width in widths)
