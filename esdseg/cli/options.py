"""Options that several subcommands share, each written once."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from esdseg.config.evaluation import PredictionConfig

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE.yml", help="YAML file; flags and --set win over it.")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Set any configuration key; may be repeated."),
]
ProcessedDir = Annotated[
    Path | None,
    typer.Option(
        "--processed-dir",
        help="Folder that holds the processed data, 4x4/ in it. \\[default: data/processed]",
    ),
]
SubtileSize = Annotated[
    int | None,
    typer.Option("--subtile-size", help="Side of a subtile in label cells: 1, 2, 4, 8 or 16."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes to use. \\[default: one a core]")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")]
OutputName = Annotated[
    str | None,
    typer.Option("--name", help="Folder below predictions/ for the results. \\[default: the model's]"),
]
CheckpointsDir = Annotated[Path, typer.Option("--checkpoints-dir", help="Folder that holds the runs.")]
PredictionsDir = Annotated[
    Path | None, typer.Option("--predictions-dir", help="Folder of all results. \\[default: predictions]")
]
Accelerator = Annotated[
    str | None, typer.Option("--accelerator", help="auto, cpu, gpu or mps. \\[default: auto]")
]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="auto, 32-true, bf16-mixed or 16-mixed. \\[default: auto]"),
]
PredictionBatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", help="Windows of a tile predicted at once. \\[default: the fastest number]"),
]
Settings = TypeVar("Settings", bound="PredictionConfig")

Checkpoints = Annotated[
    list[str] | None,
    typer.Option(
        "--checkpoint",
        metavar="PATH",
        help="A checkpoint's path, or a run in checkpoints/: RUN, RUN/last.ckpt, or a bare best.ckpt or "
        "last.ckpt for the newest run; or sweeps/NAME, a sweep's best trial. Given several times, they "
        "predict together, by the mean of their probabilities. \\[default: best.ckpt]",
    ),
]
Ensemble = Annotated[
    int | None,
    typer.Option("--ensemble", metavar="K", help="The K best trials of --checkpoint sweeps/NAME together."),
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="Tiles to score: train, val, test, or fold, those that a fold's run held out. "
        "\\[default: val, or fold for a fold's run]",
    ),
]
TestTimeAugmentation = Annotated[
    str | None,
    typer.Option(
        "--tta",
        help="Average over turns and flips of each window: none, flips (4) or d4, all 8; takes as many times "
        "as long. \\[default: none]",
    ),
]
Overlap = Annotated[
    int | None,
    typer.Option(
        "--overlap",
        metavar="CELLS",
        help="Label cells that neighbouring windows share; they are blended. \\[default: 0]",
    ),
]
WindowSize = Annotated[
    int | None,
    typer.Option(
        "--window-size",
        metavar="CELLS",
        help="Side of the windows in label cells: 1, 2, 4, 8, or 16 for whole tiles. "
        "\\[default: as in training]",
    ),
]
Calibrate = Annotated[
    bool | None,
    typer.Option(
        "--calibrate/--no-calibrate",
        help="Fit a temperature and a threshold to this prediction, on the tiles that chose the epochs. "
        "\\[default: where calibrated checkpoints predict together, turned or in other windows]",
    ),
]
Dask = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        help="Let the workers of a Dask scheduler predict the tiles, such as tcp://10.0.0.1:8786; they must "
        "see the same folders.",
    ),
]
PREDICTION_FLAGS = {
    "--checkpoint": "checkpoint",
    "--ensemble": "ensemble",
    "--processed-dir": "processed_dir",
    "--subtile-size": "subtile_size",
    "--split": "split",
    "--tiles": "tiles",
    "--name": "name",
    "--tta": "tta",
    "--overlap": "overlap",
    "--window-size": "window_size",
    "--calibrate": "calibrate",
    "--batch-size": "batch_size",
    "--accelerator": "accelerator",
    "--precision": "precision",
    "--dask": "dask",
    "--simple-baselines": "simple_baselines",
    "--predictions-dir": "predictions_dir",
}
"""The configuration key behind each flag of these commands, which is the name of its parameter too."""


def load_prediction_config(
    settings: "type[Settings]",
    flags: Mapping[str, str],
    parameters: Mapping[str, object],
    config_file: Path | None,
    assignments: list[str] | None,
) -> "Settings":
    """Read the settings of a prediction.

    Args:
        settings: Their class.
        flags: The key behind each flag; those that the command lacks count as not given.
        parameters: A command's parameters by name, as ``typer.Context.params`` holds them.
        config_file: Of ``--config``.
        assignments: Of ``--set``.

    Raises:
        ConfigError: A value, key or file is wrong.
        InputDataError: There is no such checkpoint.
    """
    from esdseg.config.loading import load_config
    from esdseg.models.checkpoint_lookup import require_runs

    # An option that may be repeated is () where it was not given.
    given = {key: value for key, value in parameters.items() if value != ()}
    values = {flag: (key, given.get(key)) for flag, key in flags.items()}
    config = load_config(settings, config_file, values, assignments or ())
    if config.ensemble is None:
        # Before torch is loaded, which takes seconds.
        require_runs(config.checkpoints, config.checkpoints_dir)
    return config
