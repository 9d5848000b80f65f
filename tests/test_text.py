"""Tokenizer and text encoder: any text, one length, padding that changes nothing."""

from __future__ import annotations

import pytest
import torch

from longtake.errors import WeightsError
from longtake.model.presets import PRESETS, TextConfig
from longtake.model.text import TextEncoder, Tokenizer, train_tokenizer

CAPTIONS = ["a golden puppy plays in the snow", "一只金毛小狗在雪地里玩耍", "a red car drives at night"] * 20


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(CAPTIONS, 400)


def test_any_text_survives(tokenizer: Tokenizer) -> None:
    texts = ["a golden puppy", "一只小狗", "ñandú 🦤 ཨོཾ", "x" * 20, "a <padding> b"]
    tokens = tokenizer.encode(texts)
    assert tokens.shape == (5, 64) and tokens.dtype == torch.int64
    for text, row in zip(texts, tokens.tolist(), strict=True):
        assert tokenizer.decode(row) == text
        filled = [t for t in row if t]
        assert filled[0] == 1 and row == filled + [0] * (64 - len(filled))  # padding only at the end


def test_words_that_were_learned_are_short(tokenizer: Tokenizer) -> None:
    assert (tokenizer.encode(["a golden puppy plays in the snow"]) > 0).sum() == 8
    assert tokenizer.size <= 400


def test_case_and_width_do_not_matter(tokenizer: Tokenizer) -> None:
    rows = tokenizer(["A Golden PUPPY", "a golden puppy", "ａ golden puppy"])
    assert torch.equal(rows[0], rows[1]) and torch.equal(rows[1], rows[2])


def test_an_empty_prompt_has_one_token(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode([""]).tolist() == [[1] + [0] * 63]


def test_too_long_is_reported(tokenizer: Tokenizer) -> None:
    fits, cut = "puppy " * 63, "puppy " * 64
    assert not tokenizer.too_long(fits) and tokenizer.too_long(cut)
    assert tokenizer.encode([cut]).shape == (1, 64)
    assert torch.equal(tokenizer.encode([fits]), tokenizer.encode([cut]))


def test_json_brings_it_back(tokenizer: Tokenizer) -> None:
    again = Tokenizer(tokenizer.to_json())
    assert again.size == tokenizer.size and again.length == 64
    assert torch.equal(again(CAPTIONS[:2]), tokenizer(CAPTIONS[:2]))
    for damaged in ("", "{}", tokenizer.to_json()[:-9], tokenizer.to_json().replace("<opening>", "<o>")):
        with pytest.raises(WeightsError, match="tokenizer"):
            Tokenizer(damaged)


@torch.no_grad()
def test_padding_is_zero_and_changes_nothing(tokenizer: Tokenizer) -> None:
    encoder = TextEncoder(PRESETS["xs"].text).eval()
    tokens = tokenizer(["a red car", "一只小狗", ""])
    text = encoder(tokens)
    assert text.shape == (3, 64, 128)
    assert not text[tokens == 0].any() and (text[tokens > 0].abs().sum(-1) > 0).all()
    count = int((tokens[0] > 0).sum())
    assert torch.allclose(encoder(tokens[:1, :count]), text[:1, :count], atol=1e-5)


def test_learns_to_tell_two_texts_apart(tokenizer: Tokenizer) -> None:
    encoder = TextEncoder(TextConfig(400, 32, 2, 2))
    tokens, target = tokenizer(CAPTIONS[:2]), torch.tensor([-1.0, 1.0])
    optimizer = torch.optim.Adam(encoder.parameters(), 3e-3)
    for _ in range(60):
        loss = (encoder(tokens)[:, 0, 0] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
