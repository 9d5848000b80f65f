"""What the API does to the table: create, look up, list, delete, cancel, reorder.

Each function takes an open connection and commits nothing itself; see `store`. Only the owner's own jobs are ever
seen. A job whose films have expired is gone, so that none says "completed" without its file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, bindparam, delete, func, insert, select, update

from longtake.errors import LongtakeError
from longtake.server.schema import (
    COMPLETED,
    FAILED,
    QUEUED,
    RUNNING,
    deliveries,
    garbage,
    jobs,
    previews,
    webhooks,
)
from longtake.server.store import new_id

Row = RowMapping
_RETRY_WINDOW = 600.0
_AFTERLIFE = 30.0
"""Files of a deleted job wait so long for a worker that is just letting go of them."""


class FullError(LongtakeError):
    """No room for another job. `wait` seconds may help; None when they will not."""

    def __init__(self, message: str, wait: int | None) -> None:
        super().__init__(message)
        self.wait = wait


class ConflictError(LongtakeError):
    """An idempotency key was used again for something else."""


class MissingError(LongtakeError):
    """There is no such thing, or it is another's."""


class StateError(LongtakeError):
    """The job is not in a state in which this can be done."""


@dataclass(frozen=True)
class Draft:
    """A job about to be."""

    owner: str
    request: Mapping[str, Any]
    model: str
    prompt: str
    seconds: str
    size: str
    digest: str
    id: str
    remixed_from: str | None = None
    idempotency: str | None = None
    is_retry: bool = False


@dataclass(frozen=True)
class Room:
    """How many jobs there may be."""

    queue: int
    per_owner: int
    per_day: int


_mine_waiting = (jobs.c.owner == bindparam("asker"), jobs.c.status == QUEUED)
_PLACES = select(
    select(func.max(jobs.c.turn)).where(*_mine_waiting).scalar_subquery().label("own_last"),
    select(func.min(jobs.c.turn)).where(*_mine_waiting).scalar_subquery().label("own_first"),
    select(func.min(jobs.c.turn)).where(jobs.c.status == QUEUED).scalar_subquery().label("front"),
    select(func.min(jobs.c.seq)).where(jobs.c.status == QUEUED).scalar_subquery().label("oldest"),
    select(func.max(jobs.c.seq)).scalar_subquery().label("newest"),
)
"""The ends of the queue: each comes from an index, however long it is."""
_INSERT = insert(jobs).returning(jobs)


def create(connection: Connection, draft: Draft, room: Room) -> tuple[Row, bool]:
    """The new job, or the one this request already made, and whether it is new. Raises FullError, ConflictError."""
    if (known := repeated(connection, draft)) is not None:
        return known, False
    places = connection.execute(_PLACES, {"asker": draft.owner}).mappings().one()
    _check_room(connection, draft.owner, room, places)
    own, front = places["own_last"], places["front"]
    # Fair queueing: an owner's jobs take successive turns, a newcomer starts at the turn now being served.
    turn = max(front or 0, own + 1 if own is not None else 0)
    values = {
        "id": draft.id,
        "owner": draft.owner,
        "status": QUEUED,
        "turn": turn,
        "request": json.dumps(dict(draft.request), ensure_ascii=False),
        "model": draft.model,
        "prompt": draft.prompt,
        "seconds": draft.seconds,
        "size": draft.size,
        "remixed_from": draft.remixed_from,
        "digest": draft.digest,
        "idempotency": draft.idempotency,
        "created_at": time.time(),
    }
    return connection.execute(_INSERT, values).mappings().one(), True


def repeated(connection: Connection, draft: Draft) -> Row | None:
    """The job an earlier sending of the same request made."""
    mine = select(jobs).where(jobs.c.owner == draft.owner)
    if draft.idempotency is not None:
        row = connection.execute(mine.where(jobs.c.idempotency == draft.idempotency)).mappings().first()
        if row is not None and row["digest"] != draft.digest:
            raise ConflictError("this Idempotency-Key was used for another request; use a new key")
        return row
    if not draft.is_retry:
        return None
    recent = mine.where(jobs.c.digest == draft.digest, jobs.c.created_at > time.time() - _RETRY_WINDOW)
    return connection.execute(recent.order_by(jobs.c.seq.desc()).limit(1)).mappings().first()


def _check_room(connection: Connection, owner: str, room: Room, places: Row) -> None:
    """Jobs are counted only when the ends of the queue leave it open whether there is room: counting takes longer the
    more of them there are."""
    waiting = select(func.count()).select_from(jobs).where(jobs.c.status == QUEUED)
    most = 0 if places["oldest"] is None else places["newest"] - places["oldest"] + 1
    if most >= room.queue and (connection.scalar(waiting) or 0) >= room.queue:
        raise FullError(f"the queue is full ({room.queue} jobs); try again later", 30)
    most = 0 if places["own_last"] is None else places["own_last"] - places["own_first"] + 1
    mine = waiting.where(jobs.c.owner == owner)
    if most >= room.per_owner and (connection.scalar(mine) or 0) >= room.per_owner:
        raise FullError(f"{room.per_owner} of your jobs wait already; wait for them or delete some", 30)
    if room.per_day:
        today = (
            select(func.count())
            .select_from(jobs)
            .where(jobs.c.owner == owner, jobs.c.created_at > time.time() - 86400)
        )
        if (connection.scalar(today) or 0) >= room.per_day:
            raise FullError(
                f"this key may ask for {room.per_day} films a day, and has; try again tomorrow", None
            )


def _mine(owner: str, id: str) -> Select[Any]:
    now = time.time()
    return select(jobs).where(
        jobs.c.id == id, jobs.c.owner == owner, (jobs.c.expires_at.is_(None)) | (jobs.c.expires_at > now)
    )


