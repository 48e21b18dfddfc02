import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from esdseg.config.loading import load_config
from esdseg.config.shipped import SHIPPED_FOLDER, find_file, shipped_names
from esdseg.config.training import ESDConfig
from esdseg.errors import ConfigError

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has no recipes and no sweeps, and is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["unet", "recipes/unet", "recipes/unet.yml"])
def test_a_recipe_is_found_by_name_from_any_folder(elsewhere: Path, name: str) -> None:
    config = load_config(ESDConfig, Path(name))
    assert config == load_config(ESDConfig, REPOSITORY / "recipes" / "unet.yml")


def test_a_file_of_the_user_wins(elsewhere: Path) -> None:
    (elsewhere / "sweeps").mkdir()
    mine = Path("sweeps/unet.yml")
    mine.write_text("method: grid\n")
    assert find_file(mine, "sweeps") == mine


@pytest.mark.parametrize("name", ["none", "unet.yml", "elsewhere/unet", "recipes/unet"])
def test_a_missing_file_is_told_with_the_names_that_exist(elsewhere: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"there is no such file.*segmentation_cnn.*unet") as refusal:
        find_file(Path(name), "sweeps")
    assert str(SHIPPED_FOLDER / "sweeps") in str(refusal.value)


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="setuptools builds the wheel")
def test_the_wheel_holds_recipes_and_sweeps(tmp_path: Path) -> None:
    build = "from setuptools import build_meta; import sys; build_meta.build_wheel(sys.argv[1])"
    source = tmp_path / "source"
    source.mkdir()
    for entry in ("esdseg", "recipes", "sweeps", "pyproject.toml", "README.md", "LICENSE"):
        (source / entry).symlink_to(REPOSITORY / entry)
    subprocess.run([sys.executable, "-c", build, tmp_path], cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        shipped = {name for name in wheel.namelist() if name.startswith("esdseg/shipped/")}
        unet = wheel.read("esdseg/shipped/sweeps/unet.yml")
    assert shipped == {
        *(f"esdseg/shipped/recipes/{name}.yml" for name in shipped_names("recipes")),
        *(f"esdseg/shipped/sweeps/{name}.yml" for name in shipped_names("sweeps")),
    }
    assert unet == (REPOSITORY / "sweeps/unet.yml").read_bytes()
