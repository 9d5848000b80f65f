"""The tables. `jobs` is the one truth about every film; nothing about a job is kept anywhere else.

Times are Unix seconds. They are for people: no decision about a lease reads a clock (see `queue.Watch`).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()
Counter = BigInteger().with_variant(Integer, "sqlite")

QUEUED, RUNNING, COMPLETED, FAILED = "queued", "in_progress", "completed", "failed"

jobs = Table(
    "jobs",
    metadata,
    Column("seq", Counter, primary_key=True, autoincrement=True),  # order of creation
    Column("id", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),  # id of the key that asked
    Column("status", String(16), nullable=False),
    Column("turn", BigInteger, nullable=False),  # place in the fair order between owners
    Column("attempt", Integer, nullable=False, default=0),  # fencing token
    Column("worker", String(128)),  # who holds the lease
    Column("beat", Integer, nullable=False, default=0),  # grows while the worker lives
    Column("progress", Integer, nullable=False, default=0),
    Column("stage", String(32), nullable=False, default=""),
    Column("message", Text, nullable=False, default=""),
    Column("request", Text, nullable=False),  # JSON of what the worker makes
    Column("model", String(128), nullable=False),
    Column("prompt", Text, nullable=False),
    Column("seconds", String(16), nullable=False),
    Column("size", String(16), nullable=False),
    Column("remixed_from", String(64)),
    Column("digest", String(64), nullable=False),  # of the body, to know a repeated request
    Column("idempotency", String(255)),
    Column("result", Text),  # JSON: files, lengths, hash, seed
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("completed_at", Float),
    Column("expires_at", Float),
    UniqueConstraint("owner", "idempotency"),
    Index("jobs_turn", "status", "turn", "seq"),
    Index("jobs_waiting", "status", "seq"),
    Index("jobs_owner", "owner", "seq"),
    Index("jobs_owner_turn", "owner", "status", "turn"),
    Index("jobs_digest", "owner", "digest", "seq"),
    Index("jobs_expiry", "expires_at"),
)

previews = Table(
    "previews",
    metadata,
    Column("job", String(64), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("jpeg", LargeBinary, nullable=False),
)

characters = Table(
    "characters",
    metadata,
    Column("seq", Counter, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(128), nullable=False, unique=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("films_per_day", Integer),
    Column("created_at", Float, nullable=False),
    Column("revoked_at", Float),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),  # the receiver needs the same one: it cannot be a hash
    Column("created_at", Float, nullable=False),
    Index("webhooks_owner", "owner"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("webhook", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("due_at", Float, nullable=False),
    Index("deliveries_due", "due_at"),
)

garbage = Table(
    "garbage",
    metadata,
    Column("seq", Counter, primary_key=True, autoincrement=True),
    Column("path", Text, nullable=False),  # a folder of the storage
    Column("due_at", Float, nullable=False),
)