def get(connection: Connection, owner: str, id: str) -> Row:
    """Raises MissingError."""
    row = connection.execute(_mine(owner, id)).mappings().first()
    if row is None:
        raise MissingError(f"there is no video {id!r}; it may have been deleted or have expired")
    return row


def page(
    connection: Connection,
    owner: str,
    after: str | None,
    limit: int,
    newest_first: bool,
    statuses: Sequence[str] = (),
) -> tuple[Sequence[Row], bool]:
    """At most `limit` jobs beyond `after`, of these statuses or of all, and whether there are more.

    Raises MissingError.
    """
    wanted = select(jobs).where(
        jobs.c.owner == owner, (jobs.c.expires_at.is_(None)) | (jobs.c.expires_at > time.time())
    )
    if statuses:
        wanted = wanted.where(jobs.c.status.in_(statuses))
    if after is not None:
        seq = connection.scalar(select(jobs.c.seq).where(jobs.c.id == after, jobs.c.owner == owner))
        if seq is None:
            raise MissingError(f"there is no video {after!r} to list after; start again without after")
        wanted = wanted.where(jobs.c.seq < seq if newest_first else jobs.c.seq > seq)
    wanted = wanted.order_by(jobs.c.seq.desc() if newest_first else jobs.c.seq.asc()).limit(limit + 1)
    rows = connection.execute(wanted).mappings().all()
    return rows[:limit], len(rows) > limit


def remove(connection: Connection, owner: str, id: str) -> Row:
    """Delete a job; a running one loses its lease with its row, and its worker stops. Raises MissingError."""
    row = get(connection, owner, id)
    connection.execute(delete(jobs).where(jobs.c.id == id))
    connection.execute(delete(previews).where(previews.c.job == id))
    discard(connection, id)
    return row


def cancel(connection: Connection, owner: str, id: str) -> Row:
    """Stop a job and keep its record: it has failed with the code "cancelled". Raises MissingError, StateError."""
    row = get(connection, owner, id)
    if row["status"] not in (QUEUED, RUNNING):
        raise StateError(f"the video is {row['status']} already; delete it instead")
    fail(connection, id, "cancelled", "the job was cancelled on request")
    discard(connection, f"{id}/attempt-{row['attempt']}")
    return get(connection, owner, id)


def fail(connection: Connection, id: str, code: str, message: str) -> None:
    """Mark a job as failed and queue its event."""
    now = time.time()
    row = connection.execute(
        update(jobs)
        .where(jobs.c.id == id)
        .values(
            status=FAILED, worker=None, error_code=code, error_message=message, completed_at=now, message=""
        )
        .returning(jobs.c.owner)
    ).first()
    if row is not None:
        connection.execute(delete(previews).where(previews.c.job == id))
        announce(connection, row.owner, id, "video.failed")


def announce(connection: Connection, owner: str, id: str, type: str) -> None:
    """One delivery for each of the owner's webhooks, committed together with the news itself."""
    now = time.time()
    for hook in connection.execute(select(webhooks.c.id).where(webhooks.c.owner == owner)).scalars().all():
        event = {
            "id": new_id("evt"),
            "object": "event",
            "created_at": int(now),
            "type": type,
            "data": {"id": id},
        }
        connection.execute(
            insert(deliveries).values(
                id=event["id"], webhook=hook, body=json.dumps(event), tries=0, due_at=now
            )
        )


def discard(connection: Connection, path: str) -> None:
    """Have the sweeper delete a folder of the storage."""
    connection.execute(insert(garbage).values(path=path, due_at=time.time() + _AFTERLIFE))


def move(connection: Connection, owner: str, id: str, before: str | None) -> Row:
    """Put a waiting job before another of the same owner, or last: they swap turns among themselves only.

    Raises MissingError, StateError.
    """
    row = get(connection, owner, id)
    waiting = connection.execute(
        select(jobs.c.id, jobs.c.turn)
        .where(jobs.c.owner == owner, jobs.c.status == QUEUED)
        .order_by(jobs.c.turn, jobs.c.seq)
    ).all()
    order = [one.id for one in waiting]
    if row["id"] not in order:
        raise StateError(f"the video is {row['status']}; only a queued one can be moved")
    if before is not None and before not in order:
        raise StateError(f"there is no queued video {before!r} to move it before")
    rest = [one for one in order if one != id]
    place = rest.index(before) if before not in (None, id) else len(rest)
    if before == id:
        return row
    rest.insert(place, id)
    for job, slot in zip(rest, waiting, strict=True):
        connection.execute(
            update(jobs).where(jobs.c.id == job, jobs.c.status == QUEUED).values(turn=slot.turn)
        )
    return get(connection, owner, id)


def ahead(connection: Connection, row: Row) -> int:
    """How many jobs will be taken before this one."""
    before = (jobs.c.turn < row["turn"]) | ((jobs.c.turn == row["turn"]) & (jobs.c.seq < row["seq"]))
    count = select(func.count()).select_from(jobs).where(jobs.c.status == QUEUED, before)
    return connection.scalar(count) or 0


def places(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """The same for several jobs at once, those that wait."""
    order = func.row_number().over(order_by=(jobs.c.turn, jobs.c.seq)).label("place")
    waiting = select(jobs.c.id, order).where(jobs.c.status == QUEUED).subquery()
    rows = connection.execute(select(waiting).where(waiting.c.id.in_(ids))).all()
    return {row.id: row.place - 1 for row in rows}


def counts(connection: Connection) -> dict[str, int]:
    """Jobs by status, of all owners."""
    rows = connection.execute(select(jobs.c.status, func.count()).group_by(jobs.c.status)).all()
    return {status: 0 for status in (QUEUED, RUNNING, COMPLETED, FAILED)} | {row[0]: row[1] for row in rows}
