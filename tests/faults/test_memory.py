"""Out of memory, the message names what was too large; what a run needs is known before it starts."""

import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from esdseg.config.evaluation import EvalConfig
from esdseg.errors import MissingResourceError, OutOfMemoryError, UsageError
from esdseg.models.checkpoint import NetworkCheckpoint
from esdseg.models.device import is_memory_fault, naming_memory_faults
from esdseg.prediction.open_checkpoints import open_for_scoring
from esdseg.prediction.predictor import Predictor
from esdseg.preprocessing.planning import check_room, cost_warnings
from esdseg.tiles.cost import WORKER_MEGABYTES, Cost, choose_workers
from esdseg.training.estimate import TrainingNeeds
from esdseg.training.fit import fit
from tests.faults.conftest import TRAIN
from tests.faults.processes import Preloaded
from tests.training.conftest import tiny_config

MORE_BYTES = 400_000_000
"""What a run may take beyond what it has when it starts."""

TOO_MUCH = 2**62


def test_a_batch_that_does_not_fit_is_named_with_what_to_try(
    preloaded: Preloaded, processed: Path, tmp_path: Path
) -> None:
    (tmp_path / "processed").symlink_to(processed / "processed")
    wide = ["--set", "model.embedding_size=512", "--batch-size", 32]
    running = preloaded.start(tmp_path, *TRAIN, *wide, kill_before=1, number=signal.SIGSTOP)
    running.wait_until_stopped()
    pages = int(Path(f"/proc/{running.pid}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MORE_BYTES
    resource.prlimit(running.pid, resource.RLIMIT_AS, (limit, limit))
    running.go_on()
    ended = running.wait()
    assert ended.code == 4, ended
    assert "Error: Out of memory with batches of 32 windows of 4 x 4 cells and 2 channels (" in ended.log
    assert "more could not be had). Try --batch-size 16, fewer channels" in ended.log
    assert "Traceback" not in ended.log


def test_windows_predicted_together_are_named(trained: Path) -> None:
    config = EvalConfig(
        checkpoint="run", checkpoints_dir=trained / "checkpoints", processed_dir=trained / "processed"
    )
    (ensemble,) = open_for_scoring(config).ensembles
    assert isinstance(ensemble.checkpoint, NetworkCheckpoint)
    model = ensemble.checkpoint.model
    model.register_forward_pre_hook(lambda *_: torch.empty(TOO_MUCH // 8, dtype=torch.uint8))
    model.network.register_forward_pre_hook(lambda *_: torch.empty(TOO_MUCH // 8, dtype=torch.uint8))
    named = "batches of 16 windows of 4 x 4 cells and 2 channels .* Try --batch-size 4."
    with pytest.raises(OutOfMemoryError, match=named):
        next(Predictor(config).predict_ensemble(ensemble))


def test_faults_of_all_allocators_are_known_and_others_pass() -> None:
    assert is_memory_fault(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."))
    assert is_memory_fault(MemoryError("Unable to allocate 2.00 TiB for an array"))
    told = r"a batch \(20.00 GiB more could not be had\)"
    with pytest.raises(OutOfMemoryError, match=told), naming_memory_faults("a batch", "Less."):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
    with pytest.raises(RuntimeError, match="size"), naming_memory_faults("a batch", "Less."):
        torch.ones(2) @ torch.ones(3)


def test_what_training_needs_is_told_before_it_starts(processed: Path, tmp_path: Path) -> None:
    told: list[TrainingNeeds] = []
    config = tiny_config(
        processed / "processed",
        model={"name": "unet", "embedding_size": 16, "n_encoders": 2},
        trainer={"max_epochs": 1},
    )
    run = fit(config, checkpoints_dir=tmp_path, name="run", on_needs=told.append).run_dir
    (needs,) = told
    assert needs.checkpoint_bytes == pytest.approx((run / "last.ckpt").stat().st_size, rel=0.15)
    assert needs.disk_bytes == 3 * needs.checkpoint_bytes
    # Of three tiles a channel at 10 m and a coarse one, which is kept at 50 m, in half precision.
    assert needs.cache_bytes == 3 * (800**2 + 160**2) * 2
    assert needs.memory_bytes > needs.cache_bytes


def test_a_cache_that_cannot_fit_is_refused_and_auto_reads_from_disk(
    processed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("esdseg.training.estimate", "esdseg.datasets.datamodule"):
        monkeypatch.setattr(f"{module}.available_memory_bytes", lambda: 1_000_000)
    wished = tiny_config(processed / "processed", data={"cache": "memory"})
    with pytest.raises(
        MissingResourceError, match=r"data.cache=memory keeps 4 MB .* and 1 MB of memory are free"
    ):
        fit(wished, checkpoints_dir=tmp_path, name="run")
    told: list[TrainingNeeds] = []
    auto = tiny_config(processed / "processed", trainer={"max_epochs": 1})
    fit(auto, checkpoints_dir=tmp_path, name="run", on_needs=told.append)
    assert told[0].cache_bytes == 0


def test_a_copy_on_a_gpu_is_told_and_refused_where_it_does_not_fit(tmp_path: Path) -> None:
    kept = TrainingNeeds(
        checkpoint_bytes=1,
        disk_bytes=3,
        cache_bytes=0,
        memory_bytes=2,
        free_disk_bytes=10,
        free_memory_bytes=10,
        gpu_cache_bytes=8_000_000,
        free_gpu_bytes=9_000_000,
    )
    assert "(decoded subtiles take 8 MB of each GPU's own)" in kept.line()
    kept.check(tmp_path / "run")
    with pytest.raises(MissingResourceError, match=r"data.cache=gpu keeps 8 MB .* 7 MB are free there"):
        replace(kept, free_gpu_bytes=7_000_000).check(tmp_path / "run")


def test_a_cache_on_a_gpu_is_refused_where_none_trains(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"this run trains on the CPU; use --set data.cache=memory"):
        fit(tiny_config(tmp_path / "nowhere", data={"cache": "gpu"}), checkpoints_dir=tmp_path, name="run")


def test_preprocessing_takes_no_more_processes_than_memory_and_warns_of_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planning, cost_module = "esdseg.preprocessing.planning", "esdseg.tiles.cost"
    for module in (planning, cost_module):
        monkeypatch.setattr(f"{module}.available_memory_bytes", lambda: int(2.5 * WORKER_MEGABYTES * 10**6))
    monkeypatch.setattr(f"{cost_module}.available_cores", lambda: 16)
    assert choose_workers(None, 60) == 2
    assert choose_workers(8, 60) == 8
    cost = Cost(workers=8, seconds=1, memory_bytes=8 * WORKER_MEGABYTES * 10**6, disk_bytes=1)
    (warning,) = cost_warnings(tmp_path, cost)
    assert "use fewer --workers" in warning
    monkeypatch.setattr(f"{planning}.free_disk_bytes", lambda _: 60)
    check_room(tmp_path, Cost(workers=1, seconds=1, memory_bytes=0, disk_bytes=100))
    with pytest.raises(MissingResourceError):
        check_room(tmp_path, Cost(workers=1, seconds=1, memory_bytes=0, disk_bytes=130))
