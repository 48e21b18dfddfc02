"""Loading large libraries in less time."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading_torch() -> Iterator[None]:
    """Import PyTorch, and what builds on it, in the block without looking for garbage meanwhile.

    These libraries make half a million objects, none of them garbage. Looking at them again and again takes a
    tenth of the time that loading them takes, and a third of a second each time that Python looks at
    everything later; so what is there when they are loaded is left out then.
    """
    if "torch" in sys.modules:
        yield
        return
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        # Libraries complain of objects that are not given back when the program ends.
        atexit.register(gc.unfreeze)
        if was_enabled:
            gc.enable()
