"""What the routes share: the state of the server, and turning a request's fields into a job."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends
from sqlalchemy import Connection, Engine, insert
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request as HttpRequest

from longtake.errors import LongtakeError, nearest
from longtake.request import build_request
from longtake.server import forms, jobs, wire
from longtake.server.config import ANIMATIC, Config
from longtake.server.drafts import Drafts
from longtake.server.files import Storage
from longtake.server.forms import Form
from longtake.server.keys import Caller
from longtake.server.media import Intake
from longtake.server.schema import COMPLETED, garbage
from longtake.server.store import Writer, new_id, read
from longtake.server.wire import ApiError

T = TypeVar("T")
SETTINGS = ("seed", "fps", "steps", "guidance", "takes", "negative", "one_take", "sound", "music")
"""What may be asked for beyond the retired API."""
_ORPHAN_SECONDS = 3600.0
_LONGEST = 60.0


@dataclass
class Desk:
    """Everything a route needs."""

    config: Config
    engine: Engine
    writer: Writer
    storage: Storage
    intake: Intake
    drafts: Drafts

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await run_in_threadpool(read, self.engine, work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self.writer.submit(work))


@dataclass
class Order:
    """A job while it is put together."""

    id: str
    task: str
    prompt: str
    seconds: float
    shown_seconds: float
    """What the video object says: for an extension the stitched total."""
    size: str
    model: str
    inputs: dict[str, str]
    """Field of the Request -> name in the storage."""
    extra: dict[str, Any]
    remixed_from: str | None = None
    shots_of: str | None = None
    """The film whose finished shots may be used again."""


async def desk_of(http: HttpRequest) -> Desk:
    desk: Desk = http.app.state.desk
    return desk


async def caller_of(http: HttpRequest) -> Caller:
    caller: Caller = http.state.caller
    return caller


TheDesk = Annotated[Desk, Depends(desk_of)]
TheCaller = Annotated[Caller, Depends(caller_of)]


async def new_order(desk: Desk, task: str, form: Form, source: jobs.Row | None = None) -> Order:
    """What all ways of asking have in common. Raises ApiError."""
    model = forms.text(form, "model", source["model"] if source else "sora-2")
    if model not in desk.config.names:
        message = f"unknown model {model[:80]!r}; valid: {', '.join(desk.config.names)}"
        raise ApiError(400, message + nearest(model, desk.config.names), "invalid_value", "model")
    seconds = forms.number(form, "seconds", float(source["seconds"]) if source else 4.0)
    extra: dict[str, Any] = {name: form[name] for name in SETTINGS if name in form}
    for name in ("seed", "fps", "steps", "guidance", "takes"):
        if name in extra:
            number = forms.number(form, name)
            extra[name] = int(number) if number.is_integer() else number
    extra.setdefault(
        "seed", random.SystemRandom().randrange(2**32)
    )  # now, so that a second attempt is the same film
    return Order(
        id=new_id("video"), task=task, prompt=forms.text(form, "prompt", "" if task in ("loop", "blend") else None),
        seconds=seconds, shown_seconds=seconds, size=forms.text(form, "size", source["size"] if source else "720x1280"),
        model=model, inputs={}, extra=extra,
    )  # fmt: skip


def check(order: Order, param: str | None = None) -> dict[str, Any]:
    """The order as the values of a Request, found valid. Raises ApiError."""
    values = {
        "task": order.task, "prompt": order.prompt, "seconds": order.seconds, "size": order.size, **order.extra
    }  # fmt: skip
    try:
        request = build_request(**values, **{field: name for field, name in order.inputs.items()})
    except LongtakeError as error:
        words = str(error)
        field = next((name for name in (*values, "video") if words.startswith(name)), param)
        if "prompt" in words[:12] or words.startswith("the text"):
            field = "prompt"
        raise ApiError(400, words, "invalid_value", field) from None
    if order.task == "generate" and not request.prompt and "storyboard" not in order.extra:
        raise ApiError(400, "the prompt is empty; say what the film shows", "invalid_value", "prompt")
    if order.model == ANIMATIC:
        _check_animatic(order)
    if order.shown_seconds > _LONGEST:
        words = f"the film would last {order.shown_seconds:g} seconds; at most {_LONGEST:g} can be made"
        raise ApiError(400, words, "invalid_value", "seconds")
    kept = request.model_dump(mode="json", include={"task", "prompt", "seconds", "size", *order.extra})
    return {**kept, "inputs": order.inputs}


def _check_animatic(order: Order) -> None:
    """The paper theatre acts boards out; it takes nothing a model takes. Raises ApiError."""
    if order.task != "generate":
        raise ApiError(400, f"an animatic is made of words or a storyboard; {order.task} needs a model",
                       "invalid_value", "model")  # fmt: skip
    taken = next((name for name in ("steps", "guidance", "takes", "negative") if name in order.extra), None)
    if taken or order.inputs:
        field = taken or "input_reference"
        raise ApiError(
            400, f"{field}: an animatic is drawn, not generated; leave it out", "invalid_value", field
        )


async def enqueue(desk: Desk, caller: Caller, order: Order, http: HttpRequest, digest: str) -> jobs.Row:
    """Commit the order. Raises ApiError."""
    values = check(order)
    if order.shots_of is not None:
        values["_shots_of"] = order.shots_of
    _check_disk(desk)
    draft = jobs.Draft(
        owner=caller.owner, request=values, model=order.model, prompt=values["prompt"],
        seconds=f"{order.shown_seconds:g}", size=values["size"], digest=digest, id=order.id,
        remixed_from=order.remixed_from, idempotency=idempotency_key(http), is_retry=is_retry(http),
    )  # fmt: skip
    limits = desk.config.limits
    per_day = caller.films_per_day if caller.films_per_day is not None else limits.films_per_day
    room = jobs.Room(limits.queue, limits.queue_per_key, per_day)
    row, _ = await attempt(desk.write(lambda c: jobs.create(c, draft, room)))
    return row


async def repeated(desk: Desk, caller: Caller, http: HttpRequest, digest: str) -> jobs.Row | None:
    """The job that this same request has made already, before any of its media is looked at again."""
    if idempotency_key(http) is None and not is_retry(http):
        return None
    draft = jobs.Draft(
        caller.owner,
        {},
        "",
        "",
        "",
        "",
        digest,
        "",
        idempotency=idempotency_key(http),
        is_retry=is_retry(http),
    )
    return await attempt(desk.read(lambda c: jobs.repeated(c, draft)))


def idempotency_key(http: HttpRequest) -> str | None:
    key = http.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= 255:
        raise ApiError(400, "an Idempotency-Key has 1 to 255 characters", "invalid_value")
    return key


def is_retry(http: HttpRequest) -> bool:
    count = http.headers.get("x-stainless-retry-count", "0")
    return count.isdigit() and int(count) > 0


async def attempt(waiting: Awaitable[T]) -> T:
    """Await a change of the table and turn its refusals into answers."""
    try:
        return await waiting
    except jobs.MissingError as error:
        raise ApiError(404, str(error), "not_found", "video_id") from None
    except jobs.StateError as error:
        raise ApiError(400, str(error), "invalid_state") from None
    except jobs.ConflictError as error:
        raise ApiError(400, str(error), "idempotency_key_reused") from None
    except jobs.FullError as error:
        headers = {"x-should-retry": "false"} if error.wait is None else {"retry-after": str(error.wait)}
        raise ApiError(
            429, str(error), "quota_exceeded" if error.wait is None else "queue_full", headers=headers
        ) from None


def _check_disk(desk: Desk) -> None:
    free = desk.storage.free_bytes()
    if free is not None and free < desk.config.limits.free_bytes:
        raise ApiError(503, "the server's disk is almost full; delete videos or make room", "disk_full",
                       headers={"retry-after": "60"})  # fmt: skip


async def expect_files(desk: Desk, id: str) -> None:
    """Before files of a job that is not committed yet are stored: have them swept should it never be."""

    def work(connection: Connection) -> None:
        import time

        connection.execute(insert(garbage).values(path=id, due_at=time.time() + _ORPHAN_SECONDS))

    await desk.write(work)


async def take_reference(desk: Desk, order: Order, given: Any) -> None:
    """`input_reference`: a picture the film begins with, in every spelling. Raises ApiError."""
    param = "input_reference"
    if given is None or given == "":
        return
    check(order)  # its other faults first: no file is taken for nothing
    name = f"{order.id}/inputs/image"
    if isinstance(given, dict):
        unknown = set(given) - {"image_url", "file_id"}
        if unknown or "file_id" in given or not isinstance(given.get("image_url"), str):
            raise ApiError(
                400,
                "give input_reference as a file or as {image_url}; there is no file store",
                "invalid_value",
                param,
            )
        await expect_files(desk, order.id)
        await desk.intake.address(given["image_url"], name, ("picture",), f"{param}[image_url]")
    elif isinstance(given, UploadFile):
        await expect_files(desk, order.id)
        await desk.intake.upload(given, name, ("picture",), param)
    elif isinstance(given, str) and given.startswith(("http://", "https://", "data:")):
        await expect_files(desk, order.id)
        await desk.intake.address(given, name, ("picture",), param)
    else:
        raise ApiError(400, "input_reference must be a file or {image_url}", "invalid_type", param)
    order.inputs["image"] = f"{name}.png"


async def take_video(
    desk: Desk, caller: Caller, order: Order, given: Any, field: str = "video"
) -> tuple[float, str]:
    """A film given as a file or as {id}; returns its length and size. Raises ApiError."""
    name = f"{order.id}/inputs/{field}"
    if isinstance(given, str) and given.startswith("video_"):
        given = {"id": given}
    if isinstance(given, UploadFile):
        await expect_files(desk, order.id)
        media = await desk.intake.upload(given, name, ("video",), field)
        order.inputs[field] = f"{name}.mp4"
        return media.seconds, f"{media.width}x{media.height}"
    if not isinstance(given, dict) or set(given) != {"id"} or not isinstance(given["id"], str):
        code = "missing_required_parameter" if given is None else "invalid_type"
        raise ApiError(400, f"{field} must be a video file or {{id}} of a completed video", code, field)
    return await take_film(desk, caller, order, given["id"], field)


async def take_film(
    desk: Desk, caller: Caller, order: Order, id: str, field: str = "video"
) -> tuple[float, str]:
    """An earlier film of the same caller, copied so that deleting it does not harm this job. Raises ApiError."""
    row = await completed(desk, caller, id)
    source = json.loads(row["result"])["files"]["video"]
    name = f"{order.id}/inputs/{field}.mp4"
    await expect_files(desk, order.id)
    try:
        await run_in_threadpool(desk.storage.copy, source, name)
    except FileNotFoundError:
        raise ApiError(404, f"the file of video {id!r} is gone", "not_found", field) from None
    order.inputs[field] = name
    return float(row["seconds"]), row["size"]


async def completed(desk: Desk, caller: Caller, id: str) -> jobs.Row:
    """A finished film. Raises ApiError: never 409, which clients would repeat."""
    row: jobs.Row = await attempt(desk.read(lambda c: jobs.get(c, caller.owner, id)))
    if row["status"] != COMPLETED:
        code = "video_failed" if row["status"] == "failed" else "video_not_ready"
        raise ApiError(400, f"the video is {row['status']}, not completed", code, "video_id")
    return row


def made(row: jobs.Row) -> Mapping[str, str]:
    """Headers of an answer that shows a job."""
    pause = wire.poll_after(row)
    return {} if pause is None else {"openai-poll-after-ms": pause}
