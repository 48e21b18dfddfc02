"""Fixtures shared by all tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from joblib import cpu_count
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.faults.processes import Preloaded
from tests.wandb_server.listener import serving
from tests.wandb_server.server import Server

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# How long an example takes depends on the machine's other work, so it decides nothing.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

TESTS = Path(__file__).parent
LONGEST_ROOMS = (
    *("cli", "faults", "sweeping", "scoring", "training"),
    *("sharing", "models", "sample", "preprocessing"),
)
"""Folders of tests that take longest; they begin first, so that none is left to one process at the end."""

TOGETHER = {
    "cli": "workspace",
    "faults": "preloaded",
    "sharing": "shared",
    "sweeping/test_sweep.py": "preloaded",
    "sweeping/test_postgresql.py": "preloaded",
    "prediction/test_cluster.py": "dask_address",
    "mapping/test_predict.py": "dask_address",
    "system/test_dask_cluster.py": "dask_address",
}
"""Rooms and files that share a fixture of many seconds: one process of the suite takes all of a fixture's."""


WITHOUT_DRAWING = (
    *("ablation", "baselines", "scoring", "sharing", "sweeping", "training"),
    *("cli/test_chain.py", "cli/test_folds.py", "cli/test_screens.py"),
)
"""Rooms and files whose tests write figures without looking at them; a file that does look has a fixture
``empty_figures`` of its own. What the installed command writes is drawn everywhere."""


class Scheduling(LoadScopeScheduling):
    """Gives whole files to processes, and those together that share a slow fixture."""

    def _split_scope(self, nodeid: str) -> str:
        """Return the name of what goes to one process with a test."""
        file = nodeid.partition("::")[0].removeprefix(f"{TESTS.name}/")
        return TOGETHER.get(file) or TOGETHER.get(file.partition("/")[0]) or file


def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are cores: tests also wait, for processes, servers and the disk."""
    return cpu_count() + 1


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Let pytest-xdist share the tests out so."""
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the rooms that take longest."""
    order = {room: place for place, room in enumerate(LONGEST_ROOMS)}
    items.sort(key=lambda item: order.get(item.path.relative_to(TESTS).parts[0], len(order)))


@pytest.fixture(scope="module", autouse=True)
def empty_figures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Figures are made, and written as empty ones: drawing them takes longer than many a training."""
    if request.path.relative_to(TESTS).as_posix().startswith(WITHOUT_DRAWING):
        with without_drawing():
            yield
    else:
        yield


@contextmanager
def without_drawing() -> Iterator[None]:
    """Write figures as empty ones for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("esdseg.report.look.to_pixels", _empty_picture)
        patch.setattr("esdseg.report.page.to_svg", lambda figure, name, description: "<svg></svg>")
        yield


def _empty_picture(figure: "Figure") -> npt.NDArray[np.uint8]:
    width, height = (figure.get_size_inches() * figure.dpi).astype(int)
    return np.full((height, width, 3), 255, np.uint8)


REAL_DATA_VARIABLE = "ESDSEG_DFC2021_DIR"


@pytest.fixture(scope="session")
def real_tile() -> Path:
    """Folder of the contest's real Tile1; skips where the variable that names its parent is unset."""
    folder = os.environ.get(REAL_DATA_VARIABLE)
    if not folder:
        pytest.skip(f"{REAL_DATA_VARIABLE} is unset: the real tile of the contest is not at hand")
    return Path(folder) / "Tile1"


@pytest.fixture(scope="session")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preloaded]:
    """Starts ``esdseg`` processes at once."""
    server = Preloaded(tmp_path_factory.mktemp("logs"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def dask_address() -> Iterator[str]:
    """The scheduler of two worker processes on this machine, which are started again when they die."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=2, dashboard_address=None, worker_dashboard_address=None
    ) as cluster:
        yield str(cluster.scheduler_address)


WANDB_KEY = "0123456789" * 4


@pytest.fixture
def wandb_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A stand-in for Weights & Biases on loopback, into which this process and its children are logged in."""
    import wandb

    with serving(WANDB_KEY) as server:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", WANDB_KEY)
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
        wandb.teardown()
        yield server
        server.is_away = False
        wandb.teardown()
    assert server.problems == []
