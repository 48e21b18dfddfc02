"""What all pictures share: how figures are made and saved, and their colours."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

CONFIDENCE_COLORS = "cividis"
"""Rises evenly in brightness and reads the same with every kind of colour vision."""

DOTS_PER_INCH = 120
TEXT_COLOR = "#1a1a1a"
FAINT_COLOR = "#666666"


def save_png(figure: Figure, path: Path) -> None:
    """Save a figure as PNG, whatever the path's ending."""
    figure.savefig(path, format="png", dpi=DOTS_PER_INCH)


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """Make a figure that needs no display and leaves no trace in pyplot's global state."""
    layout = ConstrainedLayoutEngine(wspace=0.04)
    figure = Figure(figsize=(width_inches, height_inches), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure
