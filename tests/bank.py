"""A bank of small, nasty graphs in the project's schema, shared by all tests.

Every graph has the node types ``user`` and ``item`` and the relation
``('user', 'interacts', 'item')`` with at least one interaction; everything else varies.
Each call builds fresh tensors, so a test may modify what it gets.
"""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

MAIN = ("user", "interacts", "item")
TRUSTS = ("user", "trusts", "user")
ALSO_VIEWED = ("item", "also_viewed", "item")
IN_CATEGORY = ("item", "in", "category")
IN_GROUP = ("user", "in", "group")
VIEWS = ("user", "views", "item")
CARTS = ("user", "carts", "item")
REVERSE = ("item", "rev_interacts", "user")


def graphs() -> dict[str, HeteroData]:
    r"""Returns the bank: a name that says what is nasty, and the graph."""
    return {
        "plain": _plain(),
        "one_relation": _random(6, 7, 20, seed=1),
        "empty_relation": _empty_relation(),
        "user_without_items": _user_without_items(),
        "all_items_seen": _all_items_seen(),
        "one_item": _one_item(),
        "one_user": _one_user(),
        "single_edge": _single_edge(),
        "duplicates": _duplicates(),
        "isolated_nodes": _isolated_nodes(),
        "hub": _hub(),
        "self_loops": _self_loops(),
        "string_ids": _string_ids(),
        "behaviours": _behaviours(),
        "groups": _groups(),
        "given_split": _given_split(),
        "given_split_with_validation": _given_split(validation=True),
        "equal_times": _equal_times(),
        "huge_times": _huge_times(),
        "no_raw_id": _no_raw_id(),
        "larger": _larger(),
    }


def no_interactions() -> HeteroData:
    r"""A graph without a single interaction, which everything that trains has to refuse."""
    return _graph(3, 4, [], [])


def pairs(edge_index: Tensor) -> list[tuple[int, int]]:
    r"""The columns of an ``edge_index`` as Python tuples."""
    return [(int(src), int(dst)) for src, dst in edge_index.t().tolist()]


def _graph(
    num_users: int, num_items: int, users: list[int] | Tensor, items: list[int] | Tensor
) -> HeteroData:
    data = HeteroData()
    # Raw ids with gaps and in no order: whoever confuses them with node ids is found out.
    for node_type, num_nodes, step in (("user", num_users, 7), ("item", num_items, 11)):
        data[node_type].num_nodes = num_nodes
        data[node_type].raw_id = 1000 + step * torch.arange(num_nodes).flip(0)
    src, dst = torch.as_tensor(users), torch.as_tensor(items)
    data[MAIN].edge_index = torch.stack([src, dst]).long()
    return data


