"""Writing the page: every number in it comes from ``metrics.json``, every map from the files beside it."""

import base64
import hashlib
import json
from importlib import resources
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from esdseg.metrics.score_table import (
    BASELINE_TITLES,
    THRESHOLD_SCORE,
    build_score_table,
    show,
    show_interval,
)
from esdseg.metrics.scorecard import Scorecard
from esdseg.report import charts, palette
from esdseg.report.curves import calibration_charts, class_charts, training_charts
from esdseg.report.error_picture import OUTCOMES
from esdseg.report.gallery import CONFIDENCE_LEVELS, read_gallery
from esdseg.sensors.classes import CLASSES, CONTEST_CLASS
from esdseg.system.files import write_text

REPORT_NAME = "report.html"
PACKAGE = "esdseg.report"

CONFIDENCE_TITLES = {
    "expected_calibration_error": "Expected calibration error",
    "brier": "Brier score, all classes",
    "brier_contest": "Brier score, class 1",
    "mean_confidence": "Mean confidence",
}
"""Scores of the probabilities that are shown without and with a temperature."""


def write_report(folder: Path, card: Scorecard, config: str) -> Path:
    """Write ``report.html`` into the folder that holds the tiles' maps.

    Args:
        folder: The results' folder, with a folder for each tile in it.
        card: The scores.
        config: The settings of the evaluation as YAML.

    Raises:
        InputDataError: A tile's files are missing or damaged, or their maps are not those that were scored.
    """
    gallery = read_gallery(folder, card)
    table = build_score_table(card)
    script = _asset("page.js")
    page = (
        _environment()
        .get_template("page.html.j2")
        .render(
            metrics=card,
            headline=table.headline[0],
            at_threshold=next((row for row in table.headline if row.name == THRESHOLD_SCORE), None),
            verdict=card.verdict.sentence() if card.verdict else None,
            table=table,
            gallery=gallery,
            anchors={tile.name: tile.anchor for tile in gallery.tiles},
            training_charts=training_charts(card),
            class_charts=class_charts(card),
            calibration_charts=calibration_charts(card),
            frame=charts,
            classes=CLASSES,
            class_by_name={one.name: one for one in CLASSES},
            contest_class=CONTEST_CLASS,
            baseline_titles=BASELINE_TITLES,
            outcomes=[title for title, _ in OUTCOMES],
            confidence_titles=CONFIDENCE_TITLES,
            confidence_levels=CONFIDENCE_LEVELS,
            palette=palette,
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
    return facts
