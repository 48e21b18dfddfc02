from typing import Any

import pytest
import torch

from esdseg.config.models import (
    COURSE_NAMES,
    MODEL_CONFIGS,
    CellBoostingConfig,
    CellLogisticConfig,
    FCNResNet101Config,
    OlmoEarthConfig,
    SegmentationCNNConfig,
)
from esdseg.config.zoo import ZOO_FORM
from esdseg.errors import ConfigError
from esdseg.models.checkpoint import SegmentationModel
from esdseg.models.normalization import Normalization
from esdseg.models.registry import (
    REGISTRY,
    ModelSpec,
    build_network,
    describe_models,
)
from esdseg.sensors.classes import SUBTILE_SIZES
from tests.contest import FULL_TABLE
from tests.models import (
    test_course_networks,
    test_olmoearth,
    test_sensor_branches,
    test_zoo,
)
from tests.models.helpers import NEEDS_OLMOEARTH, random_image, some_channels
from tests.models.model_checks import ModelChecks

TEST_MODULES = (
    test_course_networks,
    test_olmoearth,
    test_sensor_branches,
    test_zoo,
)


def test_every_configured_network_has_a_row() -> None:
    simple = {"cell_logistic": CellLogisticConfig, "cell_boosting": CellBoostingConfig}
    assert {spec.name: spec.config_class for spec in REGISTRY} | simple == MODEL_CONFIGS


def test_every_registered_model_inherits_the_checks() -> None:
    checked = {
        type(member.config)
        for module in TEST_MODULES
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, ModelChecks) and hasattr(member, "config")
    }
    assert checked == {spec.config_class for spec in REGISTRY}


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(
            spec, marks=NEEDS_OLMOEARTH if spec.config_class is OlmoEarthConfig else (), id=spec.name
        )
        for spec in REGISTRY
    ],
)
def test_default_settings_work_on_the_smallest_and_the_largest_subtile(spec: ModelSpec[Any]) -> None:
    config = spec.config_class()
    with torch.device("meta"):
        for size in (spec.config_class.smallest_window, SUBTILE_SIZES[-1]):
            network = build_network(config, some_channels(2), size).eval()
            assert network(torch.empty(1, 2, 50 * size, 50 * size)).shape == (1, 4, size, size)


def test_building_needs_no_pretrained_weights() -> None:
    config = FCNResNet101Config(weights="coco")
    with torch.device("meta"):
        build_network(config, FULL_TABLE, 4)


def test_the_table_names_the_courses_models_too() -> None:
    rows = describe_models(some_channels(3), subtile_size=2)
    assert {row.course_name: row.name for row in rows if row.course_name} == COURSE_NAMES


def test_parameters_and_operations_are_counted_right() -> None:
    """By hand for the first block, 3 -> 64 and 64 -> 64 of 3 x 3 at 100 x 100 px, and so on downwards."""
    row = next(row for row in describe_models(some_channels(3), 2) if row.name == "segmentation_cnn")
    weights = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
    pixels = [100 * 100] * 2 + [20 * 20] * 2 + [4 * 4] * 2
    assert row.parameters == sum(9 * i * o + 2 * o for i, o in weights) + 256 * 4 + 4
    assert row.flops == 2 * (
        sum(9 * i * o * n for (i, o), n in zip(weights, pixels, strict=True)) + 256 * 4 * 16
    )


def test_a_simple_model_is_no_network() -> None:
    with pytest.raises(ConfigError, match="cell_boosting: is no network"):
        build_network(CellBoostingConfig(), some_channels(1), 1)


def test_the_table_describes_full_tiles_by_default() -> None:
    rows = describe_models()
    assert [row.name for row in rows] == [name for name in MODEL_CONFIGS if name != ZOO_FORM]
    by_name = {row.name: row for row in rows}
    assert (by_name["fcn_resnet101"].parameters or 0) > 50_000_000
    assert by_name["cell_boosting"].parameters is None, "they follow from the fit"
    assert by_name["unet"].to_json()["parameters"] == by_name["unet"].parameters


def test_normalising_and_classifying_is_the_whole_model() -> None:
    torch.manual_seed(0)
    network = build_network(SegmentationCNNConfig(embedding_size=2), some_channels(3), 1)
    model = SegmentationModel(Normalization(3), network).eval()
    image = random_image(2, 3, 1).half()
    with torch.no_grad():
        assert torch.equal(model(image), model.classify(model.normalize(model.sample(image))))
