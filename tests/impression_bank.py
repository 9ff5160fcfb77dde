"""Small graphs of impressions, nasty on purpose: repeated pairs, ties in time, missing cells."""

import torch
from bank import MAIN
from torch_geometric.data import HeteroData


def impressions(
    num_rows: int = 40,
    num_users: int = 5,
    num_items: int = 7,
    num_times: int = 12,
    seed: int = 0,
    features: bool = True,
) -> HeteroData:
    r"""A log with the targets click, buy (both binary) and amount, of which some are unlabelled."""
    generator = torch.Generator().manual_seed(seed)

    def draw(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(0, high, shape, generator=generator)

    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = num_users, num_items
    store = data[MAIN]
    store.edge_index = torch.stack([draw(num_users, num_rows), draw(num_items, num_rows)])
    store.time = 10 * draw(num_times, num_rows)
    target = torch.stack(
        [
            draw(2, num_rows).float(),
            draw(2, num_rows).float(),
            torch.rand(num_rows, generator=generator) * 100,
        ],
        dim=1,
    )
    target[torch.rand(target.shape, generator=generator) < 0.1] = float("nan")
    store.target = target
    store.target_names = ["click", "buy", "amount"]
    store.target_kinds = ["binary", "binary", "continuous"]
    if not features:
        return data
    for key, size, width in (("user", num_users, 2), ("item", num_items, 1), (MAIN, num_rows, 1)):
        part = data[key]
        part.categorical = draw(5, size, width) - 1  # -1 is missing
        part.categorical_names = ["city", "job", "hour"][:width] if key == "user" else ["kind"]
        part.numeric = torch.rand(size, width, generator=generator)
        part.numeric[torch.rand(size, width, generator=generator) < 0.3] = float("nan")
        part.numeric_names = ["age", "height"][:width]
    return data
