"""A user's mistakes: the right exit code, a message that says the fix, and never a traceback."""

import ast
import json
import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest

import esdseg
from esdseg.config.cutting import CutConfig
from esdseg.config.evaluation import AblationConfig, EvalConfig, RestitchConfig
from esdseg.config.preprocessing import PreprocessConfig
from esdseg.config.section import Section
from esdseg.config.training import TrackingConfig, TrainerConfig
from esdseg.sensors.sensors import RasterName
from tests.cli.conftest import SUBCOMMANDS, run_esdseg, run_here
from tests.contest import get_sensor
from tests.make_tiles import write_tile

FEW_DATES = {"sentinel1": [date(2020, 7, 23)]}

TRAIN = ("train", "--wandb", "disabled")

MISTAKES_ANYWHERE: list[tuple[tuple[object, ...], int, str]] = [
    (("trian",), 2, "No such command"),
    (("sample",), 2, "Missing argument"),
    (("export", "first"), 2, "Name the zip too, behind the run: `esdseg export first first.zip`"),
    (("sample", "out", "--tiles", 0), 2, "--tiles"),
    (("sample", "out", "--seed", "x"), 2, "--seed"),
    (("sample", "file.yml"), 2, "file.yml is a file"),
    (("cut", "nowhere", "out"), 3, "nowhere does not exist; point to the folder that holds the scenes"),
    (("cut", ".", "out"), 3, "holds no rasters of the sensors"),
    (("cut", ".", "out", "--buildings", "file.yml"), 2, "add --lights RASTER or --lit FILE"),
    (("cut", ".", "out", "--overlap", 16), 2, "less than 16"),
    (("check",), 2, "Missing argument"),
    (("check", "nowhere"), 3, "nowhere"),
    (("check", "."), 3, "esdseg sample"),
    (("preprocess",), 3, "data/raw/Train"),
    (("preprocess", "--skip-bad"), 3, "data/raw/Train"),
    (("sample", "out", "--scene", "--tiles", 3), 2, "--tiles is for tiles; leave it out"),
    (("sample", "out", "--size", 40), 2, "--size is for a scene; add --scene"),
    (("sample", "out", "--region", "higlands"), 2, "unknown region 'higlands'; did you mean 'highlands'?"),
    (("sample", "out", "--scene", "--size", 3), 2, "8 to 100 km"),
    (("preprocess", "--subtile-size", 3), 2, "1, 2, 4, 8, 16"),
    (("preprocess", "--val-fraction", 1.5), 2, "less than or equal to 1"),
    (("preprocess", "--dask", "somewhere"), 2, "it looks like tcp://HOST:8786"),
    (("preprocess", "--set", "selected_bands={sentinel2: [B10]}"), 2, "no band B10"),
    (("preprocess", "--set", "recipe.sentinel1.clip=0.1"), 2, "clip_fraction"),
    ((*TRAIN, "--model", "unett"), 2, "did you mean 'unet'?"),
    ((*TRAIN, "--model", "smp:unet/resnt18"), 2, "unknown encoder 'resnt18'; did you mean 'resnet18', "),
    ((*TRAIN, "--learning-rate", -1), 2, "greater than 0"),
    ((*TRAIN, "--processed-dir", "nowhere"), 3, "esdseg preprocess"),
    ((*TRAIN, "--config", "none.yml"), 2, "none.yml: there is no such file"),
    (
        (*TRAIN, "--config", "file.yml"),
        2,
        "file.yml:2:3: unknown key 'data.batchsize'; did you mean 'data.batch_size'?",
    ),
    ((*TRAIN, "--set", "trainer.monitor=val_f1"), 2, "nothing logs 'val_f1'"),
    (("train", "--wandb", "on"), 2, "online"),
    (
        (*TRAIN, "--model", "cell_logistic", "--max-epochs", 7),
        2,
        "--max-epochs: trainer.max_epochs does not apply to cell_logistic, which is fitted in one go",
    ),
    (
        (*TRAIN, "--model", "cell_boosting", "--set", "augmentation.blur_probability=1"),
        2,
        "--set augmentation.blur_probability: augmentation.blur_probability does not apply to cell_boosting",
    ),
    (("evaluate", "--set", "tiles=[Tile3]"), 2, "--set tiles: unknown key 'tiles'"),
    (("restitch", "--set", "split=val"), 2, "--set split: unknown key 'split'"),
    (("restitch", "--set", "simple_baselines=true"), 2, "unknown key 'simple_baselines'"),
    (("ablate", "none", "--set", "simple_baselines=true"), 2, "unknown key 'simple_baselines'"),
    (("preprocess", "--recipe", "curse"), 2, "unknown recipe 'curse'; use physical or course"),
    (("evaluate", "--checkpoint", "none"), 3, "none"),
    (("evaluate",), 3, "There is no checkpoint 'best.ckpt'"),
    (("evaluate", "--checkpoint", "file.yml", "--dask", "somewhere"), 2, "it looks like tcp://HOST:8786"),
    (("ablate", "file.yml", "--set", "dask=tcp://10.0.0.1:8786"), 2, "predicts on this machine alone"),
    (("evaluate", "--split", "vall"), 2, "'auto', 'train', 'val', 'test' or 'fold'"),
    (("adapt", "first"), 2, "Missing argument"),
    (("adapt", "none", "."), 3, "There is no checkpoint 'none'"),
    (("adapt", "none", "nowhere"), 3, "nowhere does not exist; give a folder of scenes"),
    (("adapt", "none", ".", "--name", "a/b"), 2, "a/b"),
    (("adapt", "none", ".", "--set", "tta=d4"), 2, "unknown key 'tta'"),
    (("restitch",), 3, "There is no checkpoint 'best.ckpt'"),
    (("restitch", "--checkpoint", "none"), 3, "esdseg train"),
    (("restitch", "--checkpoint", "file.yml", "--batch-size", 0), 2, "greater than or equal to 1"),
    (
        ("restitch", "--checkpoint", "none", "--tiles", "Tile1", "Tile2,", "Tile3"),
        2,
        "(Tile2, Tile3); join several values by commas: --tiles Tile1,Tile2,Tile3.\n",
    ),
    (("ablate", "none", "--by", "sensor", "band"), 2, "; join several values by commas: --by sensor,band.\n"),
    (("evaluate", "none"), 2, "(none); name the run with --checkpoint none.\n"),
    (("evaluate", "--checkpoint", "none", "other"), 2, "argument: (other)\n"),
    (("compare",), 2, "Missing argument"),
    (("compare", "first"), 2, "two runs or more"),
    (("compare", "first", "second"), 3, "esdseg evaluate --checkpoint first"),
    (("compare", "first", "second", "--output", "file.yml"), 2, ".png"),
    (("ablate",), 2, "Missing argument"),
    (("ablate", "none"), 3, "There is no checkpoint 'none'"),
    (("ablate", "none", "--by", "sensr"), 2, "--by: by.0 = 'sensr': should be 'sensor', 'place' or 'band'"),
    (("report", "first"), 3, "esdseg evaluate --checkpoint first"),
    (("config", "validate", "file.yml"), 2, "file.yml:2:3"),
    (("config", "show", "--set", "nonsense"), 2, "section.key=value"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "expected"), MISTAKES_ANYWHERE, ids=lambda value: str(value)[:60]
)
def test_mistakes_end_with_their_code_and_the_fix(
    tmp_path: Path, arguments: tuple[object, ...], code: int, expected: str
) -> None:
    (tmp_path / "file.yml").write_text("data:\n  batchsize: 3\n")
    done = run_here(tmp_path, *arguments)
    assert "Traceback" not in done.stderr + done.stdout
    assert done.returncode == code, done.stderr
    assert expected in done.stderr
    assert done.stdout == ""
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert left <= {"file.yml"}, "a refused command leaves nothing behind"


