"""Files, flags and assignments become one tree, and every mistake is named with its place."""

import contextlib
import re
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from esdseg.config.evaluation import AblationConfig, EvalConfig, RestitchConfig
from esdseg.config.loading import build_config, dump_config, load_config, setting_names
from esdseg.config.models import (
    MODEL_CONFIGS,
    SegmentationCNNConfig,
    SensorBranchesConfig,
    UNetConfig,
    model_uses,
)
from esdseg.config.preprocessing import PreprocessConfig
from esdseg.config.section import nearest_names
from esdseg.config.training import ESDConfig, meant_metrics
from esdseg.errors import ConfigError
from esdseg.sensors.acquisitions import AcquisitionChoice
from esdseg.sensors.channels import few_acquisitions, few_bands
from tests.contest import FULL_TABLE


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yml"
    path.write_text(text)
    return path


def complaint(file: Path | None = None, assignments: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(ESDConfig, file, assignments=assignments)
    return str(caught.value)


def test_flags_win_over_file_and_assignments_over_flags(tmp_path: Path) -> None:
    file = write(
        tmp_path, "data: {batch_size: 2}\noptimizer: {learning_rate: 0.1}\ntrainer: {max_epochs: 3}\n"
    )
    flags: dict[str, tuple[str, object]] = {
        "--learning-rate": ("optimizer.learning_rate", 0.2),
        "--max-epochs": ("trainer.max_epochs", 4),
        "--batch-size": ("data.batch_size", None),
    }
    config = load_config(ESDConfig, file, flags, ["trainer.max_epochs=5"])
    assert config.data.batch_size == 2
    assert config.optimizer.learning_rate == 0.2
    assert config.trainer.max_epochs == 5


@pytest.mark.parametrize("tree", [ESDConfig, EvalConfig, RestitchConfig, AblationConfig, PreprocessConfig])
def test_dumped_tree_reads_back_equal(tmp_path: Path, tree: type[ESDConfig]) -> None:
    config = load_config(tree)
    assert load_config(tree, write(tmp_path, dump_config(config))) == config


def test_mistakes_in_a_file_name_line_and_column(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "data:\n  batch_size: 4\n  subtile_size: 3\nmodel:\n  name: unet\n  n_encoder: 3\n"
        "optimizer:\n  learning_rate: -1\n",
    )
    lines = complaint(file).splitlines()
    assert lines[0].startswith(f"{file}:3:3: data.subtile_size: a subtile of 3 cells")
    assert lines[1] == f"{file}:6:3: unknown key 'model.n_encoder'; did you mean 'model.n_encoders'?"
    assert lines[2] == f"{file}:8:3: optimizer.learning_rate = -1: should be greater than 0."


def test_unknown_section_key_and_model_name_the_nearest(tmp_path: Path) -> None:
    assert "did you mean 'optimizer'?" in complaint(write(tmp_path, "optimiser: {name: adam}\n"))
    message = complaint(write(tmp_path, "model: unett\n"))
    assert "run.yml:1:1: unknown model 'unett'; did you mean 'unet'?" in message
    message = complaint(assignments=("data.batch=3",))
    assert (
        "--set data.batch: unknown key 'data.batch'; did you mean 'data.batch_size' or 'data.cache'?"
        in message
    )


def test_a_setting_is_looked_for_in_the_chosen_model_alone() -> None:
    message = complaint(assignments=("model=unet", "learning_rate=2"))
    assert message.endswith("unknown key 'learning_rate'; did you mean 'optimizer.learning_rate'?")
    message = complaint(assignments=("n_encoders=2",))
    assert message.endswith(
        "model.n_encoders is a setting of unet, and the model is sensor_branches; leave it out."
    )


def test_a_wrong_item_is_told_once_and_an_empty_list_too() -> None:
    with pytest.raises(ConfigError) as wrong:
        build_config(AblationConfig, [("checkpoint", "x", "x"), ("by", ["foo"], "--by")])
    assert str(wrong.value) == "--by: by.0 = 'foo': should be 'sensor', 'place' or 'band'."
    with pytest.raises(ConfigError, match="at least 1 item"):
        build_config(AblationConfig, [("checkpoint", "x", "x"), ("by", [], "--by")])


def _aliases(levels: int) -> str:
    """Each key holds the one before it ten times: a thousand bytes that stand for 10^30 values."""
    names = ["a", *(f"n{level}" for level in range(levels))]
    return "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in pairwise(names)
    )


