"""``esdseg export``: share a trained network as one zip."""

from pathlib import Path
from typing import Annotated

import typer

from esdseg.cli.help import Subcommand
from esdseg.cli.options import CheckpointsDir, Json, PredictionsDir
from esdseg.cli.output import print_json, print_line, print_note, print_table
from esdseg.cli.progress import LOADING, START_AGAIN, interruptible, progress
from esdseg.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        cls=Subcommand,
        epilog="Example: esdseg export first first.zip --license cc-by-4.0  |  Several that "
        "predict together: esdseg export first second both.zip",
    )(export)


def export(
    *,
    # Optional, since a single word is read as OUT: what lacks then is the zip, not the run.
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="At least one: a checkpoint's path, or a run in checkpoints/: RUN, RUN/last.ckpt, a run in "
            "folds, sweeps/NAME for a sweep's best trial; several predict together.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Argument(metavar="OUT.zip", help="The zip; a bundle that is there is replaced.")
    ],
    license: Annotated[
        str,
        typer.Option(
            metavar="ID", help="Licence of the weights as Hugging Face spells it, such as cc-by-4.0."
        ),
    ] = "unknown",
    ensemble: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Share the K best trials of a sweep together.")
    ] = None,
    scores: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Folder in predictions/ whose scores the card shows; that of exactly this checkpoint, test "
            "tiles before others, unless given.",
        ),
    ] = None,
    processed_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the processed data with the validation tiles; where the run was trained unless "
            "given.",
        ),
    ] = None,
    checkpoints_dir: CheckpointsDir = Path("checkpoints"),
    predictions_dir: PredictionsDir = None,
    json: Json = False,
) -> None:
    """Share a network as one zip: ONNX, PyTorch's program, checkpoint, model card, STAC item, and a script.

    Both files hold the scale of the channels and the temperature, and say what the checkpoint says: they are
    compared on the run's validation tiles before they are written. evaluate, restitch and predict take the
    zip.
    """
    if not runs:
        raise UsageError(f"Name the zip too, behind the run: `esdseg export {out} {out.name}.zip`.")
    with interruptible(START_AGAIN), progress("export", LOADING) as advance:
        from esdseg.config.evaluation import RestitchConfig
        from esdseg.models.runs import require_runs
        from esdseg.sharing.request import check_request

        check_request(out, license)
        if ensemble is None:
            require_runs(runs, checkpoints_dir)
        from esdseg.sharing.export import export

        result = export(
            runs,
            out,
            ensemble=ensemble,
            checkpoints_dir=checkpoints_dir,
            processed_dir=processed_dir,
            predictions_dir=predictions_dir or RestitchConfig().predictions_dir,
            scores=scores,
            license=license,
            on_step=advance,
        )
    print_note(f"Checkpoint: {', '.join(result.checkpoints)}")
    if json:
        print_json(result.to_json())
        return
    table = result.table()
    print_table(table.title, table.header, table.rows)
    print_line(f"Compared with the checkpoint on {result.checked_on}.")
    for note in result.notes:
        print_line(f"Note: {note}")
