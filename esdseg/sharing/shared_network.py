"""The network that is shared, and all that is known of it: its store, its scores, its ablation."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from esdseg.ablation.result import JSON_NAME, Ablation
from esdseg.config.evaluation import RestitchConfig
from esdseg.errors import InputDataError
from esdseg.metrics.scorecard import Scorecard, Split, read_scorecard
from esdseg.models.bundle import CHECKPOINT_NAME, bundle_of
from esdseg.models.checkpoint import CheckpointMetadata, LoadedCheckpoint
from esdseg.models.runs import HISTORY_NAME, LAST_NAME, read_history
from esdseg.prediction.known_tiles import find_known_tiles
from esdseg.prediction.open_checkpoints import check_store, name_of_runs
from esdseg.prediction.predictor import Predictor
from esdseg.prediction.sources import Ensemble, Run
from esdseg.prediction.windows import channels_of
from esdseg.scoring.results import METRICS_NAME, find_folder
from esdseg.sensors.channels import Channel
from esdseg.store.store import Store, open_store

PREFERRED_SPLITS: tuple[Split, ...] = ("test", "fold", "val", "train")
"""Of several evaluations the card shows that of the tiles which were seen least."""


@dataclass(frozen=True)
class SharedNetwork:
    """One network, or several that predict together.

    Attributes:
        name: What they are called.
        runs: The runs they are of.
        store: The store that they were trained on, or another with their validation tiles; ``None`` where
            there is none.
        why_no_store: Why there is none, in words.
        temperature: What the logarithms of the mean of several are divided by; 1 for a single one.
        card: Scores of exactly these checkpoints; ``None`` where none were found.
        card_path: The file of the scores.
        ablation: What each of its sensors is worth; ``None`` where nobody has looked.
        license: Identifier of the licence of the weights, as Hugging Face spells it.
    """

    name: str
    runs: tuple[Run, ...]
    store: Store | None
    why_no_store: str
    temperature: float
    card: Scorecard | None
    card_path: Path | None
    ablation: Ablation | None
    license: str

    @property
    def checkpoints(self) -> tuple[LoadedCheckpoint, ...]:
        """All checkpoints."""
        return tuple(checkpoint for run in self.runs for checkpoint in run.checkpoints)

    @property
    def metadata(self) -> CheckpointMetadata:
        """What the first checkpoint says of itself."""
        return self.checkpoints[0].metadata

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of all checkpoints, each once."""
        return channels_of(self.checkpoints)

    @property
    def window_size(self) -> int:
        """Label cells along each side of the images: the largest window of the networks."""
        return max(checkpoint.window_size for checkpoint in self.checkpoints)

    @property
    def parameters(self) -> int:
        """How many numbers the networks learned."""
        return sum(checkpoint.parameters for checkpoint in self.checkpoints)

    @property
    def model_names(self) -> str:
        """The model, or the models that predict together."""
        return " + ".join(dict.fromkeys(checkpoint.config.model.name for checkpoint in self.checkpoints))

    def names_in_bundle(self) -> dict[str, LoadedCheckpoint]:
        """Return the checkpoints by their names in the zip: see :data:`CHECKPOINT_NAME`."""
        names = {}
        for number, checkpoint in enumerate(self.checkpoints, 1):
            name = LAST_NAME if checkpoint.path.name == LAST_NAME else CHECKPOINT_NAME
            names[name if len(self.checkpoints) == 1 else f"{number}/{name}"] = checkpoint
        return names

    def train_tiles(self) -> tuple[str, ...]:
        """Return the names of the tiles that any checkpoint was trained on."""
        return _each_once(checkpoint.metadata.train_tiles for checkpoint in self.checkpoints)

    def val_tiles(self) -> tuple[str, ...]:
        """Return the names of the tiles that any checkpoint was validated on."""
        return _each_once(checkpoint.metadata.val_tiles for checkpoint in self.checkpoints)

    def known_tiles(self, *, trained: bool) -> tuple[str, ...]:
        """Return the store's tiles that were trained on, or those that were validated on."""
        if self.store is None:
            return ()
        tiles = tuple(self.store.manifest.tiles)
        found: set[str] = set()
        for metadata in (checkpoint.metadata for checkpoint in self.checkpoints):
            named = metadata.train_tiles if trained else metadata.val_tiles
            found |= find_known_tiles(metadata, named, self.store, tiles).all
        return tuple(tile for tile in tiles if tile in found)


def gather(
    runs: tuple[Run, ...],
    config: RestitchConfig,
    processed_dir: Path | None,
    scores: str | None,
    license: str,
) -> SharedNetwork:
    """Look for all that is known of some runs.

    Args:
        runs: What is shared.
        config: Where runs and results are, and how to compute.
        processed_dir: Folder of the processed data; where the first run was trained unless given.
        scores: Folder of the evaluation to show; looked for unless given.
        license: Identifier of the licence of the weights.

    Raises:
        InputDataError: The named store or scores are missing, damaged, or of something else.
    """
    checkpoints = tuple(checkpoint for run in runs for checkpoint in run.checkpoints)
    store, why_no_store = _find_store(checkpoints, processed_dir)
    temperature = 1.0
    if store is not None and len(checkpoints) > 1:
        ensemble = Predictor(config).calibrate(Ensemble(checkpoints, store, ()))
        temperature = ensemble.calibration.temperature if ensemble.calibration is not None else 1.0
    card, card_path = _find_scores(runs, config.predictions_dir, scores)
    return SharedNetwork(
        name=name_of_runs(runs, config),
        runs=runs,
        store=store,
        why_no_store=why_no_store,
        temperature=temperature,
        card=card,
        card_path=card_path,
        ablation=_find_ablation(runs, config.predictions_dir),
        license=license,
    )


