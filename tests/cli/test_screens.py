"""What a terminal of 80 columns shows: whole flags, names and numbers, in lines that fit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from esdseg.cli import train
from esdseg.cli.output import command_lines, print_line, print_note
from esdseg.cli.progress import prefixed, progress
from esdseg.training.run_folder import FitResult
from tests.cli.conftest import (
    SUBCOMMANDS,
    Terminal,
    assert_fits,
    open_terminal,
    run_esdseg,
    run_here,
    run_in_terminal,
)
from tests.cli.test_imports import loaded_modules
from tests.store.stores import write_store


def words(terminal: Terminal) -> list[str]:
    return " ".join(terminal.lines()).split()


@pytest.mark.parametrize("command", ["", "config", *SUBCOMMANDS])
def test_help_fits_and_shows_whole_flags(tmp_path: Path, command: str) -> None:
    code, terminal = run_in_terminal(tmp_path, *command.split(), "--help")
    assert code == 0
    assert_fits(terminal)
    _, wide = run_in_terminal(tmp_path, *command.split(), "--help", columns=500)
    assert [word for word in words(terminal) if word != "\\"] == words(wide)


def test_a_long_command_is_broken_between_flags_not_before_their_values() -> None:
    assert command_lines("esdseg predict first scenes/ --out map --with-lit --area 34.1,-14.2", 61) == [
        "esdseg predict first scenes/ --out map --with-lit \\",
        "    --area 34.1,-14.2",
    ]


def test_the_command_that_a_training_proposes_names_its_store_and_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proposed: list[str] = []
    monkeypatch.setattr(train, "print_command", lambda label, command: proposed.append(command))
    train.print_result(FitResult(Path("checkpoints/first"), 1, {}, 1, Path("my data")), json=False)
    assert proposed == [
        "esdseg evaluate --checkpoint checkpoints/first/best.ckpt --name first --processed-dir 'my data'"
    ]


def test_help_of_every_command_loads_neither_the_settings_nor_what_draws_in_colour() -> None:
    code = "from esdseg.cli.app import app\n" + "\n".join(
        f"try: app({[*command.split(), '--help']}, standalone_mode=False)\nexcept SystemExit: pass"
        for command in ("", "config", *SUBCOMMANDS)
    )
    heavy = {"pydantic", "numpy", "rich.table", "rich.markdown", "typer.rich_utils", "psutil", "yaml"}
    assert loaded_modules(code).isdisjoint(heavy)


def test_without_arguments_help_is_shown_as_wrong_usage(tmp_path: Path) -> None:
    done = run_esdseg(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "evaluate" in done.stderr


def test_messages_wrap_at_words(tmp_path: Path) -> None:
    folder = "-".join(["a-folder"] * 12)
    code, terminal = run_in_terminal(tmp_path, "check", folder)
    assert code == 3
    assert any(folder in line for line in terminal.screen())
    assert all(len(line) <= 80 for line in terminal.screen() if folder not in line)
    _, wide = run_in_terminal(tmp_path, "check", folder, columns=999)
    assert " ".join(terminal.screen()) == " ".join(wide.screen())


def test_an_encoder_that_is_not_there_is_answered_with_the_nearest(tmp_path: Path) -> None:
    code, terminal = run_in_terminal(tmp_path, "models", "--match", "resnet")
    assert code == 1
    assert "resnet18, resnet34" in " ".join(terminal.screen())
    listed = run_here(tmp_path, "models", "--match", "tu-zzz", "--json")
    content = json.loads(listed.stdout)
    assert (listed.returncode, content["encoders"], len(content["nearest"])) == (1, [], 5)


FIRST_WORDS = {
    ("sample", "out", "--tiles", "1"): "sample: starting",
    ("cut", ".", "out"): "cut: looking at the scenes",
    ("check", "."): "check: starting",
    ("preprocess",): "preprocess: starting",
    ("train", "--max-epochs", "1"): "train: loading PyTorch",
    ("evaluate",): "evaluate: loading PyTorch",
    ("restitch",): "restitch: loading PyTorch",
    ("adapt", "first", "."): "adapt: loading PyTorch",
    ("predict", "first", ".", "--out", "map"): "predict: loading PyTorch",
    ("ablate", "first"): "ablate: loading PyTorch",
    ("models",): "models: loading PyTorch",
    ("compare", "first", "first"): "compare: scores and pictures",
    ("report", "first"): "report: drawing",
}


HEAVY = {"torch", "pytorch_lightning", "zarr", "rasterio", "scipy", "sklearn", "matplotlib", "optuna"}


def test_a_word_comes_before_what_takes_long_is_loaded(tmp_path: Path) -> None:
    """Each command is stopped at its first word; until then nothing heavy may be loaded."""
    write_store(tmp_path / "data/processed", {"Tile1": "train"}, 16)
    (tmp_path / "checkpoints/first").mkdir(parents=True)
    (tmp_path / "checkpoints/first/best.ckpt").touch()
    (tmp_path / "data/raw/Train/Tile1").mkdir(parents=True)
    (tmp_path / "data/raw/Train/Tile1/DNB_VNP46A1_A2020221.tif").touch()
    code = (
        "import json, sys\n"
        "import esdseg.cli.progress as progress\n"
        "def say(message): raise SystemExit(message)\n"
        "progress.print_note = say\n"
        "from esdseg.cli import run_command\n"
        "found = []\n"
        f"for words in {list(FIRST_WORDS)}:\n"
        "    sys.argv = ['esdseg', *words]\n"
        "    try: run_command()\n"
        f"    except SystemExit as said: found.append([str(said), sorted({HEAVY} & set(sys.modules))])\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[first, []] for first in FIRST_WORDS.values()]


def test_a_terminal_has_one_bar_and_messages_stand_above_it() -> None:
    with open_terminal() as terminal:
        with progress("evaluate", "loading PyTorch") as advance:
            print_note("The first message.")
            advance("Tile1", 1, 2)
            prefixed(advance, "simple models")("fitting cell_boosting", 3, 6)
            terminal.file.flush()
            print_note("The second message.")
        print_line("The result.")
    assert terminal.screen() == ["The first message.", "The second message.", "The result."]
    shown = "\n".join(terminal.lines())
    for item in ("loading PyTorch", "3/6", "simple models: fitting cell_boosting"):
        assert item in shown
    assert_fits(terminal)


LAST = ("evaluate", "--checkpoint", "first/last.ckpt")

TABLES: list[tuple[tuple[object, ...], tuple[str, ...]]] = [
    (("check", "data/raw/Train", "--workers", 1), ("sentinel2 B8A", "99 %", "2020-08-11")),
    (("check", "data/processed", "--workers", 1), ("every checksum, count and label holds.",)),
    (("preprocess", "--dry-run", "--processed-dir", "elsewhere"), ("Tile4", "Nothing was written.")),
    (
        ("evaluate", "--checkpoint", "first", "--no-simple-baselines", "--name", "of-the-best-epoch"),
        ("Macro Jaccard (IoU)", "95 % interval"),
    ),
    (("restitch", "--checkpoint", "first", "--tiles", "Tile1"), ("Maps of 1 tile:",)),
    ((*LAST, "--no-simple-baselines", "--name", "of-the-last-epoch"), ("Macro AUC",)),
    (("compare", "of-the-best-epoch", "of-the-last-epoch"), ("95 % interval", "of-the-last-epoch")),
    (("report", "of-the-best-epoch"), ("report.html",)),
    (("ablate", "first", "--by", "sensor"), ("sentinel1", "Picture:")),
    (("models",), ("segmentation_cnn", "smp:DECODER/ENCODER")),
    (("models", "--match", "timm-*"), ("timm-efficientnet-b0",)),
]


@pytest.mark.parametrize(("command", "shown"), TABLES, ids=lambda value: str(value[0])[:12])
def test_every_table_fits_and_breaks_no_name(
    workspace: Path, command: tuple[object, ...], shown: tuple[str, ...]
) -> None:
    code, terminal = run_in_terminal(workspace, *command)
    screen = " ".join(" ".join(terminal.screen()).split())
    assert code == 0, screen
    assert_fits(terminal)
    for text in shown:
        assert text in screen
