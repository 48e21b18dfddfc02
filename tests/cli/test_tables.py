"""Tables fit a terminal without breaking a number or a name."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from esdseg.cli.tables import fit_columns, fit_table

NAMES = st.text("abc_019.,", min_size=1, max_size=30)
SENTENCES = st.lists(NAMES, max_size=12).map(" ".join)


def shown(header: list[str], rows: list[list[str]], width: int = 80, texts: tuple[str, ...] = ()) -> str:
    output = io.StringIO()
    console = Console(file=output, width=width, soft_wrap=True)
    for part in fit_table(header, rows, width, texts):
        console.print(part)
    return output.getvalue()


@given(
    columns=st.lists(st.tuples(NAMES, st.lists(NAMES, min_size=3, max_size=3)), min_size=1, max_size=20),
    texts=st.lists(SENTENCES, min_size=3, max_size=3),
    width=st.integers(70, 120),
)
def test_every_cell_is_whole_and_every_line_fits(
    columns: list[tuple[str, list[str]]], texts: list[str], width: int
) -> None:
    header, cells = [name for name, _ in columns], [cells for _, cells in columns]
    rows = [[column[row] for column in cells] for row in range(3)]
    for text in (
        shown(header, rows, width),
        shown(
            [*header, "why"], [[*row, text] for row, text in zip(rows, texts, strict=True)], width, ("why",)
        ),
    ):
        assert max(map(len, text.splitlines())) <= width
        words = text.split()
        assert all(cell in words for row in rows for cell in row)
        assert all(name in words for name in header[1:])


def test_columns_that_do_not_fit_go_below_with_the_first_one_repeated() -> None:
    metrics = ["train_loss", "val_loss", "val_accuracy", "val_f1_macro", "val_jaccard_macro", "val_auc_macro"]
    text = shown(["fold", *metrics], [["1/2", *["0.1234"] * 6], ["2/2", *["undefined"] * 6]])
    assert text.count("1/2") == text.count("fold") == 2
    assert all(text.count(metric) == 1 for metric in metrics)


def test_columns_without_content_are_left_out_where_the_table_is_too_wide() -> None:
    header = ["band", *(f"a-wide-column-{number}" for number in range(4)), "NaN"]
    assert "NaN" not in shown(header, [["B02", "1", "2", "3", "4", ""]])
    assert "NaN" in shown(header, [["B02", "1", "2", "3", "4", ""]], 120)


def test_rows_with_long_texts_are_listed() -> None:
    header = ["tile", "file", "problem", "fix"]
    file = "S2A_IMG_20200811_L2A_a_rather_long_name_of_a_raster_B04.tif"
    row = ["Tile12", file, "its pixels are 20 m wide, and those of the others 10 m", "cut the tile again"]
    text = shown(header, [row], texts=("file", "problem", "fix"))
    assert text.splitlines() == [
        "Tile12",
        f"  file     {file}",
        "  problem  its pixels are 20 m wide, and those of the others 10 m",
        "  fix      cut the tile again",
    ]


def test_a_name_that_is_wider_than_the_terminal_stays_whole() -> None:
    path = "/data/" + "x" * 100
    assert path in shown(["folder", "tiles"], [[path, "12"]])


def test_what_is_shown_live_leaves_the_last_columns_out() -> None:
    header = ["trial", "state", *(f"a_setting_of_the_search_{number}" for number in range(9))]
    table = fit_columns(header, [["1", "running", *"123456789"]], 80)
    assert [str(column.header) for column in table.columns] == header[:4]


@pytest.mark.parametrize("name", ["Tile\n12", "Tile\x1b[31m", "[bold]Tile"])
def test_names_of_strangers_are_shown_as_they_are(name: str) -> None:
    text = shown(["tile", "what is wrong"], [[name, "x " * 90]], texts=("what is wrong",))
    assert name.replace("\n", "\\n").replace("\x1b", "\\x1b") in text
