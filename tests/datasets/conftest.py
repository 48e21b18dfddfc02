from pathlib import Path

import pytest

from esdseg.store.store import Store
from tests.datasets.make_store import make_store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    processed_dir: Path = tmp_path_factory.mktemp("processed")
    return make_store(processed_dir)
