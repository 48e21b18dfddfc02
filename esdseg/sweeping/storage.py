"""Where a study is kept: an SQLite file in the sweep's folder, or a database server."""

import fcntl
import hashlib
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from esdseg.errors import MissingResourceError, UsageError
from esdseg.sweeping.engine import queue_after_death

STUDY_NAME = "study.db"
HEARTBEAT_SECONDS = 15
GRACE_SECONDS = 90
"""Without a heartbeat for so long, a trial's process is taken for dead. A process on this machine is known to
be dead at once."""

SQLITE_WAIT_SECONDS = 60
LOCK_WAIT_SECONDS = 600
DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
"""The driver of each kind of server where the URL names none: it is installed by pip alone."""

PACKAGES = {"psycopg": "psycopg[binary]"}


class Storage:
    """An Optuna storage, and a lock that one process at a time holds, wherever it runs.

    Args:
        url: SQLAlchemy's URL of the database.
        heartbeat_seconds: Time between the signs of life of a trial.
        grace_seconds: Time without one after which a trial is run again.

    Raises:
        UsageError: The URL names no database that Optuna can use.
        MissingResourceError: The database cannot be reached, or its driver is not installed.
    """

    def __init__(
        self, url: str, heartbeat_seconds: int = HEARTBEAT_SECONDS, grace_seconds: int = GRACE_SECONDS
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            parsed = make_url(url)
        except ArgumentError:
            # What cannot be taken apart may hold a password anywhere in it.
            raise UsageError(
                "--storage: this is no database URL; write postgresql://USER@HOST/DATABASE."
            ) from None
        self.shown_url = parsed.render_as_string(hide_password=True)
        self._dialect = parsed.get_backend_name()
        if self._dialect not in ("sqlite", *DRIVERS):
            raise UsageError(
                f"--storage {self.shown_url}: use a PostgreSQL or MySQL server, such as "
                "postgresql://USER@HOST/DATABASE."
            )
        if self._dialect == "sqlite" and not parsed.database:
            raise UsageError(f"--storage {self.shown_url}: name the file: sqlite:///FILE.db.")
        if parsed.drivername in DRIVERS:
            parsed = parsed.set(drivername=f"{self._dialect}+{DRIVERS[self._dialect]}")
        self._lock_file = Path(f"{parsed.database}.lock")
        url = parsed.render_as_string(hide_password=False)
        options: dict[str, Any] = {"pool_pre_ping": True}
        if self._dialect == "sqlite":
            options = {"connect_args": {"timeout": SQLITE_WAIT_SECONDS}}
            self._lock_file.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings(), self._understandable_errors():
            # Heartbeats are Optuna's since 2021 and still called experimental.
            warnings.simplefilter("ignore")
            self._lock_engine = sqlalchemy.create_engine(
                url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT"
            )
            # Processes that make the tables at the same time get in each other's way.
            with self.lock("tables"):
                self.rdb = RDBStorage(
                    url,
                    options,
                    heartbeat_interval=heartbeat_seconds,
                    grace_period=grace_seconds,
                    heartbeat_stale_trial_callback=queue_after_death,
                )
        self.heartbeat_seconds = heartbeat_seconds

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Keep every other process that asks for a name out of the block, on all machines of the storage.

        The database lets go of the lock if this process or its machine dies.

        Raises:
            MissingResourceError: Another process holds the lock for ten minutes.
        """
        if self._dialect == "sqlite":
            with self._lock_file.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
            return
        digest = hashlib.sha256(name.encode()).digest()
        key: int | str = int.from_bytes(digest[:8], "big", signed=True)
        take, give = "SELECT pg_advisory_lock(:key)", "SELECT pg_advisory_unlock(:key)"
        if self._dialect != "postgresql":
            key = f"esdseg-{digest.hex()[:32]}"
            take, give = f"SELECT GET_LOCK(:key, {LOCK_WAIT_SECONDS})", "SELECT RELEASE_LOCK(:key)"
        with self._lock_engine.connect() as connection:
            taken = connection.execute(sqlalchemy.text(take), {"key": key}).scalar()
            if taken == 0:
                raise MissingResourceError(f"{self.shown_url}: another process holds the sweep's lock.")
            try:
                yield
            finally:
                connection.execute(sqlalchemy.text(give), {"key": key})

    @contextmanager
    def heartbeat(self, trial_id: int) -> Iterator[None]:
        """Give signs of life of a trial while the block runs."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(self.heartbeat_seconds):
                try:
                    self.rdb.record_heartbeat(trial_id)
                except SQLAlchemyError:
                    # The next one may come through; without any the trial is run again.
                    continue

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextmanager
    def _understandable_errors(self) -> Iterator[None]:
        try:
            yield
        except (ImportError, NoSuchModuleError):
            driver = DRIVERS.get(self._dialect, self._dialect)
            package = PACKAGES.get(driver, driver)
            raise MissingResourceError(
                f"--storage {self.shown_url}: its driver is not installed; run `pip install '{package}'`."
            ) from None
        except (SQLAlchemyError, OSError) as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise MissingResourceError(
                f"--storage {self.shown_url}: the database cannot be used: {reason}."
            ) from None


def local_url(folder: Path) -> str:
    """Return the URL of the study that a sweep's folder keeps itself."""
    return f"sqlite:///{folder / STUDY_NAME}"
