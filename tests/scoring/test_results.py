import re
import shutil
from pathlib import Path

import pytest

from esdseg.config.evaluation import EvalConfig
from esdseg.errors import InputDataError
from esdseg.scoring.evaluate import evaluate
from esdseg.scoring.results import make_report
from tests.report.made_folder import made_folder, read_json, write_json


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_folder(tmp_path_factory.mktemp("predictions") / "crossed")


@pytest.fixture(scope="module", autouse=True)
def empty_figures() -> None:
    """Nothing is left empty here: the report holds its pictures."""


def test_the_report_is_made_again_as_evaluate_made_it(eval_config: EvalConfig, tmp_path: Path) -> None:
    evaluated = evaluate(eval_config.model_copy(update={"name": "made-again"}))
    copied = shutil.copytree(evaluated.output_dir, tmp_path / "copied")
    (copied / "report.html").unlink()

    path = make_report("copied", tmp_path)

    assert path == copied / "report.html"
    assert path.read_bytes() == evaluated.report_path.read_bytes()


def test_a_run_without_scores_is_told_the_command(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"no scores of 'first'.*`esdseg evaluate --checkpoint first"):
        make_report("first", tmp_path)


def test_scores_of_an_older_version_are_named_with_the_way_out(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made, tmp_path / "old")
    metrics = read_json(folder)
    del metrics["worst_cells"]
    write_json(folder, metrics)

    with pytest.raises(InputDataError, match=r"metrics\.json is no .* at 'worst_cells': .*`esdseg evaluate`"):
        make_report(str(folder))


@pytest.mark.parametrize("file", ["config.yml", "Tile2/truth.tif", "Tile2/probabilities.tif"])
def test_a_file_that_is_gone_is_named(made: Path, tmp_path: Path, file: str) -> None:
    folder = shutil.copytree(made, tmp_path / "gone")
    (folder / file).unlink()

    with pytest.raises(InputDataError, match=re.escape(str(folder / file))):
        make_report(str(folder))
    assert not (folder / "report.html").exists()
