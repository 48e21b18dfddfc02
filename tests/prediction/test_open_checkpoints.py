from pathlib import Path

import pytest
import torch

from esdseg.config.evaluation import EvalConfig
from esdseg.config.preprocessing import Recipe, SensorSteps
from esdseg.errors import InputDataError
from esdseg.prediction.open_checkpoints import open_checkpoints
from esdseg.store.store import Store
from tests.contest import channel_from_name
from tests.scoring.checkpoints import write_checkpoint


def config_for(checkpoint: Path, store: Store) -> EvalConfig:
    return EvalConfig(
        checkpoint=str(checkpoint), processed_dir=store.path.parent, predictions_dir=checkpoint.parent / "out"
    )


def test_results_go_to_a_folder_named_after_the_run(eval_config: EvalConfig) -> None:
    sources = open_checkpoints(eval_config)

    assert sources.output_dir == eval_config.predictions_dir / "unet"
    assert open_checkpoints(eval_config.model_copy(update={"name": "other"})).output_dir.name == "other"


def test_a_store_without_any_band_is_refused_with_the_remedy(tmp_path: Path, store: Store) -> None:
    channels = (channel_from_name("sentinel2_1_B12"), channel_from_name("landsat8_1_B4"))
    path = write_checkpoint(tmp_path / "more.ckpt", store, channels=channels)

    with pytest.raises(InputDataError, match="holds none of the bands that") as caught:
        open_checkpoints(config_for(path, store))

    assert "landsat8 B4, sentinel2 B12" in str(caught.value)
    assert f"esdseg preprocess --raw-dir RAW_DIR --processed-dir {store.path.parent}" in str(caught.value)


def test_a_store_without_some_bands_or_places_is_taken(tmp_path: Path, store: Store) -> None:
    channels = (*store.channels, channel_from_name("sentinel2_1_B12"), channel_from_name("sentinel2_9_B04"))
    path = write_checkpoint(tmp_path / "more.ckpt", store, channels=channels)

    assert open_checkpoints(config_for(path, store)).checkpoints[0].path == path


def test_a_store_whose_numbers_mean_something_else_is_refused(tmp_path: Path, store: Store) -> None:
    path = write_checkpoint(tmp_path / "net.ckpt", store)
    content = torch.load(path, weights_only=True)
    content["esdseg"]["sensors"]["sensors"]["sentinel2"]["conversion"]["scale"] = 255.0
    torch.save(content, path)

    with pytest.raises(InputDataError, match=r"describes sentinel2 otherwise .* --sensors FILE.yml"):
        open_checkpoints(config_for(path, store))


def test_a_store_of_another_smoothing_is_refused(tmp_path: Path, store: Store) -> None:
    recipe = Recipe(sentinel1=SensorSteps(smoothing_sigma_px=1.0))
    path = write_checkpoint(tmp_path / "smooth.ckpt", store, recipe=recipe)

    with pytest.raises(InputDataError, match=r"sentinel1\.smoothing_sigma_px 0\.0 instead of 1\.0"):
        open_checkpoints(config_for(path, store))


def test_steps_that_the_network_does_itself_may_differ(tmp_path: Path, store: Store) -> None:
    recipe = Recipe(rescale="min_max", sentinel2=SensorSteps(clip_fraction=0.05, gamma=0.5))
    path = write_checkpoint(tmp_path / "clipped.ckpt", store, recipe=recipe)

    assert open_checkpoints(config_for(path, store)).checkpoints[0].path == path


def test_a_store_from_whose_rasters_another_offset_was_subtracted_is_taken(
    tmp_path: Path, store: Store
) -> None:
    """Its reflectances mean the same: what to subtract is a matter of where the rasters come from."""
    path = write_checkpoint(tmp_path / "kept.ckpt", store)
    content = torch.load(path, weights_only=True)
    content["esdseg"]["reflectance_offset"] = "keep"
    torch.save(content, path)

    (opened,) = open_checkpoints(config_for(path, store)).checkpoints
    assert opened.metadata.reflectance_offset == "keep" != store.manifest.config.reflectance_offset


def test_another_subtile_size_than_the_checkpoints_is_refused(eval_config: EvalConfig) -> None:
    with pytest.raises(InputDataError, match="trained on subtiles of 4 cells, not of 8"):
        open_checkpoints(eval_config.model_copy(update={"subtile_size": 8}))


@pytest.mark.parametrize("run_name", ["../../elsewhere", "/etc", "..", ""])
def test_a_run_name_that_leads_elsewhere_is_not_followed(run_name: str, tmp_path: Path, store: Store) -> None:
    path = write_checkpoint(tmp_path / "hostile.ckpt", store, run_name=run_name)

    config = config_for(path, store)
    assert open_checkpoints(config).output_dir == config.predictions_dir / "unet"


@pytest.mark.parametrize("name", ["../up", "a/b", "a\\b", "..", ".hidden", "-flag", "", " ", "a\x00"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="does not name one folder"):
        EvalConfig(name=name)