def test_changed_settings_are_refused_with_the_command_that_mends_it(workspace: Path) -> None:
    done = run_here(workspace, "preprocess", "--val-fraction", 0.5)
    assert done.returncode == 3
    assert "--overwrite" in done.stderr


def test_a_run_of_that_name_is_not_overwritten(workspace: Path) -> None:
    done = run_here(workspace, *TRAIN, "--name", "first")
    assert done.returncode == 2
    assert "--resume" in done.stderr
    done = run_here(workspace, "adapt", "first", "data/raw/Train", "--name", "first")
    assert done.returncode == 2
    assert "first exists; choose another --name." in done.stderr


def test_a_file_that_is_no_checkpoint_is_named(workspace: Path) -> None:
    done = run_here(workspace, "evaluate", "--checkpoint", "data/processed/4x4/manifest.json")
    assert done.returncode == 3
    assert "manifest.json" in done.stderr


def test_an_unknown_tile_is_named_with_those_there_are(workspace: Path) -> None:
    done = run_here(workspace, "restitch", "--checkpoint", "first", "--tiles", "Tile99")
    assert done.returncode == 3
    assert "Tile99" in done.stderr
    assert "Tile1" in done.stderr


def test_a_submission_of_other_tiles_is_refused_with_the_way_out(workspace: Path) -> None:
    done = run_here(workspace, "restitch", "--checkpoint", "first", "--submission", "classroom")
    assert done.returncode == 3
    assert "Tile1 to Tile19" in done.stderr
    assert "--any-tiles" in done.stderr
    done = run_here(workspace, "restitch", "--checkpoint", "first", "--contest-values", "255,0")
    assert done.returncode == 2
    assert "contest_values acts on --submission contest alone" in done.stderr


