"""The server under load, and under attack: `longtake eval server`.

It starts a real `longtake serve` with the made-up model and speaks HTTP to it. The load test measures how fast jobs are
taken and looked up while jobs run. The chaos test kills workers and the server itself at random and then counts: every
job that was acknowledged must be there, finished, once. It speaks of what it saw alone, and says on what machine.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longtake.errors import MissingExtraError, OutputError


@dataclass(frozen=True)
class ServerPlan:
    """How hard to press."""

    rate: float = 200.0
    """Creates a second of the load test."""
    seconds: float = 60.0
    jobs: int = 2000
    """Of the chaos test."""
    workers: int = 4
    worker_kills: int = 4
    server_kills: int = 10
    pretend: float = 1.0
    """Seconds a film takes."""
    seed: int = 0


@dataclass
class Outcome:
    """What was seen."""

    load: dict[str, Any] = field(default_factory=dict)
    chaos: dict[str, Any] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        """Nothing was lost, stuck or done twice."""
        return not any(self.chaos.get(name) for name in ("lost", "stuck", "failed", "twice", "unreadable"))


class Served:
    """A server process on a folder of its own, that can be killed and started again on the same port."""

    def __init__(self, data: Path, plan: ServerPlan) -> None:
        self._data, self._plan, self._port = data, plan, 0
        self.start()

    def start(self) -> None:
        """Raises OutputError when the server does not come up."""
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "longtake", "serve", "--data", str(self._data), "--port", str(self._port),
                "--workers", str(self._plan.workers), "--pretend", str(self._plan.pretend), "--max-queue", "2000000",
                "--lease-seconds", "5",
            ],
            stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if match := re.search(r"url=(http://\S+:(\d+))/v1", line):
                self.url, self._port = match[1], int(match[2])
                break
        else:
            raise OutputError("the server did not start; try longtake serve by hand to see why")
        threading.Thread(target=self._drain, args=(self.process.stderr,), daemon=True).start()

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait()

    def workers(self) -> list[int]:
        """Process ids of its workers."""
        return [int(pid) for pid in _children(self.process.pid)]

    def memory_mb(self) -> float:
        """Resident memory of the server itself."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def cpu_seconds(self) -> float:
        """Processor time the server itself has used, its workers left out."""
        times = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def _drain(self, lines: Any) -> None:
        for _ in lines:
            pass


def _children(parent: int) -> Iterator[str]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(after_name[1]) == parent:
            yield stat.parent.name


def evaluate_server(plan: ServerPlan, load: bool = True, chaos: bool = True) -> Outcome:
    """Run both tests. Raises MissingExtraError, OutputError."""
    outcome = Outcome()
    if load:
        with _served(plan) as server:
            outcome.load = asyncio.run(_load(server, plan))
    if chaos:
        with _served(plan) as server:
            outcome.chaos = asyncio.run(_chaos(server, plan))
    return outcome


@contextmanager
def _served(plan: ServerPlan) -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="longtake-eval-") as folder:
        server = Served(Path(folder), plan)
        try:
            yield server
        finally:
            server.stop()


def _client(url: str) -> Any:
    try:
        import httpx2
    except ImportError:
        raise MissingExtraError('the server needs more packages: pip install "longtake[serve]"') from None
    return httpx2.AsyncClient(base_url=url, timeout=60.0, trust_env=False)


async def _load(server: Served, plan: ServerPlan) -> dict[str, Any]:
    """Creates at a fixed rate, whatever the answers take (an open loop), with status reads beside them."""
    creates: list[float] = []
    reads: list[float] = []
    faults: Counter[str] = Counter()
    ids: list[str] = []

    async def create(client: Any) -> None:
        started = time.perf_counter()
        try:
            answer = await client.post(
                "/v1/videos", files={"prompt": (None, "a dog"), "seconds": (None, "4")}
            )
        except Exception as error:
            faults[type(error).__name__] += 1
            return
        creates.append(time.perf_counter() - started)
        if answer.status_code == 200:
            ids.append(answer.json()["id"])
        else:
            faults[str(answer.status_code)] += 1

    async def read(client: Any) -> None:
        started = time.perf_counter()
        answer = await client.get(f"/v1/videos/{random.choice(ids)}")
        reads.append(time.perf_counter() - started)
        if answer.status_code != 200:
            faults[f"read {answer.status_code}"] += 1

    async with _client(server.url) as client:
        await _warm(client, plan)
        await create(client)
        gc.disable()  # the one who asks must not pause, or its own pauses count as the server's
        before, worked, began = server.memory_mb(), server.cpu_seconds(), time.perf_counter()
        waiting: list[asyncio.Task[None]] = []
        for number in range(int(plan.rate * plan.seconds)):
            pause = began + number / plan.rate - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            waiting.append(asyncio.create_task(create(client)))
            if number % 4 == 0:
                waiting.append(asyncio.create_task(read(client)))
        await asyncio.gather(*waiting, return_exceptions=True)
        took = time.perf_counter() - began
        gc.enable()
        worked = server.cpu_seconds() - worked
    return {
        "creates": len(creates), "asked_per_second": plan.rate, "creates_per_second": round(len(creates) / took, 1),
        "create_ms": _quantiles(creates), "read_ms": _quantiles(reads), "faults": dict(faults),
        "server_cpu_ms_a_request": round(1000 * worked / max(1, len(creates) + len(reads)), 2),
        "memory_mb": [round(before), round(server.memory_mb())],
    }  # fmt: skip


