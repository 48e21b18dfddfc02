"""What is fuzzed: each target takes any bytes, and fails on anything but a value or an error of esdseg."""

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from esdseg.config.loading import dump_config, load_config
from esdseg.config.preprocessing import PreprocessConfig
from esdseg.config.training import ESDConfig
from esdseg.errors import ConfigError, ESDSegError, InputDataError
from esdseg.store.manifest import MANIFEST_NAME, read_manifest, tile_path
from tests.contest import SENSORS, get_sensor, parse_raster_name

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Target:
    """Something to fuzz.

    Attributes:
        run: Takes one input.
        seeds: Inputs to begin with.
        words: What good inputs are made of.
        runs: Inputs tried in the test suite, a few seconds' worth.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    words: Callable[[], list[str]]
    runs: int


@cache
def _folder() -> Path:
    """A folder for this process' files; libFuzzer ends without giving Python a chance to remove it."""
    return Path(tempfile.mkdtemp(prefix="esdseg-fuzz-"))


def read_name(data: bytes) -> None:
    """A name is that of a raster, which its own sensor would give the same meaning, or ``None``."""
    found = parse_raster_name(data.decode("utf-8", "surrogateescape"))
    if found is not None:
        assert parse_raster_name(get_sensor(found.sensor).file_name(found.acquired, found.band)) == found


def read_config(data: bytes) -> None:
    """A file is a configuration that can be written and read again, or refused."""
    path = _folder() / "config.yml"
    path.write_bytes(data)
    with contextlib.suppress(ConfigError):
        config = load_config(ESDConfig, path)
        path.write_text(dump_config(config), encoding="utf-8")
        assert load_config(ESDConfig, path) == config


def read_assignment(data: bytes) -> None:
    """A ``--set`` gives a configuration, or is refused."""
    with contextlib.suppress(ConfigError):
        load_config(PreprocessConfig, None, {}, [data.decode("utf-8", "surrogateescape")])


def read_store_manifest(data: bytes) -> None:
    """A manifest names tiles within its store alone, or is refused."""
    (_folder() / MANIFEST_NAME).write_bytes(data)
    with contextlib.suppress(InputDataError):
        manifest, _ = read_manifest(_folder(), "`esdseg preprocess`")
        for name, entry in manifest.tiles.items():
            assert tile_path(_folder(), entry.split, name).parent.parent == _folder()


def read_sweep_file(data: bytes) -> None:
    """A file is a sweep, or refused."""
    from esdseg.sweeping.sweep_file import read_sweep

    path = _folder() / "sweep.yml"
    path.write_bytes(data)
    with contextlib.suppress(ESDSegError):
        read_sweep(path)


def _names() -> list[bytes]:
    names = [sensor.file_name(sensor.dates[0], sensor.band_names[-1]) for sensor in SENSORS]
    return [name.encode() for name in (*names, "groundTruth.tif", "L2A_20200231_B10.tiff")]


def _files(*patterns: str) -> list[bytes]:
    return [path.read_bytes() for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def _configs() -> list[bytes]:
    return [
        dump_config(ESDConfig()).encode(),
        b"data: {selected_bands: {viirs: all}, acquisitions: {sentinel2: {count: 2}}}\nmodel: unet\n",
        b"a: &a [1, 2]\nb: *a\n",
        *_files("recipes/*.yml"),
    ]


def _assignments() -> list[bytes]:
    return [
        b"selected_bands={sentinel2: [B02], viirs: all}",
        b"recipe.viirs.gamma=0.5",
        b"seed=3",
        b"x=2020-13-01",
    ]


def _manifests() -> list[bytes]:
    return _files("tests/fixtures/format3/processed/16x16/manifest.json")


def _sweeps() -> list[bytes]:
    return _files("sweeps/smoke.yml", "sweeps/unet.yml")


def _words() -> list[str]:
    keys = [key for section in ESDConfig().model_dump().values() for key in section]
    return [
        *ESDConfig.model_fields,
        *keys,
        "!!python/object",
        "<<: *a",
        "&a",
        "---",
        "2020-13-45",
        "0x_",
        ".nan",
    ]


def _sweep_words() -> list[str]:
    seeds = [yaml.safe_load(seed) for seed in _sweeps()]
    return [
        *{key for seed in seeds for key in (*seed, *seed["parameters"])},
        "distribution: beta",
        "q: 0",
        "min: 1e999",
    ]


TARGETS: Mapping[str, Target] = {
    "name": Target(read_name, _names, lambda: [sensor.files[0].beginning for sensor in SENSORS], 20_000),
    "config": Target(read_config, _configs, _words, 300),
    "assignment": Target(read_assignment, _assignments, _words, 2_000),
    "manifest": Target(read_store_manifest, _manifests, lambda: ["format_version", "tiles", "1e999"], 2_000),
    "sweep": Target(read_sweep_file, _sweeps, _sweep_words, 200),
}
