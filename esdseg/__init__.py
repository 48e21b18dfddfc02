"""esdseg: maps of settlements without electricity from multi-sensor satellite tiles.

The functions below do what the commands do; each is loaded when it is first used.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esdseg.api import (
        adapt,
        check,
        compare,
        cut,
        evaluate,
        export,
        load,
        predict,
        preprocess,
        restitch,
        train,
        write_sample_scene,
        write_sample_tiles,
    )
    from esdseg.config.cutting import CutConfig
    from esdseg.config.evaluation import AdaptConfig, EvalConfig, MapConfig, RestitchConfig
    from esdseg.config.preprocessing import PreprocessConfig
    from esdseg.config.training import ESDConfig
    from esdseg.errors import ESDSegError
    from esdseg.metrics.scorecard import Scorecard

__version__ = "0.1.0"

if sys.platform == "win32":
    raise ImportError("esdseg runs on Linux and macOS, not on Windows; use WSL there.")

__all__ = [
    "AdaptConfig",
    "CutConfig",
    "ESDConfig",
    "ESDSegError",
    "EvalConfig",
    "MapConfig",
    "PreprocessConfig",
    "RestitchConfig",
    "Scorecard",
    "adapt",
    "check",
    "compare",
    "cut",
    "evaluate",
    "export",
    "load",
    "predict",
    "preprocess",
    "restitch",
    "train",
    "write_sample_scene",
    "write_sample_tiles",
]

_MODULES = {
    "AdaptConfig": "esdseg.config.evaluation",
    "CutConfig": "esdseg.config.cutting",
    "ESDConfig": "esdseg.config.training",
    "ESDSegError": "esdseg.errors",
    "EvalConfig": "esdseg.config.evaluation",
    "MapConfig": "esdseg.config.evaluation",
    "PreprocessConfig": "esdseg.config.preprocessing",
    "RestitchConfig": "esdseg.config.evaluation",
    "Scorecard": "esdseg.metrics.scorecard",
}
"""Where the types lie; the functions are those of :mod:`esdseg.api`."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'esdseg' has no attribute '{name}'")
    return getattr(import_module(_MODULES.get(name, "esdseg.api")), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
