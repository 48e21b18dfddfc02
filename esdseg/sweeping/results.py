"""What a sweep leaves in its folder for people: a table of the trials, the best settings, and pictures."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import optuna

from esdseg.config.loading import dump_config
from esdseg.config.training import ESDConfig
from esdseg.errors import InputDataError
from esdseg.models.runs import TRIALS_NAME
from esdseg.store.store import open_store
from esdseg.sweeping.distributions import Numbers, Value
from esdseg.sweeping.search_space import Sweep
from esdseg.sweeping.study import SweepStudy, TrialRecord, best_record
from esdseg.system.files import remove_parts, write_text

BEST_NAME = "best.yml"
PICTURE_NAMES = ("history.png", "importance.png", "parallel.png")


def result_paths(folder: Path) -> list[Path]:
    """Return the files for people that are there."""
    names = (TRIALS_NAME, BEST_NAME, *PICTURE_NAMES)
    return [folder / name for name in names if (folder / name).is_file()]


def write_results(study: SweepStudy) -> None:
    """Write ``best.yml`` and the pictures once a trial has finished, and last of all ``trials.csv``.

    Nothing is done where ``trials.csv`` tells of all trials already.
    """
    with study.lock():
        write_result_files(study.sweep, study.folder, study.records(), study.optuna)


def write_result_files(
    sweep: Sweep, folder: Path, records: Sequence[TrialRecord], study: optuna.Study
) -> None:
    """Write what :func:`write_results` says.

    Args:
        sweep: What is searched.
        folder: Where the files go; no other process may write them meanwhile.
        records: The trials.
        study: The trials as Optuna's, for the pictures.
    """
    remove_parts(folder)
    table, path = trials_table(sweep, records), folder / TRIALS_NAME
    if path.is_file() and path.read_text(encoding="utf-8") == table:
        return
    best = best_record(records, sweep.metric)
    if best is not None:
        from esdseg.report.sweep_pictures import PictureTrial, write_sweep_pictures

        write_text(folder / BEST_NAME, best_settings(sweep, best))
        paths = [folder / name for name in PICTURE_NAMES]
        trials = [
            PictureTrial(record.trial, record.state, record.value, record.settings) for record in records
        ]
        scales = [
            name
            for name, kind in sweep.parameters.items()
            if isinstance(kind, Numbers) and kind.shape in ("log_uniform", "log_normal")
        ]
        title = f"{sweep.name}{_describe_tiles(sweep.config_at(best.settings))}"
        write_sweep_pictures(study, trials, title, sweep.metric.name, scales, paths)
    write_text(path, table)


def _describe_tiles(config: ESDConfig) -> str:
    """Return which tiles score the trials, as ``, on 3 validation tiles``; nothing where they are gone."""
    # Imported here, since who prints a sweep's trials need not wait for what trains.
    from esdseg.datasets.datamodule import SubtileDataModule

    try:
        store = open_store(config.data.processed_dir, config.data.subtile_size)
        tiles = len(SubtileDataModule(config.resolved(store.subtile_size, store.channels), store).val_tiles)
    except InputDataError:
        return ""
    return f", on {tiles} validation {'tile' if tiles == 1 else 'tiles'}"


def trials_table(sweep: Sweep, records: Sequence[TrialRecord]) -> str:
    """Return the trials as CSV, a row each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    scores = ("best_epoch", "epochs", "max_epochs", "seconds")
    writer.writerow(
        ["trial", "state", sweep.metric.name, *scores, *sweep.parameters, "run", "host", "reason"]
    )
    for record in records:
        seconds = None if record.seconds is None else round(record.seconds, 1)
        settings: list[Value] = [record.settings.get(name) for name in sweep.parameters]
        writer.writerow(
            [
                record.trial,
                record.state,
                record.value,
                record.best_epoch,
                record.epochs,
                record.max_epochs,
                seconds,
                *settings,
                record.run,
                record.host,
                record.reason,
            ]
        )
    return text.getvalue()


def best_settings(sweep: Sweep, best: TrialRecord) -> str:
    """Return the configuration file of the best trial."""
    value = "" if best.value is None else f": {sweep.metric.name} {best.value:.6g}"
    return (
        f"# Trial {best.trial} of the sweep {sweep.name}{value}. For `esdseg train --config`.\n"
        f"{dump_config(sweep.config_at(best.settings))}"
    )
