"""Training again without a group of channels, from a checkpoint's own settings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from esdseg.ablation.removals import Removal
from esdseg.config.training import ESDConfig
from esdseg.errors import InputDataError
from esdseg.models.checkpoint import LoadedCheckpoint, load_checkpoint
from esdseg.models.checkpoint_lookup import BEST_NAME, LAST_NAME, folds_name
from esdseg.prediction.checkpoints import Ensemble
from esdseg.training.callbacks import EpochListener, StepListener
from esdseg.training.fit import fit
from esdseg.training.run_folder import Standing

RunListener = Callable[[int, int, Path], None]
"""Told of each run that is about to be trained: its number, how many are to be trained, and its folder."""


@dataclass(frozen=True)
class Run:
    """One training without a group of channels.

    Attributes:
        part: The checkpoint that had all channels, and the tiles that it is scored on.
        path: The run's folder.
        config: Its settings.
        standing: Where it stands, where it has begun.
        window_size: Label cells along each side of the windows that it is to predict; as in training where
            ``None``.
    """

    part: Ensemble
    path: Path
    config: ESDConfig
    standing: Standing | None
    window_size: int | None

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.standing is not None and self.standing.is_finished(self.config)

    @property
    def epochs_left(self) -> int:
        """Epochs that it may still take."""
        done = self.standing.epochs_done if self.standing else 0
        return 0 if self.is_finished else max(self.config.trainer.max_epochs - done, 0)

    def train(self, on_epoch: EpochListener | None, on_step: StepListener | None) -> None:
        """Train it, or go on with it.

        Raises:
            KeyboardInterrupt: Interrupted; the next call goes on.
        """
        begun = self.standing is not None
        try:
            fit(
                # A run that goes on keeps its settings.
                ESDConfig() if begun else self.config,
                checkpoints_dir=self.path.parent,
                name=self.path.name,
                resume=begun,
                on_epoch=on_epoch,
                on_step=on_step,
            )
        except KeyboardInterrupt:
            # Without its advice: that one speaks of `esdseg train`.
            raise KeyboardInterrupt from None

    def load(self) -> LoadedCheckpoint:
        """Load its checkpoint: the last one where that is what it is compared with, else the best.

        Raises:
            InputDataError: It cannot be read, or was trained on other tiles.
        """
        whole = self.part.checkpoint
        name = LAST_NAME if whole.path.name == LAST_NAME else BEST_NAME
        loaded = load_checkpoint(self.path / name, self.window_size)
        mine, theirs = loaded.metadata, whole.metadata
        if (mine.train_tiles, mine.manifest_hash) != (theirs.train_tiles, theirs.manifest_hash):
            raise InputDataError(
                f"{loaded.path} was trained on other tiles than {whole.path}, so that they cannot be "
                f"compared; remove {self.path} to train it again."
            )
        return loaded


@dataclass(frozen=True)
class Retraining:
    """All trainings without one group of channels.

    Attributes:
        removal: The group.
        runs: One, or one a fold.
    """

    removal: Removal
    runs: tuple[Run, ...]

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's path, or the pattern of the folds' paths."""
        first = self.runs[0]
        name = LAST_NAME if first.part.checkpoint.path.name == LAST_NAME else BEST_NAME
        if len(self.runs) == 1:
            return first.path / name
        together = folds_name(first.path.name.rpartition("-fold")[0], len(self.runs))
        return first.path.with_name(together) / name
