"""What a terminal of 80 columns shows: whole flags, names and numbers, in lines that fit."""

from pathlib import Path

import pytest

from tests.cli.conftest import run_esdseg, run_in_terminal
from tests.cli.test_imports import loaded_modules

COMMANDS = (
    "",
    "sample",
    "check",
    "preprocess",
    "train",
    "sweep",
    "evaluate",
    "compare",
    "ablate",
    "report",
    "restitch",
    "models",
    "config",
    "config show",
    "config validate",
)


def assert_fits(text: str, columns: int = 80) -> None:
    for line in text.splitlines():
        assert len(line) <= columns, line
        assert "…" not in line


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_and_shows_whole_flags(tmp_path: Path, command: str) -> None:
    done = run_in_terminal(tmp_path, *command.split(), "--help")
    assert done.returncode == 0
    assert_fits(done.stdout)
    wide = run_in_terminal(tmp_path, *command.split(), "--help", columns=500).stdout
    assert done.stdout.split() == wide.split(), "wrapping is all that a narrow terminal changes"


def test_help_of_every_command_loads_neither_the_settings_nor_what_draws_in_colour() -> None:
    code = "from esdseg.cli.app import app\n" + "\n".join(
        f"try: app({[*command.split(), '--help']}, standalone_mode=False)\nexcept SystemExit: pass"
        for command in COMMANDS
    )
    heavy = {"pydantic", "numpy", "rich.table", "rich.markdown", "typer.rich_utils", "psutil", "yaml"}
    assert loaded_modules(code).isdisjoint(heavy)


def test_without_arguments_help_is_shown_as_wrong_usage(tmp_path: Path) -> None:
    done = run_esdseg(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "evaluate" in done.stderr


def test_messages_wrap_at_words(tmp_path: Path) -> None:
    folder = "-".join(["a-folder"] * 12)
    done = run_in_terminal(tmp_path, "check", folder)
    assert done.returncode == 3
    assert folder in done.stdout
    others = [line for line in done.stdout.splitlines() if folder not in line]
    assert_fits("\n".join(others))
    assert run_in_terminal(tmp_path, "check", folder, columns=999).stdout.split() == done.stdout.split()
