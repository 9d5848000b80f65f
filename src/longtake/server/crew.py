"""The worker processes of one server: started, watched, started again after a crash, ended with the server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from longtake.server import queue
from longtake.server.config import Config
from longtake.server.settings import to_json
from longtake.server.store import read, write

log = logging.getLogger("longtake.server")
_STOP_SECONDS = 8.0


class Crew:
    """A fixed number of worker processes on this machine."""

    def __init__(self, config: Config, engine: Engine, name: str) -> None:
        """`name` belongs to the data folder: leases under it are ours, also those of an earlier run."""
        self._config, self._engine, self._name = config, engine, name
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.restarts = 0

    @property
    def alive(self) -> int:
        return sum(process.returncode is None for process in self._processes.values())

    async def start(self) -> None:
        """Free what an earlier run left running, and start the workers."""
        await run_in_threadpool(self._free, f"{self._name}/", "the server was started again")
        self._tasks = [asyncio.create_task(self._keep(n)) for n in range(self._config.workers)]

    async def stop(self) -> None:
        """Ask the workers to hand back their jobs, and end them."""
        self._stopping = True
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        _, late = await asyncio.wait(self._tasks, timeout=_STOP_SECONDS) if self._tasks else (None, ())
        for process in self._processes.values() if late else ():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await run_in_threadpool(self._free, f"{self._name}/", "the server was stopped")

    async def _keep(self, number: int) -> None:
        """Run one worker, and the next when it ends. A worker that ends at once waits ever longer."""
        pause = 0.2
        loop = asyncio.get_running_loop()
        while not self._stopping:
            name = f"{self._name}/{number}"
            process = await self._spawn(name)
            self._processes[number] = process
            started = loop.time()
            code = await process.wait()
            if self._stopping:
                return
            self.restarts += 1
            log.warning("worker ended", extra={"worker": number, "code": code})
            with contextlib.suppress(Exception):  # when the database is away, the watch frees the lease later
                await run_in_threadpool(self._free, name, "the worker died")
            pause = 0.2 if loop.time() - started > 10 else min(10.0, pause * 1.5)
            await asyncio.sleep(pause)

    async def _spawn(self, name: str) -> asyncio.subprocess.Process:
        environment = {**os.environ}
        environment.setdefault(
            "OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // max(1, self._config.workers)))
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "longtake.server.worker", name,
            stdin=asyncio.subprocess.PIPE, env=environment, start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(to_json(self._config)).encode() + b"\n")  # and stays open: see worker
        with contextlib.suppress(ConnectionError):
            await process.stdin.drain()
        return process

    def _free(self, owner: str, reason: str) -> None:
        """Put the jobs of a dead worker (or, for a name that ends in a slash, of all ours) back into the queue."""
        held = [lease for lease, _ in read(self._engine, queue.leases)]
        ours = [
            one
            for one in held
            if one.worker == owner or (owner.endswith("/") and one.worker.startswith(owner))
        ]
        counts = reason == "the worker died"
        for lease in ours:
            write(
                self._engine,
                lambda c, one=lease: queue.release(c, one, self._config.limits.attempts, reason, counts),  # type: ignore[misc]
            )
