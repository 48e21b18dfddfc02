"""Where a study is kept: an SQLite file in the sweep's folder, or a database server; and its lock."""

import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from filelock import FileLock
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from esdseg.errors import MissingResourceError, UsageError

STUDY_NAME = "study.db"
"""The study that a sweep's folder keeps itself."""

# Heartbeats are Optuna's since 2021 and still called experimental.
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)

HEARTBEAT_SECONDS = 15
GRACE_SECONDS = 90
"""A trial without a heartbeat for so long is run again."""

SQLITE_WAIT_SECONDS = 60
DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
"""The driver of each kind of server where the URL names none: it is installed by pip alone."""

PACKAGES = {"psycopg": "psycopg[binary]"}
LOCKS = {
    "postgresql": "SELECT pg_advisory_lock(:key)",
    "mysql": "SELECT GET_LOCK(:key, 600)",
    "mariadb": "SELECT GET_LOCK(:key, 600)",
}
"""What takes a lock that a server keeps for as long as the connection is open."""


class Storage:
    """A database of studies, and a lock that one process at a time holds, wherever it runs.

    Args:
        url: SQLAlchemy's URL of the database.
        heartbeat_seconds: Time between the heartbeats of a trial.
        grace_seconds: Time without one after which a trial is run again.

    Raises:
        UsageError: The URL names no database that Optuna can use.
        MissingResourceError: The database cannot be reached, or its driver is not installed.
    """

    def __init__(
        self, url: str, heartbeat_seconds: int = HEARTBEAT_SECONDS, grace_seconds: int = GRACE_SECONDS
    ) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError:
            # What cannot be taken apart may hold a password anywhere in it.
            raise UsageError(
                "--storage: this is no database URL; write postgresql://USER@HOST/DATABASE."
            ) from None
        shown = f"--storage {parsed.render_as_string(hide_password=True)}"
        dialect = parsed.get_backend_name()
        if dialect not in ("sqlite", *DRIVERS):
            raise UsageError(
                f"{shown}: use a PostgreSQL or MySQL server, such as postgresql://USER@HOST/DATABASE."
            )
        if dialect == "sqlite" and not parsed.database:
            raise UsageError(f"{shown}: name the file: sqlite:///FILE.db.")
        if parsed.drivername in DRIVERS:
            parsed = parsed.set(drivername=f"{dialect}+{DRIVERS[dialect]}")
        self.grace = timedelta(seconds=grace_seconds)
        self._dialect = dialect
        self._file = Path(parsed.database or "")
        url = parsed.render_as_string(hide_password=False)
        options: dict[str, Any] = {"pool_pre_ping": True}
        if dialect == "sqlite":
            options = {"connect_args": {"timeout": SQLITE_WAIT_SECONDS}}
            self._file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock_engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
            # Processes that make the tables at the same time get in each other's way.
            with self.lock("tables"):
                self.rdb = RDBStorage(
                    url, options, heartbeat_interval=heartbeat_seconds, grace_period=grace_seconds
                )
                if dialect == "sqlite":
                    _take_turns(self.rdb.engine)
        except (ImportError, NoSuchModuleError):
            driver = DRIVERS.get(dialect, dialect)
            raise MissingResourceError(
                f"{shown}: its driver is not installed; run `pip install '{PACKAGES.get(driver, driver)}'`."
            ) from None
        except (SQLAlchemyError, OSError) as error:
            raise MissingResourceError(f"{shown}: the database cannot be used: {in_words(error)}.") from None

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Keep other processes that ask for the same name out of the block, on all machines of the storage.

        The system or the database lets go of the lock if this process or its machine dies.
        """
        if self._dialect == "sqlite":
            with FileLock(self._file.with_name(f"{self._file.name}.lock")):
                yield
            return
        with self._lock_engine.connect() as connection:
            connection.execute(sqlalchemy.text(LOCKS[self._dialect]), {"key": zlib.crc32(name.encode())})
            yield


def local_url(folder: Path) -> str:
    """Return the URL of the study that a sweep's folder keeps itself."""
    return f"sqlite:///{folder / STUDY_NAME}"


def in_words(error: Exception) -> str:
    """Return what a database said, in one line and without SQL."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def _take_turns(engine: sqlalchemy.Engine) -> None:
    """Let SQLite begin each transaction with a lock: else two processes may take one trial from the queue.

    See https://docs.sqlalchemy.org/en/21/dialects/sqlite.html, "Serializable isolation".
    """

    @sqlalchemy.event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
