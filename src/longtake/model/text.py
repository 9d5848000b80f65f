"""Words to vectors: a byte-level tokenizer learned from captions, and a small transformer encoder.

Byte-level pieces cover every language and sign; nothing is unknown. Token 0 is padding, token 1 opens every
prompt, so that an empty prompt has one token too. Axes: tokens b l, text b l d; rows are zero at padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tokenizers
import torch
from einops import rearrange
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.errors import WeightsError
from longtake.model.presets import TextConfig

PADDING, OPENING = "<padding>", "<opening>"  # tokens 0 and 1


class Tokenizer:
    """Text to token numbers, NFKC-normalised and lowercased, padded to one length."""

    def __init__(self, json: str) -> None:
        """From what `to_json` wrote. Raises WeightsError on anything else."""
        try:
            self._pieces = tokenizers.Tokenizer.from_str(json)
        except Exception as error:  # the library raises bare Exception
            raise WeightsError(f"cannot read the tokenizer: {error}; the file is not intact") from error
        if self._pieces.token_to_id(PADDING) != 0 or self._pieces.token_to_id(OPENING) != 1:
            raise WeightsError("the tokenizer is not one of longtake's: tokens 0 and 1 differ")
        self._pieces.encode_special_tokens = True  # a user's "<padding>" is text like any other
        padding = self._pieces.padding
        assert padding is not None
        self.length: int = padding["length"]
        self.size: int = self._pieces.get_vocab_size()

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """The same as `encode`."""
        return self.encode(texts)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Texts -> int64 b `length`, cut where too long (see `too_long`)."""
        return torch.tensor([e.ids for e in self._pieces.encode_batch(list(texts))], dtype=torch.int64)

    def too_long(self, text: str) -> bool:
        """Whether `encode` cuts this text."""
        return bool(self._pieces.encode(text).overflowing)

    def decode(self, tokens: Sequence[int]) -> str:
        """Token numbers -> the (normalised) text they stand for."""
        return str(self._pieces.decode([t for t in tokens if t > 1]))

    def to_json(self) -> str:
        return str(self._pieces.to_str())


def train_tokenizer(captions: Iterable[str], size: int, length: int = 64) -> Tokenizer:
    """Learn at most `size` pieces (256 bytes and two special tokens among them) from captions."""
    pieces = tokenizers.Tokenizer(models.BPE())
    pieces.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()]
    )
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    pieces.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=[PADDING, OPENING],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces.train_from_iterator(captions, trainer)
    pieces.post_processor = processors.TemplateProcessing(
        single=f"{OPENING} $A", special_tokens=[(OPENING, 1)]
    )
    pieces.enable_truncation(length)
    pieces.enable_padding(pad_id=0, pad_token=PADDING, length=length)
    return Tokenizer(pieces.to_str())


class TextBlock(nn.Module):
    """Pre-norm self-attention and feed-forward."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_qkv, self.to_out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.ffn_in, self.ffn_out = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Tokens b l d; mask b 1 1 l, true where a key is a word."""
        qkv = rearrange(self.to_qkv(self.norm1(x)), "b l (three k d) -> three b k l d", three=3, k=self.heads)
        q, k, v = qkv.unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.to_out(rearrange(y, "b k l d -> b l (k d)"))
        y = F.gelu(self.ffn_in(self.norm2(x)), approximate="tanh")
        out: Tensor = x + self.ffn_out(y)
        return out


class TextEncoder(nn.Module):
    """Token numbers -> one vector a token, the same whatever else is in the batch."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.dim)
        self.position = nn.Parameter(torch.empty(config.length, config.dim).normal_(std=0.02))
        self.blocks = nn.ModuleList([TextBlock(config.dim, config.heads) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(config.dim)
        nn.init.normal_(self.embedding.weight, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens b l, 0 = padding, l at most `config.length` -> b l d, zero at padding."""
        words = tokens > 0  # b l
        x = self.embedding(tokens) + self.position[: tokens.shape[1]]
        mask = words[:, None, None, :]
        for block in self.blocks:
            x = block(x, mask)
        out: Tensor = self.norm(x) * words[..., None]
        return out
