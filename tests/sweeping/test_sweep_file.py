"""Reading sweep files, and what is said of mistakes in them."""

import json
import math
from itertools import islice
from pathlib import Path

import pytest
import yaml

from esdseg.config.loading import setting_names
from esdseg.config.models import SegmentationCNNConfig
from esdseg.config.training import SHORT_NAMES as TRAINING_NAMES
from esdseg.config.training import ESDConfig
from esdseg.errors import ConfigError, UsageError
from esdseg.sweeping.distributions import Choices, Numbers, Parameter
from esdseg.sweeping.parameters import DISTRIBUTIONS, SHORT_NAMES
from esdseg.sweeping.search_space import EarlyTermination, Metric
from esdseg.sweeping.sweep_file import WANDB_COMMAND, read_sweep

HEAD = "method: random\nmetric: {name: val_f1_macro, goal: maximize}\nrun_cap: 3\n"
FILES = Path(__file__).parent / "files"
SHIPPED = sorted((Path(__file__).parents[2] / "sweeps").glob("*.yml"))


def read(folder: Path, text: str) -> Parameter:
    """Read a file with one searched parameter and return it."""
    path = folder / "sweep.yml"
    path.write_text(HEAD + "parameters:\n  noise: " + text.replace("noise", "x"))
    path.write_text(path.read_text().replace("  noise:", "  optimizer.weight_decay:"))
    (parameter,) = read_sweep(path).sweep.parameters.values()
    return parameter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{values: [0, 0.1]}", Choices((0, 0.1))),
        ("{distribution: categorical, values: [1e-4, 1e-2]}", Choices((1e-4, 1e-2))),
        ("{values: [0, 1], probabilities: [0.25, 0.75]}", Choices((0, 1), (0.25, 0.75))),
        ("{min: 1, max: 4}", Numbers("uniform", 1, 4, 1)),
        ("{min: 1, max: 4.0}", Numbers("uniform", 1, 4)),
        ("{min: 1e-4, max: 1e-2}", Numbers("uniform", 1e-4, 1e-2)),
        ("{distribution: int_uniform, min: 1, max: 4}", Numbers("uniform", 1, 4, 1)),
        ("{distribution: log_uniform_values, min: 1e-4, max: 1e-2}", Numbers("log_uniform", 1e-4, 1e-2)),
        (
            "{distribution: log_uniform, min: -9, max: -2}",
            Numbers("log_uniform", math.exp(-9), math.exp(-2)),
        ),
        (
            "{distribution: inv_log_uniform, min: 2, max: 9}",
            Numbers("log_uniform", math.exp(-9), math.exp(-2)),
        ),
        ("{distribution: inv_log_uniform_values, min: 0.1, max: 0.2}", Numbers("log_uniform", 0.1, 0.2)),
        ("{distribution: normal, mu: 1, sigma: 0.1}", Numbers("normal", 1, 0.1)),
        ("{distribution: log_normal, mu: -4}", Numbers("log_normal", -4, 1)),
        ("{distribution: beta, a: 2, b: 3}", Numbers("beta", 2, 3)),
        ("{distribution: q_uniform, min: 0, max: 1, q: 0.1}", Numbers("uniform", 0, 1, 0.1)),
        ("{distribution: q_log_uniform, min: 0, max: 3}", Numbers("log_uniform", 1, math.exp(3), 1)),
        ("{distribution: q_log_uniform_values, min: 2, max: 32, q: 2}", Numbers("log_uniform", 2, 32, 2)),
        ("{distribution: q_normal, mu: 8, sigma: 2}", Numbers("normal", 8, 2, 1)),
        ("{distribution: q_log_normal, mu: 1, sigma: 0.5}", Numbers("log_normal", 1, 0.5, 1)),
        ("{distribution: q_beta, a: 2, b: 2, q: 0.1}", Numbers("beta", 2, 2, 0.1)),
    ],
)
def test_every_kind_is_read(tmp_path: Path, text: str, expected: Parameter) -> None:
    assert read(tmp_path, text) == expected


