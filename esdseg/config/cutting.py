"""Settings of ``esdseg cut``: the area, how scenes become tiles, and where labels come from."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from esdseg.config.section import Section
from esdseg.sensors.classes import GRID_SIZE

Resampling = Literal["nearest", "bilinear", "cubic", "average"]


class CutConfig(Section):
    """All settings of ``esdseg cut``."""

    scenes: Path
    """Folder of the scenes' rasters, searched with all folders in it."""
    output: Path
    """Folder for Tile1, Tile2, ..."""
    crs: str | None = None
    """Reference system of the tiles, projected and in metres, such as EPSG:32736; the UTM zone of the area's
    middle unless given."""
    area: str | None = None
    """WEST,SOUTH,EAST,NORTH in degrees (or in metres of --crs), or a GeoJSON or GeoPackage file of polygons;
    all that the rasters of the finest pixels cover unless given."""
    overlap: Annotated[int, Field(ge=0, lt=GRID_SIZE)] = 0
    """Label cells that neighbouring tiles share. Leave it at 0 for tiles to train on: a cell in two tiles
    could be trained on and scored."""
    resampling: Resampling = "nearest"
    """How values are taken from the scenes' pixels; the contest's tiles are nearest neighbours."""
    sensors: Path | None = None
    """FILE.yml that describes the sensors, or s2-s1, which comes with esdseg; the contest's unless given."""
    labels: Path | None = None
    """Raster of label codes, 1 to 4 (0 where unknown), of any pixel size and reference system."""
    buildings: Path | None = None
    """File of buildings, polygons or points, such as Google's Open Buildings (CSV) or Microsoft's footprints
    (GeoJSON); with --lights or --lit it gives the labels."""
    lights: Path | None = None
    """Raster of night light; a cell has electricity where any part of it is brighter than the threshold."""
    lit: Path | None = None
    """File of lit areas, polygons or points; a cell has electricity where one of them touches it."""
    light_threshold: Annotated[float, Field(ge=0)] = 0.5
    """Light that --lights must exceed, in the raster's unit; 0.5 nW/(cm2 sr) is what NASA's Black Marble can
    tell from darkness."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Processes that write tiles; one a core unless given."""

    @model_validator(mode="after")
    def _labels_have_one_source(self) -> Self:
        light = [name for name in ("lights", "lit") if getattr(self, name) is not None]
        if self.labels is not None and (self.buildings is not None or light):
            other = "buildings" if self.buildings is not None else light[0]
            raise ValueError(f"labels come from --labels or from --{other}; give one of them")
        if len(light) == 2:
            raise ValueError("light comes from --lights or from --lit; give one of them")
        if self.buildings is not None and not light:
            raise ValueError(
                "buildings tell where settlements are, not which have electricity; add --lights RASTER or "
                "--lit FILE"
            )
        if light and self.buildings is None:
            raise ValueError(
                "light tells what has electricity, not where settlements are; add --buildings FILE"
            )
        if self.lights is None and "light_threshold" in self.model_fields_set:
            raise ValueError("light_threshold is for --lights RASTER; add it or leave the threshold away")
        return self

    @property
    def has_labels(self) -> bool:
        """Whether the tiles get labels."""
        return self.labels is not None or self.buildings is not None
