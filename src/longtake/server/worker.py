"""A worker process: claim a job, make the film, store it, commit it; again.

The film is made in the main thread. A second thread keeps the lease alive, and when the lease is lost - the job was
cancelled or deleted, or another worker has it - asks the first to stop and, should it not listen within a second, ends
the process. A work folder belongs to the job, not to the attempt: what an earlier attempt finished is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from longtake.errors import LongtakeError
from longtake.request import Event, Film, Progress, Request, build_request
from longtake.server import queue, shots
from longtake.server.config import ANIMATIC, Config
from longtake.server.files import AwayError, Storage
from longtake.server.queue import Lease
from longtake.server.store import open_database, read, write
from longtake.server.variants import make_variants
from longtake.storyboard import Storyboard

log = logging.getLogger("longtake.server.worker")
_PATH = re.compile(r"(?<![\w/:.])/(?:[^\s/:;,]+/)+([^\s/:;,]+)")
_BEAT, _GRACE, _IDLE = 0.5, 1.0, 0.15


class Maker(Protocol):
    """Makes a film; `longtake.pipeline.generate` with its model loaded once."""

    def __call__(self, request: Request, output: Path, work: Path) -> Generator[Event, None, None]: ...


class StoppedError(Exception):
    """The work is not wanted any more; `released` when the job went back to the queue."""


@dataclass
class Seen:
    """What the making thread tells the keeping thread."""

    progress: int = 0
    stage: str = ""
    message: str = ""
    jpeg: bytes | None = None


class Keeper:
    """Keeps one lease alive from its own thread."""

    def __init__(self, engine: Engine, lease: Lease, shutdown: threading.Event) -> None:
        self._engine, self._lease, self._shutdown = engine, lease, shutdown
        self.seen = Seen()
        self.lost = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(5)

    def check(self) -> None:
        """Raises StoppedError when the work is no longer wanted."""
        if self.lost.is_set() or self._shutdown.is_set():
            raise StoppedError

    def _run(self) -> None:
        while not self._done.wait(_BEAT):
            seen, jpeg = self.seen, self.seen.jpeg
            try:
                held = write(
                    self._engine,
                    lambda c, s=seen, j=jpeg: queue.beat(c, self._lease, s.progress, s.stage, s.message, j),  # type: ignore[misc]
                )
            except SQLAlchemyError as error:  # locked or away: the lease lasts longer than that, or is lost
                log.warning("heartbeat failed", extra={"job": self._lease.id, "reason": type(error).__name__})
                continue
            if jpeg is seen.jpeg:
                seen.jpeg = None
            if not held:
                self.lost.set()
                if not self._done.wait(_GRACE):
                    log.warning("stopped hard", extra={"job": self._lease.id})
                    os._exit(75)
                return


class Worker:
    """Runs jobs until it is told to stop."""

    def __init__(self, config: Config, name: str, maker: Maker) -> None:
        self.name, self._config, self._make = name, config, maker
        self._engine = open_database(config.database_url)
        self._storage = Storage(config.storage_url)
        self.shutdown = threading.Event()

    def run(self, idle: float = math.inf) -> None:
        """Claim and work until `shutdown` is set, or until there was nothing to do for `idle` seconds."""
        last = time.monotonic()
        while not self.shutdown.is_set() and time.monotonic() - last < idle:
            try:
                lease = self._claim()
            except SQLAlchemyError as error:
                log.warning("claim failed", extra={"reason": type(error).__name__})
                self.shutdown.wait(2.0)
                continue
            if lease is None:
                self.shutdown.wait(_IDLE)
            else:
                self.work(lease)
                last = time.monotonic()

    def _claim(self) -> Lease | None:
        if not read(self._engine, queue.is_any_queued):
            return None
        return write(self._engine, lambda c: queue.claim(c, self.name))

    def work(self, lease: Lease) -> None:
        """Bring one job to its end; whatever happens, its state in the table is true afterwards."""
        started = time.monotonic()
        log.info("job started", extra={"job": lease.id, "attempt": lease.attempt})
        folder = self._config.work / lease.id
        most = self._config.limits.attempts
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if (source := lease.request.get("_shots_of")) is not None:
                shots.lend(self._config.shots / source, folder)
            with Keeper(self._engine, lease, self.shutdown) as keeper:
                film = self._film(lease, folder, keeper)
                keeper.check()
                self._deliver(lease, folder, film)
            shots.keep(folder, self._config.shots / lease.id)
            log.info("job completed", extra={"job": lease.id, "took": round(time.monotonic() - started, 3)})
        except StoppedError:
            if self.shutdown.is_set():
                self._settle(lambda c: queue.release(c, lease, most, "the server was stopped", counts=False))
                return  # what is finished stays for the next attempt
        except AwayError as error:
            self._settle(lambda c, e=str(error): queue.release(c, lease, most, e))
            return  # finished shots stay: the next attempt has little left to do but store
        except LongtakeError as error:
            code = "disk_full" if "disk is full" in str(error) else "generation_failed"
            self._settle(lambda c, e=str(error): queue.give_up(c, lease, code, _plain(e, folder)))
        except MemoryError:
            self._settle(
                lambda c: queue.give_up(c, lease, "out_of_memory", "the film needs more memory than there is")
            )
        except Exception as error:
            log.exception("job broke", extra={"job": lease.id})
            if "out of memory" in str(error).lower():
                reason = "the film needs more memory than there is; ask for a smaller size"
                self._settle(lambda c: queue.give_up(c, lease, "out_of_memory", reason))
            else:
                reason = f"the model broke off ({type(error).__name__})"
                self._settle(lambda c: queue.release(c, lease, most, reason))
                return
        shutil.rmtree(folder, ignore_errors=True)

    def _settle(self, change: Any) -> None:
        """Commit an end; when the database is away, the lease runs out and says so for us."""
        with contextlib.suppress(SQLAlchemyError):
            write(self._engine, change)

    def _film(self, lease: Lease, folder: Path, keeper: Keeper) -> Film:
        request = self._request(lease, folder)
        with contextlib.closing(self._make(request, folder / "film.mp4", folder)) as events:
            for event in events:
                if isinstance(event, Film):
                    return event
                keeper.check()
                _note(keeper.seen, event)
        raise LongtakeError("the model ended without a film")

    def _request(self, lease: Lease, folder: Path) -> Request:
        values = {k: v for k, v in lease.request.items() if not k.startswith("_") and k != "inputs"}
        for field, name in lease.request.get("inputs", {}).items():
            path = folder / f"{field}{Path(name).suffix}"
            try:
                self._storage.get(name, path)
            except FileNotFoundError:
                raise LongtakeError("the picture or video this film begins with is gone; ask again") from None
            values[field] = path
        values["model"] = self._config.weights(lease.model)
        return build_request(**values)

    def _deliver(self, lease: Lease, folder: Path, film: Film) -> None:
        """Store the files, then say so: "completed" is committed only when everything is safe."""
        files = {"video": film.path, **make_variants(film.path, folder)}
        stored = {}
        for name, path in files.items():
            stored[name] = f"{lease.folder}/{name}{path.suffix}"
            self._storage.put(path, stored[name])
        result = {
            "files": stored, "sizes": {name: path.stat().st_size for name, path in files.items()},
            "sha256": _hash(film.path), "seed": film.seed, "frames": film.frames, "fps": film.fps,
            "caption": film.caption, "notes": list(film.notes), "produce_id": film.produce_id,
            "storyboard": film.storyboard and film.storyboard.record(),
        }  # fmt: skip
        kept = write(
            self._engine,
            lambda c: queue.finish(
                c,
                lease,
                result,
                f"{film.seconds:g}",
                f"{film.width}x{film.height}",
                self._config.keep_days * 86400,
            ),
        )
        if not kept:
            self._storage.remove(lease.folder)


def _note(seen: Seen, event: Progress) -> None:
    seen.stage = event.stage
    seen.progress = max(seen.progress, min(99, int(100 * event.fraction)))
    seen.message = event.message or seen.message
    if event.preview is not None:
        seen.jpeg = event.preview


def _plain(message: str, folder: Path) -> str:
    """No path of the server reaches a client."""
    inside = message.replace(f"{folder}/", "").replace(str(folder), "the work folder")
    return " ".join(_PATH.sub(r"\1", inside).split())[:500]


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class RealMaker:
    """The pipeline, with the model of the last job kept in memory."""

    def __init__(self) -> None:
        self._name, self._models = "", None

    def __call__(self, request: Request, output: Path, work: Path) -> Generator[Event, None, None]:
        from longtake import pipeline

        if request.model == ANIMATIC:
            yield from pipeline.animatic(request.storyboard or _directed(request), output)
            return
        if self._name != request.model or self._models is None:
            yield Progress(stage="load")
            self._models = pipeline.ready(request.model)  # type: ignore[assignment]
            self._name = request.model
        yield from pipeline.generate(request, output, self._models, work)  # finished shots stay in `work`


def _directed(request: Request) -> Storyboard:
    from longtake.film.script import write as directed

    return directed(request, {}).board


def maker_for(config: Config) -> Maker:
    """The real pipeline, or the made-up one of load tests."""
    if config.pretend is None:
        return RealMaker()
    from longtake.server.pretend import PretendMaker

    return PretendMaker(config.pretend)


def _end_with_parent() -> None:
    """A worker whose server is gone ends too: its standard input closes."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def _first_line() -> bytes:
    """Unbuffered, so that the thread that waits for the end of standard input reads the same stream."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return line


def main() -> None:
    """`python -m longtake.server.worker NAME`, with the configuration as JSON on the first line of standard input."""
    from longtake.server.logs import set_up
    from longtake.server.settings import from_json

    config = from_json(json.loads(_first_line()))
    set_up(config.log_format)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server decides
    worker = Worker(config, sys.argv[1], maker_for(config))
    signal.signal(signal.SIGTERM, lambda *_: worker.shutdown.set())
    _end_with_parent()
    worker.run()


if __name__ == "__main__":
    main()
