"""Tiles are predicted as the settings say, and the time of the predictions alone is told."""

import numpy as np
import numpy.typing as npt
import pytest

from esdseg.config.evaluation import EvalConfig
from esdseg.models.checkpoint import LoadedCheckpoint
from esdseg.prediction import predictor as predictor_module
from esdseg.prediction.predictor import open_predictor
from esdseg.prediction.sources import Ensemble
from esdseg.store.store import Store


@pytest.fixture
def ensemble(checkpoint: LoadedCheckpoint, store: Store) -> Ensemble:
    return Ensemble((checkpoint,), store, ("Tile3", "Tile10"))


def test_only_the_predictions_are_timed(
    ensemble: Ensemble, eval_config: EvalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(predictor_module, "perf_counter", lambda: now[0])

    def read_slowly(store: Store, tile: str, channels: object = None) -> npt.NDArray[np.float16]:
        now[0] += 1
        return read_tile(store, tile, channels)  # type: ignore[arg-type]

    read_tile = Store.read_tile
    monkeypatch.setattr(Store, "read_tile", read_slowly)
    with open_predictor(eval_config) as predictor:
        for _ in predictor.predict_ensemble(ensemble):
            now[0] += 100
        assert predictor.predicted == 2
        assert predictor.seconds == 2, "reading both tiles, and not what was done with them"
