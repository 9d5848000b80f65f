"""Who made this? Reads a file's marks and says what was found; it never says that something is real."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from longtake.errors import MediaError
from longtake.provenance import aigc, label, payload, signature
from longtake.provenance.detect import SYNC_HIT, Reading, detect
from longtake.provenance.evidence import WINDOW, windows, working_size
from longtake.provenance.findings import finding
from longtake.provenance.keys import KeyRing, find_ring
from longtake.provenance.xmp import from_xmp
from longtake.video import Frame, is_picture, read_metadata, read_picture, sample_grey

Verdict = Literal["generated", "generated, altered", "no marks found"]
SAMPLED = 6
"""Frames, half a second apart at 24 a second, in which the label is looked for."""


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
    mark: str = ""
    """The id in the pixel mark, 10 hexadecimal digits."""
    altered: tuple[str, ...] = ()
    """What shows that the file is not as it was made."""

    @property
    def marked(self) -> bool:
        return self.verdict != "no marks found"

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)


def verify(path: Path | str, thorough: bool = True, pixel: bool = True, language: str = "en") -> Report:
    """Look for every mark in a video or picture. Raises MediaError when the file cannot be read.

    Bounded in time and memory for any file. `thorough` looks for the pixel mark in cropped, scaled, stretched and
    turned pictures too; without it only where an untouched file has it. `pixel`: look for it at all.
    `language`: en or zh, of what the signals say; their names and the verdict are always English.
    """
    file = Path(path)
    still = is_picture(file)
    metadata = picture_metadata(file) if still else read_metadata(file)
    found = aigc.parse(metadata.get(aigc.KEY))
    record = _record(metadata.get(aigc.RECORD))
    signed = signature.read(file, language=language)
    ring = find_ring()
    scores: list[float] = []
    frames = _labelled(iter([_grey(file)]) if still else sample_grey(file, working_size), scores)
    moved = thorough and signed.state != "trusted"  # what this installation signed lies as it was made
    reading = detect(windows(frames), ring or KeyRing(()), moved) if pixel else Reading(0.0)
    for _ in islice(frames, 1 + WINDOW * (SAMPLED - len(scores))):
        pass  # the mark may have been found before the label was looked at often enough
    signals = (
        _label_signal(scores, language),
        _pixel_signal(reading, ring, language),
        _aigc_signal(found, language),
        _signature_signal(signed, language),
    )
    mark = f"{reading.ident:010x}" if reading.ident is not None else ""
    produce_id = str(found["ProduceID"]) if found and found.get("ProduceID") else ""
    wrong = _contradictions(signals, record, signed, mark, ring, produce_id)
    if not any(signal.found for signal in signals):
        verdict: Verdict = "no marks found"
    else:
        verdict = "generated, altered" if wrong else "generated"
    altered = tuple(finding(key, language) for key in wrong)
    return Report(str(file), verdict, signals, produce_id, record, mark, altered)


def _contradictions(
    signals: tuple[Signal, ...],
    record: dict[str, Any] | None,
    signed: signature.Signature,
    mark: str,
    ring: KeyRing | None,
    produce_id: str,
) -> list[str]:
    """What shows that the file is no longer as it was made; keys of its lines."""
    label_seen, pixel_seen, has_aigc, _ = (signal.found for signal in signals)
    marks, request = ((record or {}).get(part) for part in ("marks", "request"))
    marks, request = (part if isinstance(part, dict) else {} for part in (marks, request))
    wrong = []
    if signed.state == "invalid":
        wrong.append("changed")
    if pixel_seen and not mark:
        wrong.append("damaged")
    if pixel_seen and not has_aigc:
        wrong.append("no_metadata")
    if pixel_seen and signed.state == "none":
        wrong.append("no_signature")
    if record is not None and request.get("label") is True and not label_seen:
        wrong.append("no_label")
    said = str(marks.get("pixel_mark", "none"))
    readable = ring is not None and marks.get("key") in {key.fingerprint for key in ring.keys}
    if readable and not said.startswith("none") and not pixel_seen:
        wrong.append("no_mark")
    if mark and produce_id and mark != f"{payload.mark_id(produce_id):010x}":
        wrong.append("other_metadata")
    if mark and signed.mark and signed.mark != mark:
        wrong.append("other_signature")
    if label_seen and not (pixel_seen or has_aigc or signed.generated):
        wrong.append("only_label")
    return wrong


def _label_signal(scores: list[float], language: str) -> Signal:
    share = sum(score >= label.MATCH for score in scores) / max(1, len(scores))
    detail = finding("label", language, share=share, frames=len(scores), best=max(scores, default=0.0))
    return Signal("visible label", share >= 0.5, detail)


def _pixel_signal(reading: Reading, ring: KeyRing | None, language: str) -> Signal:
    if ring is None:
        return Signal("pixel mark", False, finding("no_keys", language))
    if reading.ident is not None:
        ident = f"{reading.ident:010x}"
        detail = finding("pixel_id", language, ident=ident, version=reading.version, sigma=reading.z)
    else:
        detail = finding("pixel", language, sigma=reading.z, needed=SYNC_HIT)
    return Signal("pixel mark", reading.found, detail)


def _aigc_signal(found: dict[str, Any] | None, language: str) -> Signal:
    if found is None:
        return Signal("AIGC metadata", False, finding("no_aigc", language))
    kind = {"1": "aigc", "2": "aigc_possibly", "3": "aigc_suspected"}[found["Label"]]
    unnamed = finding("unnamed", language)
    producer, ident = (str(found.get(key) or unnamed)[:80] for key in ("ContentProducer", "ProduceID"))
    return Signal("AIGC metadata", True, finding(kind, language, producer=producer, ident=ident))


def _signature_signal(signed: signature.Signature, language: str) -> Signal:
    claim = finding("claims_camera", language) if signed.source_type == signature.CAMERA else ""
    if signed.generated:
        claim = finding("claims_generated", language)
    return Signal("C2PA signature", signed.generated, signed.detail + claim)


def _labelled(frames: Iterator[Frame], scores: list[float]) -> Iterator[Frame]:
    """The same frames; some of them are searched for the label on the way."""
    for number, frame in enumerate(frames):
        if number % WINDOW == 0 and len(scores) < SAMPLED:
            scores.append(label.match(frame))
        yield frame


def _grey(file: Path) -> Frame:
    image = Image.fromarray(read_picture(file)).convert("L")
    return np.asarray(image.resize(working_size(*image.size), Image.Resampling.BOX))


def _record(text: str | None) -> dict[str, Any] | None:
    try:
        values = json.loads(text or "")
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def picture_metadata(file: Path) -> dict[str, str]:
    """Text entries of a picture. Raises MediaError when it cannot be read."""
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
