"""The typed configuration trees, and how files, flags and assignments become one."""

from esdseg.config.evaluation import EvalConfig
from esdseg.config.loading import dump_config, load_config
from esdseg.config.preprocessing import PreprocessConfig
from esdseg.config.training import ESDConfig

__all__ = ["ESDConfig", "EvalConfig", "PreprocessConfig", "dump_config", "load_config"]
