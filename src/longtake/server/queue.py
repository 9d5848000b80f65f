"""What workers do to the table: claim a job in one statement, keep the lease, finish or let go.

A lease is the triple (id, attempt, worker); every later change names all three, so a worker that lost its lease changes
nothing. A live worker makes `beat` grow. `Watch` frees a job whose beat stood still for the length of a lease *as the
watcher's own monotonic clock measures it*: a clock that jumps, here or on another machine, frees nothing too early.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, delete, insert, select, update

from longtake.server.jobs import announce, discard, fail
from longtake.server.schema import COMPLETED, QUEUED, RUNNING, jobs, previews


@dataclass(frozen=True)
class Lease:
    """The right to work on a job."""

    id: str
    attempt: int
    worker: str
    request: Mapping[str, Any]
    model: str

    @property
    def held(self) -> Any:
        return and_(
            jobs.c.id == self.id,
            jobs.c.attempt == self.attempt,
            jobs.c.worker == self.worker,
            jobs.c.status == RUNNING,
        )

    @property
    def folder(self) -> str:
        """Where this attempt's files go: no two attempts share one."""
        return f"{self.id}/attempt-{self.attempt}"


def is_any_queued(connection: Connection) -> bool:
    """A look without a lock."""
    return connection.scalar(select(jobs.c.seq).where(jobs.c.status == QUEUED).limit(1)) is not None


def claim(connection: Connection, worker: str) -> Lease | None:
    """Take the job whose turn it is."""
    # The lock skips rows that another worker is just taking (PostgreSQL); SQLite has one writer at a time.
    first = (
        select(jobs.c.id)
        .where(jobs.c.status == QUEUED)
        .order_by(jobs.c.turn, jobs.c.seq)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    row: RowMapping | None = (
        connection.execute(
            update(jobs)
            .where(jobs.c.id == first, jobs.c.status == QUEUED)
            .values(
                status=RUNNING, worker=worker, attempt=jobs.c.attempt + 1, beat=0, started_at=time.time(), stage="",
                message="",
            )
            .returning(jobs.c.id, jobs.c.attempt, jobs.c.request, jobs.c.model)
        )
        .mappings()
        .first()
    )  # fmt: skip
    if row is None:
        return None
    return Lease(row["id"], row["attempt"], worker, json.loads(row["request"]), row["model"])


def beat(
    connection: Connection, lease: Lease, progress: int, stage: str, message: str, jpeg: bytes | None
) -> bool:
    """Say that the work goes on; False when the lease is lost and the work has to stop."""
    values = {"beat": jobs.c.beat + 1, "progress": progress, "stage": stage, "message": message}
    if connection.execute(update(jobs).where(lease.held).values(values)).rowcount == 0:
        return False
    if jpeg is not None:
        changed = connection.execute(
            update(previews).where(previews.c.job == lease.id).values(number=previews.c.number + 1, jpeg=jpeg)
        )
        if changed.rowcount == 0:
            connection.execute(insert(previews).values(job=lease.id, number=1, jpeg=jpeg))
    return True


def finish(
    connection: Connection, lease: Lease, result: Mapping[str, Any], seconds: str, size: str, keep: float
) -> bool:
    """Commit a film whose files are safe; False when the lease is lost and the film is not wanted."""
    now = time.time()
    row = connection.execute(
        update(jobs)
        .where(lease.held)
        .values(
            status=COMPLETED, worker=None, progress=100, stage="", message="", completed_at=now, seconds=seconds,
            size=size, result=json.dumps(dict(result), ensure_ascii=False), expires_at=now + keep if keep else None,
        )
        .returning(jobs.c.owner)
    ).first()  # fmt: skip
    if row is None:
        return False
    connection.execute(delete(previews).where(previews.c.job == lease.id))
    announce(connection, row.owner, lease.id, "video.completed")
    return True


def give_up(connection: Connection, lease: Lease, code: str, message: str) -> bool:
    """The job cannot be done: it has failed for good."""
    if connection.scalar(select(jobs.c.seq).where(lease.held)) is None:
        return False
    fail(connection, lease.id, code, message)
    return True


def release(connection: Connection, lease: Lease, most: int, reason: str, counts: bool = True) -> bool:
    """Put a job back into the queue, at the place it had; after `most` attempts it has failed.

    With `counts` False the attempt is forgiven (a server that is shut down is not the job's fault); its number is
    still used up, because it is the fencing token.
    """
    if connection.scalar(select(jobs.c.seq).where(lease.held)) is None:
        return False
    discard(connection, lease.folder)
    strikes = int(lease.request.get("_forgiven", 0))
    if counts and lease.attempt - strikes >= most:
        fail(
            connection,
            lease.id,
            "worker_lost",
            f"{reason}; given up after {lease.attempt - strikes} attempts",
        )
        return True
    values: dict[str, Any] = {"status": QUEUED, "worker": None, "message": reason}
    if not counts:
        values["request"] = json.dumps({**lease.request, "_forgiven": strikes + 1}, ensure_ascii=False)
    connection.execute(update(jobs).where(lease.held).values(values))
    return True


def leases(connection: Connection) -> list[tuple[Lease, int]]:
    """Every lease that is held now, with its beat."""
    rows = connection.execute(
        select(jobs.c.id, jobs.c.attempt, jobs.c.worker, jobs.c.request, jobs.c.model, jobs.c.beat).where(
            jobs.c.status == RUNNING
        )
    ).all()
    return [(Lease(r.id, r.attempt, r.worker, json.loads(r.request), r.model), r.beat) for r in rows]


class Watch:
    """Remembers when each beat was first seen, by the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: dict[tuple[str, int], tuple[int, float]] = {}

    def stale(self, held: list[tuple[Lease, int]], now: float) -> list[Lease]:
        """Leases whose beat has stood still too long. `now` is monotonic."""
        current: dict[tuple[str, int], tuple[int, float]] = {}
        dead = []
        for lease, count in held:
            key = (lease.id, lease.attempt)
            last = self._seen.get(key)
            current[key] = last if last is not None and last[0] == count else (count, now)
            if now - current[key][1] > self._seconds:
                dead.append(lease)
        self._seen = current
        return dead
