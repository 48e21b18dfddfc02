import subprocess
import sys

LOAD = """
import gc
from esdseg.system.imports import loading_torch
passes = []
gc.callbacks.append(lambda phase, info: passes.append(phase))
with loading_torch():
    assert not gc.isenabled()
    import torch
print(len(passes), gc.get_freeze_count() > 100_000, gc.isenabled())
frozen = gc.get_freeze_count()
objects = [[] for _ in range(10)]
with loading_torch():
    assert gc.isenabled()
print(gc.get_freeze_count() <= frozen)
"""


def test_nobody_looks_for_garbage_while_torch_is_loaded_nor_in_it_later() -> None:
    shown = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=True)

    assert shown.stdout.split() == ["0", "True", "True", "True"]
    assert not shown.stderr
