"""What FastAPI cannot read off the routes: bodies that come in several spellings, and the one shape of errors."""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string", "minLength": 1, "maxLength": 2000}
_NUMBER = {
    "anyOf": [{"type": "number", "minimum": 0.25, "maximum": 60}, {"type": "string", "pattern": r"^\d{1,2}$"}]
}
_SIZE = {"type": "string", "pattern": r"^\d{3,4}x\d{3,4}$", "example": "1280x720"}
_FILE = {"type": "string", "format": "binary"}
_ID = {
    "type": "object",
    "properties": {"id": {"type": "string"}},
    "required": ["id"],
    "additionalProperties": False,
}
_SEED = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
_COMMON = {
    "model": {"type": "string"},
    "size": _SIZE,
    "seed": _SEED,
    "fps": {"type": "integer", "enum": [12, 24]},
    "steps": {"type": "integer", "minimum": 1, "maximum": 100},
    "guidance": {"type": "number", "minimum": 1, "maximum": 20},
    "takes": {"type": "integer", "minimum": 1, "maximum": 16},
    "negative": {"type": "string", "maxLength": 2000},
    "one_take": {"type": "boolean"},
    "sound": {"type": "boolean"},
    "music": {"type": "string", "enum": ["auto", "none", "calm", "warm", "bright", "night", "tense"]},
}
_IMAGE = {
    "type": "object",
    "properties": {"image_url": {"type": "string"}},
    "required": ["image_url"],
    "additionalProperties": False,
}
_BODIES: dict[str, tuple[dict[str, Any], list[str], tuple[str, ...]]] = {
    "CreateVideo": (
        {
            "prompt": _TEXT,
            "seconds": _NUMBER,
            "input_reference": _IMAGE,
            "storyboard": {"type": "object"},
            "characters": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
            **_COMMON,
        },
        ["prompt"],
        ("input_reference",),
    ),
    "EditVideo": (
        {"prompt": _TEXT, "video": _ID, "strength": {"type": "number"}, **_COMMON},
        ["prompt", "video"],
        ("video",),
    ),
    "ExtendVideo": (
        {"prompt": _TEXT, "video": _ID, "seconds": _NUMBER, "backward": {"type": "boolean"}, **_COMMON},
        ["prompt", "seconds", "video"],
        ("video",),
    ),
    "RemixVideo": ({"prompt": _TEXT, "strength": {"type": "number"}, "seed": _SEED}, ["prompt"], ()),
    "LoopVideo": ({"prompt": _TEXT, "video": _ID, **_COMMON}, ["video"], ("video",)),
    "BlendVideos": (
        {"prompt": _TEXT, "video": _ID, "video_b": _ID, **_COMMON},
        ["video", "video_b"],
        ("video", "video_b"),
    ),
    "RemakeVideo": ({"shot": {"type": "string"}, "seed": _SEED, "storyboard": {"type": "object"}}, [], ()),
    "DirectStoryboard": (
        {
            "prompt": _TEXT,
            "seconds": _NUMBER,
            "director": {"type": "string", "enum": ["rules", "endpoint"]},
            **{name: _COMMON[name] for name in ("model", "size", "fps", "seed", "one_take")},
        },
        ["prompt"],
        (),
    ),
    "CheckStoryboard": ({"storyboard": {"type": "object"}}, ["storyboard"], ()),
    "RepairStoryboard": ({"storyboard": {"type": "object"}, "seconds": _NUMBER}, ["storyboard"], ()),
    "CreateCharacter": (
        {"name": {"type": "string", "minLength": 1, "maxLength": 80}, "video": _FILE},
        ["name", "video"],
        (),
    ),
    "VerifyFile": ({"file": _FILE, "language": {"enum": ["en", "zh"], "default": "en"}}, ["file"], ()),
    "MoveVideo": ({"before": {"type": "string", "nullable": True}}, [], ()),
    "CreateWebhook": (
        {"url": {"type": "string", "maxLength": 2000}, "secret": {"type": "string"}},
        ["url"],
        (),
    ),
}
_ONLY_FORM = ("CreateCharacter", "VerifyFile")
_ONLY_JSON = ("MoveVideo", "CreateWebhook")


def body(name: str) -> dict[str, Any]:
    """`openapi_extra` of a route that reads its body itself."""
    properties, required, files = _BODIES[name]
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    if name == "MoveVideo":
        schema["properties"] = {"before": {"anyOf": [{"type": "string"}, {"type": "null"}]}}
    if not required:
        del schema["required"]
    form = {**schema, "properties": {**properties, **dict.fromkeys(files, _FILE)}}
    content: dict[str, Any] = {}
    if name not in _ONLY_FORM:
        content["application/json"] = {"schema": schema}
    if name not in _ONLY_JSON:
        content["multipart/form-data"] = {"schema": form}
    return {"requestBody": {"required": True, "content": content}}


_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_WHY = {
    400: "The request is not valid", 401: "No valid key", 403: "Not allowed", 404: "There is no such thing",
    405: "No such method here", 408: "The body came too slowly", 413: "The body is too large",
    415: "No such kind of body", 416: "No such range", 422: "A parameter is not valid", 429: "Too much at once",
    503: "Not now",
}  # fmt: skip
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": why, "content": {"application/json": {"schema": _ERROR_SCHEMA}}}
    for status, why in _WHY.items()
}
