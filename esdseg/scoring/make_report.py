"""Making the report of an evaluated run again, from what ``evaluate`` left in its folder."""

from pathlib import Path

from esdseg.config.evaluation import EvalConfig
from esdseg.errors import InputDataError
from esdseg.metrics.scorecard import read_scorecard
from esdseg.report.page import write_report
from esdseg.scoring.results import CONFIG_NAME, METRICS_NAME, find_folder


def make_report(name: str, predictions_dir: Path | None = None) -> Path:
    """Write ``report.html`` of an evaluated run again; neither checkpoint nor store is needed.

    Args:
        name: A folder of predictions, or the name of such a folder in ``predictions_dir``.
        predictions_dir: Folder of all results; that of ``evaluate`` unless given.

    Returns:
        The report.

    Raises:
        InputDataError: The run has no scores, or its scores, settings or maps are missing, damaged, or not of
            one evaluation.
    """
    folder = find_folder(name, predictions_dir or EvalConfig().predictions_dir)
    card = read_scorecard(folder / METRICS_NAME)
    try:
        config = (folder / CONFIG_NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputDataError(
            f"{folder / CONFIG_NAME} cannot be read ({error}); make it anew with `esdseg evaluate`."
        ) from None
    return write_report(folder, card, config)
