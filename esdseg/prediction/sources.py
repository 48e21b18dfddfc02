"""What predicts: runs and ensembles of checkpoints, and which of them predict which tile."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from esdseg.config.evaluation import (
    NetworkPredictionConfig,
    ScoredSplit,
)
from esdseg.errors import InputDataError
from esdseg.metrics.scorecard import EnsembleMember, FoldScored
from esdseg.metrics.scores import IntArray
from esdseg.models.checkpoint import CheckpointMetadata, LoadedCheckpoint
from esdseg.prediction.calibration import Calibration
from esdseg.prediction.channel_share import MIN_CHANNEL_SHARE, show_share
from esdseg.prediction.known_tiles import KnownTiles, find_known_tiles, find_lost_tiles
from esdseg.prediction.places import Places, fill_places, missing_notes
from esdseg.sensors.channels import Channel, describe_acquisitions
from esdseg.sensors.classes import GRID_SIZE
from esdseg.store.store import Store

SHOWN_NAMES = 5
"""Channels or tiles listed in a message."""


@dataclass(frozen=True)
class Ensemble:
    """Checkpoints that predict together by the mean of their probabilities, mostly a single one.

    Attributes:
        checkpoints: The loaded checkpoints, at least one.
        store: A store that holds all that they need.
        tiles: The tiles that they predict.
        calibration: What was fitted to what they say together; ``None`` where each one's own acts.
    """

    checkpoints: tuple[LoadedCheckpoint, ...]
    store: Store
    tiles: tuple[str, ...]
    calibration: Calibration | None = None

    @property
    def checkpoint(self) -> LoadedCheckpoint:
        """The only checkpoint, or the first of several."""
        return self.checkpoints[0]

    @property
    def temperature(self) -> float | None:
        """The temperature of the probabilities; ``None`` where each of several checkpoints has its own."""
        if self.calibration is not None:
            return self.calibration.temperature
        return self.checkpoint.metadata.temperature if len(self.checkpoints) == 1 else None

    @property
    def threshold(self) -> float | None:
        """The threshold on the probability of class 1; ``None`` where there is none for this prediction."""
        if self.calibration is not None:
            return self.calibration.threshold
        return self.checkpoint.metadata.contest_threshold if len(self.checkpoints) == 1 else None

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of all checkpoints, each name once."""
        by_name: dict[str, Channel] = {}
        for checkpoint in self.checkpoints:
            for channel in checkpoint.channels:
                by_name.setdefault(channel.name, channel)
        return tuple(by_name.values())

    def trained(self) -> CheckpointMetadata:
        """Return the metadata as if one checkpoint had been trained on everything that these were trained on.

        Channels and training tiles are those of all checkpoints, each once. The rest is the first one's.
        """
        metadata = [checkpoint.metadata for checkpoint in self.checkpoints]
        together: dict[str, object] = {
            "channels": tuple(channel.name for channel in self.channels),
            "acquisitions": describe_acquisitions(self.channels),
            "train_tiles": tuple(dict.fromkeys(tile for trained in metadata for tile in trained.train_tiles)),
        }
        return metadata[0].model_copy(update=together)

    def is_to_be_calibrated(self, config: NetworkPredictionConfig) -> bool:
        """Say whether what the checkpoints say together is to get a temperature of its own."""
        if config.calibrate is not None:
            return config.calibrate
        return all(checkpoint.metadata.is_calibrated for checkpoint in self.checkpoints) and self.is_changed(
            config
        )

    def is_changed(self, config: NetworkPredictionConfig) -> bool:
        """Say whether the prediction is another than that for which each checkpoint was calibrated."""
        return (
            len(self.checkpoints) > 1
            or config.tta != "none"
            or any(
                checkpoint.window_size != checkpoint.metadata.trained_window_size
                or (config.overlap > 0 and checkpoint.window_size < GRID_SIZE)
                for checkpoint in self.checkpoints
            )
        )

    def trained_on(self) -> KnownTiles:
        """Return those of the predicted tiles that any of the checkpoints was trained on."""
        return KnownTiles.union(
            find_known_tiles(checkpoint.metadata, checkpoint.metadata.train_tiles, self.store, self.tiles)
            for checkpoint in self.checkpoints
        )

    def validated_on(self) -> KnownTiles:
        """Return those of the predicted tiles that any of the checkpoints was validated on."""
        return KnownTiles.union(
            find_known_tiles(checkpoint.metadata, checkpoint.metadata.val_tiles, self.store, self.tiles)
            for checkpoint in self.checkpoints
        )

    def choosing_tiles(self) -> tuple[str, ...]:
        """Return the labelled tiles that every checkpoint was validated on and none was trained on."""
        tiles = tuple(self.store.manifest.tiles)
        chosen = set(tiles)
        for trained in (checkpoint.metadata for checkpoint in self.checkpoints):
            chosen &= find_known_tiles(trained, trained.val_tiles, self.store, tiles).all
            chosen -= find_known_tiles(trained, trained.train_tiles, self.store, tiles).all
        return tuple(tile for tile in tiles if tile in chosen and self.store.class_counts([tile]).any())


