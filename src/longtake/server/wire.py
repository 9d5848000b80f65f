"""The shapes on the wire: a video, a page of them, an error."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from longtake.server.jobs import Row
from longtake.server.schema import COMPLETED, FAILED, QUEUED, RUNNING

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """An answer other than success, in the one shape there is for it."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        return error_body(self.status, str(self), self.code, self.param)


def error_body(
    status: int, message: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def video(row: Row) -> dict[str, Any]:
    """A job as the SDK's `Video`."""
    shape: dict[str, Any] = {
        "id": row["id"],
        "object": "video",
        "created_at": int(row["created_at"]),
        "completed_at": _whole(row["completed_at"] if row["status"] == COMPLETED else None),
        "expires_at": _whole(row["expires_at"]),
        "error": None,
        "model": row["model"],
        "progress": row["progress"],
        "prompt": row["prompt"],
        "remixed_from_video_id": row["remixed_from"],
        "seconds": row["seconds"],
        "size": row["size"],
        "status": row["status"],
    }
    if row["status"] == FAILED:
        shape["error"] = {
            "code": row["error_code"] or "failed",
            "message": row["error_message"] or "it failed",
        }
    return shape


def details(row: Row) -> dict[str, Any]:
    """A job with what the retired API did not tell."""
    result = json.loads(row["result"]) if row["result"] else {}
    extra = {
        key: result[key] for key in ("seed", "caption", "notes", "frames", "fps", "sha256") if key in result
    }
    return {
        **video(row),
        "task": json.loads(row["request"]).get("task", "generate"),
        "stage": row["stage"],
        "message": row["message"],
        "attempt": row["attempt"],
        **extra,
    }


def page(rows: Sequence[Row], has_more: bool) -> dict[str, Any]:
    """Without `last_id` the client would stop after one page."""
    return {
        "object": "list",
        "data": [video(row) for row in rows],
        "has_more": has_more,
        "first_id": rows[0]["id"] if rows else None,
        "last_id": rows[-1]["id"] if rows else None,
    }


def character(row: Row) -> dict[str, Any]:
    return {"id": row["id"], "object": "character", "created_at": int(row["created_at"]), "name": row["name"]}


def poll_after(row: Row) -> str | None:
    """Milliseconds after which asking again makes sense."""
    return {QUEUED: "1000", RUNNING: "500"}.get(row["status"])


def _whole(time: float | None) -> int | None:
    return None if time is None else int(time)