def test_a_split_without_tiles_is_refused(workspace: Path) -> None:
    done = run_here(workspace, "evaluate", "--checkpoint", "first", "--split", "test")
    assert done.returncode == 3
    assert "test" in done.stderr


@pytest.mark.parametrize(
    ("flags", "fix"),
    [
        (("--overlap", 4, "--window-size", 16), "Add --window-size 8"),
        (("--overlap", 16), "overlap = 16"),
        (("--tta", "d5"), "'none', 'flips' or 'd4'"),
        (("--ensemble", 2), "'first' is no sweep's folder"),
        (("--checkpoint", "first/best.ckpt"), "twice"),
    ],
    ids=str,
)
def test_ways_to_predict_that_cannot_work_are_refused(
    workspace: Path, flags: tuple[object, ...], fix: str
) -> None:
    for command in ("evaluate", "restitch"):
        done = run_here(workspace, command, "--checkpoint", "first", *flags)
        assert done.returncode == 2
        assert fix in done.stderr


@pytest.mark.parametrize(
    ("flags", "fix"),
    [
        (("--with", "first"), "first/best.ckpt is named twice"),
        (("--ensemble", 2), "`esdseg predict` takes further runs by --with"),
    ],
    ids=str,
)
def test_runs_that_cannot_predict_together_are_refused_in_words_of_predict(
    workspace: Path, flags: tuple[object, ...], fix: str
) -> None:
    done = run_here(workspace, "predict", "first", "data/processed", "--out", "refused", *flags)
    assert done.returncode == 2
    assert fix in done.stderr


def test_sample_refuses_a_folder_with_tiles_of_other_settings(raw_workspace: Path) -> None:
    done = run_here(raw_workspace, "sample", "data/raw/Train", "--tiles", 1)
    assert done.returncode == 2
    assert "; choose another folder" in done.stderr


def test_sample_beside_tiles_of_others_asks_for_another_folder(tmp_path: Path) -> None:
    tile = write_tile(tmp_path / "data/raw/Train/Tile1", dates=FEW_DATES)
    done = run_here(tmp_path, "sample", "data/raw/Train")
    assert done.returncode == 2
    assert "data/raw/Train holds tiles that `esdseg sample` did not write; choose another" in done.stderr
    assert len(list(tile.iterdir())) == 3