@dataclass(frozen=True)
class Run:
    """A run that predicts: by one checkpoint, or in folds.

    Attributes:
        name: What it is called.
        path: Path of its checkpoint, or the pattern of the folds' paths.
        checkpoints: The one, or each fold's in order.
        is_trial: Whether it is one of a sweep's best trials.
    """

    name: str
    path: Path
    checkpoints: tuple[LoadedCheckpoint, ...]
    is_trial: bool = False

    @property
    def is_folds(self) -> bool:
        """Whether these are all folds of a run."""
        return len(self.checkpoints) > 1

    def held_out(self, store: Store, tiles: Sequence[str]) -> tuple[KnownTiles, ...]:
        """Return which tiles of a store each checkpoint held out."""
        return tuple(
            find_known_tiles(checkpoint.metadata, checkpoint.metadata.held_out_tiles, store, tiles)
            for checkpoint in self.checkpoints
        )

    def predicting(self, store: Store, tiles: Sequence[str]) -> dict[str, tuple[LoadedCheckpoint, ...]]:
        """Return what predicts each tile: of folds the one that held it out, where there is one, else all."""
        predicting = dict.fromkeys(tiles, self.checkpoints)
        if self.is_folds:
            held_out = list(zip(self.checkpoints, self.held_out(store, tiles), strict=True))
            # A fold that held the very tile out goes before one that held out a tile of its name.
            for checkpoint, known in reversed(held_out):
                predicting |= dict.fromkeys(known.perhaps, (checkpoint,))
            for checkpoint, known in reversed(held_out):
                predicting |= dict.fromkeys(known.same, (checkpoint,))
        return predicting


