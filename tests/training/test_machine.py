import sys
from pathlib import Path

import pytest
import torch

from esdseg.config.training import ESDConfig, TrainerConfig
from esdseg.errors import UsageError
from esdseg.training.fit import fit
from esdseg.training.machine import choose_machine, srun_tasks
from tests.training.conftest import tiny_config


def test_wishes_win() -> None:
    trainer = TrainerConfig(accelerator="cpu", devices=2, num_nodes=3, precision="bf16-mixed")
    machine = choose_machine(ESDConfig(trainer=trainer))
    assert (machine.accelerator, machine.devices, machine.processes) == ("cpu", 2, 6)
    assert machine.precision == "bf16-mixed"


def test_the_cpu_is_one_device() -> None:
    machine = choose_machine(ESDConfig(trainer=TrainerConfig(accelerator="cpu")))
    assert (machine.devices, machine.processes) == (1, 1)


def test_a_notebook_trains_in_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    config = ESDConfig(trainer=TrainerConfig(accelerator="gpu", precision="32-true"))
    assert choose_machine(config).devices == 4
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert choose_machine(config).devices == 1


def test_half_precision_on_a_cpu_is_refused() -> None:
    with pytest.raises(UsageError, match="16-mixed needs a GPU"):
        choose_machine(ESDConfig(trainer=TrainerConfig(accelerator="cpu", precision="16-mixed")))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_named() -> None:
    with pytest.raises(UsageError, match="--accelerator gpu"):
        choose_machine(ESDConfig(trainer=TrainerConfig(accelerator="gpu")))


ALLOCATION = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "mine", "SLURM_NTASKS": "4", "SLURM_NNODES": "1"}
"""What every program in an allocation of four tasks finds, started by srun or not."""


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, 1),
        # The shell of salloc: plain, or a step of its own where the cluster is configured so.
        (ALLOCATION, 1),
        ({**ALLOCATION, "SLURM_STEP_ID": "4294967290", "SLURM_PROCID": "0"}, 1),
        # The script of sbatch.
        ({**ALLOCATION, "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, 1),
        ({**ALLOCATION, "SLURM_STEP_ID": "0", "SLURM_PROCID": "3"}, 4),
        ({**ALLOCATION, "SLURM_STEP_ID": "2", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, 1),
        # torchrun starts the processes, inside of an allocation too.
        ({**ALLOCATION, "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "TORCHELASTIC_RUN_ID": "x"}, 1),
    ],
)
def test_srun_alone_starts_processes_together(variables: dict[str, str], expected: int) -> None:
    assert srun_tasks(variables) == expected


def test_a_process_that_may_be_one_of_sruns_is_refused_with_the_remedy() -> None:
    with pytest.raises(UsageError, match=r"SLURM_STEP_ID is missing.*with srun .*unset SLURM_NTASKS"):
        srun_tasks({**ALLOCATION, "SLURM_PROCID": "2"})


def test_processes_of_srun_that_the_settings_do_not_ask_for_are_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**ALLOCATION, "SLURM_STEP_ID": "0", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    alone = ESDConfig(trainer=TrainerConfig(accelerator="cpu"))
    with pytest.raises(UsageError, match=r"started 4 processes.*ask for 1.*`srun --ntasks=1`"):
        choose_machine(alone)
    together = ESDConfig(trainer=TrainerConfig(accelerator="cpu", devices=4))
    with pytest.raises(UsageError, match="`srun --ntasks-per-node=4`"):
        choose_machine(together)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    assert choose_machine(together).processes == 4


def test_inside_an_allocation_a_training_without_srun_is_alone(
    processed_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ALLOCATION.items():
        monkeypatch.setenv(name, value)
    config = tiny_config(processed_dir, trainer={"max_epochs": 1})
    assert fit(config, checkpoints_dir=tmp_path, name="alone").epochs == 1
