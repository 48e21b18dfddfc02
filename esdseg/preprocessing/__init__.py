"""From raw rasters to the processed store: conversions a sensor at a time, recipes, and the parallel run."""

from esdseg.preprocessing.planning import PreprocessPlan, plan
from esdseg.preprocessing.recipe import ScalingLimits, apply_scaling, scaling_limits
from esdseg.preprocessing.runner import PreprocessResult, preprocess

__all__ = [
    "PreprocessPlan",
    "PreprocessResult",
    "ScalingLimits",
    "apply_scaling",
    "plan",
    "preprocess",
    "scaling_limits",
]
