"""What a sweep leaves in its folder: a table of the trials, the best settings, and pictures."""

import csv
import io
from collections.abc import Sequence

from esdseg.config.loading import dump_config
from esdseg.sweeping.files import BEST_NAME, TRIALS_NAME
from esdseg.sweeping.record import TrialRecord, best_record
from esdseg.sweeping.spec import Sweep
from esdseg.sweeping.study import Study
from esdseg.system.files import write_text


def write_results(study: Study) -> None:
    """Write once a trial has finished ``best.yml`` and the pictures, then ``trials.csv``."""
    records = study.records()
    best = best_record(records, study.sweep.metric)
    if best is not None:
        # Drawing loads PyTorch with the other pictures, which the processes begin without waiting for.
        from esdseg.sweeping.pictures import write_pictures

        with study.writing():
            write_text(study.folder / BEST_NAME, best_settings(study.sweep, best))
            write_pictures(study.folder, study.sweep, records, study.finished_trials())
    write_table(study)


def has_results(study: Study) -> bool:
    """Say whether the files tell of all trials: the table is written last."""
    try:
        written = (study.folder / TRIALS_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return written == trials_table(study.sweep, study.records())


def write_table(study: Study) -> None:
    """Write ``trials.csv``."""
    with study.writing():
        write_text(study.folder / TRIALS_NAME, trials_table(study.sweep, study.records()))


def trials_table(sweep: Sweep, records: Sequence[TrialRecord]) -> str:
    """Return the trials as CSV, a row each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    metric = sweep.metric.name
    writer.writerow(
        [
            "trial",
            "state",
            metric,
            "best_epoch",
            "epochs",
            "seconds",
            *sweep.parameters,
            "run",
            "host",
            "reason",
        ]
    )
    for one in records:
        seconds = None if one.seconds is None else round(one.seconds, 1)
        settings = [one.settings.get(name) for name in sweep.parameters]
        scores = (one.value, one.best_epoch, one.epochs, seconds)
        writer.writerow([one.number, one.state, *scores, *settings, one.run, one.host, one.reason])
    return text.getvalue()


def best_settings(sweep: Sweep, best: TrialRecord) -> str:
    """Return the configuration file of the best trial."""
    value = "" if best.value is None else f": {sweep.metric.name} {best.value:.6g}"
    return (
        f"# Trial {best.number} of the sweep {sweep.name}{value}. For `esdseg train --config`.\n"
        f"{dump_config(sweep.config_at(best.settings))}"
    )
