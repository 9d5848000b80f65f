"""The workers of one server: started, watched, started again after a crash, ended with the server.

What a worker is, a process here or an actor on a cluster (cluster.py), is hidden behind `Hand`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from longtake.server import jobs, queue
from longtake.server.config import Config
from longtake.server.schema import QUEUED, RUNNING
from longtake.server.settings import to_json
from longtake.server.store import read, write

log = logging.getLogger("longtake.server")
RESTED = "idle"
"""How a worker ends that had nothing to do."""
_STOP_SECONDS, _LOOK = 8.0, 0.5


class Hand(Protocol):
    """One running worker."""

    @property
    def alive(self) -> bool: ...

    async def ended(self) -> str:
        """Wait until it has ended, and say how."""
        ...

    def stop(self) -> None:
        """Ask it to hand back its job and end."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


Hire = Callable[[str], Awaitable[Hand]]
"""Starts a worker of this name."""


class Process:
    """A worker that is a process of this machine."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def hire(cls, config: Config, name: str) -> Process:
        environment = {**os.environ}
        environment.setdefault(
            "OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // max(1, config.workers)))
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "longtake.server.worker", name,
            stdin=asyncio.subprocess.PIPE, env=environment, start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(to_json(config)).encode() + b"\n")  # and stays open: see worker
        with contextlib.suppress(ConnectionError):
            await process.stdin.drain()
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ended(self) -> str:
        return f"code {await self._process.wait()}"

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


class Crew:
    """The workers of one server, at most as many as the configuration says."""

    def __init__(self, config: Config, engine: Engine, name: str, hire: Hire, elastic: bool = False) -> None:
        """`name` belongs to the data folder: leases under it are ours, also those of an earlier run.

        `elastic`: only as many workers as there are jobs; idle ones end by themselves.
        """
        self._config, self._engine, self._name = config, engine, name
        self._hire, self._elastic = hire, elastic
        self._looking, self._looked, self._open = asyncio.Lock(), -math.inf, 0
        self._hands: dict[int, Hand] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.restarts = 0

    @property
    def alive(self) -> int:
        return sum(hand.alive for hand in self._hands.values())

    async def start(self) -> None:
        """Free what an earlier run left running, and start the workers."""
        await run_in_threadpool(self._free, f"{self._name}/", "the server was started again")
        self._tasks = [asyncio.create_task(self._keep(n)) for n in range(self._config.workers)]

    async def stop(self) -> None:
        """Ask the workers to hand back their jobs, and end them."""
        self._stopping = True
        for hand in self._hands.values():
            hand.stop()
        _, late = await asyncio.wait(self._tasks, timeout=_STOP_SECONDS) if self._tasks else (None, ())
        for hand in self._hands.values() if late else ():
            hand.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await run_in_threadpool(self._free, f"{self._name}/", "the server was stopped")

    async def _keep(self, number: int) -> None:
        """Run one worker, and the next when it ends. A worker that ends at once waits ever longer."""
        pause = 0.2
        loop = asyncio.get_running_loop()
        while not self._stopping:
            if self._elastic and not await self._wanted(number):
                await asyncio.sleep(_LOOK)
                continue
            name = f"{self._name}/{number}"
            started = loop.time()
            try:
                hand = self._hands[number] = await self._hire(name)
                how = await hand.ended()
            except OSError as error:  # the cluster, or this machine, has no room for another
                how = str(error)
            if self._stopping:
                return
            if how != RESTED:
                self.restarts += 1
                log.warning("worker ended", extra={"worker": number, "how": how})
                with contextlib.suppress(
                    Exception
                ):  # when the database is away, the watch frees the lease later
                    await run_in_threadpool(self._free, name, "the worker died")
            pause = 0.2 if loop.time() - started > 10 else min(10.0, pause * 1.5)
            await asyncio.sleep(pause)

    async def _wanted(self, number: int) -> bool:
        """Whether so many jobs are open that this worker has something to do; all workers share one look."""
        async with self._looking:
            if asyncio.get_running_loop().time() - self._looked > _LOOK / 2:
                try:
                    counts = await run_in_threadpool(read, self._engine, jobs.counts)
                except SQLAlchemyError:
                    return False
                self._open = counts[QUEUED] + counts[RUNNING]
                self._looked = asyncio.get_running_loop().time()
        return self._open > number

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