@dataclass(frozen=True)
class Sources:
    """All that predicts: the named runs, and which of their checkpoints predict which tiles.

    Attributes:
        runs: The runs.
        store: The store that holds the tiles.
        name: What the runs are called together.
        output_dir: Folder for the results.
        ensembles: The checkpoints with their tiles; no tile is in two.
        split: What the tiles are: a split of the store, or ``fold`` for tiles that were held out; ``None``
            where they are not scored.
    """

    runs: tuple[Run, ...]
    store: Store
    name: str
    output_dir: Path
    ensembles: tuple[Ensemble, ...] = ()
    split: ScoredSplit | None = None

    @property
    def checkpoints(self) -> tuple[LoadedCheckpoint, ...]:
        """All checkpoints of all runs."""
        return tuple(checkpoint for run in self.runs for checkpoint in run.checkpoints)

    @property
    def paths(self) -> str:
        """The checkpoint's path, or the pattern of the folds' paths; of several runs with commas."""
        return ", ".join(str(run.path) for run in self.runs)

    @property
    def tiles(self) -> tuple[str, ...]:
        """All tiles, ensemble after ensemble."""
        return tuple(tile for ensemble in self.ensembles for tile in ensemble.tiles)

    @property
    def is_one_in_folds(self) -> bool:
        """Whether this is one run, in folds."""
        return len(self.runs) == 1 and self.runs[0].is_folds

    @property
    def of_sweep(self) -> bool:
        """Whether a run is one of a sweep's best trials, whose validation tiles then chose the trial too."""
        return any(run.is_trial for run in self.runs)

    @property
    def model_names(self) -> str:
        """The model, or the models that predict together."""
        return " + ".join(dict.fromkeys(checkpoint.config.model.name for checkpoint in self.checkpoints))

    @property
    def parameters(self) -> int:
        """Numbers that the checkpoints learned which predict a tile."""
        return sum(checkpoint.parameters for checkpoint in self.ensembles[0].checkpoints)

    def short_names(self) -> dict[str, str]:
        """Return what each checkpoint is called, by its path: its run, and where two are alike its file too.

        So best and last of one run are ``first/best.ckpt`` and ``first/last.ckpt``.
        """
        checkpoints = self.checkpoints
        runs = [checkpoint.run_name for checkpoint in checkpoints]
        files = [f"{checkpoint.run_name}/{checkpoint.path.name}" for checkpoint in checkpoints]
        names = [str(checkpoint.path) for checkpoint in checkpoints]
        for forms in (files, runs):
            names = [
                form if forms.count(form) == 1 else name for form, name in zip(forms, names, strict=True)
            ]
        return {str(checkpoint.path): name for checkpoint, name in zip(checkpoints, names, strict=True)}

    def predicting(self, tiles: Sequence[str]) -> tuple[Ensemble, ...]:
        """Group tiles by the checkpoints that predict them, in the order of the folds."""
        position = {str(checkpoint.path): index for index, checkpoint in enumerate(self.checkpoints)}
        by_run = [run.predicting(self.store, tiles) for run in self.runs]
        groups: dict[tuple[int, ...], list[str]] = {}
        for tile in tiles:
            places = tuple(position[str(checkpoint.path)] for of in by_run for checkpoint in of[tile])
            groups.setdefault(places, []).append(tile)
        # What more checkpoints predict comes after what the folds held out.
        order = sorted(groups, key=lambda places: (len(places), places))
        return tuple(
            Ensemble(tuple(self.checkpoints[place] for place in places), self.store, tuple(groups[places]))
            for places in order
        )

    def scoring(self, tiles: Collection[str]) -> "Sources":
        """Return the same for some of the tiles only.

        Raises:
            InputDataError: There are none, since all tiles have too few of the network's channels.
        """
        if not tiles:
            raise InputDataError(
                f"No cell can be scored: where {self.store.path} has ground truth, it has less than "
                f"{show_share(MIN_CHANNEL_SHARE)} of the channels that {self.paths} takes. Map tiles of the "
                "sensors and dates that it was trained on, or train on tiles like these."
            )
        kept = (
            replace(ensemble, tiles=tuple(tile for tile in ensemble.tiles if tile in tiles))
            for ensemble in self.ensembles
        )
        return replace(self, ensembles=tuple(ensemble for ensemble in kept if ensemble.tiles))

    def held_out_by_name_alone(self) -> frozenset[str]:
        """Return the tiles that only by their names are those which a fold held out."""
        known = (KnownTiles.union(run.held_out(self.store, self.tiles)) for run in self.runs if run.is_folds)
        return KnownTiles.union(known).perhaps

    def places(self) -> dict[str, Places]:
        """Return the dates that fill the places of the networks in each tile, by the tile's name.

        Where networks count a sensor's acquisitions in different orders, those of the first are told.
        """
        return {
            tile: fill_places(ensemble.channels, self.store.acquisitions(tile))
            for ensemble in self.ensembles
            for tile in ensemble.tiles
        }

    def training_counts(self) -> tuple[IntArray, str]:
        """Return the cells of each class, shape (4,), in the tiles that the checkpoints were trained on.

        Of several checkpoints all are counted, so that a tile counts as often as it was trained on. Tiles
        that the store does not hold are left out; where it holds none, its own training tiles stand in.

        Returns:
            The counts, and which tiles they are of, in words.
        """
        store = self.store
        checkpoints = [checkpoint for ensemble in self.ensembles for checkpoint in ensemble.checkpoints]
        known = [
            find_known_tiles(trained, trained.train_tiles, store, store.manifest.tiles)
            for trained in (checkpoint.metadata for checkpoint in checkpoints)
        ]
        trained_on = [tile for tiles in known for tile in tiles.all]
        if not trained_on:
            own = store.tile_names("train")
            return store.class_counts(own), (
                f"the {_tiles(len(own), 'training ')} of {store.path}, which lacks the network's own"
            )
        everywhere = KnownTiles.union(known)
        lost = {
            tile
            for trained in (checkpoint.metadata for checkpoint in checkpoints)
            for tile in find_lost_tiles(trained, trained.train_tiles, store)
        }
        whose = "network's" if len({checkpoint.path for checkpoint in checkpoints}) == 1 else "networks'"
        words = f"the {whose} {_tiles(len(everywhere.all), 'training ')}"
        if everywhere.perhaps:
            words = f"the {_tiles(len(everywhere.all))} named like the {whose} training tiles"
        elif lost:
            words += f", without {len(lost)} that {store.path} lacks"
        return store.class_counts(trained_on), words

    def describe_folds(self) -> tuple[FoldScored, ...] | None:
        """Return each fold's checkpoint and tiles; ``None`` for runs without folds.

        Where runs in folds predict together, an entry is of the folds that held out the same tiles.
        """
        if self.split != "fold":
            return None
        return tuple(
            FoldScored(
                fold="+".join(str(checkpoint.config.folds.fold) for checkpoint in ensemble.checkpoints),
                seed=ensemble.checkpoint.config.folds.seed,
                checkpoint=", ".join(str(checkpoint.path) for checkpoint in ensemble.checkpoints),
                tiles=ensemble.tiles,
                temperature=ensemble.temperature,
                contest_threshold=ensemble.threshold,
            )
            for ensemble in self.ensembles
        )

    def describe_ensemble(self) -> tuple[EnsembleMember, ...] | None:
        """Return each checkpoint that predicts together with others; ``None`` where one predicts alone."""
        if all(len(ensemble.checkpoints) == 1 for ensemble in self.ensembles):
            return None
        members = {
            checkpoint.path: checkpoint for ensemble in self.ensembles for checkpoint in ensemble.checkpoints
        }
        return tuple(
            EnsembleMember(
                run=member.run_name,
                checkpoint=str(path),
                model=member.config.model.name,
                channels=len(member.channels),
                window_size=member.window_size,
                temperature=member.metadata.temperature,
            )
            for path, member in members.items()
        )


def _tiles(number: int, kind: str = "") -> str:
    return f"{number} {kind}tile{'' if number == 1 else 's'}"


def missing_places(ensemble: Ensemble) -> tuple[str, ...]:
    """Return a sentence for each sensor of which the ensemble's tiles lack acquisitions."""
    acquired = {tile: ensemble.store.acquisitions(tile) for tile in ensemble.tiles}
    places = {tile: fill_places(ensemble.channels, found) for tile, found in acquired.items()}
    return missing_notes(places, ensemble.channels)


def shorten(names: Sequence[str]) -> str:
    """List names, the first of many only."""
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
