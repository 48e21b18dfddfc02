"""The look of every picture: its colours, fonts and sizes of text, and how figures are made and saved.

Whatever draws here imports its colours from this module. No picture tells things apart by red and green
alone: series have dashes and markers beside their colours.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.text import Text
from PIL import Image

from esdseg.sensors.classes import CLASSES
from esdseg.system.files import write_whole

TEXT_COLOR = "#1a1a1a"
FAINT_COLOR = "#666666"
LINE_COLOR = "#d9d9d9"
PAPER_COLOR = "#ffffff"

SERIES_COLORS = ("#0072b2", "#d55e00", "#cc79a7", "#404040", "#56b4e9", "#e69f00", "#009e73")
"""Colours of runs and scores, by Okabe and Ito, Color Universal Design (2008): every kind of colour vision
tells them apart."""

SERIES_DASHES = ("-", "--", ":", "-.", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (9, 2)), (0, (2, 1)))
"""Dashes of lines, so that they are told apart in grey as well."""

SERIES_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
"""Eight is no multiple of the seven colours, so that pairs of marker and colour repeat late."""

CONFIDENCE_COLORS = "cividis"
"""Colour map that rises evenly in brightness and reads the same with every kind of colour vision."""

FONT_FAMILY = "DejaVu Sans"
"""Of every picture. It comes with matplotlib, so that pictures look the same on every machine."""

PAGE_FONTS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
"""Of ``report.html`` and the charts in it: what the reader's system writes with."""

TITLE_SIZE = 12
LABEL_SIZE = 10.5
SMALL_SIZE = 9
"""Sizes of text in points: titles; axes and legends; numbers along the axes."""

DOTS_PER_INCH = 120

PAGE_VARIABLES = {
    TEXT_COLOR: "--ink",
    FAINT_COLOR: "--faint",
    LINE_COLOR: "--line",
    PAPER_COLOR: "--paper",
    **{color: f"--series-{number}" for number, color in enumerate(SERIES_COLORS, start=1)},
    **{label_class.color: f"--class-{label_class.code}" for label_class in CLASSES},
}
"""The page's CSS variable in place of each colour, so that charts follow its theme and its class colours."""

Picture = npt.NDArray[np.uint8]
"""RGB (height, width, 3)."""


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """Make a figure that needs no display and leaves no trace in pyplot's global state."""
    layout = ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.06, wspace=0.04)
    figure = Figure(
        figsize=(width_inches, height_inches), dpi=DOTS_PER_INCH, layout=layout, facecolor=PAPER_COLOR
    )
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, title: str = "") -> None:
    """Give axes the grid, frame, colours and sizes of text that all pictures have.

    Args:
        axes: Whose labels are set already.
        title: Shown above; a name of any letters.
    """
    axes.grid(color=LINE_COLOR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelsize=SMALL_SIZE, labelcolor=FAINT_COLOR)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(fontsize=LABEL_SIZE, color=TEXT_COLOR)
    for spine in axes.spines.values():
        spine.set(color=LINE_COLOR)
    if title:
        # A run may be called anything, so a $ in its name must not start a formula.
        axes.set_title(title, fontsize=TITLE_SIZE, color=TEXT_COLOR, pad=10, parse_math=False)


def add_title(figure: Figure, title: str) -> Text:
    """Add a title above all axes of a figure; it may have several lines.

    Args:
        figure: The figure.
        title: Names what is shown and whose it is: run, split and number of tiles. Of any letters.
    """
    return figure.suptitle(title, fontsize=TITLE_SIZE, color=TEXT_COLOR, parse_math=False)


def add_origin(figure: Figure, origin: str) -> Text:
    """Say small above the title of a figure's only axes whose it is: run, split and number of tiles."""
    return figure.suptitle(origin, fontsize=SMALL_SIZE, color=FAINT_COLOR, parse_math=False)


def shorten(name: str, longest: int) -> str:
    """Return a name of ``longest`` characters at most, with dots in place of what is too much."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def add_legend_below(figure: Figure, handles: Sequence[Artist], columns: int) -> Legend:
    """Add a legend below all axes of a figure, where it covers nothing.

    Args:
        figure: The figure.
        handles: What the legend explains; labels are of any letters.
        columns: Columns at most.
    """
    legend = figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), columns),
        frameon=False,
        fontsize=LABEL_SIZE - 0.5,
        labelcolor=TEXT_COLOR,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return legend


def set_fonts(figure: Figure) -> None:
    """Set the font of all texts of a figure, whatever the user's matplotlib is set to."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_fontfamily(FONT_FAMILY)


def save_png(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all.

    Raises:
        InputDataError: The file cannot be written.
        MissingResourceError: There is no space left.
    """
    image = Image.fromarray(to_pixels(figure))
    resolution = (DOTS_PER_INCH, DOTS_PER_INCH)
    return write_whole(path, lambda part: image.save(part, format="PNG", dpi=resolution))


def to_pixels(figure: Figure) -> Picture:
    """Return a figure as RGB (height, width, 3)."""
    set_fonts(figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    # Whoever draws the figure in another format too need not lay it out again.
    figure.set_layout_engine("none")
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def to_svg(figure: Figure, name: str, description: str) -> Markup:
    """Return a figure as an ``svg`` element for the page.

    Its ground is transparent, its texts stay texts, and its colours are those of the page's theme; see
    :data:`PAGE_VARIABLES`. The same figure gives the same element.

    Args:
        figure: The figure.
        name: Tells the figure from the others of the page.
        description: What it shows, for those who do not see it.
    """
    set_fonts(figure)
    content = io.StringIO()
    for ground in (figure.patch, *(axes.patch for axes in figure.axes)):
        ground.set_visible(False)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        # Saving a figure would draw it twice.
        FigureCanvasSVG(figure).print_svg(content, metadata={"Date": None})
    # The parser leaves comments out.
    svg = ElementTree.fromstring(content.getvalue())
    for element in svg.iter():
        # HTML knows the elements without their namespaces.
        element.tag = element.tag.partition("}")[2]
        element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
    # Remove matplotlib's metadata, and a style that would act on the whole page.
    for child in svg.findall("metadata") + svg.findall("defs[style]"):
        svg.remove(child)
    references = re.compile(r"^#(\w+)$|url\(#(\w+)\)")
    referenced = {
        target
        for element in svg.iter()
        for value in element.attrib.values()
        for found in references.findall(value)
        for target in found
    }
    for element in svg.iter():
        # Any other id is that of an element in the page's other figures too.
        if element.get("id") not in referenced:
            element.attrib.pop("id", None)
        if "style" in element.attrib:
            element.set("style", _with_page_colors(element.attrib["style"]))
    for size in ("width", "height"):
        del svg.attrib[size]
    svg.attrib |= {"role": "img", "aria-label": description}
    return Markup(ElementTree.tostring(svg, encoding="unicode"))


def _with_page_colors(style: str) -> str:
    """Return a ``style`` attribute with the page's variables in place of fixed colours."""

    def replaced(match: re.Match[str]) -> str:
        variable = PAGE_VARIABLES.get(match[0])
        return f"var({variable})" if variable else match[0]

    return re.sub("#[0-9a-f]{6}", replaced, style)
