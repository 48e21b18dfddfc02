import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esdseg.report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Chart,
    Line,
    Point,
    epoch_axis,
    fitting_axis,
    unit_axis,
)


def chart(*lines: tuple[Point, ...]) -> Chart:
    made = tuple(Line(str(number), "series-1", points) for number, points in enumerate(lines))
    return Chart("title", "description", unit_axis("x"), unit_axis("y"), made)


def test_corners_of_the_values_are_corners_of_the_drawing() -> None:
    one = chart()

    assert (one.x(0), one.y(0)) == (LEFT, HEIGHT - BOTTOM)
    assert (one.x(1), one.y(1)) == (WIDTH - RIGHT, TOP)


def test_a_missing_value_leaves_a_gap() -> None:
    path = chart().path(((0, 0), (0.25, 1), (0.5, None), (0.75, 1), (1, 0)))

    assert re.findall("[A-Z]", path) == ["M", "L", "M", "L"]


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_nothing_is_drawn_outside_the_frame(x: float, y: float) -> None:
    one = chart()

    assert LEFT <= one.x(x) <= WIDTH - RIGHT
    assert TOP <= one.y(y) <= HEIGHT - BOTTOM


def test_tags_lie_on_their_lines_and_apart() -> None:
    rising, falling = ((0.0, 0.0), (1.0, 1.0)), ((0.0, 1.0), (1.0, 0.0))
    one = chart(rising, falling)

    places = [one.tag_place(line) for line in one.lines]

    assert places[0] == pytest.approx((one.x(1 / 3), one.y(1 / 3)), abs=0.1)
    assert places[1] == pytest.approx((one.x(2 / 3), one.y(1 / 3)), abs=0.1)


@given(st.lists(st.floats(1e-3, 1e4), min_size=1))
def test_a_fitting_axis_holds_all_values_with_round_numbers(values: list[float]) -> None:
    axis = fitting_axis("loss", values)

    assert axis.ticks[0] == axis.low == 0
    assert axis.high >= max(values) * (1 - 1e-6)
    assert 2 <= len(axis.ticks) <= 6
    assert f"{axis.ticks[1]:e}"[0] in "125"


@pytest.mark.parametrize(("last", "ticks"), [(1, (1,)), (3, (1, 2, 3)), (13, (1, 3, 6, 9, 12))])
def test_epochs_are_whole_numbers(last: int, ticks: tuple[float, ...]) -> None:
    assert epoch_axis(last).ticks == ticks


def test_a_legend_is_ordered_by_tag() -> None:
    lines = tuple(Line(tag, "series-1", ((0, 0),), tag) for tag in ("2", "10", "1"))
    one = Chart("title", "description", unit_axis("x"), unit_axis("y"), lines)

    assert [line.tag for line in one.legend] == ["1", "2", "10"]