def test_every_distribution_of_wandb_is_known() -> None:
    expected = {
        "constant", "categorical", "categorical_w_probabilities", "int_uniform", "uniform", "q_uniform",
        "log_uniform", "log_uniform_values", "q_log_uniform", "q_log_uniform_values", "inv_log_uniform",
        "inv_log_uniform_values", "normal", "q_normal", "log_normal", "q_log_normal", "beta", "q_beta",
    }  # fmt: skip
    assert set(DISTRIBUTIONS) == expected


def test_names_of_flags_and_of_the_course_and_nested_ones_mean_the_same(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yml"
    path.write_text(
        HEAD + "parameters:\n"
        "  model_type: {value: UNet}\n"
        "  n_encoders: {values: [2, 3]}\n"
        "  max_epochs: {values: [5, 10]}\n"
        "  tile_size_gt: {value: 4}\n"
        "  optimizer:\n"
        "    parameters:\n"
        "      name: {values: [adam, sgd]}\n"
        "      learning_rate: {value: 1e-3}\n"
    )
    sweep = read_sweep(path).sweep
    assert list(sweep.parameters) == ["model.n_encoders", "trainer.max_epochs", "optimizer.name"]
    assert sweep.fixed == {
        "model.name": "UNet", "data.subtile_size": 4, "optimizer.learning_rate": 1e-3,
    }  # fmt: skip
    config = sweep.config_at({"model.n_encoders": 3, "trainer.max_epochs": 5, "optimizer.name": "sgd"})
    assert (config.model.name, config.trainer.max_epochs, config.optimizer.name) == ("unet", 5, "sgd")
    assert config.trainer.monitor == "val_f1_macro"


def test_every_short_name_leads_to_a_setting_and_those_of_train_to_the_same() -> None:
    assert TRAINING_NAMES.items() <= SHORT_NAMES.items()
    assert set(SHORT_NAMES.values()) <= set(setting_names(ESDConfig))


def test_settings_of_one_of_several_models_are_left_out_for_the_others(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yml"
    path.write_text(
        HEAD + "parameters:\n  model: {values: [UNet, SegmentationCNN]}\n  n_encoders: {values: [2, 3]}\n"
    )
    sweep = read_sweep(path).sweep
    plain = sweep.config_at({"model.name": "SegmentationCNN", "model.n_encoders": 2})
    assert plain.model.name == "segmentation_cnn"
    assert sweep.count_trainings() == 3, "the plain network is one training, whatever encoders it ignores"


def test_metric_and_early_termination_are_read(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yml"
    body = "parameters: {batch_size: {values: [4, 8]}}\n"
    path.write_text(
        "method: bayes\nmetric: {name: val_loss, target: 1e-1}\n" + body
        + "early_terminate: {type: hyperband, max_iter: 27, s: 2}\n"
    )  # fmt: skip
    sweep = read_sweep(path).sweep
    assert sweep.metric == Metric("val_loss", "minimize", 0.1)
    assert sweep.termination == EarlyTermination(max_epochs=27, most_bands=2)
    path.write_text("method: grid\n" + body + "early_terminate: {type: hyperband, min_iter: 2, eta: 4}\n")
    sweep = read_sweep(path).sweep
    assert sweep.metric == Metric("val_f1_macro", "maximize")
    assert sweep.termination == EarlyTermination(min_epochs=2, eta=4)


def test_a_program_is_passed_over_with_a_note_unless_it_is_what_agents_start(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yml"
    body = HEAD + "parameters:\n  lr: {min: 1e-4, max: 0.1}\n"
    path.write_text("program: train.py\n" + body)
    note = f"{path}: passed over, since this command trains by itself: program."
    assert note in read_sweep(path).notes
    path.write_text(f"program: esdseg\ncommand: {json.dumps(WANDB_COMMAND)}\n" + body)
    assert not any("passed over" in note for note in read_sweep(path).notes)


def test_settings_of_other_models_are_left_out_with_one_note() -> None:
    path = FILES / "one-model.yml"
    read_file = read_sweep(path)
    assert read_file.notes == (f"{path}: left out, since unet has no such settings: depth, pool_sizes.",)
    assert list(read_file.sweep.parameters) == ["model.n_encoders", "optimizer.learning_rate"]
    assert read_file.sweep.fixed == {
        "model.name": "UNet", "trainer.max_epochs": 1, "model.embedding_size": 8,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["model.name", "model"])
def test_a_model_fixed_by_a_flag_leaves_out_what_others_have_too(tmp_path: Path, name: str) -> None:
    path = tmp_path / "sweep.yml"
    path.write_text(
        HEAD + "parameters: {n_encoders: {value: 3}, depth: {values: [1, 2]}, epochs: {value: 5}}\n"
    )
    read_file = read_sweep(path, [(name, "segmentation_cnn", f"--set {name}")])
    assert read_file.notes == (f"{path}: left out, since segmentation_cnn has no such settings: n_encoders.",)
    assert list(read_file.sweep.parameters) == ["model.depth"]
    read_file = read_sweep(path, [(name, "cell_logistic", f"--set {name}")])
    assert read_file.notes == (
        f"{path}: left out, since cell_logistic has no such settings: n_encoders, depth, epochs.",
    )
    assert read_file.sweep.count_trainings() == 1


def test_lists_written_as_text_are_read() -> None:
    sweep = read_sweep(FILES / "text-lists.yml").sweep
    sizes = []
    for training in sweep.trainings():
        assert training.config is not None
        assert isinstance(training.config.model, SegmentationCNNConfig)
        sizes.append(training.config.model.pool_sizes)
    assert sizes == [(5, 5, 2), (2, 5, 5)]
    assert str(sweep.parameters["model.pool_sizes"]) == 'one of "5,5,2", "2,5,5"'


def test_the_courses_settings_are_taken_or_left_out_with_a_note_a_reason(tmp_path: Path) -> None:
    path = FILES / "course-settings.yml"
    with pytest.raises(ConfigError) as caught:
        read_sweep(path)
    assert str(caught.value).startswith(
        f"{path}:10:10: nothing logs 'validation_f1'; did you mean 'val_f1_macro', "
    )
    assert "\n" not in str(caught.value)
    right = tmp_path / "right.yml"
    right.write_text(path.read_text().replace("validation_f1", "val_f1_macro"))
    read_file = read_sweep(right)
    assert read_file.notes == (
        f"{right}: left out, since they mean nothing to a sweep: raw_dir, results_dir.",
        f"{right}: left out, since they follow from the data: in_channels, out_channels, scale_factor.",
        f"{right}: passed over, since this command trains by itself: program, command, scheduler.",
    )
    assert read_file.sweep.fixed == {
        "model.name": "UNet", "data.subtile_size": 4, "trainer.max_epochs": 1,
    }  # fmt: skip
    assert read_file.sweep.size() == 4
    assert read_file.sweep.count_trainings() == 2, "num_workers cannot change a result"


def test_a_nested_file_of_several_models_and_the_courses_bands_is_read() -> None:
    path = FILES / "nested.yml"
    read_file = read_sweep(path)
    assert read_file.notes == (
        f"{path}: left out, since they mean nothing to a sweep: log_every.",
        f"{path}: left out, since unet and segmentation_cnn have no such settings: weights.",
        f"{path}: passed over, since this command trains by itself: program, command.",
    )
    sweep = read_file.sweep
    assert sweep.termination == EarlyTermination(max_epochs=10, most_bands=3, eta=2)
    # adam does not use its momentum; "5,5,2" and "[5, 5, 2]" are one list: 2 x 3 UNets and 2 x 3 others.
    assert sweep.count_trainings() == 12
    config = next(iter(sweep.trainings())).config
    assert config is not None
    assert config.data.selected_bands == {
        "viirs": ("DNB_max", "DNB"), "sentinel2": ("B04", "B8A"), "landsat8": ("B4", "B5"),
    }  # fmt: skip


def test_a_file_without_a_model_says_which_one_is_searched() -> None:
    path = FILES / "no-model.yml"
    read_file = read_sweep(path)
    assert read_file.notes[0] == (
        f"{path} names no model: sensor_branches is searched. Another one: --set model.name=segmentation_cnn"
    )
    assert (
        f"{path}: left out, since sensor_branches has no such settings: depth, kernel_size."
        in read_file.notes
    )
    assert read_file.sweep.count_trainings() == 6
    chosen = read_sweep(path, [("model.name", "sensor_branches", "--set model.name")])
    assert "names no model" not in " ".join(chosen.notes)


MISTAKES = [
    ("enitity: me\n", "1:1: unknown key 'enitity'; did you mean 'entity'?"),
    ("method: bayesian\n", "1:1: method = 'bayesian' should be grid, random or bayes."),
    (
        "metric: {name: val_f1, goal: maximize}\n",
        "1:10: nothing logs 'val_f1'; did you mean 'val_f1_macro', ",
    ),
    ("metric: {name: validation/loss}\n", "1:10: nothing logs 'validation/loss'; did you mean 'val_loss'?"),
    ("metric: {name: Step}\n", "1:10: nothing logs 'Step'; use one of train_loss, val_loss, "),
    (
        "metric: {name: val_accuracy, goal: minimize}\n",
        "1:30: val_accuracy is better when higher: write goal: maximize.",
    ),
    ("metric: {name: val_loss, goal: maximize}\n", "1:26: val_loss is better when lower"),
    ("metric: {name: val_contest_f1}\n", "1:1: val_contest_f1 is better when higher (W&B minimizes"),
    ("run_cap: 0\n", "1:1: run_cap = 0 should be a whole number of 1 or more."),
    ("early_terminate: {type: hyperbnd, min_iter: 3}\n", "1:19: type = 'hyperbnd' should be hyperband."),
    ("early_terminate: {type: hyperband}\n", "1:1: early_terminate: hyperband needs min_iter or max_iter"),
    ("early_terminate: {type: hyperband, min_iter: 1, eta: 1}\n", "1:49: eta = 1 should be a number above 1"),
    (
        "early_terminate: {type: hyperband, max_iter: 2}\n",
        "1:36: max_iter = 2: the latest epoch that is judged",
    ),
    (
        "early_terminate: {type: hyperband, min_itr: 2, max_iter: 9}\n",
        "1:36: unknown key 'min_itr'; did you mean ",
    ),
    ("name: a/b\n", "1:1: name: 'a/b' does not name one folder"),
]
PARAMETER_MISTAKES = [
    ("batchsize: {values: [3]}", "2:3: unknown parameter 'batchsize'; did you mean 'batch_size', "),
    ("contxt_width: {values: [3]}", "2:3: unknown parameter 'contxt_width'; did you mean 'context_width', "),
    ("n_layers: {values: [3]}", "2:3: unknown parameter 'n_layers'; did you mean "),
    ("optimizer.lr: {values: [3]}", "2:3: unknown parameter 'optimizer.lr'"),
    ("trainer.monitor: {value: val_loss}", "2:3: trainer.monitor is no parameter of a sweep: the sweep's"),
    ("devices: {value: 2}", "2:3: devices is no parameter of a sweep: every trial uses one device"),
    (
        "trainer.monitor: {value: val_accuracy}",
        "2:3: trainer.monitor is no parameter of a sweep: the sweep's",
    ),
    ("fold: {values: [1/2, 2/2]}", "2:3: fold cannot be searched, only fixed"),
    ("batch_size: {values: [4, 0]}", "2:28: data.batch_size = 0: should be greater than or equal to 1."),
    ("batch_size: {min: 0, max: 4}", "2:16: data.batch_size = 0: should be greater than or equal to 1."),
    (
        "lr: {min: 0.1, max: 11.0}",
        "2:18: optimizer.learning_rate = 11.0: should be less than or equal to 10.",
    ),
    ("batch_size: {min: 2.0, max: 8.0}", "use int_uniform or q_uniform"),
    ("optimizer: {values: [adam, sdg]}", "2:30: optimizer.name = 'sdg': should be 'adam', 'adamw' or 'sgd'."),
    (
        "model: {values: [UNet, resnett]}",
        "2:26: unknown model 'resnett'; did you mean 'fcn_resnet101'?",
    ),
    ("model: {values: UNet}", "2:11: model: values is a list of one value or more, such as [UNet]."),
    (
        "lr: {distribution: unifrom, min: 1, max: 2}",
        "2:8: unknown distribution 'unifrom'; did you mean 'uniform', 'q_uniform' or ",
    ),
    ("lr: {distribution: normal, min: 1}", "2:30: normal has no key 'min'; known: mu, sigma."),
    ("lr: {min: 1, mux: 2}", "2:16: uniform has no key 'mux'; did you mean 'max'?"),
    ("lr: {min: 1}", "2:3: lr: uniform needs max."),
    ("lr: {min: 2.5, max: 1.5}", "2:8: lr: min 2.5 is greater than max 1.5."),
    ("lr: {min: low, max: 1.5}", "2:8: lr: min = 'low' is no number."),
    ("lr: {distribution: log_uniform, min: 0.0001, max: 0.1}", "use log_uniform_values"),
    ("lr: {distribution: log_uniform_values, min: 0, max: 1}", "2:42: lr: min = 0 should be greater than 0."),
    (
        "lr: {distribution: q_uniform, min: 0.1, max: 0.9}",
        "2:3: lr: no multiple of q = 1 lies in 0.1 to 0.9.",
    ),
    ("lr: {values: []}", "2:8: lr: values is a list of one value or more."),
    ("lr: {values: [0.1, 0.1]}", "2:22: lr: the value 0.1 stands twice."),
    ("lr: {values: [0.1], probabilities: [0.5, 0.5]}", "2:23: lr: 2 probabilities for 1 values."),
    ("lr: {values: [0.1], probabilities: [0.5]}", "2:23: lr: the probabilities add up to 0.5, not 1."),
    ("lr: [0.1, 0.2]", "2:3: lr: write what to try as a mapping, such as {values: [...]}."),
    ("lr: 0.1", "2:3: lr: write what to try as a mapping, such as {value: 0.1}."),
    ("lr: {valeus: [0.1]}", "2:8: unknown key 'valeus'; did you mean 'values' or 'value'?"),
    (
        "lr: {values: [0.1]}\n  learning_rate: {values: [0.2]}",
        "3:3: 'optimizer.learning_rate' is given twice",
    ),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES, ids=lambda text: text[:40])
def test_mistakes_are_placed(tmp_path: Path, text: str, expected: str) -> None:
    key = text.partition(":")[0]
    rest = yaml.safe_load(HEAD) | {"parameters": {"batch_size": {"values": [4, 8]}}}
    rest.pop(key, None)
    path = tmp_path / "sweep.yml"
    path.write_text(text + yaml.safe_dump(rest))
    with pytest.raises(ConfigError) as caught:
        read_sweep(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}:{expected}")


@pytest.mark.parametrize(("text", "expected"), PARAMETER_MISTAKES, ids=lambda text: text[:40])
def test_mistakes_in_parameters_are_placed(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "sweep.yml"
    path.write_text(f"parameters:\n  {text}\n{HEAD}")
    with pytest.raises(ConfigError) as caught:
        read_sweep(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}:2:" if expected[0].isalpha() else f"{path}:{expected}")
    assert expected in line


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yml"
    path.write_text("method: tpe\nenitity: me\nparameters:\n  lr: {values: [-1]}\n  n_channel: {value: 3}\n")
    with pytest.raises(ConfigError) as caught:
        read_sweep(path)
    places = [line.split(":")[1] for line in str(caught.value).splitlines()]
    assert places == ["1", "2", "4", "5"]


def test_a_grid_needs_values_that_can_be_listed(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yml"
    path.write_text("method: grid\nparameters:\n  lr: {min: 0.1, max: 0.2}\n")
    with pytest.raises(
        ConfigError, match=r"3:3: optimizer\.learning_rate: a grid cannot list all of 0\.1 to 0\.2"
    ):
        read_sweep(path)


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_more_whole_numbers_than_memory_holds_are_drawn_and_not_listed(method: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yml"
    head = HEAD.replace("random", method)
    path.write_text(f"{head}parameters:\n  seed: {{min: 0, max: 4294967295}}\n")
    sweep = read_sweep(path).sweep
    assert (sweep.size(), sweep.count_trainings()) == (None, None)
    assert len({training.key for training in islice(sweep.trainings(), 3)}) == 3
    path.write_text("method: grid\nparameters:\n  seed: {min: 0, max: 4294967295}\n")
    with pytest.raises(
        ConfigError, match=r"a grid cannot list all of whole numbers 0 to 4\.29497e\+09; give"
    ):
        read_sweep(path)


def test_a_value_is_only_refused_if_no_other_parameter_makes_it_right(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yml"
    head = HEAD + "parameters:\n  model: {value: unet}\n  n_encoders: {values: [2, 6]}\n"
    # Six encoders need a subtile of at least 3 cells.
    path.write_text(head + "  subtile_size: {values: [1, 4]}\n")
    read_sweep(path)
    path.write_text(head + "  subtile_size: {value: 1}\n")
    with pytest.raises(ConfigError, match="6 encoders"):
        read_sweep(path)


def test_flags_win_over_the_files_constants_but_not_over_what_is_searched(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yml"
    path.write_text(HEAD + "parameters:\n  batch_size: {values: [4]}\n  processed_dir: {value: there}\n")
    sweep = read_sweep(path, [("data.processed_dir", "here", "--processed-dir")]).sweep
    assert sweep.fixed["data.processed_dir"] == "here"
    with pytest.raises(UsageError, match=r"--set data\.batch_size: the sweep searches data\.batch_size"):
        read_sweep(path, [("data.batch_size", 2, "--set data.batch_size")])
    with pytest.raises(
        ConfigError, match=r"--set optimizer\.nme: unknown key .* did you mean 'optimizer.name'"
    ):
        read_sweep(path, [("optimizer.nme", 2, "--set optimizer.nme")])
    with pytest.raises(
        ConfigError, match=r"--set model\.depth: model\.depth is a setting of segmentation_cnn"
    ):
        read_sweep(path, [("model.depth", 2, "--set model.depth")])
    path.write_text(HEAD + "parameters:\n  model: {value: cell_logistic}\n  model.C: {values: [0.1, 1]}\n")
    with pytest.raises(ConfigError, match=r"--set trainer\.max_epochs: trainer\.max_epochs does not apply"):
        read_sweep(path, [("trainer.max_epochs", 2, "--set trainer.max_epochs")])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_are_right_and_give_a_reason_for_every_parameter(path: Path) -> None:
    sweep = read_sweep(path).sweep
    assert sweep.trials is not None
    assert "#" in path.read_text().partition("\n")[0]
    assert sweep.parameters.keys() >= {"data.batch_size", "optimizer.learning_rate"}
    body = path.read_text().partition("parameters:\n")[2]
    blocks = [block for block in body.replace("\n    ", " ").splitlines() if block.startswith("  ")]
    fixed = sweep.fixed.keys() - {"tracking.project"}
    assert len(blocks) == len(sweep.parameters) + len(fixed)
    assert all("#" in block for block in blocks)


def test_files_are_shipped_for_every_network() -> None:
    networks = {"sensor_branches", "segmentation_cnn", "unet", "fcn_resnet101"}
    assert {path.stem for path in SHIPPED} == networks | {"smoke"}


def test_models_of_the_zoo_and_their_settings_are_searched_beside_others(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yml"
    path.write_text(
        HEAD + "parameters:\n  model: {values: [unet, 'smp:fpn/resnet18', 'smp:unet/resnet34']}\n"
        "  model.weights: {values: [none, imagenet]}\n"
        "  n_encoders: {values: [2, 3]}\n"
    )
    sweep = read_sweep(path).sweep
    assert sweep.models == ("unet", "smp:DECODER/ENCODER")
    config = sweep.config_at(
        {"model.name": "smp:fpn/resnet18", "model.weights": "none", "model.n_encoders": 2}
    )
    assert (config.model.name, config.model.model_dump()["weights"]) == ("smp:fpn/resnet18", "none")
    # A UNet from scratch ignores weights, and the zoo's networks encoders: 2 and 2 x 2.
    assert sweep.count_trainings() == 6


def test_runs_to_start_from_are_searched_with_the_one_model_that_they_fit(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yml"
    path.write_text(HEAD + "parameters:\n  model: {value: unet}\n  model.weights: {values: [none, delta]}\n")
    read_file = read_sweep(path)
    assert read_file.notes == ()
    assert read_file.sweep.count_trainings() == 2


def test_a_wrong_encoder_among_the_values_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yml"
    path.write_text(HEAD + "parameters:\n  model: {values: ['smp:fpn/resnet18', 'smp:fpn/resnet81']}\n")
    with pytest.raises(ConfigError, match=r"sweep\.yml:5:\d+: .*unknown encoder 'resnet81'"):
        read_sweep(path)
