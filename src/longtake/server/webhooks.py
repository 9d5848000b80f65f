"""Tells receivers that a film is done: Standard Webhooks, from an outbox that is part of the jobs' own transaction.

A delivery is tried again with growing pauses for about a day. Source: https://www.standardwebhooks.com.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import secrets
import time
from typing import Any

from sqlalchemy import Engine, RowMapping, delete, insert, select, update
from starlette.concurrency import run_in_threadpool

from longtake.server import fetch
from longtake.server.schema import deliveries, webhooks
from longtake.server.store import new_id, read, write

log = logging.getLogger("longtake.server")
PAUSES = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 43200)
MOST_WEBHOOKS = 16


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def sign(secret: str, id: str, timestamp: int, body: str) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over id.timestamp.body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = hmac.new(key, f"{id}.{timestamp}.{body}".encode(), hashlib.sha256).digest()
    return "v1," + base64.b64encode(signature).decode()


def register(owner: str, url: str, secret: str) -> Any:
    """A change that adds a receiver and returns its row."""

    def work(connection: Any) -> RowMapping:
        values = {"id": new_id("wh"), "owner": owner, "url": url, "secret": secret, "created_at": time.time()}
        row: RowMapping = (
            connection.execute(insert(webhooks).values(values).returning(webhooks)).mappings().one()
        )
        return row

    return work


async def deliver_due(engine: Engine, allow_private: bool, most: int = 16) -> int:
    """Send what is due, at most `most`; returns how many arrived."""
    import asyncio

    due = await run_in_threadpool(_take_due, engine, most)
    arrived = await asyncio.gather(*(_deliver(engine, row, allow_private) for row in due))
    return sum(arrived)


def _take_due(engine: Engine, most: int) -> list[dict[str, Any]]:
    """Due deliveries; each is put off at once, so that no second server and no crash sends it in a loop."""
    now = time.time()
    query = select(deliveries).where(deliveries.c.due_at <= now).order_by(deliveries.c.due_at).limit(most)
    if not read(engine, lambda c: c.execute(query).first()):
        return []

    def work(connection: Any) -> list[dict[str, Any]]:
        taken = []
        for row in connection.execute(query.with_for_update(skip_locked=True)).mappings().all():
            hook = (
                connection.execute(select(webhooks).where(webhooks.c.id == row["webhook"])).mappings().first()
            )
            if hook is None or row["tries"] > len(PAUSES):
                connection.execute(delete(deliveries).where(deliveries.c.id == row["id"]))
                if hook is not None:
                    log.warning("webhook given up", extra={"delivery": row["id"]})
                continue
            pause = PAUSES[min(row["tries"], len(PAUSES) - 1)]
            connection.execute(
                update(deliveries)
                .where(deliveries.c.id == row["id"])
                .values(tries=row["tries"] + 1, due_at=now + pause)
            )
            taken.append({**row, "url": hook["url"], "secret": hook["secret"]})
        return taken

    return write(engine, work)


async def _deliver(engine: Engine, row: Any, allow_private: bool) -> bool:
    stamp = int(time.time())
    headers = {
        "content-type": "application/json",
        "user-agent": "longtake-webhooks/1",
        "webhook-id": row["id"],
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(row["secret"], row["id"], stamp, row["body"]),
    }
    try:
        status = await fetch.post(row["url"], row["body"].encode(), headers, allow_private)
    except fetch.FetchError as error:
        log.info("webhook not delivered", extra={"delivery": row["id"], "reason": str(error)})
        return False
    if not 200 <= status < 300:
        log.info("webhook refused", extra={"delivery": row["id"], "status": status})
        return False
    await run_in_threadpool(
        write, engine, lambda c: c.execute(delete(deliveries).where(deliveries.c.id == row["id"]))
    )
    return True
