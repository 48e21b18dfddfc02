"""Predicting the tiles of a store by one checkpoint, or by the mean of several."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from time import perf_counter

from esdseg.config.evaluation import NetworkPredictionConfig
from esdseg.errors import UsageError
from esdseg.models.checkpoint import LoadedCheckpoint
from esdseg.models.device import naming_memory_faults
from esdseg.prediction.calibration import fit_calibration
from esdseg.prediction.sources import Ensemble, Sources
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.prediction.windows import Passes, choose_device, predict_tiles
from esdseg.prediction.workers import predict_on_cluster
from esdseg.sensors.classes import GRID_SIZE
from esdseg.system.dask_cluster import Cluster, connect
from esdseg.system.processes import ItemListener, ignore


class Predictor:
    """Predicts tiles in this process or on a Dask cluster, as the settings say.

    Args:
        config: Where and how to compute: turns and flips, overlap, batch size, device and precision.
        cluster: The workers that predict; this process does unless given.

    Attributes:
        seconds: Time that the predictions so far took, without what was done between them.
        predicted: How many tiles they were of.
    """

    def __init__(self, config: NetworkPredictionConfig, cluster: Cluster | None = None) -> None:
        self.seconds, self.predicted = 0.0, 0
        self._config, self._cluster = config, cluster
        if cluster is None:
            self._device = choose_device(config.accelerator, config.precision)

    def predict(self, sources: Sources) -> Iterator[TilePrediction]:
        """Predict all tiles, ensemble after ensemble: see :meth:`predict_ensemble`."""
        for ensemble in sources.ensembles:
            yield from self.predict_ensemble(ensemble)

    def predict_ensemble(self, ensemble: Ensemble) -> Iterator[TilePrediction]:
        """Predict the tiles of an ensemble, in their order, with its calibration where it has one.

        Tiles that chose the calibration were predicted for it, and are not predicted again.

        Raises:
            InputDataError: A tile cannot be read, or a network gives numbers that are not finite.
            OutOfMemoryError: The windows that are predicted together do not fit into memory.
        """
        calibration = ensemble.calibration
        if calibration is None:
            yield from self._predict(ensemble, ensemble.tiles)
            return
        known = calibration.predictions
        new = self._predict(ensemble, [tile for tile in ensemble.tiles if tile not in known])
        for tile in ensemble.tiles:
            yield calibration.apply(known[tile] if tile in known else next(new))

    def calibrate(self, ensemble: Ensemble, on_tile: ItemListener = ignore) -> Ensemble:
        """Fit a temperature and a threshold to what an ensemble says, where that is called for.

        Args:
            ensemble: What predicts.
            on_tile: Receives each tile that was predicted for it.

        Returns:
            The ensemble with its calibration; as it was where nothing is to be fitted, or no tile can choose.

        Raises:
            UsageError: It was asked for, and no tile can choose.
        """
        if not ensemble.is_to_be_calibrated(self._config):
            return ensemble
        tiles = ensemble.choosing_tiles()
        if not tiles and self._config.calibrate:
            paths = [str(checkpoint.path) for checkpoint in ensemble.checkpoints]
            named = paths[0] if len(paths) == 1 else f"all {len(paths)} checkpoints"
            raise UsageError(
                f"--calibrate: no tile of {ensemble.store.path} with ground truth validated {named} and "
                "trained none, so nothing is fit to choose a temperature; leave --calibrate out."
            )
        predictions = []
        for prediction in self._predict(ensemble, tiles):
            predictions.append(prediction)
            on_tile(prediction.tile, len(predictions), len(tiles))
        if not any(prediction.is_scored for prediction in predictions):
            return ensemble
        return replace(ensemble, calibration=fit_calibration(predictions))

    def calibrate_all(self, sources: Sources, on_tile: ItemListener = ignore) -> Sources:
        """Calibrate each ensemble, or none of them where one cannot be: see :meth:`calibrate`."""
        calibrated = tuple(self.calibrate(ensemble, on_tile) for ensemble in sources.ensembles)
        if any(ensemble.calibration is None for ensemble in calibrated):
            return sources
        return replace(sources, ensembles=calibrated)

    def _predict(self, ensemble: Ensemble, tiles: Sequence[str]) -> Iterator[TilePrediction]:
        """Predict tiles without calibration, timing what is waited for."""
        if self._cluster is not None:
            predictions = predict_on_cluster(self._cluster, ensemble, tiles, self._config)
        else:
            config = self._config
            passes = Passes(config.tta, config.overlap)
            predictions = predict_tiles(
                ensemble.checkpoints, ensemble.store, tiles, self._device, config.batch_size, passes
            )
        while True:
            begun = perf_counter()
            with _naming_large_windows(ensemble.checkpoint, self._config):
                prediction = next(predictions, None)
            self.seconds += perf_counter() - begun
            if prediction is None:
                return
            self.predicted += 1
            yield prediction


@contextmanager
def open_predictor(config: NetworkPredictionConfig) -> Iterator[Predictor]:
    """Provide a predictor until the block is left: in this process, or on a Dask cluster.

    Raises:
        MissingResourceError: The cluster is not there, or cannot do it.
        UsageError: The machine lacks the accelerator that the settings name, or the address can never work.
    """
    if config.dask is None:
        yield Predictor(config)
        return
    with connect(config.dask) as cluster:
        yield Predictor(config, cluster)


def _naming_large_windows(
    checkpoint: LoadedCheckpoint, config: NetworkPredictionConfig
) -> AbstractContextManager[None]:
    """Say what to try where what is predicted together does not fit into memory (``OutOfMemoryError``)."""
    window = checkpoint.window_size
    size = config.batch_size or (GRID_SIZE // window) ** 2
    return naming_memory_faults(
        f"batches of {size} windows of {window} x {window} cells and {len(checkpoint.channels)} channels",
        f"Try --batch-size {max(1, size // 4)}." if size > 1 else "Use a machine with more memory.",
    )
