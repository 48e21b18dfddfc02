"""Networks of segmentation_models.pytorch by name, on the label grid: building and weights."""

from esdseg.models.zoo.building import build_smp, check_smp
from esdseg.models.zoo.network import SMPNetwork
from esdseg.models.zoo.weights import load_smp_weights

__all__ = ["SMPNetwork", "build_smp", "check_smp", "load_smp_weights"]
