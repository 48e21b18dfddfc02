"""The installed command, run as a user runs it, and one chain of results that the tests share."""

import io
import os
import pty
import re
import subprocess
import sys
import termios
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TextIO
from unittest.mock import patch

import pytest

from esdseg.cli import output
from esdseg.cli.app import run

END_OF_SCREEN = b"\x00"
CONTROL = r"\x1b\[[0-9;?]*[a-zA-Z]"
"""A sequence that colours text or moves the cursor."""

COMMAND = Path(sys.executable).parent / "esdseg"
SUBCOMMANDS = (
    *(
        "sample",
        "cut",
        "check",
        "preprocess",
        "train",
        "sweep",
        "evaluate",
        "restitch",
        "adapt",
        "predict",
        "compare",
        "ablate",
        "report",
        "export",
    ),
    *("models", "config show", "config validate"),
)
FEW_BANDS = "{sentinel2: [B02, B03, B04, B08, B11], viirs: [DNB_median], sentinel1: [VV]}"


def run_esdseg(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the installed command in ``folder``, with no terminal and no W&B login."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        cwd=folder,
        env=_environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
    )


def run_here(
    folder: Path, *arguments: object, login: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, which has PyTorch loaded: as a user would see it but for its process.

    Args:
        folder: Where it is run.
        arguments: What follows ``esdseg``.
        login: Variables that log it into W&B.
    """
    results, log = io.StringIO(), io.StringIO()
    with patch.dict(os.environ, login):
        code = _run_here(folder, arguments, results, log, tuple(login))
    return subprocess.CompletedProcess([*map(str, arguments)], code, results.getvalue(), log.getvalue())


@dataclass
class Terminal:
    """A pseudo-terminal on which standard output and standard error were shown.

    Attributes:
        file: What writes to it.
        written: All that was written to it, once it is closed.
    """

    file: TextIO
    written: str = ""

    def lines(self) -> list[str]:
        """Return all lines that were ever shown, without colours."""
        return re.split("[\r\n]+", re.sub(CONTROL, "", self.written))

    def screen(self) -> list[str]:
        """Return the lines that are left at the end."""
        lines, row = [""], 0
        for part in re.split(f"({CONTROL}|[\r\n])", self.written):
            if part == "\n":
                row += 1
                lines += [""] * (row >= len(lines))
            elif part == "\x1b[1A":
                row -= 1
            elif part == "\x1b[2K":
                lines[row] = ""
            elif not re.fullmatch(f"{CONTROL}|\r", part):
                lines[row] += part
        return [line.rstrip() for line in lines if line.strip()]


@contextmanager
def open_terminal(columns: int = 80) -> Iterator[Terminal]:
    """Show what the block prints on a pseudo-terminal of so many columns."""
    controller, side = pty.openpty()
    termios.tcsetwinsize(side, (50, columns))
    parts: list[bytes] = []

    def read() -> None:
        while not parts or not parts[-1].endswith(END_OF_SCREEN):
            parts.append(os.read(controller, 65536))

    reader = threading.Thread(target=read)
    reader.start()
    size = {"COLUMNS": str(columns), "TERM": "xterm-256color"}
    with os.fdopen(side, "w", encoding="utf-8") as file, patch.dict(os.environ, size):
        terminal = Terminal(file)
        # Consoles know colours, or none, from where they were first used.
        output._console.cache_clear()
        try:
            with redirect_stdout(file), redirect_stderr(file):
                yield terminal
        finally:
            file.write(END_OF_SCREEN.decode())
            file.flush()
            reader.join()
            output._console.cache_clear()
    os.close(controller)
    terminal.written = b"".join(parts).decode().removesuffix(END_OF_SCREEN.decode())


def run_in_terminal(folder: Path, *arguments: object, columns: int = 80) -> tuple[int, Terminal]:
    """Run the command in this process on a pseudo-terminal; return its exit code and what was shown."""
    with open_terminal(columns) as terminal:
        code = _run_here(folder, arguments, terminal.file, terminal.file)
    return code, terminal


def assert_fits(terminal: Terminal) -> None:
    """Check that no line was wider than 80 columns, and that nothing was cut off to make it fit."""
    for line in terminal.lines():
        assert len(line) <= 80, line
        assert "…" not in line


def _run_here(
    folder: Path, arguments: tuple[object, ...], results: TextIO, log: TextIO, kept: Collection[str] = ()
) -> int:
    code: object = 0
    with (
        patch.dict(os.environ, _environment(folder, kept), clear=True),
        patch.object(sys, "argv", [str(COMMAND), *map(str, arguments)]),
        chdir(folder),
        redirect_stdout(results),
        redirect_stderr(log),
    ):
        try:
            run()
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int)
    return code


def _environment(folder: Path, kept: Collection[str] = ()) -> dict[str, str]:
    variables = {
        key: value for key, value in os.environ.items() if key in kept or not key.startswith("WANDB_")
    }
    return variables | {"HOME": str(folder), "NETRC": str(folder / "netrc")}


def succeed(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the installed command and fail with its output unless it ends with exit code 0."""
    done = run_esdseg(folder, *arguments)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


def succeed_here(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in this process and fail with its output unless it ends with exit code 0."""
    done = run_here(folder, *arguments)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="session")
def raw_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four sample tiles in ``data/raw/Train``."""
    folder = tmp_path_factory.mktemp("workspace")
    succeed(folder, "sample", "data/raw/Train", "--tiles", 4, "--crs", "--workers", 1)
    return folder


@pytest.fixture(scope="session")
def workspace(raw_workspace: Path) -> Path:
    """The same folder, preprocessed to a few bands, with a small trained run called ``first``."""
    bands = f"selected_bands={FEW_BANDS}"
    succeed(raw_workspace, "preprocess", "--val-fraction", 0.5, "--workers", 1, "--set", bands)
    succeed(
        raw_workspace,
        *("train", "--model", "segmentation_cnn", "--name", "first", "--max-epochs", 2),
        *("--set", "model.embedding_size=8", "--set", "model.depth=1"),
    )
    return raw_workspace
