from datetime import date
from pathlib import Path

import numpy as np

from esdseg.config.evaluation import RestitchConfig
from esdseg.prediction.places import Places, fill_places, missing_notes, places_table
from esdseg.scoring.restitch import restitch
from esdseg.sensors.acquisitions import Acquisition
from esdseg.store.store import open_store
from tests.contest import channel_from_name
from tests.datasets.make_store import make_store
from tests.scoring.checkpoints import write_checkpoint

DAYS = tuple(date(2021, 7, day) for day in (3, 8, 13))
CHANNELS = tuple(
    channel_from_name(name)
    for name in ("viirs_DNB_max", "sentinel1_1_VV", "sentinel2_1_B04", "sentinel2_2_B04", "sentinel2_3_B04")
)
NIGHT = Acquisition(sensor="viirs", acquired=DAYS[1])


def clouds(*shares: float) -> list[Acquisition]:
    return [
        Acquisition(sensor="sentinel2", acquired=day, is_optical=True, cloud_share=share)
        for day, share in zip(DAYS, shares, strict=False)
    ]


def test_each_place_is_filled_by_a_date_or_by_none() -> None:
    assert fill_places(CHANNELS, [NIGHT, *clouds(0.4, 0.0)]) == {
        "viirs": (DAYS[1],),
        "sentinel1": (None,),
        "sentinel2": (DAYS[1], DAYS[0], None),
    }


def test_tiles_of_the_same_dates_share_a_row() -> None:
    places: dict[str, Places] = {
        f"Tile{number}": fill_places(CHANNELS, [NIGHT, *clouds(*([0.4] if number == 5 else [0, 0, 0]))])
        for number in range(1, 6)
    }
    table = places_table(places)
    assert table.rows == (
        ("viirs", "2021-07-08", "all 5"),
        ("sentinel1", "none", "all 5"),
        ("sentinel2", "2021-07-03, 2021-07-08, 2021-07-13", "Tile1, Tile2, Tile3 and 1 more"),
        ("sentinel2", "2021-07-03, none, none", "Tile5"),
    )
    radar, optical = missing_notes(places, CHANNELS)
    assert radar.startswith("all 5 lack acquisitions of sentinel1: of 1 that the network takes, 0")
    assert optical.startswith("Tile5 lacks acquisitions of sentinel2: of 3 that the network takes, 1")


LEARNED = (
    *("viirs_2020-08-08_DNB", "viirs_DNB_max", "sentinel1_2020-08-04_VV"),
    *(f"sentinel2_2020-08-{day}_{band}" for day in (11, 16) for band in ("B02", "B03", "B04", "B08")),
)
MAPPED = tuple(name for name in LEARNED if "08-16" not in name)
ANOTHER_YEAR = tuple(name.replace("2020-08", "2023-07") for name in MAPPED)


def test_a_network_maps_tiles_of_other_dates_and_says_what_they_lack(tmp_path: Path) -> None:
    """What is missing is no data; else the dates do not matter."""
    learned = make_store(tmp_path / "learned", channels=LEARNED)
    path = write_checkpoint(tmp_path / "runs/net/best.ckpt", learned)
    results = {}
    for name, layers in (("same", MAPPED), ("other", ANOTHER_YEAR)):
        make_store(tmp_path / name, channels=layers)
        results[name] = restitch(
            RestitchConfig(
                checkpoint=str(path),
                processed_dir=tmp_path / name,
                predictions_dir=tmp_path / "maps",
                name=name,
                accelerator="cpu",
                precision="32-true",
                tiles=("Tile3",),
            )
        )
    assert results["other"].places["Tile3"] == {
        "viirs": (date(2023, 7, 8),),
        "sentinel1": (date(2023, 7, 4),),
        "sentinel2": (date(2023, 7, 11), None),
    }
    assert any("Tile3 lacks acquisitions of sentinel2" in note for note in results["other"].notes)
    same, other = (results[name].maps[0].probabilities.read_bytes() for name in ("same", "other"))
    assert same == other


def test_what_a_tile_lacks_is_read_as_no_data(tmp_path: Path) -> None:
    store = make_store(tmp_path, channels=ANOTHER_YEAR)
    channels = [channel_from_name(f"sentinel2_{place}_B04") for place in (2, 1)]
    image = open_store(tmp_path).read_tile("Tile1", store.positions("Tile1", channels))
    assert np.isnan(image[0]).all()
    names = [layer.name for layer in store.layers("Tile1")]
    np.testing.assert_array_equal(image[1], store.read_tile("Tile1")[names.index("sentinel2_2023-07-11_B04")])
    statistics = store.channel_statistics(["Tile1", "Tile2"], channels)
    assert statistics.count.tolist() == [0, 2 * (800 * 800 - 4)]
