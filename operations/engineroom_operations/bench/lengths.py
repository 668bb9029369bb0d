"""Lengths of prompts and answers: one number, a range, or a distribution with stated parameters."""

from __future__ import annotations

import math
import random
import re
from typing import NamedTuple

LARGEST = 1_000_000

_FORM = re.compile(
    r"(?P<least>\d+)(?:-(?P<largest>\d+))?|(?P<kind>normal|lognormal):(?P<a>\d+(?:\.\d+)?),(?P<b>\d+(?:\.\d+)?)(?:,(?P<max>\d+))?"
)


class Lengths(NamedTuple):
    """Numbers of tokens, each at least 1.

    kind: `fixed`, `uniform` from `a` to `b`, `normal` with mean `a` and deviation `b`, or `lognormal` with median `a`
        and deviation `b` of the natural logarithm.
    largest: longer ones are cut to this.
    """

    kind: str
    a: float
    b: float = 0
    largest: int = LARGEST

    @classmethod
    def parse(cls, text: str) -> Lengths:
        """Read `256`, `64-512`, `normal:256,64`, `lognormal:150,1.0,2048` (the last number is the largest length).

        Raises:
            ValueError: it is none of them. The text says so.
        """
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise ValueError(
                f"{text!r} is no length in tokens: write 256, 64-512, normal:MEAN,DEVIATION or "
                "lognormal:MEDIAN,SIGMA[,LARGEST]"
            )
        if match["kind"]:
            lengths = cls(match["kind"], float(match["a"]), float(match["b"]), int(match["max"] or LARGEST))
        elif match["largest"]:
            lengths = cls("uniform", int(match["least"]), int(match["largest"]))
        else:
            lengths = cls("fixed", int(match["least"]))
        if not 1 <= lengths.a <= LARGEST or (lengths.kind == "uniform" and not lengths.a <= lengths.b <= LARGEST):
            raise ValueError(f"{text!r}: lengths go from 1 to {LARGEST:,} tokens, the lower one first")
        if lengths.kind == "lognormal" and lengths.b > 5:
            raise ValueError(f"{text!r}: a sigma over 5 gives lengths that differ by a million times")
        return lengths

    def draw(self, chance: random.Random) -> int:
        if self.kind == "fixed":
            return int(self.a)
        if self.kind == "uniform":
            return chance.randint(int(self.a), int(self.b))
        if self.kind == "normal":
            drawn = chance.gauss(self.a, self.b)
        else:
            drawn = math.exp(chance.gauss(math.log(self.a), self.b))
        return max(1, min(self.largest, round(drawn)))

    def __str__(self) -> str:
        if self.kind == "fixed":
            return f"{self.a:g}"
        if self.kind == "uniform":
            return f"{self.a:g}-{self.b:g}"
        limit = f",{self.largest}" if self.largest < LARGEST else ""
        return f"{self.kind}:{self.a:g},{self.b:g}{limit}"
