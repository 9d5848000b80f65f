"""API keys: shown once, kept as a hash.

A key holds 256 random bits, so one round of SHA-256 is enough: there is nothing to guess from a dictionary.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from longtake.errors import RequestError
from longtake.server.schema import keys
from longtake.server.store import new_id, read

LOCAL = "local"
"""Who asks where no key is configured."""
_FRESH = 2.0


@dataclass(frozen=True)
class Caller:
    """Who asks, and what the key allows."""

    owner: str
    films_per_day: int | None = None


def fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def create(connection: Connection, name: str, films_per_day: int | None = None) -> str:
    """A new key, in clear this once. Raises RequestError when the name is taken."""
    if not re.fullmatch(r"[\w .@-]{1,64}", name):
        raise RequestError("a key's name is 1 to 64 letters, digits, spaces or . _ @ -")
    key = f"lt-{secrets.token_urlsafe(32)}"
    values = {"id": new_id("key"), "name": name, "hash": fingerprint(key), "created_at": time.time()}
    try:
        with connection.begin_nested():
            connection.execute(insert(keys).values(**values, films_per_day=films_per_day))
    except IntegrityError:
        raise RequestError(f"there is a key named {name!r} already; choose another name") from None
    return key


def revoke(connection: Connection, name: str) -> None:
    """Raises RequestError when there is no such key."""
    done = connection.execute(
        update(keys).where(keys.c.name == name, keys.c.revoked_at.is_(None)).values(revoked_at=time.time())
    )
    if done.rowcount == 0:
        raise RequestError(f"there is no key named {name!r}; see: longtake keys api list")


class KeyRing:
    """Looks keys up, remembering answers for a moment; a revoked key is refused within two seconds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, tuple[float, Caller | None]] = {}

    def is_open(self) -> bool:
        """No key was ever made: whoever reaches the server may use it."""
        return read(self._engine, lambda c: c.scalar(select(func.count()).select_from(keys))) == 0

    def cached(self, key: str) -> tuple[bool, Caller | None]:
        """(whether the answer is known, the answer), without touching the database."""
        entry = self._known.get(fingerprint(key) if key else "")
        if entry is None or time.monotonic() - entry[0] > _FRESH:
            return False, None
        return True, entry[1]

    def find(self, key: str) -> Caller | None:
        """Who this key belongs to; None for nobody."""
        caller: Caller | None = None
        if self.is_open():
            caller = Caller(LOCAL)
        elif key:
            query = select(keys).where(keys.c.hash == fingerprint(key), keys.c.revoked_at.is_(None))
            row = read(self._engine, lambda c: c.execute(query).mappings().first())
            caller = Caller(row["id"], row["films_per_day"]) if row is not None else None
        if len(self._known) > 4096:
            self._known.clear()
        self._known[fingerprint(key) if key else ""] = (time.monotonic(), caller)
        return caller
