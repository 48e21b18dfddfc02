import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from esdseg.config.loading import load_config
from esdseg.config.training import LOGGED_METRICS, ESDConfig
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.datasets.dataset import SubtileDataset
from esdseg.errors import ConfigError, InputDataError, UsageError
from esdseg.metrics.torch_metrics import SegmentationMetrics
from esdseg.models.checkpoint import load_checkpoint
from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store
from esdseg.training.callbacks import EpochReport
from esdseg.training.fit import fit
from esdseg.training.machine import build_trainer, choose_machine, quiet_lightning
from esdseg.training.run_folder import FitResult
from esdseg.training.task import SegmentationTask
from tests.datasets.make_store import CHANNELS, make_store
from tests.training.conftest import tiny_config

Finished = tuple[FitResult, list[EpochReport]]


class StopError(Exception):
    """Stands for whatever kills a run."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def history(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def validation_scores(checkpoint: Path, store: Store) -> dict[str, float]:
    """Score a checkpoint in one process, one subtile at a time."""
    loaded = load_checkpoint(checkpoint)
    dataset = SubtileDataset(store, store.tile_names("val"), loaded.channels)
    metrics = SegmentationMetrics()
    for index in range(len(dataset)):
        sample = dataset[index]
        with torch.inference_mode():
            metrics.update(loaded.model(sample["pixels"][0][None]), sample["label"][None])
    return {f"val_{name}": value for name, value in metrics.compute().items()}


def rebuilt(checkpoint: Path, store: Store, batch_size: int) -> tuple[SegmentationTask, SubtileDataModule]:
    """What trained a checkpoint, with its weights and another batch size."""
    metadata = load_checkpoint(checkpoint).metadata
    config = metadata.config
    config = config.model_copy(update={"data": config.data.model_copy(update={"batch_size": batch_size})})
    data = SubtileDataModule(config, store)
    task = SegmentationTask(config, data, metadata.run_name)
    data.take(task.model.grids)
    task.load_state_dict(read_checkpoint(checkpoint)["state_dict"])
    return task, data


def bare_trainer(checkpoint: Path, *callbacks: pl.Callback) -> pl.Trainer:
    config = load_checkpoint(checkpoint).config
    return build_trainer(config, choose_machine(config), list(callbacks))


def validated(checkpoint: Path, store: Store, batch_size: int) -> dict[str, float]:
    """Validate a checkpoint as training does, with another batch size."""
    task, data = rebuilt(checkpoint, store, batch_size)
    with quiet_lightning():
        bare_trainer(checkpoint).validate(task, datamodule=data, verbose=False)
    return task.epoch_values


def test_a_run_folder_holds_what_it_should(finished: Finished) -> None:
    run_dir = finished[0].run_dir
    names = {path.name for path in run_dir.iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "config.yml", "metrics.csv", "curves.png"}
    config = load_config(ESDConfig, run_dir / "config.yml")
    assert config.data.subtile_size == 4
    assert config == load_checkpoint(run_dir / "last.ckpt").config
    with Image.open(run_dir / "curves.png") as picture:
        assert picture.width > 1000


def test_every_metric_is_in_every_row(finished: Finished) -> None:
    result, reports = finished
    rows = history(result.run_dir)
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    for row, report in zip(rows, reports, strict=True):
        assert list(row) == ["epoch", "learning_rate", *LOGGED_METRICS]
        for name, value in report.values().items():
            np.testing.assert_equal(float(row[name] or "nan"), value)


def test_best_is_the_best_epoch_and_scores_as_logged(finished: Finished, store: Store) -> None:
    result, reports = finished
    best = max(reports, key=lambda report: report.metrics["val_f1_macro"])
    assert result.best_epoch == best.epoch
    assert read_checkpoint(result.best_checkpoint)["epoch"] == best.epoch - 1
    assert read_checkpoint(result.last_checkpoint)["epoch"] == 3
    assert [report.is_best for report in reports].count(True) >= 1
    for name, value in validation_scores(result.best_checkpoint, store).items():
        if name in result.best_metrics:
            np.testing.assert_allclose(result.best_metrics[name], value, atol=1e-9, err_msg=name)


def values(reports: list[EpochReport]) -> list[dict[str, float]]:
    return [report.values() for report in reports]


def test_training_learns(finished: Finished) -> None:
    _, reports = finished
    assert reports[-1].train_loss < 0.9 * reports[0].train_loss


def test_a_checkpoint_says_all_of_itself(finished: Finished, store: Store) -> None:
    described = read_checkpoint(finished[0].best_checkpoint)["esdseg"]
    assert described["format_version"] == 2
    assert described["channels"] == ["viirs_1_DNB", "sentinel2_1_B04"]
    assert described["acquisitions"]["viirs"] == {"order": "darkest", "count": 1}
    assert described["subtile_size"] == 4
    assert described["class_names"][0] == "settlement_dark"
    assert described["manifest_hash"] == store.manifest_hash
    assert described["run_name"] == "finished"
    assert described["train_tiles"] == ["Tile1", "Tile2"]
    assert described["val_tiles"] == ["Tile10"]


def test_one_seed_gives_one_run_and_another_seed_another(
    finished: Finished, processed_dir: Path, tmp_path: Path
) -> None:
    config = load_config(ESDConfig, finished[0].run_dir / "config.yml")
    again: list[EpochReport] = []
    torch.manual_seed(99)
    fit(config, checkpoints_dir=tmp_path, name="again", on_epoch=again.append)
    np.testing.assert_equal(values(again), values(finished[1]))
    other = load_config(
        ESDConfig, finished[0].run_dir / "config.yml", assignments=["trainer.seed=1", "trainer.max_epochs=1"]
    )
    changed: list[EpochReport] = []
    fit(other, checkpoints_dir=tmp_path, name="other", on_epoch=changed.append)
    assert changed[0].train_loss != again[0].train_loss


EVERYTHING: dict[str, dict[str, Any]] = {
    "data": {"window_size": 8, "window_positions": "random", "batch_size": 3},
    "model": {"name": "sensor_branches", "width": 2, "context_width": 4, "context_blocks": 1},
    "augmentation": {
        "mixing_probability": 0.5,
        "band_gain_std": 0.1,
        "band_offset_std": 0.1,
        "sensor_dropout": 0.5,
        "noise_probability": 0.5,
        "blur_probability": 0.3,
    },
    "loss": {"terms": {"cross_entropy": 1, "focal": 0.5, "dice": 0.5, "lovasz": 0.5, "tversky": 0.5}},
}
RESUMED: dict[str, dict[str, dict[str, Any]]] = {
    "plateau": {"optimizer": {"schedule": "plateau"}, "augmentation": {"noise_probability": 0.5}},
    "cosine": {"optimizer": {"schedule": "cosine"}, "augmentation": {"noise_probability": 0.5}},
    "everything-ema": {**EVERYTHING, "trainer": {"weight_averaging": "ema"}},
    "everything-swa": {**EVERYTHING, "trainer": {"weight_averaging": "swa", "swa_start": 0.25}},
}


@pytest.fixture(scope="module")
def dated_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two sensors with two dates each."""
    split: dict[str, SplitName] = {"Tile1": "train", "Tile2": "train", "Tile10": "val"}
    return make_store(tmp_path_factory.mktemp("dated"), split=split).path.parent


