"""What a sweep's process does once PyTorch is there."""

import os
import time
from collections.abc import MutableMapping

import torch

from esdseg.sweeping.storage import Storage
from esdseg.sweeping.study import Study
from esdseg.sweeping.trial import train_trial
from esdseg.sweeping.workers import Job

WAIT_SECONDS = 1.0
"""Between looks at the last trials of others, which have to be run again if their processes die."""

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


def train_until_done(job: Job, index: int, threads: int) -> None:
    """Train one trial after the other until there are no more, then the best one's repetitions.

    Args:
        job: What to do.
        index: Which of this machine's processes this is, counted from 0.
        threads: Its share of the machine's.
    """
    torch.set_num_threads(min(threads, torch.get_num_threads()))
    choose_gpu(os.environ, index, torch.cuda.device_count())
    study = Study(job.sweep, job.folder, Storage(job.url))
    _train_all(study)
    repeats = study.repeats(job.repeat_best)
    if repeats is not None:
        _train_all(repeats)


def _train_all(study: Study) -> None:
    sign = study.life_sign()
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
