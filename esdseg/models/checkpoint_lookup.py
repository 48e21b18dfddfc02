"""Finding the checkpoint that a user means."""

from pathlib import Path

from esdseg.errors import InputDataError

BEST_NAME = "best.ckpt"
LAST_NAME = "last.ckpt"
CHECKPOINT_NAMES = (BEST_NAME, LAST_NAME)
"""The checkpoints of a run, the one to prefer first."""

SHOWN_RUNS = 10
"""Runs listed in a message."""


def resolve_checkpoint(text: str, checkpoints_dir: Path) -> Path:
    """Find the checkpoint that ``text`` names.

    Args:
        text: A path from the current folder; else ``RUN``, its best checkpoint, or its last where there is
            no best; ``RUN/last.ckpt``; or a bare ``best.ckpt`` or ``last.ckpt``, the newest run's.
        checkpoints_dir: Folder of the runs.

    Returns:
        An existing file.

    Raises:
        InputDataError: Nothing is called so; the message lists the runs there are.
    """
    for start in (Path(text), checkpoints_dir / text):
        found = _checkpoint_at(start)
        if found is not None:
            return found
    if text in CHECKPOINT_NAMES:
        # Names break ties, since some file systems keep whole seconds.
        candidates = checkpoints_dir.glob(f"*/{text}")
        newest = max(candidates, key=lambda path: (path.stat().st_mtime_ns, str(path)), default=None)
        if newest is not None:
            return newest
    raise InputDataError(
        f"There is no checkpoint '{text}', neither from here nor in {_describe(checkpoints_dir)}"
    )


def list_runs(checkpoints_dir: Path) -> tuple[str, ...]:
    """Return the names of the runs that hold a checkpoint, newest first."""
    newest: dict[str, int] = {}
    for name in CHECKPOINT_NAMES:
        for path in checkpoints_dir.glob(f"*/{name}"):
            run = path.parent.name
            newest[run] = max(newest.get(run, 0), path.stat().st_mtime_ns)
    return tuple(sorted(newest, key=lambda run: (newest[run], run), reverse=True))


def _checkpoint_at(path: Path) -> Path | None:
    if path.is_file():
        return path
    return next((path / name for name in CHECKPOINT_NAMES if (path / name).is_file()), None)


def _describe(checkpoints_dir: Path) -> str:
    runs = list_runs(checkpoints_dir)
    if not runs:
        return f"{checkpoints_dir}, which holds no runs yet; `esdseg train` makes one."
    shown = ", ".join(runs[:SHOWN_RUNS])
    more = f" and {len(runs) - SHOWN_RUNS} older ones" if len(runs) > SHOWN_RUNS else ""
    return f"{checkpoints_dir}; its runs, newest first: {shown}{more}."
