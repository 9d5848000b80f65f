"""A request's body, in any of the spellings clients use, as one dictionary of plain values and uploads.

The retired API's SDKs always send multipart, write nested values with brackets (`video[id]`), turn numbers and booleans
into strings and cannot send a list of objects; other programs send JSON. All mean the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest

from longtake.errors import nearest
from longtake.server.wire import ApiError

_KEY = re.compile(r"^([A-Za-z_][A-Za-z0-9_]{0,63})((?:\[[A-Za-z0-9_]{0,64}\]){0,3})$")
_STRUCTURED = ("storyboard", "characters", "input_reference", "video", "videos")
"""Fields that may come as a string of JSON."""

Form = dict[str, Any]


async def read_form(http: HttpRequest, known: tuple[str, ...], field_bytes: int) -> Form:
    """The body as {name: text, number, dict, list or UploadFile}. Raises ApiError."""
    kind = http.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        form = await _fields(http, field_bytes)
    elif kind == "application/json" or kind.endswith("+json"):
        form = _json(await http.body())
    else:
        raise ApiError(415, "send multipart/form-data or application/json", "unsupported_media_type")
    for name in form:
        if name not in known:
            raise ApiError(
                400, f"unknown parameter {name!r}{nearest(name, known)}", "unknown_parameter", name
            )
    for name in _STRUCTURED:
        if isinstance(value := form.get(name), str) and value.lstrip()[:1] in ("{", "["):
            form[name] = _loads(value, name)
    return form


async def _fields(http: HttpRequest, field_bytes: int) -> Form:
    try:
        fields = await http.form(max_files=4, max_fields=256, max_part_size=field_bytes)
    except HTTPException as error:
        raise ApiError(400, f"the form cannot be read: {error.detail}", "invalid_form") from None
    form: Form = {}
    nested = {key.partition("[")[0] for key, _ in fields.multi_items() if "[" in key}
    for key, value in fields.multi_items():
        if key in nested and isinstance(value, UploadFile) and not value.size:
            continue  # an SDK that insists on a file is given an empty one beside `video[id]`
        match = _KEY.match(key)
        if match is None:
            raise ApiError(
                400, "a parameter's name must be words, with brackets for nested values", "invalid_form"
            )
        path = re.findall(r"\[([^\]]*)\]", match[2])
        _put(form, [match[1], *path], value)
    return form


def _put(form: Form, path: list[str], value: Any) -> None:
    """Set form[a][b] for the path (a, b); an empty or numbered part makes a list."""
    name, *rest = path
    if not rest:
        form[name] = value
    elif rest[0] == "" or rest[0].isdigit():
        items = form.setdefault(name, [])
        if not isinstance(items, list):
            raise ApiError(400, f"{name} is given in two ways", "invalid_form", name)
        if len(rest) == 1:
            items.append(value)
            return
        place = int(rest[0]) if rest[0] else len(items)
        if place > len(items):
            raise ApiError(400, f"{name}: the items must be numbered in order", "invalid_form", name)
        if place == len(items):
            items.append({})
        if not isinstance(items[place], dict):
            raise ApiError(400, f"{name} is given in two ways", "invalid_form", name)
        _put(items[place], rest[1:], value)
    else:
        inner = form.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ApiError(400, f"{name} is given in two ways", "invalid_form", name)
        _put(inner, rest, value)


def _json(body: bytes) -> Form:
    value = _loads(body, None)
    if not isinstance(value, dict):
        raise ApiError(400, "the body must be a JSON object", "invalid_json")
    return value


def _loads(text: str | bytes, param: str | None) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError, UnicodeDecodeError):
        raise ApiError(400, f"{param or 'the body'} is not valid JSON", "invalid_json", param) from None


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def text(form: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A field as text. Raises ApiError when it is missing and has no default."""
    value = form.get(name, default)
    if value is None:
        raise ApiError(400, f"missing required parameter: {name}", "missing_required_parameter", name)
    if not isinstance(value, str):
        raise ApiError(400, f"{name} must be text", "invalid_type", name)
    if "\x00" in value or (not value.isprintable() and _has_surrogate(value)):
        raise ApiError(400, f"{name} holds characters that are no text", "invalid_value", name)
    return value


def _has_surrogate(value: str) -> bool:
    return any(0xD800 <= ord(c) <= 0xDFFF for c in value)


def number(form: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """A field as a number, however it is written. Raises ApiError."""
    value = form.get(name, default)
    if value is None:
        raise ApiError(400, f"missing required parameter: {name}", "missing_required_parameter", name)
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        parsed = float(value)
        if not math.isfinite(parsed):
            raise ValueError
    except (ValueError, OverflowError):
        raise ApiError(400, f"{name} must be a number", "invalid_type", name) from None
    return parsed


def flag(form: Mapping[str, Any], name: str) -> bool:
    """A field as yes or no: true, "true", "1" ..."""
    value = form.get(name, False)
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "1", "yes", "false", "0", "no", ""):
        return value.lower() in ("true", "1", "yes")
    raise ApiError(400, f"{name} must be true or false", "invalid_type", name)


async def digest(path: str, form: Form) -> str:
    """What is asked, as a hash: the same for the same body, uploads included, whatever its multipart boundary."""
    total = hashlib.sha256(path.encode())

    async def add(value: Any) -> None:
        if isinstance(value, UploadFile):
            await value.seek(0)
            while piece := await value.read(2**20):
                total.update(piece)
            await value.seek(0)
        elif isinstance(value, dict):
            for key in sorted(value):
                total.update(f"\x00{key}\x01".encode(errors="surrogatepass"))
                await add(value[key])
        elif isinstance(value, list):
            for one in value:
                total.update(b"\x02")
                await add(one)
        else:
            total.update(str(value).encode(errors="surrogatepass"))

    await add(form)
    return total.hexdigest()
