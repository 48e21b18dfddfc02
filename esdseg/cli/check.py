"""``esdseg check``: say whether raw tiles, or a processed store, are whole and right."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esdseg.cli.help import Subcommand
from esdseg.cli.options import CheckpointsDir, Json, SensorsFile, Workers
from esdseg.cli.output import counted, needs, print_json, print_line, print_places, print_table
from esdseg.cli.progress import LOADING, prefixed, progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esdseg.models.checkpoint import LoadedCheckpoint
    from esdseg.prediction.places import Places
    from esdseg.sensors.acquisitions import Acquisition
    from esdseg.store.verification import StoreReport
    from esdseg.tiles.check_report import CheckReport

PROBLEMS_FOUND_EXIT_CODE = 1


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        cls=Subcommand,
        epilog="Example: esdseg check data/raw/Train  |  Of a store: esdseg check data/processed/4x4",
    )(check)


def check(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Folder that holds the raw tiles' folders; or a processed store, or its folder.",
        ),
    ],
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            metavar="RUN",
            help="Also say which dates of each tile would fill the places of this network.",
        ),
    ] = None,
    checkpoints_dir: CheckpointsDir = Path("checkpoints"),
    sensors: SensorsFile = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Read every raster of a folder of tiles and name what is missing or wrong (exit code 1).

    Of a processed store, verify every checksum, and labels and counts against the manifest.
    """
    first = LOADING if checkpoint is not None else "starting"
    with progress("check", first) as advance:
        from esdseg.store.store import find_stores

        stores = find_stores(folder)
        network = _open(checkpoint, checkpoints_dir) if checkpoint is not None else None
        if stores:
            from esdseg.store.verification import verify_store

            reports = [
                verify_store(store, workers=workers, on_tile=prefixed(advance, store.name))
                for store in stores
            ]
        else:
            from esdseg.config.loading import load_sensors
            from esdseg.tiles.checking import check_tiles

            is_own = network is not None and sensors is None
            table = network.metadata.sensors if network is not None and is_own else load_sensors(sensors)
            report = check_tiles(folder, sensors=table, workers=workers, on_tile=advance)
    if stores:
        _print_stores(reports, json, network)
        return
    acquired = {tile.name: tile.acquisitions for tile in report.tiles}
    if json:
        print_json({**report.to_json(), **_places_to_json(network, acquired)})
    else:
        _print_report(report)
        _print_filled_places(network, acquired)
    if not report.ok:
        raise typer.Exit(PROBLEMS_FOUND_EXIT_CODE)


def _open(checkpoint: str, checkpoints_dir: Path) -> "LoadedCheckpoint":
    from esdseg.models.runs import resolve_checkpoint

    path = resolve_checkpoint(checkpoint, checkpoints_dir)

    from esdseg.baselines.checkpoint import open_checkpoint

    return open_checkpoint(path)


def _print_stores(reports: "list[StoreReport]", json: bool, network: "LoadedCheckpoint | None") -> None:
    is_ok = all(report.ok for report in reports)
    acquired = {tile: found for report in reports for tile, found in report.acquisitions.items()}
    if json:
        shown = {"ok": is_ok, "stores": [report.to_json() for report in reports]}
        print_json({**shown, **_places_to_json(network, acquired)})
    else:
        for report in reports:
            _print_store(report)
        _print_filled_places(network, acquired)
    if not is_ok:
        raise typer.Exit(PROBLEMS_FOUND_EXIT_CODE)


def _fill_places(
    network: "LoadedCheckpoint", acquired: "Mapping[str, Sequence[Acquisition]]"
) -> "tuple[dict[str, Places], tuple[str, ...]]":
    """Return the dates that would fill a network's places in each tile, and sentences on what is missing."""
    from esdseg.prediction.places import fill_places, missing_notes

    places = {tile: fill_places(network.channels, found) for tile, found in acquired.items()}
    return places, missing_notes(places, network.channels)