def _with_attributes(data: HeteroData, seed: int = 0) -> HeteroData:
    generator = torch.Generator().manual_seed(seed)
    num_edges = data[MAIN].edge_index.size(1)
    data[MAIN].rating = torch.randint(1, 6, (num_edges,), generator=generator).float()
    # Few distinct times, so that there are ties.
    data[MAIN].time = torch.randint(0, max(1, num_edges // 2), (num_edges,), generator=generator)
    return data


def _random(num_users: int, num_items: int, num_edges: int, seed: int) -> HeteroData:
    generator = torch.Generator().manual_seed(seed)
    flat = torch.randperm(num_users * num_items, generator=generator)[:num_edges]
    return _graph(num_users, num_items, flat // num_items, flat % num_items)


def _plain() -> HeteroData:
    data = _with_attributes(_random(8, 10, 40, seed=0))
    data[TRUSTS].edge_index = torch.tensor([[0, 1, 2, 3, 4, 7, 5], [1, 0, 4, 5, 6, 0, 3]])
    data[ALSO_VIEWED].edge_index = torch.tensor([[0, 1, 2, 9, 3], [1, 2, 0, 3, 9]])
    data["category"].num_nodes = 3
    data["category"].raw_id = torch.tensor([5, 2, 9])
    # Item 9 is in no category, category 2 has one item, item 0 is in two.
    data[IN_CATEGORY].edge_index = torch.tensor(
        [[0, 0, 1, 2, 3, 4, 5, 6, 7, 8], [0, 1, 0, 0, 1, 1, 0, 1, 0, 2]]
    )
    return data


def _empty_relation() -> HeteroData:
    data = _with_attributes(_random(5, 6, 15, seed=2), seed=2)
    for edge_type in (TRUSTS, ALSO_VIEWED, VIEWS):
        data[edge_type].edge_index = torch.empty(2, 0, dtype=torch.long)
    data[VIEWS].time = torch.empty(0, dtype=torch.long)
    data["category"].num_nodes = 2
    data["category"].raw_id = torch.arange(2)
    data[IN_CATEGORY].edge_index = torch.empty(2, 0, dtype=torch.long)
    return data


def _user_without_items() -> HeteroData:
    data = _graph(4, 5, [0, 0, 0, 2, 2, 2, 2, 3], [0, 1, 2, 1, 2, 3, 4, 4])
    data[TRUSTS].edge_index = torch.tensor([[1, 0], [0, 1]])  # user 1 is known by trust alone
    return _with_attributes(data, seed=3)


def _all_items_seen() -> HeteroData:
    return _with_attributes(_graph(3, 4, [1, 1, 1, 1, 0, 2, 2], [0, 1, 2, 3, 0, 2, 3]), seed=4)


def _one_item() -> HeteroData:
    return _with_attributes(_graph(5, 1, [0, 1, 2, 3, 4], [0, 0, 0, 0, 0]), seed=5)


def _one_user() -> HeteroData:
    return _with_attributes(_graph(1, 6, [0, 0, 0, 0], [5, 3, 1, 0]), seed=6)


def _single_edge() -> HeteroData:
    return _with_attributes(_graph(1, 1, [0], [0]), seed=7)


def _duplicates() -> HeteroData:
    # Pair (0, 1) four times, (2, 0) twice, with ratings and times that differ.
    data = _graph(3, 4, [0, 2, 0, 1, 0, 2, 0, 1, 2, 1], [1, 0, 1, 2, 1, 0, 1, 3, 3, 0])
    data[MAIN].rating = torch.tensor([5.0, 1, 4, 3, 2, 2, 1, 5, 4, 3])
    data[MAIN].time = torch.tensor([9, 1, 3, 4, 8, 2, 7, 5, 6, 0])
    data[TRUSTS].edge_index = torch.tensor([[0, 0, 1], [1, 1, 2]])
    return data


def _isolated_nodes() -> HeteroData:
    data = _with_attributes(_graph(9, 12, [3, 3, 3, 5, 5, 5], [4, 6, 8, 4, 6, 10]), seed=8)
    data["category"].num_nodes = 4
    data["category"].raw_id = torch.arange(4)
    data[IN_CATEGORY].edge_index = torch.tensor([[4, 11], [1, 3]])
    return data


def _hub() -> HeteroData:
    # Item 0 is everybody's, user 0 has most items, the rest has one each: a long tail.
    users = [*range(20), *([0] * 9)]
    items = [*([0] * 20), *range(1, 10)]
    return _with_attributes(_graph(20, 30, users, items), seed=9)


def _self_loops() -> HeteroData:
    data = _with_attributes(_random(4, 4, 10, seed=10), seed=10)
    data[TRUSTS].edge_index = torch.tensor([[0, 1, 1, 2, 2, 3], [0, 1, 2, 1, 1, 3]])
    data[ALSO_VIEWED].edge_index = torch.tensor([[2, 0], [2, 0]])
    return data


def _string_ids() -> HeteroData:
    data = _with_attributes(_random(4, 3, 9, seed=11), seed=11)
    tables = {}
    for node_type, names in (
        ("user", ["b", "", "Zoë, the 3rd", "a"]),
        ("item", ["i-10", "i-9", "\N{SNOWMAN}"]),
    ):
        encoded = [name.encode() for name in names]
        sizes = torch.tensor([0, *map(len, encoded)])
        tables[node_type] = {
            "bytes": torch.tensor(list(b"".join(encoded)), dtype=torch.uint8),
            "offsets": sizes.cumsum(0),
        }
        data[node_type].raw_id = torch.arange(len(names))
    data.raw_id_tables = tables
    return data


def _behaviours() -> HeteroData:
    # Views repeat and cover all interactions, carts cover some, the reverse relation all.
    data = _with_attributes(_random(6, 8, 24, seed=12), seed=12)
    edge_index = data[MAIN].edge_index
    elsewhere = torch.tensor([[0, 0, 5], [0, 0, 7]])
    data[VIEWS].edge_index = torch.cat([edge_index, edge_index[:, :5], elsewhere], dim=1)
    data[VIEWS].time = torch.arange(data[VIEWS].edge_index.size(1))
    data[CARTS].edge_index = edge_index[:, ::2].contiguous()
    data[CARTS].time = torch.arange(data[CARTS].edge_index.size(1))
    data[REVERSE].edge_index = edge_index.flip(0)
    data[REVERSE].rating = data[MAIN].rating
    return data


def _groups() -> HeteroData:
    # Incidences repeat, group 1 is empty, group 3 has one member, user 6 and item 6 are isolated.
    data = _with_attributes(_random(6, 7, 22, seed=18), seed=18)
    data[MAIN].edge_index = data[MAIN].edge_index.clamp(max=5)
    data["user"].num_nodes, data["item"].num_nodes = 7, 7
    data["user"].raw_id = torch.tensor([3, 9, 1, 4, 0, 8, 5])
    data["group"].num_nodes, data["category"].num_nodes = 4, 1
    data["group"].raw_id, data["category"].raw_id = torch.tensor([7, 1, 3, 9]), torch.tensor([2])
    data[IN_GROUP].edge_index = torch.tensor([[0, 1, 0, 2, 2, 3, 4, 0], [0, 0, 0, 2, 2, 2, 3, 2]])
    data[IN_CATEGORY].edge_index = torch.tensor([[0, 1, 1, 4], [0, 0, 0, 0]])
    data[TRUSTS].edge_index = torch.tensor([[0, 0, 0, 2, 3, 4], [1, 1, 0, 0, 2, 4]])
    return data


def _given_split(validation: bool = False) -> HeteroData:
    data = _with_attributes(_random(6, 9, 30, seed=13), seed=13)
    split = (torch.arange(30) % 5 == 0).to(torch.int8) * 2
    if validation:
        split[torch.arange(30) % 5 == 1] = 1
    data[MAIN].split = split
    return data


def _equal_times() -> HeteroData:
    data = _with_attributes(_random(5, 5, 15, seed=14), seed=14)
    data[MAIN].time = torch.full((15,), 1_700_000_000)
    return data


def _huge_times() -> HeteroData:
    # Microseconds that differ in digits which float32, and even float64, cannot hold.
    data = _with_attributes(_random(5, 6, 18, seed=15), seed=15)
    data[MAIN].time = (1 << 60) + torch.arange(18).flip(0)
    return data


def _no_raw_id() -> HeteroData:
    data = _random(5, 6, 18, seed=16)
    del data["user"].raw_id, data["item"].raw_id
    return data


def _larger() -> HeteroData:
    generator = torch.Generator().manual_seed(17)
    flat = (torch.rand(4000, generator=generator).pow(3) * 60 * 90).long().unique()
    flat = flat[torch.randperm(flat.numel(), generator=generator)]
    data = _with_attributes(_graph(60, 90, flat % 60, flat // 60), seed=17)
    data[TRUSTS].edge_index = torch.randint(0, 60, (2, 150), generator=generator)
    data[ALSO_VIEWED].edge_index = torch.randint(0, 90, (2, 200), generator=generator)
    data["category"].num_nodes = 6
    data["category"].raw_id = torch.arange(6)
    data[IN_CATEGORY].edge_index = torch.stack(
        [torch.arange(90), torch.randint(0, 6, (90,), generator=generator)]
    )
    return data
