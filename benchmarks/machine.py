"""The machine that figures were measured on, in a line."""

import os
import platform
from pathlib import Path

import torch

from esdseg.system.memory import available_cores


def describe_machine() -> str:
    """Return processor, cores, threads, GPU, how busy the machine is, and the versions that matter."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    busy = f", load {os.getloadavg()[0]:.1f} before the start" if hasattr(os, "getloadavg") else ""
    return (
        f"{_processor()}, {available_cores()} cores, {torch.get_num_threads()} threads of torch, {gpu}{busy}"
        f"; Python {platform.python_version()}, torch {torch.__version__}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
