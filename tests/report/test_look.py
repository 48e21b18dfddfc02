"""Figures as the page's SVG."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.text import Text

from esdseg.report.error_picture import OUTCOMES
from esdseg.report.look import (
    FONT_FAMILY,
    PAGE_VARIABLES,
    SERIES_COLORS,
    SERIES_DASHES,
    SERIES_MARKERS,
    TEXT_COLOR,
    add_legend_below,
    new_figure,
    style_axes,
    to_pixels,
    to_svg,
)
from esdseg.sensors.classes import CLASSES

HOSTILE = "</text></svg><script>alert(1)</script> & \"'> -->"


def svg_of(title: str = "a title", name: str = "chart", color: str = SERIES_COLORS[1]) -> str:
    figure = new_figure(4, 3)
    axes = figure.subplots()
    lines = axes.plot([0, 1, 2], [0, 1, 0], color=color, marker="o", label=title)
    style_axes(axes, title)
    add_legend_below(figure, lines, columns=1)
    return str(to_svg(figure, name, title))


def test_the_same_figure_gives_the_same_svg() -> None:
    assert svg_of() == svg_of()


def test_texts_stay_texts_whatever_they_say() -> None:
    for text in (HOSTILE, "$x_1$", "a $ and \\frac"):
        root = ElementTree.fromstring(svg_of(text))
        texts = [element.text for element in root.iter("text")]
        assert texts.count(text) == 2, "title and legend"
        assert root.get("aria-label") == text
        assert "<script" not in svg_of(text)


@pytest.mark.parametrize("color", [SERIES_COLORS[0], TEXT_COLOR, *(one.color for one in CLASSES)])
def test_colours_are_those_of_the_pages_theme(color: str) -> None:
    svg = svg_of(color=color)

    assert f"stroke: var({PAGE_VARIABLES[color]})" in svg
    assert not re.search("#[0-9a-f]{6}", svg)


def test_figures_of_one_page_share_no_id() -> None:
    ids = [re.findall(' id="([^"]*)"', svg_of(name=name)) for name in ("first", "second")]

    assert ids[0]
    assert not set(ids[0]) & set(ids[1])


def test_nothing_but_the_drawing_is_left() -> None:
    svg = svg_of()

    assert not re.search("<!--|<metadata|<style|<!DOCTYPE", svg)
    assert not re.search('^<svg[^>]* (width|height)="', svg)


def test_pictures_have_the_font_of_the_look_whatever_matplotlib_is_set_to() -> None:
    with mpl.rc_context({"font.family": "monospace"}):
        figure = new_figure(4, 3)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], label="a line")
        style_axes(axes, "a title")
        to_pixels(figure)
    families = {tuple(text.get_fontfamily()) for text in figure.findobj(Text) if isinstance(text, Text)}
    assert families == {(FONT_FAMILY,)}


def test_series_are_told_apart_without_colour() -> None:
    assert len(set(SERIES_DASHES)) == len(SERIES_DASHES) == len(SERIES_COLORS)
    pairs = {(SERIES_COLORS[number % 7], SERIES_MARKERS[number % 8]) for number in range(56)}
    assert len(pairs) == 56


@pytest.mark.parametrize(
    "colors",
    [
        SERIES_COLORS[:4],
        [one.color for one in CLASSES],
        [one.safe_color for one in CLASSES],
        [color for _, color in OUTCOMES],
    ],
    ids=["series", "classes", "safe classes", "outcomes"],
)
def test_no_two_colours_differ_by_red_and_green_alone(colors: Sequence[str]) -> None:
    """Seen without the difference of red and green, they are still far apart."""
    # Viénot, Brettel and Mollon 1999: deuteranopia in linear RGB.
    seen = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    codes = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in colors]) / 255
    shown = np.clip((codes**2.2) @ seen.T, 0, 1) ** (1 / 2.2)
    distances = [
        float(np.linalg.norm(shown[first] - shown[second]))
        for first in range(len(colors))
        for second in range(first)
    ]
    assert min(distances) > 0.25
