"""Who made this? Reads a file's marks and says what was found; it never says that something is real."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from longtake.errors import MediaError
from longtake.provenance import aigc, label
from longtake.video import PICTURES, Frame, read_frames, read_metadata, read_picture

Verdict = Literal["generated", "generated, altered", "no marks found"]
SAMPLED = 6
"""Frames, half a second apart, in which the label is looked for."""


@dataclass(frozen=True)
class Signal:
    """One mark: whether it was found, and what it says."""

    name: str
    found: bool
    detail: str


@dataclass(frozen=True)
class Report:
    """All signals and one verdict. `record` is the request that made the file, when the file carries it."""

    path: str
    verdict: Verdict
    signals: tuple[Signal, ...]
    produce_id: str = ""
    record: dict[str, Any] | None = None

    @property
    def marked(self) -> bool:
        return self.verdict != "no marks found"

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)


def verify(path: Path | str) -> Report:
    """Look for every mark in a video or picture. Raises MediaError when the file cannot be read."""
    file = Path(path)
    is_picture = file.suffix.lower() in PICTURES
    metadata = _picture_metadata(file) if is_picture else read_metadata(file)
    found = aigc.parse(metadata.get(aigc.KEY))
    record = _record(metadata.get(aigc.RECORD))
    scores = [label.match(frame) for frame in _sampled(file, is_picture)]
    share = sum(score >= label.MATCH for score in scores) / max(1, len(scores))
    signals = (
        Signal(
            "visible label",
            share >= 0.5,
            f"in {share:.0%} of {len(scores)} frames looked at, best correlation {max(scores, default=0):.2f}",
        ),
        Signal(
            "AIGC metadata",
            found is not None,
            f"producer {found['ContentProducer']}, id {found['ProduceID']}" if found else "no AIGC key",
        ),
    )
    wanted_label = bool((record or {}).get("request", {}).get("label", True))
    if found is not None:
        intact = signals[0].found or not wanted_label
        verdict: Verdict = "generated" if intact else "generated, altered"
    else:
        verdict = "generated, altered" if signals[0].found else "no marks found"
    return Report(str(file), verdict, signals, found["ProduceID"] if found else "", record)


def _sampled(file: Path, is_picture: bool) -> Iterator[Frame]:
    if is_picture:
        yield read_picture(file)
        return
    with closing(read_frames(file, fps=2)) as frames:
        yield from islice(frames, SAMPLED)


def _record(text: str | None) -> dict[str, Any] | None:
    try:
        values = json.loads(text or "")
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def _picture_metadata(file: Path) -> dict[str, str]:
    read_picture(file)  # a damaged picture is an error before it is a finding
    try:
        with Image.open(file) as image:
            image.load()
            texts = {str(k): v for k, v in image.info.items() if isinstance(v, str)}
            packet = image.info.get("xmp", b"")
    except OSError as error:
        raise MediaError(f"{file.name} cannot be read as a picture ({error}); try png or jpg") from None
    text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else str(packet)
    return texts | from_xmp(text)


def to_xmp(tags: dict[str, str]) -> bytes:
    """Metadata entries as an XMP packet, for formats without text chunks."""
    inner = "".join(f"<longtake:{k}>{_escape(v)}</longtake:{k}>" for k, v in tags.items())
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:longtake="urn:longtake">{inner}</rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()


def from_xmp(packet: str) -> dict[str, str]:
    pairs = re.findall(r"<longtake:(\w+)>(.*?)</longtake:\1>", packet, re.DOTALL)
    return {k: v.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for k, v in pairs}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
