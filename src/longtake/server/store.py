"""The database: opening it so that a commit survives a power cut, and one writer that commits many changes at once.

SQLite runs in WAL mode with `synchronous=FULL`; PostgreSQL by address. Requests hand their change to `Writer`: it runs
every change that waits in one transaction, each in its own savepoint, and answers when the commit is on disk. So a
hundred creates cost one fsync, and a change that is refused does not touch its neighbours.
"""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from longtake.errors import OutputError, RequestError
from longtake.server.schema import metadata

T = TypeVar("T")
_MOST_AT_ONCE = 128


def open_database(url: str) -> Engine:
    """The engine behind `url`, its tables made. Raises RequestError or OutputError."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise RequestError(
            "the database address cannot be read; write postgresql+psycopg://USER@HOST/NAME"
        ) from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = _sqlite(str(parsed.database)) if parsed.drivername == "sqlite" else _server(parsed)
    try:
        metadata.create_all(engine)
    except DBAPIError as error:
        raise OutputError(
            f"the database {parsed.render_as_string()} cannot be used: {_reason(error)}"
        ) from None
    return engine


def _sqlite(path: str) -> Engine:
    if not Path(path).parent.is_dir():
        raise OutputError(f"the folder {Path(path).parent} does not exist; create it first")
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"check_same_thread": False, "timeout": 10.0},
        pool_size=16,
        max_overflow=16,
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-8000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A write takes its lock at once: upgrading a read later fails when another wrote in between.
        reading = connection.get_execution_options().get("reading")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _server(url: Any) -> Engine:
    try:
        return create_engine(url, pool_size=16, max_overflow=16, pool_pre_ping=True, pool_timeout=5.0)
    except (ArgumentError, SQLAlchemyError, ImportError) as error:
        raise RequestError(
            f"the database {url.drivername} is not supported ({error}); use SQLite or PostgreSQL"
        ) from None


def _reason(error: DBAPIError) -> str:
    return str(error.orig).strip().splitlines()[0][:200]


def new_id(kind: str) -> str:
    """An id that cannot be guessed, such as video_3f9a..."""
    return f"{kind}_{secrets.token_hex(16)}"


def read(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Run `work` on one consistent view, without a lock."""
    with engine.connect().execution_options(reading=True) as connection:
        return work(connection)


def write(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Run `work` in its own durable transaction."""
    with engine.begin() as connection:
        return work(connection)


class Writer:
    """Many callers, one transaction. `submit` may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: queue.SimpleQueue[tuple[Callable[[Connection], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """A future that is done once `work` is committed, or holds the exception it raised."""
        future: Future[T] = Future()
        self._waiting.put((work, future))
        return future

    def close(self) -> None:
        """Finish what waits, then stop."""
        self._waiting.put(None)
        self._thread.join(10)

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            ended = False
            while len(batch) < _MOST_AT_ONCE and not self._waiting.empty():
                if (another := self._waiting.get()) is None:
                    ended = True
                    break
                batch.append(another)
            self._commit(batch)
            if ended:
                return

    def _commit(self, batch: list[tuple[Callable[[Connection], Any], Future[Any]]]) -> None:
        outcomes: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            with self._engine.begin() as connection:
                for work, future in batch:
                    try:
                        with connection.begin_nested():
                            outcomes.append((future, work(connection), None))
                    except DBAPIError as error:
                        if error.connection_invalidated or not connection.in_transaction():
                            raise
                        outcomes.append((future, None, error))
                    except Exception as error:  # the caller's own; its future carries it
                        outcomes.append((future, None, error))
        except Exception as error:  # the transaction is lost: nobody may think otherwise
            for _, future in batch:
                future.set_exception(error)
            return
        for future, value, problem in outcomes:
            if problem is None:
                future.set_result(value)
            else:
                future.set_exception(problem)
