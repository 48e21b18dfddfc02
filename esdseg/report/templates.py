"""What all pages share: their templates, style sheets and scripts, and the colours of maps in them."""

import base64
import functools
import hashlib
from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.colors import to_hex

from esdseg.report.error_picture import OUTCOMES
from esdseg.report.gallery import CONFIDENCE_LEVELS, UNKNOWN_STYLE
from esdseg.report.look import CONFIDENCE_COLORS, PAGE_FONTS, PAGE_VARIABLES
from esdseg.sensors.classes import CLASSES, CONTEST_CLASS, UNKNOWN_RGB, LabelClass

PACKAGE = "esdseg.report"


@functools.cache
def templates() -> Environment:
    """Return the templates of pages; what is put into them is escaped, and nothing in them may be missing."""
    return Environment(
        loader=PackageLoader(PACKAGE, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def shared_parts(styles: Sequence[str], script: str) -> dict[str, object]:
    """Return what ``head.html.j2`` and the labels of classes need, by their names in templates.

    Args:
        styles: Names of the page's style sheets in this room.
        script: Name of its script.
    """
    program = _asset(script)
    return {
        "fonts": Markup(PAGE_FONTS),
        "colors": page_colors(),
        "safe_colors": {_class_style(label_class): label_class.safe_color for label_class in CLASSES},
        "series_colors": {
            variable: color for color, variable in PAGE_VARIABLES.items() if "series" in variable
        },
        "classes": CLASSES,
        "contest_class": CONTEST_CLASS,
        "confidence_levels": CONFIDENCE_LEVELS,
        "swatch": _swatch,
        "class_label": _class_label,
        "show_place": show_place,
        "style": Markup("\n".join(map(_asset, styles))),
        "script": Markup(program),
        "script_hash": base64.b64encode(hashlib.sha256(program.encode()).digest()).decode(),
    }


def _asset(name: str) -> str:
    return resources.files(PACKAGE).joinpath(name).read_text(encoding="utf-8")


def _class_style(label_class: LabelClass) -> str:
    return f"class-{label_class.code}"


def page_colors() -> dict[str, str]:
    """Return the colour of each style of the maps in pages, as ``#rrggbb``."""
    ramp = colormaps[CONFIDENCE_COLORS]
    return {
        **{_class_style(label_class): label_class.color for label_class in CLASSES},
        **{
            f"level-{level}": to_hex(ramp((level + 0.5) / CONFIDENCE_LEVELS))
            for level in range(CONFIDENCE_LEVELS)
        },
        **{f"outcome-{position}": color for position, (_, color) in enumerate(OUTCOMES)},
        UNKNOWN_STYLE: "#{:02x}{:02x}{:02x}".format(*UNKNOWN_RGB),
    }


def _swatch(style: str) -> Markup:
    return Markup('<span class="swatch {}" aria-hidden="true"></span>').format(style)


def _class_label(label_class: LabelClass) -> Markup:
    return _swatch(_class_style(label_class)) + label_class.title_with_code


def show_place(place: tuple[float, float]) -> str:
    """Return longitude and latitude in degrees as ``9.53° S, 33.90° E``."""
    longitude, latitude = place
    return f"{abs(latitude):.2f}° {'NS'[latitude < 0]}, {abs(longitude):.2f}° {'EW'[longitude < 0]}"
