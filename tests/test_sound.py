"""The soundtrack: cues from words, speech, ambience, music, the mix."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from longtake.errors import MissingExtraError, RequestError
from longtake.finish import sound, speech
from longtake.finish.ambience import AMBIENCES, ambience
from longtake.finish.cues import Cue, cues_of_board, cues_of_text, mood_of
from longtake.finish.loudness import PEAK, loudness
from longtake.finish.music import MOODS, music
from longtake.finish.sound import soundtrack
from longtake.finish.speech import language_of, missing_voice, pitch_of, resample, speak
from longtake.finish.synthesis import RATE
from longtake.storyboard import Storyboard

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


def kinds(cues: tuple[Cue, ...]) -> list[tuple[str, str]]:
    return [(cue.kind, cue.what) for cue in cues]


@pytest.mark.parametrize(
    ("text", "heard", "mood"),
    [
        ("a stylish woman walks along a rainy neon Tokyo street at night", {"rain", "street"}, "night"),
        ("夜晚，时髦的女人走在下雨的东京霓虹街头", {"rain", "street"}, "night"),
        ("a golden puppy plays in the snow", {"wind"}, "bright"),
        ("一只小狗在海边睡觉", {"waves"}, "calm"),
        ("a tree in the park at midnight", {"crickets"}, "night"),
        ("a cat sleeps in the bedroom", set(), "calm"),
    ],
)
def test_words_become_sounds_in_both_languages(text: str, heard: set[str], mood: str) -> None:
    cues = cues_of_text(text, 4.0)
    assert {what for kind, what in kinds(cues) if kind == "ambience"} == heard
    assert mood_of(text) == mood
    assert [(c.start, c.end) for c in cues if c.kind == "music"] == [(0.0, 4.0)]


def board(**changes: object) -> Storyboard:
    shots = [
        {"id": "s1", "duration": 4, "location": "l1", "narration": "It rained all night.", "action": "she walks"},
        {
            "id": "s2", "duration": 3, "location": "l1",
            "dialogue": [{"character": "c1", "text": "你好"}, {"character": "c1", "text": "再见"}],
        },
        {"id": "s3", "duration": 2, "sound": "waves", "action": "rain in the street"},
    ]  # fmt: skip
    return Storyboard.model_validate(
        {
            "characters": [{"id": "c1", "name": "Lin", "voice": "a young woman"}],
            "locations": [{"id": "l1", "description": "street", "weather": "rain"}],
            "shots": shots,
            "seed": 1,
            **changes,
        }
    )


def test_a_board_says_who_speaks_when_and_what_is_heard() -> None:
    cues = cues_of_board(board())
    spoken = [cue for cue in cues if cue.kind == "speech"]
    assert [cue.what for cue in spoken] == ["It rained all night.", "你好", "再见"]
    assert [cue.voice for cue in spoken] == ["", "a young woman", "a young woman"]
    assert [cue.language for cue in spoken] == ["en", "zh", "zh"]
    assert 0 < spoken[0].start < spoken[0].end <= 4 <= spoken[1].start < spoken[1].end <= spoken[2].start
    around = {cue.what: (cue.start, cue.end) for cue in cues if cue.kind == "ambience"}
    assert around == {"rain": (0, 7), "street": (0, 7), "waves": (7, 9)}
    assert [(cue.start, cue.end) for cue in cues if cue.kind == "music"] == [(0, 9)]


@pytest.mark.parametrize("name", AMBIENCES)
def test_ambience_has_its_length_and_repeats(name: str) -> None:
    first = ambience(name, 2 * RATE + 7, np.random.default_rng(3))
    again = ambience(name, 2 * RATE + 7, np.random.default_rng(3))
    assert first.shape == (2 * RATE + 7, 2) and np.array_equal(first, again)
    assert np.isfinite(first).all() and 0.05 < np.sqrt(np.mean(first**2)) < 0.1
    assert not np.allclose(first[:, 0], first[:, 1])


def spectrum_centre(wave: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(wave.mean(1))) ** 2
    return float((np.fft.rfftfreq(len(wave), 1 / RATE) * power).sum() / power.sum())


def test_rain_is_bright_wind_is_dark_and_waves_swell() -> None:
    rain, wind, waves = (ambience(n, 12 * RATE, np.random.default_rng(1)) for n in ("rain", "wind", "waves"))
    assert spectrum_centre(rain) > 2 * spectrum_centre(wind)
    level = [float(np.sqrt(np.mean(part**2))) for part in np.array_split(waves, 24)]
    steady = [float(np.sqrt(np.mean(part**2))) for part in np.array_split(rain, 24)]
    assert max(level) / min(level) > 1.5 > max(steady) / min(steady)


@pytest.mark.parametrize("mood", MOODS)
def test_music_is_in_key_faded_and_repeats(mood: str) -> None:
    made = music(mood, 3.0, np.random.default_rng(2))
    assert made.shape == (3 * RATE, 2)
    assert np.array_equal(made, music(mood, 3.0, np.random.default_rng(2)))
    assert np.abs(made[:48]).max() < 0.01 and np.abs(made[-48:]).max() < 0.01
    power = np.abs(np.fft.rfft(made.mean(1) * np.hanning(len(made)))) ** 2
    strongest = np.fft.rfftfreq(len(made), 1 / RATE)[power.argmax()]
    note = 69 + 12 * np.log2(strongest / 440) - MOODS[mood].key
    assert abs(note - round(note)) < 0.2
    assert round(note) % 12 in {n % 12 for chord in MOODS[mood].chords for n in chord}


def fake_speech(monkeypatch: pytest.MonkeyPatch, seconds: float = 1.0) -> None:
    """A voice that says everything in the same time, as a tone: the mix is tested, not the voice."""

    def say(text: str, language: str, voice: str = "", hurry: float = 1.0) -> np.ndarray:
        count = round(seconds / hurry * RATE)
        return (0.3 * np.sin(np.arange(count) * 2 * np.pi * 997 / RATE)).astype(np.float32)

    monkeypatch.setattr(sound, "speak", say)
    monkeypatch.setattr(sound, "missing_voice", lambda _language: None)


def test_the_mix_is_as_long_and_as_loud_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_speech(monkeypatch)
    cues = [Cue("music", 0, 8, "warm"), Cue("ambience", 0, 8, "rain"), Cue("speech", 3, 5, "hello")]
    made = soundtrack(cues, 8.0, 5)
    assert made.samples.shape == (8 * RATE, 2) and made.samples.dtype == np.float32
    assert loudness(made.samples, RATE) == pytest.approx(-16, abs=0.3)
    assert np.abs(made.samples).max() <= PEAK + 1e-6
    assert np.array_equal(made.samples, soundtrack(cues, 8.0, 5).samples)


def test_everything_steps_back_under_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_speech(monkeypatch, 2.0)
    bed = [Cue("ambience", 0, 8, "rain")]
    without = soundtrack(bed, 8.0).samples
    spoken = soundtrack([*bed, Cue("speech", 3, 5.5, "hello")], 8.0).samples
    power = np.abs(np.fft.rfft(spoken[round(3.3 * RATE) : round(4.7 * RATE), 0])) ** 2
    high = np.fft.rfftfreq(round(4.7 * RATE) - round(3.3 * RATE), 1 / RATE) > 3000
    quiet = np.abs(np.fft.rfft(spoken[round(6.2 * RATE) : round(7.6 * RATE), 0])) ** 2
    drop = 10 * np.log10(power[high[: len(power)]].mean() / quiet[high[: len(quiet)]].mean())
    assert drop == pytest.approx(-6, abs=1.0)
    assert loudness(without, RATE) == pytest.approx(-16, abs=0.3)


def test_two_never_speak_at_once_and_late_words_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_speech(monkeypatch, 3.0)
    made = soundtrack([Cue("speech", 0, 2, "one"), Cue("speech", 2, 4, "two")], 5.0)
    first, second = made.spoken
    assert first.end - first.start == pytest.approx(3 / speech.FASTEST, abs=0.01)
    assert second.start >= first.end + sound.PAUSE - 0.01
    assert not made.notes
    cut = soundtrack([Cue("speech", 3, 5, "one")], 4.0)
    assert "cut off" in cut.notes[0] and cut.spoken[0].end == pytest.approx(4.0)


def test_without_a_voice_the_film_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech.shutil, "which", lambda _name: None)
    monkeypatch.setattr(speech, "has_piper", lambda: False)
    cues = [Cue("speech", 0, 2, "你好", "zh"), Cue("ambience", 0, 3, "wind")]
    made = soundtrack(cues, 3.0)
    assert "apt install espeak-ng" in made.notes[0]
    assert made.spoken[0].text == "你好"
    with pytest.raises(MissingExtraError, match="espeak-ng"):
        soundtrack(cues, 3.0, strict=True)
    assert 'pip install "longtake[voice]"' in str(missing_voice("en"))


def test_unknown_sounds_name_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean rain"):
        soundtrack([Cue("ambience", 0, 1, "rains")], 1.0)


def test_silence_stays_silent() -> None:
    made = soundtrack([], 1.0)
    assert made.samples.shape == (RATE, 2) and not made.samples.any()


@pytest.mark.parametrize(
    ("text", "default", "language"),
    [
        ("hello", "en", "en"),
        ("你好", "en", "zh"),
        ("こんにちは", "en", "ja"),
        ("hallo", "de", "de"),
        ("ok", "zh", "en"),
    ],
)
def test_language_by_letters(text: str, default: str, language: str) -> None:
    assert language_of(text, default) == language


def test_voices_differ() -> None:
    assert pitch_of("a woman") > pitch_of("") == 0 > pitch_of("a deep old man")
    assert pitch_of("年轻的女人") > 0


def test_resampling_keeps_a_tone() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(22050) / 22050).astype(np.float32)
    made = resample(tone, 22050)
    assert len(made) == RATE
    assert np.allclose(made[100:-100], np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)[100:-100], atol=0.01)


@needs_espeak
@pytest.mark.parametrize("language", ["en", "zh", "de"])
def test_espeak_speaks(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "has_piper", lambda: False)
    text = {"en": "Hello, world.", "zh": "你好，世界。", "de": "Guten Tag."}[language]
    said = speak(text, language)
    assert 0.4 * RATE < len(said) < 4 * RATE and np.abs(said).max() > 0.1
    faster = speak(text, language, hurry=1.3)
    assert len(faster) < 0.92 * len(said)
    woman = speak(text, language, "a woman")
    assert len(woman) == pytest.approx(len(said), rel=0.25)


@pytest.mark.slow  # starts a neural voice twice
@pytest.mark.skipif(not speech.has_piper(), reason="the voice extra is not installed")
def test_the_packaged_english_voice_speaks_and_repeats() -> None:
    said = speak("A golden puppy plays in the snow.", "en")
    assert 1.0 * RATE < len(said) < 5 * RATE
    assert np.array_equal(said, speak("A golden puppy plays in the snow.", "en"))


def test_nothing_to_say_is_nothing_heard() -> None:
    assert len(speak(" ... ", "en")) == 0