async def _warm(client: Any, plan: ServerPlan) -> None:
    """Wait until every worker has started and made a film: their start is not what is measured."""
    jobs = [await client.post("/v1/videos", json={"prompt": "a dog"}) for _ in range(2 * plan.workers)]
    for job in jobs:
        while (await client.get(f"/v1/videos/{job.json()['id']}")).json()["status"] != "completed":
            await asyncio.sleep(0.1)


def _quantiles(values: list[float]) -> dict[str, float]:
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100)
    return {name: round(1000 * cuts[place], 1) for name, place in (("p50", 49), ("p95", 94), ("p99", 98))}


async def _chaos(server: Served, plan: ServerPlan) -> dict[str, Any]:
    """Kill while jobs are asked for and made, then wait for quiet and count."""
    chance = random.Random(plan.seed)
    acknowledged: list[str] = []
    tries = 0
    async with _client(server.url) as client:
        work = plan.jobs * max(plan.pretend, 0.05) / plan.workers
        killer = asyncio.create_task(_kill(server, plan, chance, work))
        for number in range(plan.jobs):
            while True:
                tries += 1
                try:
                    # the same key on every try: an answer lost with the server must not become a second job
                    answer = await client.post(
                        "/v1/videos",
                        json={"prompt": f"job {number}"},
                        headers={"idempotency-key": f"chaos-{number}"},
                    )
                    if answer.status_code == 200:
                        acknowledged.append(answer.json()["id"])
                        break
                except OSError:
                    pass
                except Exception as error:
                    if "Error" not in type(error).__name__ and "Timeout" not in type(error).__name__:
                        raise
                await asyncio.sleep(0.2)
        kills = await killer
        rows = await _until_quiet(client, work)
        return {**await _count(client, acknowledged, rows), **kills, "jobs": plan.jobs, "tries": tries}


async def _kill(server: Served, plan: ServerPlan, chance: random.Random, work: float) -> dict[str, int]:
    """Spread the kills over the time the work takes."""
    targets = ["worker"] * plan.worker_kills + ["server"] * plan.server_kills
    chance.shuffle(targets)
    done: Counter[str] = Counter()
    for target in targets:
        await asyncio.sleep(chance.uniform(0.2, 1.6) * work / max(1, len(targets)))
        if target == "server":
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        elif workers := server.workers():
            os.kill(chance.choice(workers), signal.SIGKILL)
        done[target] += 1
    return {"workers_killed": done["worker"], "servers_killed": done["server"]}


async def _until_quiet(client: Any, work: float) -> list[dict[str, Any]]:
    """All jobs, once none moves any more; a job that stays unfinished beyond all patience is stuck."""
    until = time.monotonic() + 20 * work + 120
    while True:
        rows = await _all(client)
        if all(row["status"] in ("completed", "failed") for row in rows) or time.monotonic() > until:
            return rows
        await asyncio.sleep(1.0)


async def _all(client: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        answer = await client.get("/v1/videos", params={"limit": 100, "order": "asc", **after})
        page = answer.json()
        rows += page["data"]
        if not page["has_more"]:
            return rows
        after = {"after": page["last_id"]}


async def _count(client: Any, acknowledged: list[str], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What became of the jobs."""
    state = {row["id"]: row["status"] for row in rows}
    prompts = Counter(row["prompt"] for row in rows)
    unreadable = 0
    for id, status in state.items():
        if status == "completed":
            answer = await client.get(f"/v1/videos/{id}/content")
            unreadable += answer.status_code != 200 or answer.content[4:8] != b"ftyp"
    return {
        "completed": sum(status == "completed" for status in state.values()),
        "failed": sum(status == "failed" for status in state.values()),
        "lost": sum(id not in state for id in acknowledged),
        "stuck": sum(status in ("queued", "in_progress") for status in state.values()),
        "twice": sum(count - 1 for count in prompts.values()),
        "unreadable": unreadable,
    }


def report(plan: ServerPlan, outcome: Outcome) -> str:
    """The outcome as a page of Markdown."""
    lines = [
        "# The server under load and under attack", "",
        f"`longtake eval server --rate {plan.rate:g} --seconds {plan.seconds:g} --jobs {plan.jobs} "
        f"--workers {plan.workers} --worker-kills {plan.worker_kills} --server-kills {plan.server_kills} "
        f"--pretend {plan.pretend:g} --seed {plan.seed}`", "",
        f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores for everything (server, workers and the one who "
        f"asks), load average {os.getloadavg()[0]:.1f} at the end, SQLite, a made-up model that "
        f"takes {plan.pretend:g} s.", "",
    ]  # fmt: skip
    for title, values in (("Load", outcome.load), ("Chaos", outcome.chaos)):
        if values:
            lines += [f"## {title}", "", "| what | seen |", "|---|---|"]
            lines += [f"| {name.replace('_', ' ')} | {_plain(value)} |" for name, value in values.items()] + [
                ""
            ]
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items()) or "none"
    if isinstance(value, list):
        return " -> ".join(map(str, value))
    return str(value)
