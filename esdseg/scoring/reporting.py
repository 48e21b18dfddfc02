"""Making the report of an evaluated run again, from what ``evaluate`` left in its folder."""

from pathlib import Path

from pydantic import ValidationError

from esdseg.config.evaluation import EvalConfig
from esdseg.errors import InputDataError
from esdseg.scoring.result_folder import CONFIG_NAME, find_folder


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

    # Imported here: whoever names a folder that is not there need not wait for torch.
    from esdseg.report.page import write_report
    from esdseg.scoring.scored_run import read_scored_run

    run = read_scored_run(folder, name)
    mend = "make it anew with `esdseg evaluate`"
    try:
        config = (run.folder / CONFIG_NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputDataError(f"{run.folder / CONFIG_NAME} cannot be read ({error}); {mend}.") from None
    try:
        return write_report(run.folder, run.metrics, config)
    except ValidationError as error:
        details = error.errors()[0]
        place = ".".join(map(str, details["loc"])) or "its start"
        raise InputDataError(
            f"{run.path} lacks what the report shows, at '{place}': {details['msg']}; {mend}."
        ) from None
