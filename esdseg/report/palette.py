"""The page's colours, each from its one home."""

from matplotlib import colormaps
from matplotlib.colors import to_hex

from esdseg.report.error_picture import OUTCOMES
from esdseg.report.gallery import CONFIDENCE_LEVELS, UNKNOWN_STYLE
from esdseg.report.look import CONFIDENCE_COLORS
from esdseg.sensors.classes import CLASSES, UNKNOWN_RGB

Declarations = dict[str, str]


def class_colors() -> Declarations:
    """Return the colour of each class' style as in the dataset."""
    return {f"class-{one.code}": one.color for one in CLASSES}


def safe_class_colors() -> Declarations:
    """Return the colour of each class' style that every kind of colour vision tells apart."""
    return {f"class-{one.code}": one.safe_color for one in CLASSES}


def map_colors() -> Declarations:
    """Return the colours of the other maps' styles, which are the same in both palettes."""
    ramp = colormaps[CONFIDENCE_COLORS]
    levels = {
        f"level-{level}": to_hex(ramp((level + 0.5) / CONFIDENCE_LEVELS))
        for level in range(CONFIDENCE_LEVELS)
    }
    outcomes = {f"outcome-{position}": color for position, (_, color) in enumerate(OUTCOMES)}
    return {**levels, **outcomes, UNKNOWN_STYLE: "#{:02x}{:02x}{:02x}".format(*UNKNOWN_RGB)}