def _places_to_json(
    network: "LoadedCheckpoint | None", acquired: "Mapping[str, Sequence[Acquisition]]"
) -> dict[str, object]:
    if network is None or not acquired:
        return {}
    from esdseg.prediction.places import places_to_json

    places, missing = _fill_places(network, acquired)
    filled = {tile: places_to_json(found) for tile, found in places.items()}
    return {"places": filled, "missing": list(missing)}


def _print_filled_places(
    network: "LoadedCheckpoint | None", acquired: "Mapping[str, Sequence[Acquisition]]"
) -> None:
    if network is None or not acquired:
        return
    places, missing = _fill_places(network, acquired)
    print_places(places)
    for note in missing:
        print_line(f"Note: {note}")


def _print_store(report: "StoreReport") -> None:
    for name, fault in report.skipped.items():
        print_line(f"Note: {name} was left out of the store: {fault}")
    if report.problems:
        print_table(
            f"{counted(len(report.problems), 'problem')} in {report.store}",
            ("tile", "problem", "mend it with"),
            [(item.tile or "", item.message, item.fix) for item in report.problems],
            texts=("problem", "mend it with"),
        )
        return
    splits = ", ".join(f"{number} {split}" for split, number in report.tiles.items() if number)
    print_line(
        f"{report.store}: {counted(sum(report.tiles.values()), 'tile')} ({splits}) of "
        f"{counted(report.num_channels, 'channel')}: every checksum, count and label holds."
    )


def _print_report(report: "CheckReport") -> None:
    _print_sensors(report)
    _print_dates(report)
    _print_classes(report)
    for note in report.notes:
        print_line(f"Note: {_place(note.tile, note.file)}{note.message}")
    if report.problems:
        print_table(
            f"{counted(len(report.problems), 'problem')} in {report.raw_dir}",
            ("tile", "file", "problem", "fix"),
            [(item.tile or "", item.file or "", item.message, item.fix) for item in report.problems],
            texts=("file", "problem", "fix"),
        )
    else:
        print_line(f"{counted(len(report.tiles), 'tile')} in {report.raw_dir}: no problems.")
    print_line(f"Preprocessing will need {needs(report.cost)}.")


def _print_sensors(report: "CheckReport") -> None:
    rows = []
    for sensor in report.sensors:
        for band, counts in sensor.bands.items():
            values = counts.to_json()
            numbers = (values[key] for key in ("minimum", "p01", "median", "p99", "maximum"))
            shares = (values[f"{key}_share"] for key in ("zero", "nan", "fill", "saturated"))
            rows.append(
                (
                    f"{sensor.name} {band}",
                    *("" if number is None else _show(number) for number in numbers),
                    *("" if not share else f"{share:.3%}" for share in shares),
                )
            )
    header = ("band", "min", "1 %", "median", "99 %", "max", "zero", "NaN", "fill", "saturated")
    print_table("Values of the rasters over all tiles and dates", header, rows)


def _print_dates(report: "CheckReport") -> None:
    rows = []
    for sensor in report.sensors:
        skies = report.skies(sensor.name)
        for day, tiles in sensor.dates.items():
            sky = ", ".join(f"{number} {state}" for state, number in skies.get(day, {}).items())
            rows.append((sensor.name, str(day), str(tiles), sky))
    print_table(
        "Dates", ("sensor", "date", "tiles", "sky (estimated)"), rows, texts=("date", "sky (estimated)")
    )


def _print_classes(report: "CheckReport") -> None:
    from esdseg.sensors.classes import CLASSES

    cells = report.class_cells
    total = sum(cells.values())
    if not total:
        return
    rows = [
        (entry.title_with_code, f"{cells[entry.name]:,}", f"{cells[entry.name] / total:.1%}")
        for entry in CLASSES
    ]
    print_table("Label cells", ("class", "cells", "share"), rows)


def _show(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def _place(tile: str | None, file: str | None) -> str:
    place = "/".join(part for part in (tile, file) if part)
    return f"{place}: " if place else ""
