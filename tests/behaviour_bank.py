"""Small graphs of timed behaviours, nasty on purpose: ties, repetitions, silent users."""

import torch
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

NAMES = ("views", "carts", "buys")
Event = tuple[int, int, int]  # user, item, time
Log = dict[str, list[Event]]

NUM_USERS, NUM_ITEMS = 4, 6


def logs(min_size: int = 0, max_size: int = 15) -> st.SearchStrategy[Log]:
    r"""Events in no order, of which some behaviours may have none and the last user has none."""
    event = st.tuples(
        st.integers(0, NUM_USERS - 2), st.integers(0, NUM_ITEMS - 1), st.integers(-3, 8)
    )
    events = st.lists(event, min_size=min_size, max_size=max_size)
    return st.fixed_dictionaries({name: events for name in NAMES})


def behaviours(log: Log, num_items: int = NUM_ITEMS, shift: int = 0) -> HeteroData:
    r"""The graph of a log, all times shifted."""
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = NUM_USERS, num_items
    for name, events in log.items():
        columns = torch.tensor(events, dtype=torch.long).view(-1, 3).t()
        data["user", name, "item"].edge_index = columns[:2].contiguous()
        data["user", name, "item"].time = columns[2] + shift
    return data
