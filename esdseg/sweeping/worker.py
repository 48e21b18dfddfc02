"""What a sweep's process does once PyTorch is there."""

import os
import time
from collections.abc import MutableMapping
from pathlib import Path

import torch

from esdseg.sweeping.liveness import LifeSign
from esdseg.sweeping.spec import Sweep
from esdseg.sweeping.storage import Storage
from esdseg.sweeping.study import Study
from esdseg.sweeping.trial import train_trial

WAIT_SECONDS = 1.0
"""Between looks at the last trials of others, which have to be run again if their processes die."""

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


def train_until_done(sweep: Sweep, folder: Path, url: str, index: int, threads: int) -> None:
    """Train one trial after the other until there are no more.

    Args:
        sweep: What is searched.
        folder: The sweep's folder.
        url: Of the storage.
        index: Which of this machine's processes this is, counted from 0.
        threads: Its share of the machine's.
    """
    torch.set_num_threads(min(threads, torch.get_num_threads()))
    choose_gpu(os.environ, index, torch.cuda.device_count())
    study = Study(sweep, folder, Storage(url))
    sign = LifeSign(folder)
    try:
        while (taken := study.take(sign)) != "done":
            if taken == "wait":
                time.sleep(WAIT_SECONDS)
            elif taken != "again":
                train_trial(study, taken)
    finally:
        sign.end()


def choose_gpu(environment: MutableMapping[str, str], index: int, count: int) -> None:
    """Show a process one of several GPUs; processes take turns.

    Args:
        environment: Environment variables, changed in place.
        index: Which of the processes this is, counted from 0.
        count: GPUs that it sees now.
    """
    if count < 2:
        return
    named = [name for name in environment.get(VISIBLE_GPUS, "").split(",") if name.strip()]
    seen = named or [str(number) for number in range(count)]
    environment[VISIBLE_GPUS] = seen[index % len(seen)].strip()