def _merges(levels: int) -> str:
    names = ["a", *(f"n{level}" for level in range(levels))]
    return "".join(f"{name}: &{name} {{<<: [*{before}, *{before}]}}\n" for before, name in pairwise(names))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1\n", "run.yml:2:1: "),
        ("data: {batch_size: 1}\ndata: {batch_size: 2}\n", "run.yml:2:1: the key 'data' stands twice."),
        (
            "data: !!python/object/apply:os.system ['true']\n",
            "run.yml:1:7: could not determine a constructor",
        ),
        ("- 1\n", "run.yml:1:1: expected sections such as 'data:'"),
        ("model: !!python/name:os.system\n", "run.yml:1:8: could not determine a constructor"),
        ("data: !!python/object/new:os.system [touch x]\n", "could not determine a constructor"),
        ("data: &a [x, x]\n" + _aliases(30), "run.yml:1:1: more than 10,000 values"),
        ("data: &a {k: 1}\n" + _merges(30), "more than 10,000 values"),
        ("data: &a [*a]\n", "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ("{a: " * 2_000 + "1" + "}" * 2_000, "nested too deeply"),
        ("data: {batch_size: 2020-99-99}\n", "run.yml:1:20: 2020-99-99 is no timestamp."),
        (f"data: {{batch_size: {'9' * 5_000}}}\n", "999... is no int."),
        ("data: !!bool maybe\n", "run.yml:1:7: maybe is no bool."),
        ("? {a: 1}\n: 2\n", "run.yml:1:3: a key is not plain text."),
        ("#" * 1_000_001, "larger than 1,000,000 bytes"),
        ("trainer: {monitor: val_f1}\n", "nothing logs 'val_f1'"),
        ("trainer: {patience: 3}\n", "add one, such as trainer.monitor=val_loss, or leave patience out"),
        ("optimizer: {schedule: plateau}\n", "add one, such as trainer.monitor=val_loss"),
        ("model: {name: segmentation_cnn, pool_sizes: [5, 5]}\n", "multiply to 25"),
        ("model: {name: segmentation_cnn, kernel_size: 4}\n", "use 3 or 5"),
        ("model: {name: unet, n_encoders: 6}\ndata: {subtile_size: 1}\n", "use 1 to 3"),
        ("optimizer: {learning_rate: .nan}\n", "finite number"),
    ],
)
def test_impossible_files_are_refused_with_the_reason(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(write(tmp_path, text))


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    assert "there is no such file" in complaint(tmp_path / "none.yml")
    assert "is a folder" in complaint(tmp_path)


@pytest.mark.parametrize("assignment", ["recipe=\udcf3", "s\udcf3=1"])
def test_bytes_that_are_no_text_are_refused(assignment: str) -> None:
    with pytest.raises(ConfigError, match="text"):
        load_config(PreprocessConfig, assignments=[assignment])


def test_assignment_without_a_value_is_refused() -> None:
    assert "--set data.batch_size: expected section.key=value." in complaint(assignments=("data.batch_size",))


def test_a_key_that_the_model_has_no_use_for_is_refused_where_it_stands(tmp_path: Path) -> None:
    file = write(
        tmp_path, "model: cell_logistic\ntrainer:\n  seed: 3\n  max_epochs: 7\noptimizer: {name: sgd}\n"
    )
    lines = complaint(file, ("augmentation.blur_probability=1", "loss.class_weights=none")).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"{file}:4:3: trainer.max_epochs does not apply to cell_logistic, which is")
    assert lines[1].startswith(f"{file}:5:13: optimizer.name does not apply to cell_logistic")
    assert lines[2].startswith("--set augmentation.blur_probability: augmentation.blur_probability does not")
    assert load_config(ESDConfig, assignments=["model=unet", "trainer.max_epochs=7"]).trainer.max_epochs == 7


def test_a_refused_key_comes_with_a_model_that_uses_it() -> None:
    message = complaint(assignments=("augmentation.place_shuffle=1",))
    assert "does not apply to sensor_branches, which sees the lowest, median and highest value" in message
    assert "choose another model, such as segmentation_cnn" in message
    assert ESDConfig().resolved(4).augmentation.night_glow == 0.8
    assert ESDConfig().resolved(4).augmentation.place_shuffle == 0
    assert load_config(ESDConfig, assignments=["model=unet", "augmentation.place_shuffle=1"])


def test_what_a_model_does_not_use_is_not_written(tmp_path: Path) -> None:
    config = load_config(ESDConfig, assignments=["model=cell_boosting", "trainer.seed=5"])
    text = dump_config(config)
    assert "optimizer" not in text
    assert "max_epochs" not in text
    assert load_config(ESDConfig, write(tmp_path, text)) == config


