"""The program's random numbers: functions of a seed, a purpose, two coordinates and a number.

Philox 4x32-10 (Salmon et al. 2011, section 3.3), and the hash that makes a purpose a number.
"""

from __future__ import annotations

Words = tuple[int, int, int, int]


def fnv1a(data: bytes) -> int:
    """Returns the 64-bit FNV-1a hash."""
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Returns the block of Philox 4x32-10 (Salmon et al. 2011, section 3.3)."""
    a, b, c, d = counter
    low, high = key
    for _ in range(10):
        left, right = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = right >> 32 ^ b ^ low, right % 2**32, left >> 32 ^ d ^ high, left % 2**32
        low, high = (low + 0x9E3779B9) % 2**32, (high + 0xBB67AE85) % 2**32
    return a, b, c, d


class Stream:
    """The random numbers of one purpose: of a seed, and of two coordinates."""

    def __init__(self, seed: int, purpose: str, a: int = 0, b: int = 0) -> None:
        p = fnv1a(purpose.encode())
        key = philox((p % 2**32, p >> 32, a % 2**32, a >> 32), (seed % 2**32, seed >> 32))
        self.key, self.rest = (key[0] ^ b % 2**32, key[1] ^ b >> 32), (key[2], key[3])

    def bits(self, i: int) -> int:
        """Returns number i as 64 bits."""
        first, second, _, _ = philox((i % 2**32, i >> 32, *self.rest), self.key)
        return first << 32 | second

    def uniform(self, i: int) -> float:
        """Returns number i in [0, 1): the 53 upper bits of a block's first 64."""
        return (self.bits(i) >> 11) * 2.0**-53

    def below(self, i: int, count: int) -> int:
        """Returns number i as one of 0 .. count - 1."""
        return self.bits(i) * count >> 64


def chosen(places: list[int], count: int, draws: Stream) -> list[int]:
    """Returns `count` of the places, drawn without replacement: the first ones, once each has been swapped with itself or
    a later one."""
    places = list(places)
    for i in range(count):
        j = i + draws.below(i, len(places) - i)
        places[i], places[j] = places[j], places[i]
    return places[:count]
