"""BCH(127, 64) over GF(2^7): 63 check bits that mend up to 10 wrong ones of 127.

Bits are lists of 0 and 1, highest power first; the message stands in front of its check bits. Decoding is by
syndromes, Berlekamp-Massey and a search for the roots (Lin & Costello, Error Control Coding, ch. 6).
"""

from __future__ import annotations

from functools import lru_cache

LENGTH, MESSAGE, CORRECTED = 127, 64, 10
_PRIMITIVE = 0b10001001  # x^7 + x^3 + 1


def _tables() -> tuple[list[int], list[int]]:
    exponent, logarithm, value = [0] * 254, [0] * 128, 1
    for power in range(127):
        exponent[power] = exponent[power + 127] = value
        logarithm[value] = power
        value <<= 1
        if value & 128:
            value ^= _PRIMITIVE
    return exponent, logarithm


_EXP, _LOG = _tables()


def _product(a: int, b: int) -> int:
    return _EXP[_LOG[a] + _LOG[b]] if a and b else 0


@lru_cache(maxsize=1)
def _generator() -> int:
    """The product of the minimal polynomials of alpha^1 .. alpha^(2t), as bits of an integer."""
    generator, seen = 1, set[int]()
    for power in range(1, 2 * CORRECTED + 1):
        if power in seen:
            continue
        conjugates = {power * 2**i % 127 for i in range(7)}
        seen |= conjugates
        minimal = [1]  # coefficients in GF(2^7), lowest first
        for root in conjugates:
            shifted, scaled = [0, *minimal], [_product(c, _EXP[root]) for c in minimal] + [0]
            minimal = [a ^ b for a, b in zip(shifted, scaled, strict=True)]
        factor = sum(bit << i for i, bit in enumerate(minimal))
        generator = _multiply(generator, factor)
    assert generator.bit_length() == LENGTH - MESSAGE + 1
    return generator


def _multiply(a: int, b: int) -> int:
    """Of polynomials over GF(2)."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a, b = a << 1, b >> 1
    return product


def encode(message: int) -> list[int]:
    """64 message bits -> 127 code bits. Raises ValueError when the message is longer."""
    if message >> MESSAGE:
        raise ValueError(f"the message must fit into {MESSAGE} bits")
    check = LENGTH - MESSAGE
    remainder = message << check
    generator = _generator()
    while remainder.bit_length() > check:
        remainder ^= generator << (remainder.bit_length() - generator.bit_length())
    word = message << check | remainder
    return [word >> i & 1 for i in reversed(range(LENGTH))]


def decode(bits: list[int]) -> int | None:
    """127 bits, some of them wrong -> the message, or None when more than 10 are wrong and that can be told."""
    powers = [LENGTH - 1 - i for i, bit in enumerate(bits) if bit]
    syndromes = [0] * (2 * CORRECTED)
    for j in range(0, 2 * CORRECTED, 2):
        total = 0
        for power in powers:
            total ^= _EXP[power * (j + 1) % 127]
        syndromes[j] = total
    for j in range(1, 2 * CORRECTED, 2):  # binary code: S_2j = S_j^2
        half = syndromes[(j + 1) // 2 - 1]
        syndromes[j] = _product(half, half)
    word = sum(1 << power for power in powers)
    if any(syndromes):
        errors = _roots(_locator(syndromes))
        if errors is None:
            return None
        for power in errors:
            word ^= 1 << power
    return word >> (LENGTH - MESSAGE)


def _locator(syndromes: list[int]) -> list[int]:
    """Berlekamp-Massey: the shortest recurrence of the syndromes, lowest power first."""
    current, previous = [1], [1]
    length, gap, last = 0, 1, 1
    for n, syndrome in enumerate(syndromes):
        discrepancy = syndrome
        for i in range(1, min(length, len(current) - 1) + 1):
            discrepancy ^= _product(current[i], syndromes[n - i])
        if discrepancy == 0:
            gap += 1
            continue
        factor = _product(discrepancy, _EXP[(127 - _LOG[last]) % 127])
        correction = [0] * gap + [_product(factor, c) for c in previous]
        before = current
        size = max(len(current), len(correction))
        current = [
            (current[i] if i < len(current) else 0) ^ (correction[i] if i < len(correction) else 0)
            for i in range(size)
        ]
        if 2 * length <= n:
            length, previous, last, gap = n + 1 - length, before, discrepancy, 1
        else:
            gap += 1
    return current[: length + 1] if len(current) > length else current


def _roots(locator: list[int]) -> list[int] | None:
    """The powers at which the word is wrong, or None when the locator is not one of at most 10 errors."""
    while len(locator) > 1 and locator[-1] == 0:
        locator = locator[:-1]
    degree = len(locator) - 1
    if degree > CORRECTED:
        return None
    found = []
    for power in range(LENGTH):
        value = 0
        for i, coefficient in enumerate(locator):
            if coefficient:
                value ^= _EXP[(_LOG[coefficient] + (127 - power) * i) % 127]
        if value == 0:
            found.append(power)
    return found if len(found) == degree else None
