"""Options that several subcommands share, each written once."""

from pathlib import Path
from typing import Annotated

import typer

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