def test_no_message_proposes_to_delete_anything() -> None:
    """What lies in a folder may be the user's own: it can be moved elsewhere, or another folder be chosen."""
    for path in Path(esdseg.__file__).parent.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        comments = {node.value for node in nodes if isinstance(node, ast.Expr)}
        texts = {node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        for text in texts - comments:
            assert not re.search(r"\b(delete|remove|rm|erase)\b", str(text.value)), (path, text.lineno)


def test_raw_tiles_are_trained_on_by_way_of_a_store(tmp_path: Path) -> None:
    write_tile(tmp_path / "rasters/Tile1", dates=FEW_DATES)
    for command in (TRAIN, ("preprocess", "--raw-dir", "rasters")):
        done = run_here(tmp_path, *command, "--processed-dir", "rasters")
        assert done.returncode == 3
        assert "rasters holds raw tiles, which belong to --raw-dir" in done.stderr
        assert "`esdseg preprocess --raw-dir rasters --processed-dir data/processed" in done.stderr
    assert [path.name for path in (tmp_path / "rasters").iterdir()] == ["Tile1"]


def test_a_store_without_labels_leads_to_maps(tmp_path: Path) -> None:
    write_tile(tmp_path / "raw/Tile1", dates=FEW_DATES, labels=False)
    done = run_here(tmp_path, "preprocess", "--raw-dir", "raw", "--processed-dir", "store", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("Next: esdseg restitch --checkpoint RUN --processed-dir store\n")


def test_what_was_subtracted_is_said_before_and_after(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1200, 3000, (800, 800), np.uint16)
    day = date(2023, 5, 1)
    rasters = {RasterName("sentinel2", day, band): values for band in get_sensor("sentinel2").band_names}
    write_tile(tmp_path / "raw/Tile1", dates={"sentinel2": [day]}, values=rasters)
    command = ("preprocess", "--raw-dir", "raw", "--workers", 1, "--val-fraction", 0)
    said = "Note: Sentinel-2 L2A of 2023-05-01: the offset of 1000 was subtracted from the values."
    for flags in (("--dry-run",), ()):
        assert said in " ".join(run_here(tmp_path, *command, *flags).stdout.split())
    kept = run_here(tmp_path, *command, "--processed-dir", "kept", "--reflectance-offset", "keep", "--json")
    assert json.loads(kept.stdout)["notes"] == []
    wrong = run_here(tmp_path, *command, "--reflectance-offset", "off")
    assert wrong.returncode == 2
    assert "'by_date', 'subtract' or 'keep'" in wrong.stderr


def test_a_second_size_needs_a_choice(workspace: Path) -> None:
    (workspace / "data/two/4x4").mkdir(parents=True)
    (workspace / "data/two/2x2").mkdir()
    for size in ("4x4", "2x2"):
        manifest = (workspace / "data/processed/4x4/manifest.json").read_text()
        (workspace / "data/two" / size / "manifest.json").write_text(manifest)
    done = run_here(workspace, *TRAIN, "--processed-dir", "data/two")
    assert done.returncode == 3
    assert "--subtile-size" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("trian",), 2), (("check", "nowhere"), 3), ((*TRAIN, "--processed-dir", "nowhere"), 3)],
    ids=str,
)
def test_the_installed_command_ends_alike(tmp_path: Path, arguments: tuple[object, ...], code: int) -> None:
    installed, here = run_esdseg(tmp_path, *arguments), run_here(tmp_path, *arguments)
    assert installed.returncode == here.returncode == code
    assert (installed.stdout, installed.stderr) == (here.stdout, here.stderr)


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    assert "Traceback" in run_esdseg(tmp_path, "--debug", "check", "nowhere").stderr


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_help_shows_an_example_of_the_command(tmp_path: Path, command: str) -> None:
    done = run_here(tmp_path, *command.split(), "--help")
    assert f"Example: esdseg {command}" in done.stdout


@pytest.mark.parametrize(
    ("command", "section", "field"),
    [
        ("train", TrainerConfig, "max_epochs"),
        ("train", TrainerConfig, "accelerator"),
        ("cut", CutConfig, "light_threshold"),
        ("preprocess", PreprocessConfig, "raw_dir"),
        ("preprocess", PreprocessConfig, "val_fraction"),
        ("evaluate", EvalConfig, "overlap"),
        ("restitch", RestitchConfig, "tiles"),
        ("ablate", AblationConfig, "by"),
        ("sweep", TrackingConfig, "wandb"),
    ],
)
def test_help_of_a_flag_is_that_of_its_setting(
    tmp_path: Path, command: str, section: type[Section], field: str
) -> None:
    shown = "".join(run_here(tmp_path, command, "--help").stdout.replace("│", " ").split())
    setting = section.model_fields[field]
    assert setting.description is not None
    assert "".join(setting.description.replace("``", "").split()) in shown
    if setting.default is not None:
        assert f"default:{setting.default}]" in shown