@pytest.mark.parametrize(
    ("model", "key", "used"),
    [
        ("unet", "optimizer.learning_rate", True),
        ("UNet", "model.n_encoders", True),
        ("unet", "model.depth", False),
        ("smp:unet/resnet18", "model.weights", True),
        ("cell_logistic", "optimizer.learning_rate", False),
        ("cell_logistic", "trainer.seed", True),
        ("cell_logistic", "loss.terms.dice", False),
        ("cell_boosting", "model.learning_rate", True),
    ],
)
def test_a_model_says_which_settings_it_uses(model: str, key: str, used: bool) -> None:
    assert model_uses(model, key) is used


def test_course_names_mean_our_models() -> None:
    assert load_config(ESDConfig, assignments=["model.width=8"]).model == SensorBranchesConfig(width=8)
    assert isinstance(load_config(ESDConfig, assignments=["model=UNet"]).model, UNetConfig)
    config = load_config(ESDConfig, assignments=["model=SegmentationCNN", "model.pool_sizes=[5, 10]"])
    assert isinstance(config.model, SegmentationCNNConfig)
    assert config.model.pool_sizes == (5, 10)


def test_bands_and_acquisitions_are_read_in_every_form() -> None:
    config = load_config(
        ESDConfig,
        assignments=[
            "data.selected_bands={sentinel2: [B02, B8A], viirs: all, sentinel1: VV}",
            "data.acquisitions={sentinel2: 2, sentinel1: date, viirs: {order: darkest, count: 3}}",
        ],
    )
    assert config.data.selected_bands == {
        "sentinel2": ("B02", "B8A"),
        "viirs": ("all",),
        "sentinel1": ("VV",),
    }
    assert config.data.acquisitions == {
        "sentinel2": AcquisitionChoice(count=2),
        "sentinel1": AcquisitionChoice(order="date"),
        "viirs": AcquisitionChoice(order="darkest", count=3),
    }


def test_a_frozen_tree_cannot_be_changed() -> None:
    config = load_config(ESDConfig)
    with pytest.raises(ValueError, match="frozen"):
        config.data.batch_size = 3  # type: ignore[misc]


def test_nearest_names_are_three_at_most_and_leave_strangers_alone() -> None:
    assert nearest_names("n_encoder", ["n_encoders", "embedding_size"]) == ("n_encoders",)
    assert nearest_names("UNETT", ["unet", "UNet", "resnet"]) == ("unet",)
    assert nearest_names("ab", ["abc", "abd", "abe", "abf"]) == ("abf", "abe", "abd")
    assert nearest_names("zebra", ["n_encoders", "embedding_size"]) == ()


@pytest.mark.parametrize("text", ["5,5,2", "5, 5, 2", "[5,5,2]", "(5, 5, 2)"])
def test_lists_may_be_written_as_text(tmp_path: Path, text: str) -> None:
    model = ("model=segmentation_cnn", f"model.pool_sizes={text}")
    by_flag = load_config(ESDConfig, assignments=model)
    by_file = load_config(
        ESDConfig, write(tmp_path, f"model: {{name: segmentation_cnn, pool_sizes: '{text}'}}\n")
    )
    assert by_flag == by_file == load_config(ESDConfig, assignments=model[:1])


def test_one_value_is_a_list_of_it_and_lists_of_other_commands_are_read_alike() -> None:
    config = load_config(ESDConfig, assignments=["model=segmentation_cnn", "model.pool_sizes=50"])
    assert config.model == SegmentationCNNConfig(pool_sizes=(50,))
    assert load_config(RestitchConfig, assignments=["tiles=Tile1, Tile2"]).tiles == ("Tile1", "Tile2")
    assert load_config(AblationConfig, assignments=["checkpoint=x", "by=sensor,place"]).by == (
        "sensor",
        "place",
    )


def test_bands_may_go_by_the_courses_names() -> None:
    written = "{viirs_maxproj: ['0'], viirs: ['0'], sentinel2: ['04', 8A, 11], landsat: '4,10', gt: ['0']}"
    bands = load_config(ESDConfig, assignments=[f"data.selected_bands={written}"]).data.selected_bands
    assert bands == {
        "viirs": ("DNB_max", "DNB"),
        "sentinel2": ("B04", "B8A", "B11"),
        "landsat8": ("B4", "B10"),
    }


