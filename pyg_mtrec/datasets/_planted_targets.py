"""Impressions with targets of the planted world: integer latents and exact draws (`Planted`)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyg_mtrec.datasets._planted_model import (
    NUM_TRAITS,
    PAIRS,
    Floats,
    Ints,
    PlantedModel,
    stream,
    uniform,
)

Targets = Literal["hybrid", "hybrid-control"]
TARGETS = {"click": "binary", "long_view": "binary", "watch_time": "continuous"}
NUM_DAYS = 30
SECOND_SPACE = 16  # first part of the random streams of the second space; below: the world's own
OWN = 32  # first part of the streams of everything else here


@dataclass(frozen=True)
class Space:
    r"""What an affinity is made of; both spaces follow one law, independently of each other."""

    tastes: NDArray[np.int8]  # [U, 16]
    traits: Ints  # [I, 2]
    leaning: Ints  # [U], in eighths like all below
    quality: Ints  # [I]
    from_hour: int  # first of the twelve hours of high affinity

    def affinity(self, user: Ints, item: Ints, hour: Ints) -> Ints:
        r"""Eighths :math:`8 x` of the affinity [n]."""
        first, second = self.traits[item].T
        taste = self.tastes[user, first].astype(np.int64) + self.tastes[user, second]
        high = (hour - self.from_hour) % 24 < 12
        own = self.leaning[user] + self.quality[item]
        out: Ints = 6 * taste - 8 + own + np.where(high, 2, -2)
        return out


@dataclass(frozen=True)
class TargetModel:
    r"""The latents of impressions and their targets; every draw has a stream of its own."""

    world: PlantedModel
    version: int
    spaces: tuple[Space, Space]
    duration: Ints  # [I] seconds

    @classmethod
    def draw(cls, world: PlantedModel, version: int) -> "TargetModel":
        other = PlantedModel.draw(
            world.num_users, world.num_items, world.seed, world.version, SECOND_SPACE
        )

        def rng(part: int) -> np.random.Generator:
            return stream(version, world.seed, OWN + part)

        def space(latents: PlantedModel, part: int, from_hour: int) -> Space:
            return Space(
                tastes=latents.tastes(),
                traits=PAIRS[latents.codes],
                leaning=uniform(rng(part), world.num_users, 5) - 2,
                quality=uniform(rng(part + 1), world.num_items, 5) - 2,
                from_hour=from_hour,
            )

        return cls(
            world,
            version,
            # Six hours apart: of a uniform hour, each half of the day tells nothing of the other.
            spaces=(space(world, 0, 12), space(other, 2, 6)),
            duration=uniform(rng(4), world.num_items, 21) + 20,
        )

    def _rng(self, part: int) -> np.random.Generator:
        return stream(self.version, self.world.seed, OWN + part)

    def impressions(self, num_impressions: int) -> tuple[Ints, Ints, Ints]:
        r"""Returns pairs [2, E], time and hour [E], in the order of time."""
        user = np.repeat(np.arange(self.world.num_users), self.world.activity(num_impressions))
        bound = np.cumsum(self.world.popularity)
        point = uniform(self._rng(5), num_impressions, int(bound[-1]))
        item = np.searchsorted(bound, point, side="right")
        rng = self._rng(6)
        day, hour, second = (uniform(rng, num_impressions, high) for high in (NUM_DAYS, 24, 3600))
        time = (day * 24 + hour) * 3600 + second
        order = np.argsort(time, kind="stable")
        return np.stack((user, item))[:, order], time[order], hour[order]

    def noise(self, num_impressions: int) -> Floats:
        r"""The context feature [E, 1] that tells nothing."""
        rng = self._rng(7)
        values = uniform(rng, num_impressions, 1024).astype(np.float32) / 1024
        return np.where(_gaps(rng, num_impressions, 0.1), np.nan, values)[:, None]

    def user_features(self) -> tuple[Ints, Floats]:
        r"""Interests and leanings [U, 2]: one column of each per space."""
        rng, size = self._rng(8), self.world.num_users
        interests, leanings = [], []
        for space in self.spaces:
            strongest = space.tastes.argmax(1).astype(np.int64)
            anything = uniform(rng, size, NUM_TRAITS)
            interest = np.where(rng.random(size) < 0.8, strongest, anything)
            interests.append(np.where(_gaps(rng, size, 0.2), -1, interest))
            reading = _reading(rng, space.leaning)
            leanings.append(np.where(_gaps(rng, size, 0.2), np.nan, reading))
        return np.stack(interests, axis=1), np.stack(leanings, axis=1)

    def item_features(self) -> tuple[Ints, Floats]:
        r"""Genres [I, 2], and qualities beside the duration [I, 3]: one of each per space."""
        rng, size = self._rng(9), self.world.num_items
        genres, qualities = [], []
        for space in self.spaces:
            one = space.traits[np.arange(size), uniform(rng, size, 2)]
            anything = uniform(rng, size, NUM_TRAITS)
            genre = np.where(rng.random(size) < 0.9, one, anything)
            genres.append(np.where(_gaps(rng, size, 0.1), -1, genre))
            reading = _reading(rng, space.quality)
            qualities.append(np.where(_gaps(rng, size, 0.1), np.nan, reading))
        qualities.append(self.duration.astype(np.float32))
        return np.stack(genres, axis=1), np.stack(qualities, axis=1)

    def expectations(
        self, targets: Targets, user: Ints, item: Ints, hour: Ints
    ) -> NDArray[np.float64]:
        r"""P(click), P(long view) and E[watch time] [3, n], exactly rounded at every step."""
        core = self.spaces[0].affinity(user, item, hour) / 8
        space = self.spaces[0 if targets == "hybrid" else 1]
        x = space.affinity(user, item, hour) / 8
        click = _sigmoid(x)
        watch_time = self.duration[item] / 4 * (core + np.sqrt(1 + core * core))
        return np.stack((click, click * _sigmoid(x / 2 - 1 / 8), watch_time))

    def labels(self, expected: NDArray[np.float64]) -> Floats:
        r"""Draws the targets [E, 3] of the given expectations [3, E]."""
        size = expected.shape[1]
        # One uniform number decides on both: below P(long view) < P(click) a click is a long view.
        point = self._rng(10).random(size)
        # The middle of one of 2^32 equal parts: never 0 or 1, and exact.
        rest = (uniform(self._rng(11), size, 2**32) + 0.5) / 2**32
        noise = 7 * (1 / np.sqrt(np.sqrt(np.sqrt(rest))) - 1)
        rows = (point < expected[0], point < expected[1], expected[2] * noise)
        return np.stack(rows, axis=1).astype(np.float32)


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = (1 + x / np.sqrt(1 + x * x)) / 2
    return out


def _reading(rng: np.random.Generator, latent: Ints) -> Floats:
    error = uniform(rng, len(latent), 5) - 2
    out: Floats = (latent + error).astype(np.float32) / np.float32(8)
    return out


def _gaps(rng: np.random.Generator, size: int, share: float) -> NDArray[np.bool_]:
    return rng.random(size) < share
