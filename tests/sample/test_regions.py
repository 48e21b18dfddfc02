"""What tells the regions of sample tiles from each other, on one tile of each."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio

from esdseg.errors import UsageError
from esdseg.sample.dates import contest_dates
from esdseg.sample.regions import REGIONS, Uniform, find_region
from esdseg.sample.scene import scene_corner_m, write_sample_scene
from esdseg.sample.tile import SampleTile, generate_tile
from esdseg.sample.writing import tile_corner, write_sample_tiles
from esdseg.sensors.sensors import GROUND_TRUTH_NAME

DATES = {name: days[1:2] if name != "landsat8" else days[1:1] for name, days in contest_dates().items()}
"""A clear date of each sensor that the statistics are of."""

NUMBER = 4
"""A tile of seed 0 with a town in every region."""


@pytest.fixture(scope="module")
def tiles() -> dict[str, SampleTile]:
    return {name: generate_tile(0, NUMBER, DATES, region) for name, region in REGIONS.items()}


def band_of(tile: SampleTile, sensor: str, band: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return tile.rasters[sensor, DATES[sensor][0].acquired, band].astype(np.float64)


def ordered(values: Mapping[str, float]) -> list[str]:
    return sorted(values, key=values.__getitem__)


def test_a_tile_of_a_region_is_the_same_whenever_it_is_made(tiles: dict[str, SampleTile]) -> None:
    radar_alone = {**dict.fromkeys(DATES, ()), "sentinel1": DATES["sentinel1"]}
    again = generate_tile(0, NUMBER, radar_alone, REGIONS["delta"])
    np.testing.assert_array_equal(again.labels, tiles["delta"].labels)
    for key, raster in again.rasters.items():
        np.testing.assert_array_equal(raster, tiles["delta"].rasters[key])


def test_the_same_seed_gives_other_land_in_every_region(tiles: dict[str, SampleTile]) -> None:
    assert len({tile.labels.tobytes() for tile in tiles.values()}) == len(REGIONS)
    relief = [tile.settlements.buildings.row[:20].tolist() for tile in tiles.values()]
    assert all(first != other for i, first in enumerate(relief) for other in relief[:i])


def test_every_class_occurs_in_a_tile_with_a_town(tiles: dict[str, SampleTile]) -> None:
    for region, tile in tiles.items():
        assert set(np.unique(tile.labels)) == {1, 2, 3, 4}, region


def test_plants_are_greener_from_the_sahel_to_the_delta(tiles: dict[str, SampleTile]) -> None:
    greenness = {}
    for region, tile in tiles.items():
        red, infrared = band_of(tile, "sentinel2", "B04"), band_of(tile, "sentinel2", "B08")
        greenness[region] = float(np.mean((infrared - red) / (infrared + red)))
    assert ordered(greenness) == ["sahel", "savanna", "highlands", "delta"]


def test_ground_is_brightest_in_the_sahel_and_darkest_in_the_delta(tiles: dict[str, SampleTile]) -> None:
    red = {region: float(np.median(band_of(tile, "sentinel2", "B04"))) for region, tile in tiles.items()}
    assert ordered(red)[0] == "delta"
    assert ordered(red)[-1] == "sahel"


def test_dry_ground_scatters_less_to_the_radar(tiles: dict[str, SampleTile]) -> None:
    power = {region: float(np.median(band_of(tile, "sentinel1", "VV"))) for region, tile in tiles.items()}
    assert ordered(power)[0] == "sahel"
    assert power["sahel"] < 0.7 * power["savanna"]


def test_only_the_delta_is_flooded_and_nobody_lives_in_the_water(tiles: dict[str, SampleTile]) -> None:
    water = {region: band_of(tile, "sentinel2", "B11") < 600 for region, tile in tiles.items()}
    shares = {region: float(found.mean()) for region, found in water.items()}
    assert shares["delta"] > 0.02
    assert max(share for region, share in shares.items() if region != "delta") < 0.005
    houses = tiles["delta"].settlements.buildings
    inside = water["delta"][houses.row.astype(int), houses.column.astype(int)]
    assert inside.mean() < 0.2 * shares["delta"]


def test_the_delta_is_lit_most_and_the_sahel_least(tiles: dict[str, SampleTile]) -> None:
    lit = {region: float(np.count_nonzero(tile.labels >= 3)) for region, tile in tiles.items()}
    power = {region: float(np.median(tile.settlements.lamps.power)) for region, tile in tiles.items()}
    assert lit["delta"] > lit["sahel"]
    assert ordered(power)[0] == "sahel"
    assert ordered(power)[-1] == "delta"


def test_houses_stand_close_in_the_sahel_and_far_apart_in_highlands(tiles: dict[str, SampleTile]) -> None:
    houses = {
        region: tile.settlements.buildings.row.size / np.count_nonzero(tile.labels % 2)
        for region, tile in tiles.items()
    }
    assert houses["highlands"] < 0.5 * houses["savanna"]
    assert houses["sahel"] > 1.5 * houses["savanna"]


def test_roofs_are_of_what_the_region_has(tiles: dict[str, SampleTile]) -> None:
    shares = {
        region: np.bincount(tile.settlements.buildings.material, minlength=4)
        / tile.settlements.buildings.row.size
        for region, tile in tiles.items()
    }
    assert shares["sahel"][3] > 0.5
    assert all(shares[region][3] == 0 for region in ("savanna", "delta", "highlands"))
    assert shares["highlands"][0] > shares["delta"][0], "new sheets, not rusted ones"
    assert shares["delta"][1] > 0.3


@pytest.mark.parametrize(
    ("title", "attribute", "factor"),
    [
        ("depth of stream valleys, m", "incision_m", 1.0),
        ("river beds under water, %", "river_water", 100.0),
        ("land under standing water, %", "flooded", 100.0),
        ("red soil, %", "redness", 100.0),
        ("woodland, of the savanna's", "woods", 1.0),
        ("light parcels with green crops, %", "green_crops", 100.0),
        ("lone farms, % of hamlets", "lone_share", 100.0),
        ("pull of valleys", "valley_pull", 1.0),
        ("roofs of metal, %", "metal_share", 100.0),
        ("of metal roofs not rusted, %", "shiny_share", 100.0),
        ("of other roofs mud, not thatch, %", "mud_share", 100.0),
        ("roof, m2", "roof_m2", 1.0),
        ("bare ground between houses, %", "trampled", 100.0),
        ("trees between houses, %", "gardens", 100.0),
        ("radiance of a lamp", "lamp_power", 1.0),
        ("haze, of the savanna's", "haze", 1.0),
        ("ground warmer than in the savanna, K", "warmth_k", 1.0),
        ("radar echo of open ground, of the savanna's", "radar_ground", 1.0),
    ],
)
def test_the_documentation_says_the_ranges(title: str, attribute: str, factor: float) -> None:
    text = (Path(__file__).parents[2] / "docs/sample-tiles.md").read_text(encoding="utf-8")
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {title} |"))
    for region, cell in zip(REGIONS.values(), row.split("|")[2:], strict=False):
        value = getattr(region, attribute)
        ends = {value.low, value.high} if isinstance(value, Uniform) else {value}
        assert [float(end) for end in cell.split(" to ")] == pytest.approx(
            sorted(factor * end for end in ends)
        )


def test_regions_lie_apart() -> None:
    corners = np.array(
        [
            tile_corner(seed, number, region)
            for region in REGIONS.values()
            for seed in (0, 23)
            for number in (1, 10, 40)
        ]
    )
    apart = np.abs(corners[:, None] - corners[None]).max(axis=-1)
    assert apart[~np.eye(len(corners), dtype=bool)].min() >= 8_000, "the side of a tile"
    norths = [scene_corner_m(0, 100.0, region)[1] for region in REGIONS.values()]
    assert np.diff(norths).max() <= -1_000_000, "ten rows of the largest scenes"


def test_written_tiles_are_the_regions_and_are_not_mixed_with_others(tmp_path: Path) -> None:
    (tmp_path / "dates.yml").write_text("viirs: [2020-08-11]\nsentinel1: []\nlandsat8: []\nsentinel2: []\n")
    write = partial(
        write_sample_tiles,
        tmp_path / "raw",
        tiles=1,
        seed=0,
        crs=False,
        workers=1,
        dates=tmp_path / "dates.yml",
    )
    (folder,) = write(region="sahel")
    with rasterio.open(folder / GROUND_TRUTH_NAME) as file:
        labels = file.read(1)
    expected = generate_tile(0, 1, dict.fromkeys(DATES, ()), REGIONS["sahel"])
    np.testing.assert_array_equal(labels, expected.labels)
    with pytest.raises(UsageError, match=r"of region sahel, not of region savanna; choose another"):
        write()


def test_an_unknown_region_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown region 'higlands'; did you mean 'highlands'\?"):
        find_region("higlands")
    with pytest.raises(UsageError, match=r"'x'; Known regions: savanna, sahel, delta, highlands\."):
        write_sample_tiles(tmp_path / "raw", tiles=1, seed=0, crs=False, workers=1, region="x")
    with pytest.raises(UsageError, match="unknown region 'x'"):
        write_sample_scene(tmp_path / "scene", seed=0, size_km=8.0, region="x")
    assert not list(tmp_path.iterdir())
