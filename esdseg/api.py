"""The Python interface: what the commands do, as functions of ``import esdseg``.

Settings are given by keyword, under the names of the flags (``max_epochs=20``), or together as a config
object. A mistake raises an error of :mod:`esdseg.errors` whose message says how to mend it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from esdseg.config.cutting import CutConfig
from esdseg.config.evaluation import (
    AdaptConfig,
    EvalConfig,
    MapConfig,
    NetworkPredictionConfig,
    RestitchConfig,
)
from esdseg.config.loading import build_config, load_config, load_sensors
from esdseg.config.preprocessing import PreprocessConfig
from esdseg.config.section import Section, did_you_mean, nearest_names
from esdseg.config.training import SHORT_NAMES, ESDConfig
from esdseg.errors import ConfigError, UsageError
from esdseg.system.processes import ItemListener, ignore

if TYPE_CHECKING:
    from esdseg.mapping.adapt import AdaptedRun
    from esdseg.mapping.map_result import MapResult
    from esdseg.metrics.scorecard import Scorecard
    from esdseg.prediction.trained_model import TrainedModel
    from esdseg.preprocessing.preprocess import PreprocessResult
    from esdseg.sample.scene import SampleScene
    from esdseg.scoring.compare import Comparison
    from esdseg.scoring.results import RestitchResult
    from esdseg.sharing.export import ExportResult
    from esdseg.tiles.check_report import CheckReport
    from esdseg.tiles.cutting import CutResult
    from esdseg.training.run_folder import FitResult

Tree = TypeVar("Tree", bound=Section)


def write_sample_tiles(
    output_dir: str | Path,
    *,
    tiles: int = 12,
    seed: int = 0,
    crs: bool = False,
    sensors: str | Path | None = None,
    dates: str | Path | None = None,
    region: str = "savanna",
    workers: int | None = None,
) -> list[Path]:
    """Write synthetic tiles, as ``esdseg sample`` does.

    Args:
        output_dir: Folder for ``Tile1``, ``Tile2`` and so on.
        tiles: How many tiles, 1 or more.
        seed: The same seed gives the same tiles.
        crs: Whether the rasters have a UTM CRS and transform; the contest's have none.
        sensors: A YAML file that describes the sensors; the contest's unless given.
        dates: A YAML file of dates and skies, or ``random`` for others in every tile; the contest's unless
            given.
        region: ``savanna``, ``sahel``, ``delta`` or ``highlands``.
        workers: Processes; one a core unless given.

    Returns:
        The tiles' folders.

    Raises:
        UsageError: There is no such region, a number is out of its range, or the folder holds tiles of other
            settings.
        InputDataError: The folder cannot be written.
    """
    from esdseg.sample.writing import write_sample_tiles
    from esdseg.system.memory import available_cores

    return write_sample_tiles(
        Path(output_dir),
        tiles=tiles,
        seed=seed,
        crs=crs,
        workers=workers or available_cores(),
        sensors=load_sensors(_path_of(sensors)),
        dates="random" if dates == "random" else _path_of(dates),
        region=region,
    )


def _path_of(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def write_sample_scene(
    output_dir: str | Path,
    *,
    size_km: float = 40.0,
    seed: int = 0,
    dates: str | Path | None = None,
    region: str = "savanna",
) -> SampleScene:
    """Write a synthetic scene, as ``esdseg sample --scene`` does.

    Args:
        output_dir: The scene's folder.
        size_km: Side of the area, 8 to 100 in steps of 0.5.
        seed: The same seed gives the same land; the scene of the next seed lies east of it.
        dates: A YAML file of dates and skies, or ``random``; August 2021 unless given.
        region: ``savanna``, ``sahel``, ``delta`` or ``highlands``.

    Returns:
        The paths of its rasters, buildings, lit areas and true classes.

    Raises:
        UsageError: A number is out of its range, or the folder holds something else.
        InputDataError: The folder cannot be written.
    """
    from esdseg.sample.scene import write_sample_scene

    return write_sample_scene(
        Path(output_dir),
        seed=seed,
        size_km=size_km,
        dates="random" if dates == "random" else _path_of(dates),
        region=region,
    )


def cut(
    scenes: str | Path | CutConfig,
    output: str | Path = "data/raw/Train",
    *,
    on_tile: ItemListener = ignore,
    **settings: object,
) -> CutResult:
    """Cut georeferenced rasters into tiles, as ``esdseg cut`` does.

    Args:
        scenes: Folder of the scenes' rasters, searched with all folders in it; or all settings in one object.
        output: Folder for ``Tile1``, ``Tile2`` and so on.
        on_tile: Called after each tile.
        settings: Keys of :class:`CutConfig`, such as ``area="34.1,-14.2,34.6,-13.8"`` or ``overlap=2``.

    Returns:
        What was done: the tiles, their labels' counts and their size.

    Raises:
        ConfigError: A setting is unknown or has a wrong value.
        UsageError: The area or the reference system can never work, or the folder holds other tiles.
        InputDataError: The scenes or the labels are missing, broken, or do not cover the area.
        MissingResourceError: There is too little disk or memory.
    """
    from esdseg.tiles.cutting import cut

    if isinstance(scenes, CutConfig):
        config = _as_given(scenes, settings)
    else:
        config = _settings(CutConfig, {"scenes": scenes, "output": output, **settings})
    return cut(config, on_tile=on_tile)


def check(
    raw_dir: str | Path, *, sensors: str | Path | None = None, workers: int | None = None
) -> CheckReport:
    """Read every raster of a folder of raw tiles and say what is missing or wrong.

    Args:
        raw_dir: Folder that holds the tiles' folders.
        sensors: A YAML file that describes the sensors; the contest's unless given.
        workers: Processes; one a core unless given.

    Returns:
        The report; ``report.ok`` says whether there is no problem, ``report.problems`` names each.

    Raises:
        InputDataError: The folder does not exist or holds no tiles.
    """
    from esdseg.tiles.checking import check_tiles

    return check_tiles(Path(raw_dir), sensors=load_sensors(_path_of(sensors)), workers=workers)


def preprocess(
    raw_dir: str | Path | PreprocessConfig,
    processed_dir: str | Path = "data/processed",
    *,
    overwrite: bool = False,
    on_tile: ItemListener = ignore,
    **settings: object,
) -> PreprocessResult:
    """Write the processed store of a folder of raw tiles, as ``esdseg preprocess`` does.

    Args:
        raw_dir: Folder that holds the tiles' folders; or all settings in one object.
        processed_dir: Folder for the processed data.
        overwrite: Build the store afresh where it holds other settings.
        on_tile: Called after each written tile.
        settings: Keys of :class:`PreprocessConfig`, such as ``subtile_size=4`` or ``val_fraction=0.2``.

    Returns:
        What was written; :func:`train` takes it.

    Raises:
        ConfigError: A setting is unknown or has a wrong value.
        InputDataError: The tiles are missing or wrong, or the store holds other settings.
        MissingResourceError: There is too little disk or memory.
    """
    from esdseg.preprocessing.preprocess import preprocess

    if isinstance(raw_dir, PreprocessConfig):
        config = _as_given(raw_dir, settings)
    else:
        folders = {"raw_dir": raw_dir, "processed_dir": processed_dir}
        config = _settings(PreprocessConfig, {**folders, **settings})
    return preprocess(config, overwrite=overwrite, on_tile=on_tile)


def train(
    store: str | Path | PreprocessResult | ESDConfig = "data/processed",
    *,
    name: str | None = None,
    resume: bool = False,
    checkpoints_dir: str | Path = "checkpoints",
    **settings: object,
) -> FitResult:
    """Train a model on a processed store, as ``esdseg train`` does.

    Args:
        store: Folder of the processed data, or what :func:`preprocess` returned; or all settings in one
            object.
        name: The run's folder in ``checkpoints_dir``; MODEL-DATE-TIME unless given.
        resume: Go on from the run's last checkpoint.
        checkpoints_dir: Folder that holds the runs.
        settings: Settings by the names of flags, such as ``model="unet"`` or ``max_epochs=20``, or whole
            sections of :class:`ESDConfig`, such as ``augmentation={"blur_probability": 0.1}``.

    Returns:
        The run: its checkpoints, the epoch of ``best.ckpt`` and that epoch's validation scores.
        :func:`evaluate`, :func:`restitch` and :func:`load` take it.

    Raises:
        ConfigError: A setting is unknown, has a wrong value, or the model has no use for it.
        UsageError: The run exists already, or the machine lacks what the settings name.
        InputDataError: The store is missing or broken.
        MissingResourceError: Pretrained weights, a login, disk or memory are missing.
    """
    from esdseg.training.fit import fit

    if isinstance(store, ESDConfig):
        config = _as_given(store, settings)
    else:
        config = _settings(ESDConfig, {**_store_settings(store), **settings})
    return fit(config, checkpoints_dir=Path(checkpoints_dir), name=name, resume=resume)


def evaluate(
    run: str | Path | FitResult | Sequence[str | Path | FitResult] | EvalConfig,
    *,
    on_tile: ItemListener = ignore,
    **settings: object,
) -> Scorecard:
    """Predict and score the tiles of a split, as ``esdseg evaluate`` does, into ``predictions/NAME``.

    Args:
        run: What :func:`train` returned, the name of a run, or a checkpoint's path; several of them predict
            together; or all settings in one object.
        on_tile: Called after each finished tile.
        settings: Keys of :class:`EvalConfig`, such as ``split="test"``, ``tta="d4"`` or ``name="turned"``.

    Returns:
        The scores, as ``metrics.json`` holds them.

    Raises:
        ConfigError: A setting is unknown or has a wrong value.
        InputDataError: The checkpoint or the store is missing, broken, or they do not fit.
        UsageError: The split cannot be scored by this checkpoint.
    """
    from esdseg.scoring.evaluate import evaluate

    if isinstance(run, EvalConfig):
        config = _as_given(run, settings)
    else:
        config = _settings(EvalConfig, {**_run_settings(run), **settings})
    return evaluate(config, on_tile=on_tile).card


def restitch(
    run: str | Path | FitResult | Sequence[str | Path | FitResult] | RestitchConfig,
    *,
    on_tile: ItemListener = ignore,
    **settings: object,
) -> RestitchResult:
    """Predict tiles and write their maps, as ``esdseg restitch`` does, into ``predictions/NAME``.

    Args:
        run: As for :func:`evaluate`.
        on_tile: Called after each finished tile.
        settings: Keys of :class:`RestitchConfig`, such as ``tiles=["Tile1", "Tile2"]``, or
            ``submission="classroom"`` to write ``results.csv`` too, as ``.submission.path`` says.

    Returns:
        The paths of the maps: of each tile ``prediction`` (16 x 16, class codes 1 to 4), ``probabilities``
        (4 x 16 x 16 float32) and ``picture``.

    Raises:
        ConfigError: A setting is unknown or has a wrong value.
        InputDataError: The checkpoint, the store or a tile is missing, broken, or they do not fit.
    """
    from esdseg.scoring.restitch import restitch

    if isinstance(run, RestitchConfig):
        config = _as_given(run, settings)
    else:
        config = _settings(RestitchConfig, {**_run_settings(run), **settings})
    return restitch(config, on_tile=on_tile)


def adapt(
    run: str | Path | FitResult | AdaptConfig,
    source: str | Path,
    *,
    on_block: ItemListener = ignore,
    **settings: object,
) -> AdaptedRun:
    """Fit a trained network to a new place by its images alone, as ``esdseg adapt`` does.

    Args:
        run: What :func:`train` returned, or a run in ``checkpoints/``, or a checkpoint's path.
        source: Folder of scenes, of tiles, or of a processed store. Labels are not looked at.
        on_block: Called after each block of 8 x 8 km.
        settings: Keys of :class:`AdaptConfig`, such as ``name="first-there"``.

    Returns:
        The adapted run; its ``run_dir`` is what :func:`predict`, :func:`evaluate` and the others take.

    Raises:
        ConfigError: A setting is unknown or has a wrong value.
        InputDataError: The run or the input is missing, broken, or they do not fit.
        UsageError: The network has no batch normalisation, or there is a run of that name.
    """
    from esdseg.mapping.adapt import adapt

    if isinstance(run, AdaptConfig):
        config = _as_given(run, settings)
    else:
        name = str(run if isinstance(run, str | Path) else run.run_dir)
        config = _settings(AdaptConfig, {"checkpoint": name, **settings})
    return adapt(config, Path(source), on_block)


def predict(
    run: str | Path | FitResult | Sequence[str | Path | FitResult] | MapConfig,
    source: str | Path,
    out: str | Path,
    *,
    on_block: ItemListener = ignore,
    **settings: object,
) -> MapResult:
    """Map an area, as ``esdseg predict`` does.

    Args:
        run: As for :func:`evaluate`.
        source: Folder of scenes, of tiles, or of a processed store.
        out: Folder of the map; an earlier map in it is replaced.
        on_block: Called after each finished block of 8 x 8 km.
        settings: Keys of :class:`MapConfig`, such as ``area="34.1,-14.2,34.6,-13.8"`` or ``tta="d4"``.

    Returns:
        The map: ``area.probabilities`` (4, rows, columns), ``area.classes``, ``area.grid``, and the paths of
        its ``files``.

    Raises:
        ConfigError: A setting is unknown or has a wrong value.
        InputDataError: The checkpoint or the input is missing, broken, or they do not fit.
        UsageError: The settings do not fit the input, or ``out`` holds other files.
    """
    from esdseg.mapping.predict import predict

    if isinstance(run, MapConfig):
        config = _as_given(run, settings)
    else:
        config = _settings(MapConfig, {**_run_settings(run), **settings})
    return predict(config, Path(source), Path(out), on_block)


def compare(
    runs: Sequence[str | Path],
    *,
    predictions_dir: str | Path = "predictions",
    output: str | Path | None = None,
    seed: int | None = None,
) -> Comparison:
    """Compare evaluated runs on the same tiles, as ``esdseg compare`` does.

    Args:
        runs: Names of folders in ``predictions_dir``, or their paths; all are compared with the first.
        predictions_dir: Folder of all results.
        output: The picture, a PNG; in ``predictions_dir`` unless given.
        seed: Seed of the resampled tiles.

    Returns:
        Scores, paired differences with their intervals, and the path of the picture.

    Raises:
        UsageError: There are fewer than two runs, or one is named twice.
        InputDataError: A run has no scores, or the runs were scored on different tiles.
    """
    from esdseg.scoring.compare import compare

    picture = Path(output) if output is not None else None
    return compare([str(run) for run in runs], Path(predictions_dir), picture, seed)


def export(
    run: str | Path | FitResult | Sequence[str | Path | FitResult],
    out: str | Path,
    *,
    license: str = "unknown",
    scores: str | None = None,
    processed_dir: str | Path | None = None,
    checkpoints_dir: str | Path = "checkpoints",
    predictions_dir: str | Path = "predictions",
    on_step: ItemListener = ignore,
) -> ExportResult:
    """Share a network as one zip, as ``esdseg export`` does.

    Args:
        run: As for :func:`evaluate`; several, or all folds of one, predict together.
        out: The zip, such as ``first.zip``; a bundle that is there is replaced.
        license: Licence of the weights as Hugging Face spells it, such as ``cc-by-4.0``.
        scores: Folder in ``predictions_dir`` whose scores the model card shows; that of exactly this
            checkpoint unless given.
        processed_dir: Folder of the processed data with the validation tiles; where the run was trained
            unless given.
        checkpoints_dir: Folder that holds the runs.
        predictions_dir: Folder of all results.
        on_step: Called after each step, and each tile on which the files were compared.

    Returns:
        The files in the zip, and the largest difference in probabilities between each and the checkpoint.

    Raises:
        UsageError: The model cannot be exported, or ``out`` is no zip, or holds something else.
        InputDataError: The checkpoint, the store or the scores are missing, damaged, or do not fit; or a file
            says something else than the checkpoint.
        MissingResourceError: A package of the extra ``export`` is missing, or there is no space left.
    """
    from esdseg.sharing.export import export

    runs = [run] if isinstance(run, str | Path) or not isinstance(run, Sequence) else list(run)
    return export(
        [_checkpoint_of(item) for item in runs],
        Path(out),
        checkpoints_dir=Path(checkpoints_dir),
        processed_dir=_path_of(processed_dir),
        predictions_dir=Path(predictions_dir),
        scores=scores,
        license=license,
        on_step=on_step,
    )


def load(
    run: str | Path | FitResult | Sequence[str | Path | FitResult],
    *,
    checkpoints_dir: str | Path = "checkpoints",
    window_size: int | None = None,
) -> TrainedModel:
    """Load a trained model with its channels and their scale.

    Args:
        run: What :func:`train` returned, the name of a run, a checkpoint's path, or a bundle of
            :func:`export`. Several of them, and all folds of a run, predict together by the mean of their
            probabilities; no temperature is fitted to it.
        checkpoints_dir: Folder that holds the runs.
        window_size: Label cells along each side of the windows to predict; as in training unless given.

    Returns:
        A ``torch.nn.Module`` in evaluation mode, on the CPU. ``model.predict(tile)`` gives probabilities
        (4, 16, 16) of a tile.

    Raises:
        InputDataError: There is no such checkpoint, or it is damaged.
        UsageError: The model cannot work on windows of that size.
    """
    from esdseg.prediction.open_checkpoints import open_runs
    from esdseg.prediction.trained_model import TrainedModel

    runs = [run] if isinstance(run, str | Path) or not isinstance(run, Sequence) else list(run)
    settings = {
        "checkpoint": [_checkpoint_of(item) for item in runs],
        "checkpoints_dir": checkpoints_dir,
        "window_size": window_size,
    }
    opened = open_runs(_settings(NetworkPredictionConfig, settings))
    checkpoints = [checkpoint for found in opened for checkpoint in found.checkpoints]
    return TrainedModel(checkpoints, Path(", ".join(str(found.path) for found in opened)))


def _settings(tree: type[Tree], settings: Mapping[str, object]) -> Tree:
    """Make a config object of keywords; messages begin with the keyword."""
    short = SHORT_NAMES if tree is ESDConfig else {}
    known = (*short, *tree.model_fields)
    for name in settings:
        if name not in known:
            fix = did_you_mean(nearest_names(name, known)) or f"known settings: {', '.join(known)}."
            raise ConfigError(f"unknown setting '{name}'; {fix}")
    # `model` may be a name or a section.
    keys = {
        name: name if isinstance(value, Mapping) else short.get(name, name)
        for name, value in settings.items()
    }
    # Sections first: a section would undo single settings of it that came before.
    ordered = sorted(settings.items(), key=lambda item: not isinstance(item[1], Mapping))
    return build_config(tree, [(keys[name], value, name) for name, value in ordered])


def _as_given(config: Tree, settings: Mapping[str, object]) -> Tree:
    if settings:
        raise UsageError(
            f"{', '.join(settings)}: give settings by keyword or in the {type(config).__name__}, not both."
        )
    return config


def _store_settings(store: str | Path | PreprocessResult) -> dict[str, object]:
    if isinstance(store, str | Path):
        return {"processed_dir": store}
    size = int(store.store.name.partition("x")[0])
    return {"processed_dir": store.store.parent, "subtile_size": size}


def _run_settings(run: str | Path | FitResult | Sequence[str | Path | FitResult]) -> dict[str, object]:
    """Name checkpoints, and the store that the first run was trained on where the run is at hand."""
    runs = [run] if isinstance(run, str | Path) or not isinstance(run, Sequence) else list(run)
    settings: dict[str, object] = {"checkpoint": [_checkpoint_of(item) for item in runs]}
    if runs and not isinstance(runs[0], str | Path):
        trained = load_config(ESDConfig, runs[0].run_dir / "config.yml")
        settings["processed_dir"] = trained.data.processed_dir
    return settings


def _checkpoint_of(run: str | Path | FitResult) -> str:
    return str(run) if isinstance(run, str | Path) else str(run.best_checkpoint)