@pytest.mark.parametrize("tree", [ESDConfig, EvalConfig, RestitchConfig, AblationConfig, PreprocessConfig])
def test_every_wrong_value_is_refused_in_the_users_words(tree: type[ESDConfig]) -> None:
    settings = setting_names(tree)
    sections = {setting.rpartition(".")[0] for setting in settings} - {""}
    wrong: tuple[object, ...] = (
        "x",
        3.7,
        [1, "x"],
        {"x": 1},
        None,
        {"sentinel2": {"x": 1}},
        date(2020, 1, 2),
    )
    lines = []
    for setting in (*settings, *sections):
        owner = next((name for name in MODEL_CONFIGS if model_uses(name, setting)), "unet")
        model = [("model.name", owner.replace("smp:DECODER/ENCODER", "smp:fpn/resnet18"), "model")]
        for value in wrong:
            try:
                build_config(
                    tree, [*(model if setting.startswith("model.") else ()), (setting, value, "--set")]
                )
            except ConfigError as error:
                lines += str(error).splitlines()
    assert len(lines) > len(settings)
    technical = r"[Vv]alid |Input|tuple|\bdict|instance|pars|type|Config\b|\bNone\b"
    assert [line for line in lines if re.search(technical, line)] == []


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("trainer.devices=many", "trainer.devices = 'many': should be a whole number or 'auto'."),
        ("data=here", "data = 'here': should hold settings, such as data.processed_dir."),
        ("trainer.seed=null", "trainer.seed = null: should be a whole number."),
        ("model.pool_sizes={a: 1}", "model.pool_sizes: should be a list, such as [1, 2]."),
        ("optimizer.learning_rat=2", "did you mean 'optimizer.learning_rate'?"),
        ("batch_size=4", "unknown key 'batch_size'; did you mean 'data.batch_size'"),
        ("model.n_encoders=2", "model.n_encoders is a setting of unet, and the model is segmentation_cnn"),
        (
            "trainer.monitor=validation/loss",
            "trainer.monitor: nothing logs 'validation/loss'; did you mean 'val_loss'?",
        ),
    ],
)
def test_messages_say_what_should_stand_there(assignment: str, expected: str) -> None:
    assert expected in complaint(assignments=("model=segmentation_cnn", assignment))


@pytest.mark.parametrize(
    "assignment", ["optimizer.learning_rate=1", "augmentation.night_glow=2", "model=unet"]
)
def test_a_setting_of_a_training_is_named_so_to_other_commands(assignment: str) -> None:
    with pytest.raises(ConfigError, match=r"is a setting of `esdseg train`; this command has none of them"):
        load_config(EvalConfig, assignments=[assignment])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("validation_f1", "val_f1_macro"),
        ("val_f1_score", "val_f1_macro"),
        ("validation/loss", "val_loss"),
        ("eval_accuracy", "val_accuracy"),
        ("Multi-Class Accuracy", "val_accuracy"),
        ("train_acc", "val_accuracy"),
        ("mIoU", "val_jaccard_macro"),
        ("loss", "val_loss"),
        ("val_los", "val_loss"),
        ("Step", None),
    ],
)
def test_other_programs_names_of_metrics_are_understood(name: str, meant: str | None) -> None:
    assert next(iter(meant_metrics(name)), None) == meant


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_yaml_loads_or_is_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, content: object
) -> None:
    file = tmp_path_factory.mktemp("yaml") / "any.yml"
    file.write_text(yaml.safe_dump({"data": content, "model": content}))
    with contextlib.suppress(ConfigError):
        load_config(ESDConfig, file)


def test_the_networks_of_the_course_take_few_bands_and_dates_unless_told() -> None:
    held = {"selected_bands": {"sentinel2": ["B04"]}, "acquisitions": {"landsat8": {"count": 1}}}
    own = ESDConfig.model_validate({"model": "unet"}).resolved(4, FULL_TABLE)
    assert own.trainer.max_epochs == UNetConfig.default_max_epochs
    assert own.data.selected_bands == few_bands(FULL_TABLE)
    assert own.data.acquisitions == {
        name: choice for name, choice in few_acquisitions(FULL_TABLE).items() if name != "landsat8"
    }
    told = ESDConfig.model_validate({"model": "unet", "data": held, "trainer": {"max_epochs": 3}})
    told = told.resolved(4, FULL_TABLE)
    assert told.trainer.max_epochs == 3
    assert told.data.selected_bands == {"sentinel2": ("B04",)}
    assert told.data.acquisitions is not None
    assert {name: choice.count for name, choice in told.data.acquisitions.items()} == {
        "sentinel2": 2,
        "landsat8": 1,
    }
    default = ESDConfig().resolved(4, FULL_TABLE)
    assert default.data.selected_bands is None
    assert default.data.acquisitions is None