@pytest.mark.parametrize("case", RESUMED)
def test_a_resumed_run_equals_an_undisturbed_one(
    case: str, processed_dir: Path, dated_dir: Path, tmp_path: Path
) -> None:
    # A class that four epochs do not find gives a metric that never gets better, so the plateau must act.
    trainer = {"max_epochs": 4, "patience": 8, "monitor": "val_f1_settlement_lit"}
    sections = RESUMED[case]
    config = tiny_config(
        dated_dir if "everything" in case else processed_dir,
        **{**sections, "trainer": {**trainer, **sections.get("trainer", {})}},
    )
    undisturbed: list[EpochReport] = []
    fit(config, checkpoints_dir=tmp_path, name="undisturbed", on_epoch=undisturbed.append)
    if case == "plateau":
        assert undisturbed[3].learning_rate == pytest.approx(undisturbed[2].learning_rate / 10)

    def kill_after_two(report: EpochReport) -> None:
        if report.epoch == 2:
            raise StopError

    with pytest.raises(StopError):
        fit(config, checkpoints_dir=tmp_path, name="killed", on_epoch=kill_after_two)
    assert len(history(tmp_path / "killed")) == 2
    resumed: list[EpochReport] = []
    result = fit(ESDConfig(), checkpoints_dir=tmp_path, name="killed", resume=True, on_epoch=resumed.append)
    np.testing.assert_equal(values(resumed), values(undisturbed[2:]))
    assert [int(row["epoch"]) for row in history(tmp_path / "killed")] == [1, 2, 3, 4]
    if case == "plateau":
        assert (result.best_epoch, result.epochs) == (1, 4)
    ours, theirs = (read_checkpoint(tmp_path / run / "last.ckpt") for run in ("killed", "undisturbed"))
    for key in ("state_dict", *(["last_weights"] if "everything" in case else [])):
        assert all(torch.equal(ours[key][name], value) for name, value in theirs[key].items())


