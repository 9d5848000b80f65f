"""The metadata mark: the seven-key `AIGC` object of GB 45438-2025, and the request that made the file.

MP4 keeps both as keys of `moov.udta.meta`, pictures as text chunks (PNG) or as XMP (JPEG, WebP).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from longtake.request import Request

KEY, RECORD = "AIGC", "longtake"
KEYS = (
    "Label",
    "ContentProducer",
    "ProduceID",
    "ReservedCode1",
    "ContentPropagator",
    "PropagateID",
    "ReservedCode2",
)
PRODUCER = "longtake"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "longtake")


def software() -> str:
    try:
        return f"longtake {version('longtake')}"
    except PackageNotFoundError:
        return "longtake"


def produce_id(request: Request, weights: str) -> str:
    """One id for one content: the same request and weights give the same id."""
    what = json.dumps([request.record(), weights], sort_keys=True, ensure_ascii=False)
    return str(uuid.uuid5(_NAMESPACE, what))


def tags(
    request: Request, weights: str, caption: str, marks: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Both metadata entries, as strings of JSON; `marks` says which other marks the file carries."""
    values = dict.fromkeys(KEYS, "") | {
        "Label": "1",
        "ContentProducer": PRODUCER,
        "ProduceID": produce_id(request, weights),
    }
    record = {
        "software": software(),
        "weights": weights,
        "caption": caption,
        "request": request.record(),
        "marks": dict(marks or {}),
    }
    return {KEY: _dump(values), RECORD: _dump(record)}


def _dump(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def parse(text: str | None) -> dict[str, Any] | None:
    """The AIGC object in a metadata value, or None when it is not one."""
    try:
        values = json.loads(text or "")
    except ValueError:
        return None
    complete = (
        isinstance(values, dict) and values.get("Label") in ("1", "2", "3") and set(KEYS) >= set(values)
    )
    return values if complete else None
