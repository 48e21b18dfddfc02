"""``report.html``: every number in it comes from the scorecard, every map from the files beside it."""

import base64
import hashlib
import json
from importlib import resources
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.colors import to_hex

from esdseg.metrics.score_table import (
    BASELINE_TITLES,
    THRESHOLD_SCORE,
    build_score_table,
    describe_tiles,
    show,
    show_interval,
)
from esdseg.metrics.scorecard import Scorecard
from esdseg.prediction.places import places_table
from esdseg.report.error_picture import OUTCOMES
from esdseg.report.gallery import CONFIDENCE_LEVELS, UNKNOWN_STYLE, read_gallery
from esdseg.report.look import CONFIDENCE_COLORS, PAGE_FONTS, PAGE_VARIABLES, to_svg
from esdseg.report.score_pictures import draw_scores, write_score_pictures
from esdseg.report.training_curves import draw_histories
from esdseg.sensors.classes import CLASSES, CONTEST_CLASS, UNKNOWN_RGB, LabelClass
from esdseg.system.files import write_text

REPORT_NAME = "report.html"
SHOWN_TILES = 8
"""Tiles that are named at the top of the page."""

PACKAGE = "esdseg.report"

CONFIDENCE_TITLES = {
    "expected_calibration_error": "Expected calibration error",
    "brier": "Brier score, all classes",
    "brier_contest": f"Brier score, {CONTEST_CLASS.title.lower()}",
    "mean_confidence": "Mean confidence",
}
"""Scores of the probabilities that are shown without and with a temperature."""

DESCRIPTIONS = {
    "roc": "ROC: share of a class' cells that are found over the share of other cells that are taken for it",
    "precision_recall": "Precision over recall: share of right cells among those that are mapped as a class, "
    "over the share of the class' cells that are found",
    "reliability": "Reliability: share of right cells over their confidence, and how many cells there are",
    "coverage_risk": "Scores of the most confident cells alone, over their share of all cells",
    "loss": "Loss over the epochs",
    "scores": "Scores on the tiles that chose the epoch, over the epochs",
}
"""What each chart shows, for those who do not see it."""


def write_report(folder: Path, card: Scorecard, config: str) -> Path:
    """Write ``report.html``, and the pictures of the scores as PNG, beside the tiles' maps.

    Args:
        folder: The results' folder, with a folder for each tile in it.
        card: The scores.
        config: The settings of the evaluation as YAML.

    Returns:
        The page.

    Raises:
        InputDataError: A tile's files are missing or damaged, or their maps are not those that were scored.
    """
    gallery = read_gallery(folder, card)
    table = build_score_table(card)
    scores, training = draw_scores(card), draw_histories(card.history, card.run)
    write_score_pictures(folder, scores)
    drawn = {**scores, **training}
    script = _asset("page.js")
    page = (
        _environment()
        .get_template("page.html.j2")
        .render(
            card=card,
            headline=table.headline[0],
            at_threshold=next((row for row in table.headline if row.name == THRESHOLD_SCORE), None),
            verdict=card.verdict.sentence() if card.verdict else None,
            table=table,
            gallery=gallery,
            anchors={tile.name: tile.anchor for tile in gallery.tiles},
            charts={name: to_svg(figure, name, _describe(name, card)) for name, figure in drawn.items()},
            training_charts=tuple(training),
            classes=CLASSES,
            class_by_name={label_class.name: label_class for label_class in CLASSES},
            contest_class=CONTEST_CLASS,
            baselines={name: card.baselines[name] for name in BASELINE_TITLES if name in card.baselines},
            baseline_titles=BASELINE_TITLES,
            outcomes=[title for title, _ in OUTCOMES],
            confidence_titles=CONFIDENCE_TITLES,
            confidence_levels=CONFIDENCE_LEVELS,
            fonts=Markup(PAGE_FONTS),
            describe_tiles=describe_tiles,
            shown_tiles=SHOWN_TILES,
            area=_describe_area(card),
            show_place=_show_place,
            colors=_colors(),
            safe_colors={_class_style(label_class): label_class.safe_color for label_class in CLASSES},
            series_colors={
                variable: color for color, variable in PAGE_VARIABLES.items() if "series" in variable
            },
            swatch=_swatch,
            class_label=_class_label,
            show=show,
            show_interval=show_interval,
            facts=_facts(card),
            config=config,
            training_config=yaml.safe_dump(card.training_config, sort_keys=False, allow_unicode=True),
            style=Markup(_asset("page.css")),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )
    write_text(folder / REPORT_NAME, page)
    return folder / REPORT_NAME


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(PACKAGE, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> str:
    return resources.files(PACKAGE).joinpath(name).read_text(encoding="utf-8")


def _describe(name: str, card: Scorecard) -> str:
    """Return what a chart shows in words; of the confusion matrix all counts."""
    if name != "confusion_matrix":
        return DESCRIPTIONS[name]
    rows = [
        f"of {label_class.title_with_code} {', '.join(f'{count:,}' for count in counts)}"
        for label_class, counts in zip(CLASSES, card.confusion_matrix, strict=True)
    ]
    return f"Confusion matrix, cells by predicted class in the order of the codes: {'; '.join(rows)}"


def _class_style(label_class: LabelClass) -> str:
    return f"class-{label_class.code}"


def _colors() -> dict[str, str]:
    """Return the colour of each style of the maps."""
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


def _describe_area(card: Scorecard) -> str | None:
    """Return in words where the middles of the tiles lie, where all are known."""
    if not card.coordinates or set(card.coordinates) != set(card.tiles):
        return None
    if len(card.tiles) == 1:
        return f"its middle lies at {_show_place(card.coordinates[card.tiles[0]])}"
    longitudes, latitudes = zip(*card.coordinates.values(), strict=True)
    south_west, north_east = (min(longitudes), min(latitudes)), (max(longitudes), max(latitudes))
    return f"their middles lie between {_show_place(south_west)} and {_show_place(north_east)}"


def _show_place(place: tuple[float, float]) -> str:
    """Return longitude and latitude as ``9.53° S, 33.90° E``."""
    longitude, latitude = place
    return f"{abs(latitude):.2f}° {'NS'[latitude < 0]}, {abs(longitude):.2f}° {'EW'[longitude < 0]}"


def _facts(card: Scorecard) -> dict[str, str]:
    """Return where the scores come from: data, seeds and versions, one text each."""
    facts = {
        "checkpoint": card.checkpoint,
        "learned numbers": f"{card.model_parameters:,}",
        "time to predict a tile": f"{card.seconds_per_tile:.2f} s",
    }
    sections = {"data": card.data, "bootstrap": card.bootstrap, "version": card.versions}
    for section, values in sections.items():
        for name, value in values.model_dump(mode="json").items():
            text = value if isinstance(value, str) else json.dumps(value)
            facts[f"{section}: {name.replace('_', ' ')}"] = text
    for sensor, dates, tiles in places_table(card.places).rows:
        # Tiles of other dates come after those of the first.
        name = f"dates of {sensor}, by place"
        facts[name] = f"{facts[name]}; {dates} ({tiles})" if name in facts else f"{dates} ({tiles})"
    return facts