def test_an_interruption_is_one(processed_dir: Path, tmp_path: Path) -> None:
    def interrupt(report: EpochReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tiny_config(processed_dir), checkpoints_dir=tmp_path, name="a", on_epoch=interrupt)
    assert (tmp_path / "a" / "last.ckpt").is_file()
    assert (tmp_path / "a" / "curves.png").is_file()


def test_early_stopping_ends_a_run_for_good(processed_dir: Path, tmp_path: Path) -> None:
    config = tiny_config(processed_dir, trainer={"max_epochs": 50, "patience": 1})
    result = fit(config, checkpoints_dir=tmp_path, name="a")
    assert result.epochs == result.best_epoch + 1 < 20
    with pytest.raises(UsageError, match=f"stopped early after epoch {result.epochs}"):
        fit(ESDConfig(), checkpoints_dir=tmp_path, name="a", resume=True)


def test_without_a_monitored_metric_best_is_the_last_epoch(
    finished: Finished, processed_dir: Path, tmp_path: Path
) -> None:
    config = tiny_config(processed_dir, trainer={"monitor": None, "max_epochs": 3})
    assert ESDConfig().trainer.monitor is None

    def kill_after_two(report: EpochReport) -> None:
        if report.epoch == 2:
            raise StopError

    with pytest.raises(StopError):
        fit(config, checkpoints_dir=tmp_path, name="a", on_epoch=kill_after_two)
    assert read_checkpoint(tmp_path / "a/best.ckpt")["epoch"] == 1
    reports: list[EpochReport] = []
    result = fit(ESDConfig(), checkpoints_dir=tmp_path, name="a", resume=True, on_epoch=reports.append)
    assert result.best_epoch == result.epochs == 3
    assert result.best_checkpoint.read_bytes() == result.last_checkpoint.read_bytes()
    assert not any(report.line().endswith(" best") for report in reports), "no score said so"
    assert any(report.line().endswith(" best") for report in finished[1]), "where one did"
    scores = reports[-1].metrics
    assert result.best_metrics == {name: scores[name] for name in result.best_metrics}


def test_a_monitored_loss_is_best_when_lowest(processed_dir: Path, tmp_path: Path) -> None:
    reports: list[EpochReport] = []
    config = tiny_config(processed_dir, trainer={"monitor": "val_loss", "max_epochs": 3})
    result = fit(config, checkpoints_dir=tmp_path, name="a", on_epoch=reports.append)
    assert result.best_epoch == min(reports, key=lambda report: report.metrics["val_loss"]).epoch


def test_validation_does_not_depend_on_the_batch_size(finished: Finished, store: Store) -> None:
    scores = [validated(finished[0].last_checkpoint, store, batch_size) for batch_size in (16, 5)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5, nan_ok=True)
    assert scores[0] == pytest.approx(finished[1][-1].metrics, rel=1e-5, nan_ok=True)


class Spoiler(pl.Callback):
    """Makes the network's weights no numbers after some steps of the first epoch."""

    def on_train_batch_start(self, trainer: pl.Trainer, task: pl.LightningModule, *_: object) -> None:
        if trainer.global_step == 2:
            with torch.no_grad():
                next(task.parameters()).fill_(float("nan"))


