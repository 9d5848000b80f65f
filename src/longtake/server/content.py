"""Sends a finished file: whole, a range of it, or not at all when the client has it."""

from __future__ import annotations

import json
import re

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse

from longtake.server.files import Storage
from longtake.server.jobs import Row
from longtake.server.variants import VARIANTS
from longtake.server.wire import ApiError

_RANGE = re.compile(r"^bytes=(\d{0,18})-(\d{0,18})$")


async def send_file(storage: Storage, row: Row, variant: str, http: HttpRequest) -> Response:
    """One variant of a completed job. Raises ApiError."""
    result = json.loads(row["result"])
    name: str = result["files"][variant]
    try:
        size = await run_in_threadpool(storage.size, name)
    except FileNotFoundError:
        raise ApiError(404, "the file of this video is gone", "not_found", "video_id") from None
    tag = f'"{result["sha256"][:32]}-{variant}"'
    suffix = name.rpartition(".")[2]
    headers = {
        "accept-ranges": "bytes",
        "etag": tag,
        "cache-control": "private, max-age=3600",
        "content-disposition": f'attachment; filename="{row["id"]}-{variant}.{suffix}"',
    }
    if tag in http.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    wanted = http.headers.get("range") if http.headers.get("if-range", tag) == tag else None
    span = parse_range(wanted, size)
    start, stop = span or (0, size)
    headers["content-length"] = str(stop - start)
    if span is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    return StreamingResponse(
        storage.read(name, start, stop), 206 if span else 200, headers, media_type=VARIANTS[variant]
    )


def parse_range(text: str | None, size: int) -> tuple[int, int] | None:
    """[start, stop) of one byte range; None to send everything. Raises ApiError 416."""
    match = _RANGE.match(text.strip()) if text else None
    if match is None or not (match[1] or match[2]):
        return None  # several ranges, or another unit: a server may answer with the whole
    if match[1]:
        start, stop = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
        if match[2] and int(match[2]) < int(match[1]):
            return None
    else:
        start, stop = max(0, size - int(match[2])), size
    if start >= stop:
        raise ApiError(
            416, f"the file has {size} bytes", "invalid_range", headers={"content-range": f"bytes */{size}"}
        )
    return start, stop