def _find_store(
    checkpoints: Sequence[LoadedCheckpoint], processed_dir: Path | None
) -> tuple[Store | None, str]:
    """Return the store of the checkpoints' tiles, or why there is none."""
    first = checkpoints[0]
    folder = processed_dir or first.config.data.processed_dir
    try:
        store = open_store(folder, first.subtile_size)
        for checkpoint in checkpoints:
            check_store(checkpoint, store)
    except InputDataError as error:
        if processed_dir is not None:
            raise
        return None, f"the store {folder} cannot be used: {str(error).split('; ')[0].rstrip('.')}"
    return store, ""


def _find_scores(
    runs: Sequence[Run], predictions_dir: Path, named: str | None
) -> tuple[Scorecard | None, Path | None]:
    """Return the evaluation of exactly these checkpoints, the best that there is, and its file."""
    if named is not None:
        path = find_folder(named, predictions_dir) / METRICS_NAME
        card = read_scorecard(path)
        if not _is_of(card.checkpoint, runs):
            raise InputDataError(
                f"{path} has the scores of {card.checkpoint}, not of {_paths(runs)}; name the folder that "
                "`esdseg evaluate` wrote of it, or leave --scores out."
            )
        return card, path
    found = []
    for path in sorted(predictions_dir.glob(f"*/{METRICS_NAME}")):
        try:
            card = read_scorecard(path)
        # Of another version or damaged; whoever wants exactly these scores names them.
        except InputDataError:
            continue
        if _is_of(card.checkpoint, runs) and _is_plain(card, runs) and _is_newer(card.evaluated_at, runs):
            found.append((card, path))
    found.sort(key=lambda pair: (PREFERRED_SPLITS.index(pair[0].split), -_seconds(pair[0].evaluated_at)))
    return found[0] if found else (None, None)


def _find_ablation(runs: Sequence[Run], predictions_dir: Path) -> Ablation | None:
    """Return the newest ablation of exactly these checkpoints that was made after them."""
    paths = sorted(
        predictions_dir.glob(f"*/{JSON_NAME}"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    for path in paths:
        try:
            ablation = Ablation.model_validate_json(path.read_bytes())
        except (ValidationError, OSError):
            continue
        made_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        if _is_of(ablation.checkpoint, runs) and _is_newer(made_at, runs):
            return ablation
    return None


def _is_of(checkpoint: str, runs: Sequence[Run]) -> bool:
    """Return whether a result's text for its checkpoints names these."""
    named = {Path(text).resolve() for text in checkpoint.split(", ")}
    return named == {run.path.resolve() for run in runs}


def _is_plain(card: Scorecard, runs: Sequence[Run]) -> bool:
    """Return whether the scores are of what is shared: windows as in training, seen once."""
    sizes = {checkpoint.window_size for run in runs for checkpoint in run.checkpoints}
    return card.tta == "none" and card.overlap == 0 and card.window_size in sizes


def _is_newer(moment: datetime | None, runs: Sequence[Run]) -> bool:
    """Return whether a result was made after the checkpoints were written, to the second."""
    paths = [checkpoint.path for run in runs for checkpoint in run.checkpoints]
    files = [bundle_of(path) or path for path in paths]
    return moment is not None and moment.timestamp() >= max(int(file.stat().st_mtime) for file in files)


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment is not None else 0.0


def _paths(runs: Sequence[Run]) -> str:
    return ", ".join(str(run.path) for run in runs)


def _each_once(tiles: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tile for names in tiles for tile in names))


def describe_choice(checkpoint: LoadedCheckpoint) -> str:
    """Say in a sentence what chose a checkpoint among the epochs of its run."""
    trainer, tiles = checkpoint.config.trainer, len(checkpoint.metadata.val_tiles)
    if checkpoint.path.name == LAST_NAME or trainer.monitor is None:
        watched = "" if trainer.patience is None else f", though early stopping watched {trainer.monitor}"
        return f"The last epoch, which no score chose{watched}."
    rows = read_history(checkpoint.path.with_name(HISTORY_NAME))
    scores = {row["epoch"]: row.get(trainer.monitor, math.nan) for row in rows}
    known = [epoch for epoch, score in scores.items() if not math.isnan(score)]
    best = max if trainer.monitor_mode == "max" else min
    epoch = f" ({best(known, key=scores.__getitem__):.0f})" if known else ""
    return (
        f"The epoch{epoch} with the best {trainer.monitor} on {tiles} validation "
        f"tile{'' if tiles == 1 else 's'}."
    )