def test_a_loss_that_is_no_number_names_step_and_tiles(finished: Finished, store: Store) -> None:
    task, data = rebuilt(finished[0].last_checkpoint, store, batch_size=1)
    trainer = bare_trainer(finished[0].last_checkpoint, Spoiler())
    with quiet_lightning(), pytest.raises(InputDataError) as refusal:
        trainer.fit(task, datamodule=data)
    order = data.train_dataloader().sampler
    third = data.train_tiles[list(order)[2] // 16]
    assert (
        f"training loss of epoch 1 is no finite number from step 3 on, whose batch came from {third}."
        in str(refusal.value)
    )


def test_a_run_in_progress_of_the_same_name_is_refused(finished: Finished, processed_dir: Path) -> None:
    with pytest.raises(UsageError, match="--resume"):
        fit(tiny_config(processed_dir), checkpoints_dir=finished[0].run_dir.parent, name="finished")


def test_steps_are_told(processed_dir: Path, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    config = tiny_config(processed_dir, trainer={"max_epochs": 2})
    fit(config, checkpoints_dir=tmp_path, on_step=lambda *step: steps.append(step))
    assert [step for step in steps if step[2]] == [
        (f"epoch {epoch}{', validating' if step == 4 else ''}", step, 4)
        for epoch in (1, 2)
        for step in (1, 2, 3, 4)
    ]
    assert [item for item, _, total in steps if not total] == ["reading the store"]


def test_a_metric_without_a_value_cannot_be_monitored(tmp_path: Path) -> None:
    labels = np.zeros((16, 16), np.uint8)
    labels[0, 0] = UNKNOWN_LABEL
    split = {"Tile1": "train", "Tile2": "val"}
    store = make_store(tmp_path, split=split, channels=CHANNELS[:1], labels={"Tile2": labels})  # type: ignore[arg-type]
    for monitor in ("val_f1_settlement_lit", "val_auc_macro"):
        config = tiny_config(store.path.parent, trainer={"monitor": monitor})
        with pytest.raises(
            InputDataError, match=f"{monitor} has no value.*1 Settlement without electricity alone"
        ):
            fit(config, checkpoints_dir=tmp_path / "runs", name="a")
    assert not (tmp_path / "runs").exists()


def test_a_model_trains_on_whole_tiles_from_a_store_of_subtiles(processed_dir: Path, tmp_path: Path) -> None:
    small = {"name": "sensor_branches", "width": 2, "context_width": 4, "context_blocks": 1}
    config = tiny_config(
        processed_dir,
        model=small,
        data={"batch_size": None, "window_size": 16},
        optimizer={"learning_rate": None},
    )
    steps: list[int] = []
    result = fit(
        config,
        checkpoints_dir=tmp_path,
        name="whole",
        on_step=lambda _item, _done, total: steps.append(total),
    )
    checkpoint = load_checkpoint(result.best_checkpoint)
    assert (checkpoint.subtile_size, checkpoint.window_size) == (4, 16)
    assert checkpoint.config.data.batch_size == 2
    assert checkpoint.config.optimizer.learning_rate == 3e-3
    assert set(steps) == {0, 1}, "two tiles are one batch of whole tiles"


def test_a_store_of_another_subtile_size_is_refused(processed_dir: Path, tmp_path: Path) -> None:
    config = tiny_config(processed_dir, data={"subtile_size": 8})
    with pytest.raises(InputDataError, match=r"esdseg preprocess .*--subtile-size 8"):
        fit(config, checkpoints_dir=tmp_path, name="a")


def test_a_model_that_the_stores_subtiles_cannot_carry_is_refused(tmp_path: Path) -> None:
    split = {"Tile1": "train", "Tile2": "val"}
    store = make_store(tmp_path, split=split, subtile_size=1, channels=CHANNELS[:1])  # type: ignore[arg-type]
    config = tiny_config(store.path.parent, model={"name": "unet", "n_encoders": 7})
    with pytest.raises(ConfigError, match="encoders"):
        fit(config, checkpoints_dir=tmp_path / "runs", name="a")


def test_more_processes_than_validation_subtiles_are_refused(processed_dir: Path, tmp_path: Path) -> None:
    config = tiny_config(processed_dir, trainer={"devices": 17})
    with pytest.raises(UsageError, match="17 processes are more than the 16 validation windows"):
        fit(config, checkpoints_dir=tmp_path, name="a")


def test_a_store_that_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    split = {"Tile1": "train", "Tile2": "val"}
    make_store(tmp_path / "p", split=split, channels=CHANNELS[:1])  # type: ignore[arg-type]
    config = tiny_config(tmp_path / "p", trainer={"max_epochs": 1})
    fit(config, checkpoints_dir=tmp_path / "runs", name="a")
    make_store(tmp_path / "p", split={"Tile1": "val", "Tile2": "train"}, channels=CHANNELS[:1])
    more = ESDConfig.model_validate({"trainer": {"max_epochs": 2}})
    with pytest.raises(InputDataError, match=r"has changed since .*training tiles"):
        fit(more, checkpoints_dir=tmp_path / "runs", name="a", resume=True)


def test_a_run_starts_from_the_weights_of_another_and_says_which_tiles_those_have_seen(
    finished: Finished, processed_dir: Path, tmp_path: Path
) -> None:
    folder = finished[0].run_dir
    model = {**tiny_config(processed_dir).model.model_dump(), "weights": str(folder / "last.ckpt")}
    still = {"learning_rate": 1e-12, "weight_decay": 0.0}
    config = tiny_config(processed_dir, model=model, optimizer=still, trainer={"max_epochs": 1})
    notes: list[str] = []
    result = fit(config, checkpoints_dir=tmp_path, name="second", on_note=notes.append)
    before = load_checkpoint(folder / "last.ckpt").model.network
    after = load_checkpoint(result.last_checkpoint).model.network
    for name, weight in after.named_parameters():
        torch.testing.assert_close(weight, before.get_parameter(name), rtol=0, atol=1e-6)
    assert [note for note in notes if note.startswith("The weights of finished were learned on 1 of the 1")]
