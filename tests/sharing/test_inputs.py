"""What ``inputs.json`` says of rasters, and when a few lines cannot convert them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.config.preprocessing import Recipe
from esdseg.models.checkpoint import LoadedCheckpoint
from esdseg.sharing.inputs import describe_inputs, why_rasters_need_esdseg
from esdseg.store.store import Store
from tests.scoring.checkpoints import write_checkpoint
from tests.scoring.conftest import store, workspace

__all__ = ["store", "workspace"]


@pytest.fixture
def checkpoint(store: Store, tmp_path: Path) -> LoadedCheckpoint:
    return open_checkpoint(write_checkpoint(tmp_path / "best.ckpt", store))


def with_changes(checkpoint: LoadedCheckpoint, **changes: object) -> LoadedCheckpoint:
    return replace(checkpoint, metadata=checkpoint.metadata.model_copy(update=changes))


def test_recipes_that_look_at_whole_tiles_need_esdseg(checkpoint: LoadedCheckpoint) -> None:
    smoothed = Recipe.model_validate({"sentinel1": {"smoothing_sigma_px": 1.0}})
    assert why_rasters_need_esdseg([checkpoint]) is None
    by_tile = Recipe(scale_by="tile")
    for recipe, reason in ((by_tile, "by the tile's own values"), (smoothed, "smooths the rasters")):
        why = why_rasters_need_esdseg([with_changes(checkpoint, recipe=recipe)])
        assert why is not None
        assert reason in why
    other = with_changes(checkpoint, reflectance_offset="keep")
    assert why_rasters_need_esdseg([other]) is None
    assert "different descriptions" in str(why_rasters_need_esdseg([checkpoint, other]))


@pytest.mark.parametrize(
    ("wanted", "offset", "since"),
    [("by_date", -1000, "2022-01-25"), ("keep", 0, "2022-01-25"), ("subtract", -1000, None)],
)
def test_the_offset_acts_as_it_did_on_the_training_tiles(
    checkpoint: LoadedCheckpoint, wanted: str, offset: float, since: str | None
) -> None:
    network = with_changes(checkpoint, reflectance_offset=wanted)
    told: Any = describe_inputs([network], network.channels, 4)
    sensor = told["sensors"]["sentinel2"]
    assert (sensor["offset"], sensor["offset_since"], sensor["scale"]) == (offset, since, 10_000)
    assert [channel["name"] for channel in told["channels"]] == [one.name for one in network.channels]
    assert (told["window_px"], sensor["sky"]["bands"]["blue"]) == (200, "B02")
