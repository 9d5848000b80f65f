"""The application: routes behind the door, and what runs beside them - workers, the watch, the sweeper, webhooks."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import secrets
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy import Connection, delete, func, select
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from longtake.errors import LongtakeError, OutputError
from longtake.provenance.aigc import software
from longtake.server import boards, extras, jobs, queue, studio, videos, webhooks
from longtake.server.config import Config
from longtake.server.crew import Crew, Process
from longtake.server.desk import Desk, TheDesk
from longtake.server.door import Door
from longtake.server.drafts import Drafts
from longtake.server.files import AwayError, Storage
from longtake.server.keys import KeyRing
from longtake.server.media import Intake
from longtake.server.metrics import Metrics
from longtake.server.schema import characters, deliveries, garbage
from longtake.server.schema import jobs as table
from longtake.server.store import Writer, open_database, read, write
from longtake.server.wire import ApiError, error_body

if TYPE_CHECKING:
    from longtake.server.cluster import Cluster

log = logging.getLogger("longtake.server")
_ABOUT = "Words in, a film out: the retired OpenAI Videos API, answered by a model on this machine."


def build_app(config: Config) -> FastAPI:
    """The server for `config`. Raises LongtakeError for what would keep it from starting."""
    config.data.mkdir(parents=True, exist_ok=True)
    engine = open_database(config.database_url)
    keys, metrics = KeyRing(engine), Metrics()
    app = FastAPI(
        title="Longtake", version=software().partition(" ")[2] or "0", description=_ABOUT, docs_url=None,
        redoc_url=None, lifespan=_life, redirect_slashes=False,
    )  # fmt: skip
    storage = Storage(config.storage_url)
    intake = Intake(storage, config.data / "incoming", config.limits, config.allow_private)
    app.state.desk = Desk(config, engine, Writer(engine), storage, intake, Drafts(config))
    app.state.listeners, app.state.closing = 0, False
    app.state.metrics = metrics
    app.include_router(videos.router)
    app.include_router(extras.router)
    app.include_router(boards.router)
    if config.studio:
        app.include_router(studio.build_router())
    _operation(app)
    _errors(app)
    app.add_middleware(Door, config=config, keys=keys, metrics=metrics)
    return app


def _operation(app: FastAPI) -> None:
    @app.get("/healthz", tags=["operation"], summary="Whether the server can take jobs")
    async def healthz(desk: TheDesk) -> Response:
        await desk.read(lambda c: c.scalar(select(1)))
        crew: Crew | None = getattr(app.state, "crew", None)
        alive = crew.alive if crew else 0
        return JSONResponse({"status": "ok", "version": app.version, "workers": alive})

    @app.get("/metrics", tags=["operation"], summary="Counters for Prometheus")
    async def metrics_page(desk: TheDesk) -> Response:
        counts = await desk.read(jobs.counts)
        waiting = await desk.read(lambda c: c.scalar(select(func.count()).select_from(deliveries)) or 0)
        crew: Crew | None = getattr(app.state, "crew", None)
        page = app.state.metrics.page(
            counts, crew.alive if crew else 0, crew.restarts if crew else 0, waiting
        )
        return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")


def _errors(app: FastAPI) -> None:
    """Every refusal in the one shape, whoever refuses."""

    @app.exception_handler(RequestValidationError)
    async def invalid(http: HttpRequest, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = str(first["loc"][-1])
        message = f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}"
        return JSONResponse(error_body(422, message, "invalid_value", name), 422, {"x-should-retry": "false"})

    @app.exception_handler(HTTPException)
    async def refused(http: HttpRequest, error: HTTPException) -> Response:
        words = {404: f"there is no {http.method} {http.url.path}", 405: f"{http.method} is not allowed here"}
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
        headers = {**(error.headers or {}), "x-should-retry": "false"}
        message = words.get(error.status_code, str(error.detail))
        return JSONResponse(error_body(error.status_code, message, code), error.status_code, headers)

    @app.exception_handler(ApiError)
    async def answered(http: HttpRequest, error: ApiError) -> Response:
        headers = dict(error.headers)
        if error.status < 500 and error.status not in (408, 429):
            headers.setdefault("x-should-retry", "false")
        return JSONResponse(error.body(), error.status, headers)

    @app.exception_handler(LongtakeError)
    async def wrong(http: HttpRequest, error: LongtakeError) -> Response:
        kinds = ((AwayError, 503, "storage_unavailable"), (OutputError, 503, "disk_full"))
        found = (one[1:] for one in kinds if isinstance(error, one[0]))
        status, code = next(found, (400, "invalid_value"))
        return JSONResponse(error_body(status, str(error), code), status)


@contextlib.asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    """Start what runs beside the routes, and end it in good order."""
    desk: Desk = app.state.desk
    config = desk.config
    with claim_folder(config.data) as name:
        cluster = _cluster(config)
        hire = cluster.hire if cluster else partial(Process.hire, config)
        crew = app.state.crew = Crew(config, desk.engine, name, hire, elastic=cluster is not None)
        await crew.start()
        watch = queue.Watch(config.lease_seconds)
        chores = [
            _every(min(2.0, config.lease_seconds / 4), lambda: run_in_threadpool(_free_stale, desk, watch)),
            _every(5.0, lambda: run_in_threadpool(sweep, desk)),
            _every(0.5, lambda: webhooks.deliver_due(desk.engine, config.allow_private)),
        ]
        tasks = [asyncio.create_task(chore) for chore in chores]
        try:
            yield
        finally:
            app.state.closing = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await crew.stop()
            if cluster:
                await run_in_threadpool(cluster.close)
            await run_in_threadpool(desk.writer.close)
            desk.engine.dispose()


def _cluster(config: Config) -> Cluster | None:
    """The Ray cluster that runs the workers, if there is to be one."""
    if not config.ray:
        return None
    from longtake.server.cluster import Cluster

    ours = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return Cluster(config)
    finally:
        for number, handler in ours.items():  # Ray has put its own in their place
            signal.signal(number, handler)


async def _every(seconds: float, chore: Callable[[], Awaitable[Any]]) -> None:
    """Do a chore for ever; one that fails is logged and done again."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await chore()
        except SQLAlchemyError as error:
            log.warning("chore failed", extra={"reason": type(error).__name__})
        except Exception:
            log.exception("chore failed")


