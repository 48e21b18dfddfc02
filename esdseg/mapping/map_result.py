"""What is told of the map of an area: to the caller, in notes, and in ``predict.yml``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from pydantic import JsonValue

from esdseg import __version__
from esdseg.mapping.area_map import AreaMap, DatesUsed, dates_table
from esdseg.mapping.blocks import MapJob
from esdseg.metrics.score_table import TextTable
from esdseg.prediction.calibration import Calibration
from esdseg.prediction.channel_share import MIN_CHANNEL_SHARE, show_share
from esdseg.prediction.sources import Run
from esdseg.sensors.classes import CLASSES


@dataclass(frozen=True)
class MapResult:
    """The map of an area, and what was written of it.

    Attributes:
        output_dir: The folder.
        files: The files in it, in the order in which a reader opens them.
        area: The map itself.
        is_georeferenced: Whether it is known where the area lies.
        dates: The dates that were used.
        settlements: Settlements without electricity that were found; ``None`` for tiles that lie nowhere.
        notes: Sentences that a reader of the map should know.
    """

    output_dir: Path
    files: tuple[Path, ...]
    area: AreaMap
    is_georeferenced: bool
    dates: tuple[DatesUsed, ...]
    settlements: int | None
    notes: tuple[str, ...]

    @property
    def mapped_cells(self) -> int:
        """Cells with data."""
        return int(self.area.is_mapped.sum())

    @property
    def class_cells(self) -> dict[str, int]:
        """Cells of each class, by its name."""
        counts = np.bincount(self.area.classes[self.area.is_mapped], minlength=len(CLASSES))
        return {label_class.name: int(counts[label_class.index]) for label_class in CLASSES}

    @property
    def tables(self) -> tuple[TextTable, ...]:
        """Cells of each class and the dates used, to print."""
        rows = [
            (label_class.title_with_code, str(self.class_cells[label_class.name])) for label_class in CLASSES
        ]
        rows.append(("0 No data", str(self.area.classes.size - self.mapped_cells)))
        return (
            TextTable("Cells of the map, 0.25 km2 each", ("class", "cells"), tuple(rows)),
            dates_table(self.dates),
        )

    def to_json(self) -> dict[str, JsonValue]:
        """Return the result as plain JSON types."""
        return {
            "output_dir": str(self.output_dir),
            "files": [str(path) for path in self.files],
            "cells": self.area.classes.size,
            "mapped_cells": self.mapped_cells,
            "class_cells": {**self.class_cells},
            "settlements": self.settlements,
            "dates": {used.sensor: used.to_json() for used in self.dates},
            "notes": list(self.notes),
        }


def describe_map(
    result: MapResult, job: MapJob, runs: Sequence[Run], calibration: Calibration | None, source: Path
) -> str:
    """Return the content of ``predict.yml``."""
    config, grid = job.config, job.area.grid
    settings = config.model_dump(mode="json", exclude={"checkpoint", "ensemble", "checkpoints_dir", "dask"})
    shares = result.area.channel_share
    described: dict[str, object] = {
        "esdseg": __version__,
        "torch": str(torch.__version__),
        "input": str(source.absolute()),
        "checkpoints": [
            {
                "path": str(network.path),
                "run": network.metadata.run_name,
                "model": network.metadata.config.model.name,
                "window_size": network.window_size,
                "temperature": network.metadata.temperature,
            }
            for network in job.networks
        ],
        "runs": [str(run.path) for run in runs],
        "temperature_of_the_mean": None if calibration is None else calibration.temperature,
        "settings": {**settings, "overlap": job.overlap},
        "area": {
            "crs": _name_of_crs(grid.crs_wkt),
            "bounds_m": list(grid.bounds) if job.area.is_georeferenced else None,
            "rows": grid.rows,
            "columns": grid.columns,
        },
        "cells": {"all": int(shares.size), "mapped": result.mapped_cells, **result.class_cells},
        "channels": {
            "taken": sorted({name for network in job.networks for name in network.metadata.channels}),
            "mean_share_of_mapped_cells": round(float(shares[result.area.is_mapped].mean()), 4),
            "least_share_of_mapped_cells": round(float(shares[result.area.is_mapped].min()), 4),
            "least_share_to_be_mapped": MIN_CHANNEL_SHARE,
        },
        "dates": {used.sensor: used.to_json() for used in result.dates},
        "notes": list(result.notes),
        "files": sorted({path.relative_to(result.output_dir).parts[0] for path in result.files}),
    }
    return yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=100)


def _name_of_crs(crs_wkt: str) -> str | None:
    from rasterio.crs import CRS

    if not crs_wkt:
        return None
    code = CRS.from_wkt(crs_wkt).to_epsg()
    return f"EPSG:{code}" if code else crs_wkt


def share_notes(area_map: AreaMap) -> tuple[str, ...]:
    """Say where cells have too few channels for a map, and where they lack some."""
    mapped, shares = area_map.is_mapped, area_map.channel_share
    seen = shares > 0
    notes = []
    if int((seen & ~mapped).sum()):
        notes.append(
            f"{int((seen & ~mapped).sum())} cells have less than {show_share(MIN_CHANNEL_SHARE)} of the "
            "channels that the network takes; they are no data (code 0)."
        )
    partial_cells = int((mapped & (shares < 1)).sum())
    if partial_cells:
        least = show_share(float(shares[mapped].min()))
        notes.append(
            f"{partial_cells} of {int(mapped.sum())} mapped cells lack channels that the network takes; the "
            f"least has {least} of them."
        )
    return tuple(notes)


def temperature_notes(job: MapJob, calibration: Calibration | None) -> tuple[str, ...]:
    """Say which temperature acts where the prediction is calibrated anew, or is a mean of checkpoints."""
    if calibration is not None:
        return (
            f"A temperature of {calibration.temperature:.2f}, fitted to this prediction on the "
            "validation tiles, acts on the probabilities.",
        )
    if len(job.networks) > 1:
        return (
            "The probabilities are the mean of several checkpoints, each with its own temperature; the mean "
            "itself was not calibrated. --calibrate fits a temperature to it.",
        )
    return ()


def no_place_note(source: Path, is_placed: bool) -> str:
    """Say why there is no map of tiles that cannot be put together.

    Args:
        source: Where the tiles are.
        is_placed: Whether tiles have coordinates, though not on one lattice.
    """
    reason = (
        "do not lie on one lattice of label cells in one reference system, such as one UTM zone"
        if is_placed
        else "do not say where they lie"
    )
    return (
        f"The tiles of {source} {reason}. So each was mapped for itself, and there is a "
        "contact sheet in place of a map, and no vectors."
    )


def nothing_mapped(area_map: AreaMap, source: Path, runs: Sequence[Run]) -> str:
    """Say that no cell has enough of the networks' channels, and what to do."""
    most = show_share(float(area_map.channel_share.max()))
    paths = ", ".join(str(run.path) for run in runs)
    return (
        f"No cell of {source} was mapped: its cells have {most} or less of the channels that {paths} takes, "
        f"and a map needs {show_share(MIN_CHANNEL_SHARE)}. Give scenes of the sensors that the network was "
        "trained on, or train on what these have."
    )
