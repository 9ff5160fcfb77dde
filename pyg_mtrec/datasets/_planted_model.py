"""The planted world: integer latents and the exact draws from them (equations: `Planted`)."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

NUM_TRAITS = 16
STRENGTHS = (3, 2, 1)  # tastes of a user for the three favourites
GROUP_SIZE = 50
BLOCK = 4096  # users drawn together; decides the order of the draws, so part of the version
PAIRS: Ints = np.stack(np.triu_indices(NUM_TRAITS, 1), axis=1).astype(np.int64)  # [120, 2]
PAIR_ID: Ints = np.zeros((NUM_TRAITS, NUM_TRAITS), np.int64)
PAIR_ID[PAIRS[:, 0], PAIRS[:, 1]] = PAIR_ID[PAIRS[:, 1], PAIRS[:, 0]] = np.arange(len(PAIRS))


def below(rng: np.random.Generator, high: Ints) -> Ints:
    # `random` is 53 raw bits and the product one IEEE rounding: the same integer everywhere.
    return np.minimum((rng.random(len(high)) * high).astype(np.int64), high - 1)


def uniform(rng: np.random.Generator, size: int, high: int) -> Ints:
    return below(rng, np.full(size, high, np.int64))


def tail(rng: np.random.Generator, size: int) -> Ints:
    # Lomax with exponent 2 in units of 1/1024, cut at 15: division and sqrt alone, both exact.
    draws = 1.0 / np.sqrt(1.0 - rng.random(size)) - 1.0
    return np.minimum(draws * 1024, 15 * 1024).astype(np.int64) + 1


def peers(rng: np.random.Generator, owner: Ints, member: Ints, asked: Ints) -> Ints:
    r"""One uniform member of each asked bucket; ``owner`` is the bucket of every entry."""
    order = np.argsort(owner, kind="stable")
    start = np.searchsorted(owner[order], asked)
    size = np.searchsorted(owner[order], asked, side="right") - start
    out: Ints = member[order[start + below(rng, size)]]
    return out


def links(source: Ints, target: Ints, num_targets: int) -> Ints:
    # Without loops and repeats, ordered by ids: the order of the draws tells nothing.
    keys = np.unique((source * num_targets + target)[source != target])
    return np.stack((keys // num_targets, keys % num_targets))


@dataclass(frozen=True)
class PlantedModel:
    r"""The latents of one world; every draw has a random stream of its own."""

    num_users: int
    num_items: int
    seed: int
    version: int
    favourites: Ints  # [U, 3] traits, strongest first
    codes: Ints  # [I] rows of PAIRS
    popularity: Ints  # [I] weight of an item for a user without taste for it
    groups: Ints  # [I] the second, unrelated space

    @classmethod
    def draw(
        cls, num_users: int, num_items: int, seed: int, version: int, first_part: int = 0
    ) -> "PlantedModel":
        def rng(part: int) -> np.random.Generator:
            return stream(version, seed, first_part + part)

        order = np.argsort(rng(0).random((num_users, NUM_TRAITS)), axis=1, kind="stable")
        rank = np.argsort(rng(2).random(num_items), kind="stable")
        return cls(
            num_users,
            num_items,
            seed,
            version,
            favourites=order[:, : len(STRENGTHS)].astype(np.int64),
            codes=uniform(rng(1), num_items, len(PAIRS)),
            popularity=(2**20 * num_items) // (num_items + 50 * rank.astype(np.int64)),
            groups=uniform(rng(3), num_items, -(-num_items // GROUP_SIZE)),
        )

    def tastes(self, users: slice = slice(None)) -> NDArray[np.int8]:
        favourites = self.favourites[users]
        out = np.zeros((len(favourites), NUM_TRAITS), np.int8)
        np.put_along_axis(out, favourites, np.array([STRENGTHS], np.int8), axis=1)
        return out

    def activity(self, num_interactions: int) -> Ints:
        least = min(5, num_interactions // self.num_users)
        spare = num_interactions - least * self.num_users
        weights = tail(stream(self.version, self.seed, 4), self.num_users)
        while True:
            bound = np.cumsum(weights)
            lengths: Ints = np.diff(bound * spare // bound[-1], prepend=0) + least
            if lengths.max() <= self.num_items // 4:
                return lengths
            weights = np.minimum(weights, max(1, weights.max() // 2))  # a shorter tail fits

    def interactions(self, num_interactions: int) -> Ints:
        lengths = self.activity(num_interactions)
        rng = stream(self.version, self.seed, 5)
        by_code = np.argsort(self.codes, kind="stable")
        bound = np.cumsum(self.popularity[by_code])  # [I] an item's slice of the popularity
        before = np.concatenate(([0], bound))
        edge = np.searchsorted(self.codes[by_code], np.arange(len(PAIRS) + 1))
        mass = np.diff(before[edge])  # [120] popularity of a code
        blocks = []
        for first in range(0, self.num_users, BLOCK):
            block = slice(first, min(first + BLOCK, self.num_users))
            power = self.tastes(block).astype(np.int64)[:, PAIRS].sum(-1)  # [b, 120]
            weight = (mass << power).ravel()
            stop = np.cumsum(weight)  # one line of integers: users, in them codes, in them items
            total = np.add.reduceat(weight, np.arange(0, len(weight), len(PAIRS)))
            begin = stop[len(PAIRS) - 1 :: len(PAIRS)] - total
            missing = lengths[block].copy()
            keys = np.empty(0, np.int64)
            while missing.any():
                # At most what is missing is drawn, so dropping repeats is exact: every kept draw
                # has probability weight / (weight not yet drawn), and nobody overshoots.
                user = np.repeat(np.arange(len(missing)), missing)
                point = begin[user] + below(rng, total[user])
                cell = np.searchsorted(stop, point, side="right")
                inside = (point - (stop[cell] - weight[cell])) >> power.ravel()[cell]
                place = np.searchsorted(
                    bound, inside + before[edge[cell % len(PAIRS)]], side="right"
                )
                keys = np.unique(np.concatenate((keys, user * self.num_items + by_code[place])))
                missing = lengths[block] - np.bincount(
                    keys // self.num_items, minlength=len(missing)
                )
            blocks.append(keys + first * self.num_items)
        keys = np.concatenate(blocks)
        return np.stack((keys // self.num_items, keys % self.num_items))

    def trusts(self, num_draws: int) -> Ints:
        rng = stream(self.version, self.seed, 6)
        bound = np.cumsum(tail(rng, self.num_users))
        source = np.searchsorted(bound, uniform(rng, num_draws, int(bound[-1])), side="right")
        # The pair without favourite 0, 1 or 2: rows of [U, 3].
        pairs = PAIR_ID[self.favourites[:, [1, 2, 0]], self.favourites[:, [2, 0, 1]]]
        asked = pairs[source, uniform(rng, num_draws, 3)]
        member = np.repeat(np.arange(self.num_users), 3)
        alike = peers(rng, pairs.ravel(), member, asked)
        anyone = uniform(rng, num_draws, self.num_users)
        return links(source, np.where(rng.random(num_draws) < 0.8, alike, anyone), self.num_users)

    def also_viewed(self, num_draws: int) -> Ints:
        rng = stream(self.version, self.seed, 7)
        source = uniform(rng, num_draws, self.num_items)
        traits = PAIRS[self.codes]  # [I, 2]
        asked = traits[source, uniform(rng, num_draws, 2)]
        alike = peers(rng, traits.ravel(), np.repeat(np.arange(self.num_items), 2), asked)
        anything = uniform(rng, num_draws, self.num_items)
        return links(source, np.where(rng.random(num_draws) < 0.5, alike, anything), self.num_items)

    def also_bought(self, num_draws: int) -> Ints:
        rng = stream(self.version, self.seed, 8)
        source = uniform(rng, num_draws, self.num_items)
        target = peers(rng, self.groups, np.arange(self.num_items), self.groups[source])
        return links(source, target, self.num_items)


def checksum(sizes: tuple[int, int], arrays: Iterable[Ints | Floats]) -> str:
    r"""SHA-256 over users, items, then the shape and content of every array, little-endian.

    Integers count as int64, other numbers as float32.
    """
    digest = hashlib.sha256(np.array(sizes, "<i8").tobytes())
    for array in arrays:
        digest.update(np.array(array.shape, "<i8").tobytes())
        if array.dtype.kind == "f":
            bits = np.array(array, "<f4").view("<u4")
            bits[np.isnan(array)] = 0x7FC00000  # platforms have several NaN
            digest.update(bits.data)
        else:
            digest.update(np.ascontiguousarray(array, "<i8").data)
    return digest.hexdigest()


def stream(version: int, seed: int, part: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([version, seed, part])))
