"""Commands on strangers' files: nothing in them is run, steers a terminal, or leads elsewhere."""

import ast
import io
import json
import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
import torch
from rich.console import Console

import esdseg
from esdseg.baselines.simple_baselines import read_cache
from esdseg.cli import progress
from esdseg.errors import InputDataError
from esdseg.models.runs import find_sweep
from tests.cli.conftest import run_here
from tests.make_tiles import write_tile

FORMAT3 = Path(__file__).parents[1] / "fixtures/format3"
HOSTILE = "'; touch witness; $(touch witness) `touch witness` <script>alert(1)</script>".replace("/", "")
ONE_DATE: dict[str, list[date]] = {"sentinel1": [date(2020, 7, 23)]}


class Bomb:
    """Makes a folder called witness if it is ever unpickled."""

    def __init__(self, folder: Path) -> None:
        self.witness = str(folder / "witness")

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.witness,)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a store, runs and scores; commands are run in it."""
    return Path(shutil.copytree(FORMAT3, tmp_path / "work"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "--checkpoint", "bomb"),
        ("restitch", "--checkpoint", "bomb"),
        ("restitch", "--checkpoint", "bomb.pkl"),
        ("train", "--resume", "--name", "bomb", "--max-epochs", 3, "--wandb", "disabled"),
        ("train", "--resume", "--max-epochs", 3, "--wandb", "disabled"),
        ("evaluate", "--checkpoint", "best.ckpt"),
    ],
    ids=lambda arguments: " ".join(map(str, arguments)),
)
def test_code_in_a_checkpoint_is_refused_and_never_run(work: Path, arguments: tuple[object, ...]) -> None:
    shutil.copytree(work / "checkpoints/cnn", work / "checkpoints/bomb")
    content = torch.load(work / "checkpoints/cnn/last.ckpt", weights_only=True)
    for name in ("best.ckpt", "last.ckpt"):
        torch.save({**content, "callbacks": Bomb(work)}, work / "checkpoints/bomb" / name)
    (work / "bomb.pkl").write_bytes(pickle.dumps(Bomb(work), 2))
    done = run_here(work, *arguments, "--processed-dir", "processed")
    assert done.returncode == 3, done.stderr
    assert "run code" in done.stderr or "no run" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (work / "witness").exists()


def test_code_in_the_cache_of_simple_models_is_passed_over_and_never_run(work: Path) -> None:
    torch.save({"cell_logistic": {"Tile1": Bomb(work)}}, work / "cache.pt")
    assert read_cache(work / "cache.pt", ["Tile1"]) is None
    (work / "cache.pt").write_bytes(pickle.dumps(Bomb(work)))
    assert read_cache(work / "cache.pt", ["Tile1"]) is None
    assert not (work / "witness").exists()


@pytest.mark.parametrize("folder", ["../../outside", "/tmp/outside", "..", "a/b"])
def test_names_of_results_and_runs_lead_nowhere_else(work: Path, folder: str) -> None:
    for arguments in (
        ("evaluate", "--checkpoint", "logistic", "--name", folder),
        ("restitch", "--checkpoint", "logistic", "--name", folder),
        ("train", "--name", folder, "--wandb", "disabled"),
        ("sweep", "sweep.yml", "--name", folder),
    ):
        (work / "sweep.yml").write_text("method: grid\nparameters: {batch_size: {values: [4]}}\n")
        done = run_here(work, *arguments, "--processed-dir", "processed")
        assert done.returncode == 2, done.stderr
    assert not (work.parent / "outside").exists()


@pytest.mark.parametrize("run", ["../logistic", "/etc", "a\x00b", ".."])
def test_a_table_of_trials_leads_to_no_other_folder(work: Path, run: str) -> None:
    (work / "trials.csv").write_text(f"trial,state,val_f1_macro,run\n0,finished,0.5,{run}\n")
    with pytest.raises(InputDataError, match="no table of a sweep's trials"):
        find_sweep(str(work), work / "checkpoints")


def test_a_database_that_cannot_be_used_is_said_without_its_password(work: Path) -> None:
    (work / "sweep.yml").write_text("method: grid\nparameters: {batch_size: {values: [4]}}\n")
    for url, code in (
        ("postgresql//someone:hush-3f9c@host/db", 2),
        ("oracle://someone:hush-3f9c@host/db", 2),
        ("sqlite://someone:hush-3f9c@/", 2),
        ("postgresql://someone:hush-3f9c@127.0.0.1:1/db", 4),
    ):
        done = run_here(work, "sweep", "sweep.yml", "--storage", url, "--processed-dir", "processed")
        assert done.returncode == code, done.stderr
        assert "--storage" in done.stderr
        assert "hush" not in done.stderr + done.stdout
    assert [path for path in work.rglob("*") if path.is_file() and b"hush" in path.read_bytes()] == []


STARTED: list[str] = []
IS_RECORDING: list[bool] = []
STARTING = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.startfile", "pty.spawn")


def _record(event: str, arguments: tuple[object, ...]) -> None:
    if IS_RECORDING and event in STARTING:
        STARTED.append(f"{event} {arguments}")


@contextmanager
def started_programs() -> Iterator[list[str]]:
    """Record the programs that this process starts; Python calls an audit hook for each."""
    if not STARTED and not IS_RECORDING:
        sys.addaudithook(_record)
    STARTED.clear()
    IS_RECORDING.append(True)
    try:
        yield STARTED
    finally:
        IS_RECORDING.clear()


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_hostile_names_reach_no_shell_and_nothing_is_written_elsewhere(work: Path) -> None:
    """The whole chain on tiles with hostile names: only the named output folders change."""
    for number in range(3):
        write_tile(work / "raw" / f"{HOSTILE}{number}", dates=ONE_DATE, seed=number)
    shutil.copytree(work / "checkpoints/logistic", work / "checkpoints/of-others")
    before = snapshot(work.parent)
    bands = "data.selected_bands={sentinel1: [VV]}"
    with started_programs() as started:
        for arguments in (
            ("check", "raw"),
            ("preprocess", "--raw-dir", "raw", "--processed-dir", "out/made", "--workers", 1),
            ("check", "out/made", "--workers", 1),
            ("train", "--model", "cell_logistic", "--name", "made", "--processed-dir", "out/made",
             "--wandb", "disabled", "--set", bands),
            ("evaluate", "--checkpoint", "made", "--processed-dir", "out/made", "--no-simple-baselines",
             "--name", "made"),
            ("report", "made"),
            ("restitch", "--checkpoint", "made", "--processed-dir", "out/made", "--name", "maps"),
            ("config", "show"),
        ):  # fmt: skip
            done = run_here(work, *arguments)
            assert done.returncode == 0, f"{arguments} {done.stderr}"
    assert [one for one in started if "touch" in one or one.startswith("os.system")] == []
    after = snapshot(work.parent)
    assert {name: after.get(name) for name in before} == before, "what was there is untouched"
    allowed = ("work/out/made/", "work/checkpoints/made/", "work/predictions/made/", "work/predictions/maps/")
    # Libraries keep caches of their own (fonts, for instance) in hidden folders of the user's home.
    strayed = [name for name in after.keys() - before.keys() if not name.startswith((*allowed, "work/."))]
    assert strayed == []
    page = (work / "predictions/made/report.html").read_text()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_names_steer_no_terminal(work: Path) -> None:
    hostile = "Tile\x1b]0;owned\x07\x1b[2J\u202e\n1"
    write_tile(work / "raw" / hostile, dates=ONE_DATE)
    (work / "raw" / hostile / "L2A_\x1b[31m.tif").touch()
    for arguments, code in ((("check", "raw"), 1), (("preprocess", "--raw-dir", "raw"), 3)):
        done = run_here(work, *arguments)
        assert done.returncode == code
        shown = done.stdout + done.stderr
        assert "\\x1b[2J" in shown or "\\x1b[2" in shown
        assert not set("\x1b\x07\u202e") & set(shown)


def test_a_progress_bar_shows_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    terminal = Console(file=written, force_terminal=True, width=120)
    monkeypatch.setattr(progress, "log_console", lambda: terminal)
    with progress.progress("check") as advance:
        advance("[/]\x1b[2JTile[bold]", 1, 2)
    assert "[/]\\x1b[2JTile[bold]" in written.getvalue()


def test_check_and_skip_bad_at_the_command_line(work: Path) -> None:
    """Exit code 0 with the list of what was left out; 1 where a store is damaged, with what mends it."""
    for number in range(4):
        write_tile(work / f"raw/Tile{number}", dates=ONE_DATE, seed=number)
    (work / "raw/Tile2/groundTruth.tif").write_bytes(b"")
    command = ("preprocess", "--raw-dir", "raw", "--workers", 1)
    assert run_here(work, *command).returncode == 3
    done = run_here(work, *command, "--skip-bad")
    assert done.returncode == 0
    assert "1 tile left out" in done.stdout
    assert "groundTruth.tif: It cannot be read as a TIFF" in " ".join(done.stdout.split())
    again = json.loads(run_here(work, *command, "--skip-bad", "--json").stdout)
    assert (again["written"], list(again["skipped"])) == ([], ["Tile2"])
    checked = run_here(work, "check", "data/processed", "--workers", 1)
    assert checked.returncode == 0
    assert "Tile2 was left out of the store" in checked.stdout
    next((work / "data/processed/4x4/Train").glob("*/image/c/0/0/0")).unlink()
    broken = json.loads(run_here(work, "check", "data/processed/4x4", "--workers", 1, "--json").stdout)
    assert (broken["ok"], len(broken["stores"][0]["problems"])) == (False, 1)
    shown = run_here(work, "check", "data/processed", "--workers", 1)
    assert shown.returncode == 1
    assert "esdseg preprocess --raw-dir RAW_DIR --processed-dir data/processed" in " ".join(
        shown.stdout.split()
    )
    mended = run_here(work, *command, "--skip-bad")
    assert (mended.returncode, "was damaged and is written again" in mended.stderr) == (0, True)
    assert run_here(work, "check", "data/processed", "--workers", 1).returncode == 0


FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "joblib.load", "shelve.open", "marshal.loads"),
}
FORBIDDEN_MODULES = {"subprocess", "pickle", "cPickle", "dill", "shelve", "marshal", "pty"}


def test_no_module_can_run_text_or_unpickle() -> None:
    """Only ``torch.load`` reads pickles, at one place and with ``weights_only=True``.

    Exported programs, which are code, are loaded at one place: where they were just written.
    """
    loads: list[tuple[str, str | None]] = []
    imports_of_joblib, names_of_joblib = set(), set()
    for path in Path(esdseg.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & FORBIDDEN_MODULES, path
                if "joblib" in names:
                    imports_of_joblib.add(ast.unparse(node))
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "joblib":
                names_of_joblib.add(ast.unparse(node))
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in FORBIDDEN_CALLS, path
                options = {one.arg: ast.unparse(one.value) for one in node.keywords}
                assert options.get("allow_pickle", "False") == "False", path
                if called in ("torch.load", "torch.export.load") or called.endswith(".load_from_checkpoint"):
                    loads.append((path.name, options.get("weights_only")))
                if called.endswith(".fit") and "ckpt_path" in options:
                    assert options["weights_only"] == "True", path
    assert sorted(loads) == [("formats.py", None), ("tensor_file.py", "True")]
    # joblib's files are pickles; all that is wanted of it is the number of cores.
    assert (imports_of_joblib, names_of_joblib) == ({"import joblib"}, {"joblib.cpu_count"})