def _free_stale(desk: Desk, watch: queue.Watch) -> None:
    """Jobs whose workers went silent go back into the queue."""
    held = read(desk.engine, queue.leases)
    for lease in watch.stale(held, time.monotonic()):
        log.warning("lease ran out", extra={"job": lease.id, "attempt": lease.attempt})
        write(desk.engine, partial(_release_silent, lease=lease, most=desk.config.limits.attempts))


def _release_silent(connection: Connection, lease: queue.Lease, most: int) -> bool:
    return queue.release(connection, lease, most, "the worker went silent")


def sweep(desk: Desk) -> None:
    """Delete expired films, files of deleted jobs, and work folders nobody needs."""
    now = time.time()

    def expire(connection: Any) -> None:
        gone = (
            connection.execute(delete(table).where(table.c.expires_at <= now).returning(table.c.id))
            .scalars()
            .all()
        )
        for id in gone:
            jobs.discard(connection, id)

    if (
        read(desk.engine, lambda c: c.scalar(select(table.c.seq).where(table.c.expires_at <= now).limit(1)))
        is not None
    ):
        write(desk.engine, expire)
    due = read(
        desk.engine, lambda c: c.execute(select(garbage).where(garbage.c.due_at <= now).limit(200)).all()
    )
    done = []
    for row in due:
        if not read(desk.engine, lambda c, path=row.path: _is_needed(c, path)):  # type: ignore[misc]
            desk.storage.remove(row.path)
            if "/" not in row.path:
                for folder in (desk.config.work, desk.config.shots):
                    shutil.rmtree(folder / row.path, ignore_errors=True)
        done.append(row.seq)
    if done:
        write(desk.engine, lambda c: c.execute(delete(garbage).where(garbage.c.seq.in_(done))))


def _is_needed(connection: Any, path: str) -> bool:
    """The job or character a folder is for exists, after all; of a job, other attempts' folders do not count."""
    if "/" in path:
        id, _, part = path.partition("/")
        used = connection.scalar(select(table.c.result).where(table.c.id == id))
        return bool(used and f"{path}/" in used and part)
    known = (
        select(table.c.id)
        .where(table.c.id == path)
        .union(select(characters.c.id).where(characters.c.id == path))
    )
    return connection.execute(known).first() is not None


@contextlib.contextmanager
def claim_folder(data: Path) -> Any:
    """One server a data folder. Yields the folder's own name. Raises OutputError when another server has it."""
    data.mkdir(parents=True, exist_ok=True)
    with open(data / "lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(
                f"another server uses the data folder {data}; stop it, or give --data another"
            ) from None
        lock.seek(0)
        name = lock.read().strip()
        if not name:
            name = secrets.token_hex(4)
            lock.write(name)
            lock.flush()
        yield name
