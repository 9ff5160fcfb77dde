"""Behaviours and impressions that depend on them: integer latents and exact draws (`Planted`)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pyg_mtrec.datasets._planted_model import Floats, Ints, PlantedModel, below, stream, uniform

SequenceTargets = Literal["sequences", "sequences-control"]
BEHAVIOURS = ("views", "carts", "buys")
#: The behaviour that each target reads.
RELEVANCE: dict[SequenceTargets, dict[str, str]] = {
    "sequences": {"cart": "views", "buy": "carts"},
    "sequences-control": {"cart": "views", "buy": "views"},
}
NUM_TRAITS = 8
NUM_FAVOURITES = 2  # of a user, per behaviour
WINDOW = 5  # last events that count
DAY = 86_400
LOG_FROM = 10 * DAY  # no impression before; every behaviour has WINDOW events by then
LOG_FOR = 20 * DAY
END = LOG_FROM + LOG_FOR
FIRST_PART = 64  # first part of the random streams of all this; below: the other worlds' own
STREAMS_PER_BEHAVIOUR = 8

Events = tuple[Ints, Ints]  # users and items [2, E], times [E]


@dataclass(frozen=True)
class SequenceModel:
    r"""The latents of behaviours; every draw has a stream of its own."""

    world: PlantedModel
    version: int
    traits: Ints  # [I]
    favourites: Ints  # [3, U, 2] per behaviour

    @classmethod
    def draw(cls, world: PlantedModel, version: int) -> "SequenceModel":
        def shuffled(part: int, rows: int) -> Ints:
            keys = stream(version, world.seed, FIRST_PART + part).random((rows, NUM_TRAITS))
            return np.argsort(keys, axis=1, kind="stable").astype(np.int64)

        # Items next to each other in popularity carry all traits, so no trait is the popular one.
        traits = np.empty(world.num_items, np.int64)
        by_rank = np.argsort(-world.popularity, kind="stable")
        traits[by_rank] = shuffled(0, -(-world.num_items // NUM_TRAITS)).ravel()[: len(traits)]
        favourites = [
            shuffled(part, world.num_users)[:, :NUM_FAVOURITES]
            for part in range(1, 1 + len(BEHAVIOURS))
        ]
        return cls(world, version, traits, np.stack(favourites))

    def _rng(self, part: int) -> np.random.Generator:
        return stream(self.version, self.world.seed, FIRST_PART + part)

    def impressions(self, num_impressions: int) -> Events:
        r"""Returns pairs [2, E] and times [E], in the order of time."""
        user = np.repeat(np.arange(self.world.num_users), self.world.activity(num_impressions))
        bound = np.cumsum(self.world.popularity)
        point = uniform(self._rng(4), num_impressions, int(bound[-1]))
        item = np.searchsorted(bound, point, side="right")
        time = LOG_FROM + uniform(self._rng(5), num_impressions, LOG_FOR)
        order = np.argsort(time, kind="stable")
        return np.stack((user, item))[:, order], time[order]

    def labels(self, probability: NDArray[np.float64]) -> Floats:
        r"""Draws the targets [E, 2] of the given probabilities [2, E], each by itself."""
        rows = [self._rng(6 + k).random(p.size) < p for k, p in enumerate(probability)]
        return np.stack(rows, axis=1).astype(np.float32)

    def events(self, behaviour: str, num_impressions: int) -> Events:
        r"""Returns the events of one behaviour in the order of time."""
        number = BEHAVIOURS.index(behaviour)
        first = STREAMS_PER_BEHAVIOUR * (1 + number)
        count = self.world.activity(num_impressions) + WINDOW
        user = np.repeat(np.arange(self.world.num_users), count)
        place = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)  # in the history
        early = uniform(self._rng(first), len(user), LOG_FROM)
        late = LOG_FROM + uniform(self._rng(first + 1), len(user), LOG_FOR)
        time = np.where(place < WINDOW, early, late)
        time = np.sort(user * END + time) - user * END  # in order, user by user
        interest = self._interests(number, user, place == 0, first + 2)
        item = self._items(interest, first + 6)
        order = np.argsort(time, kind="stable")
        return np.stack((user, item))[:, order], time[order]

    def _interests(self, number: int, user: Ints, new: NDArray[np.bool_], part: int) -> Ints:
        r"""The trait [E] that a user is after at every event, which stays for four on average."""
        size = len(user)
        favourite = self.favourites[number][user, uniform(self._rng(part), size, NUM_FAVOURITES)]
        anything = uniform(self._rng(part + 1), size, NUM_TRAITS)
        fresh = np.where(self._rng(part + 2).random(size) < 0.5, favourite, anything)
        turn = new | (self._rng(part + 3).random(size) >= 0.75)
        out: Ints = fresh[np.maximum.accumulate(np.where(turn, np.arange(size), 0))]
        return out

    def _items(self, interest: Ints, part: int) -> Ints:
        r"""An item [E] of the trait with probability 0.8, else any item, both by popularity."""
        by_trait = np.argsort(self.traits, kind="stable")
        bound = np.cumsum(self.world.popularity[by_trait])  # [I] an item's slice
        edge = np.searchsorted(self.traits[by_trait], np.arange(NUM_TRAITS + 1))
        before = np.concatenate(([0], bound))[edge]
        own = self._rng(part).random(len(interest)) < 0.8
        low = np.where(own, before[interest], 0)
        high = np.where(own, before[interest + 1], bound[-1])
        point = low + below(self._rng(part + 1), high - low)
        out: Ints = by_trait[np.searchsorted(bound, point, side="right")]
        return out


def probability(trait: Ints, pairs: Ints, time: Ints, events: Events) -> NDArray[np.float64]:
    r"""What one behaviour makes of impressions [n], exactly rounded at every step.

    Args:
        trait: Trait of every item [I].
        pairs: Users and items of the impressions [2, n].
        time: Their times [n].
        events: Events of the behaviour, those of equal time in the order in which they happened.
    """
    user, item = pairs
    (owner, what), when = events
    happened = np.repeat([False, True], [len(user), len(owner)])
    # One order of everything, where an impression precedes the events of its own second.
    keys = (happened, np.concatenate((time, when)), np.concatenate((user, owner)))
    order = np.lexsort(keys)
    happened = happened[order]
    end = np.empty(len(user), np.int64)
    end[order[~happened]] = np.cumsum(happened)[~happened]  # events before, over all users
    event = order[happened] - len(user)
    owner = np.concatenate(([-1], owner[event]))  # nobody's event in front
    carried = np.concatenate(([-1], trait[what[event]]))
    matches = np.zeros(len(user), np.int64)
    for back in range(WINDOW):
        place = np.maximum(end - back, 0)
        matches += (owner[place] == user) & (carried[place] == trait[item])
    x = matches - 3 / 2
    out: NDArray[np.float64] = (1 + x / np.sqrt(1 + x * x)) / 2
    return out
