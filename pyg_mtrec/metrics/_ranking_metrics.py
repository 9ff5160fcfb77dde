"""Ranking metrics of every user from one matrix of hits."""

import torch
from torch import Tensor

DEFINITIONS = {
    "recall": "hits in the top k / |relevant|",
    "ndcg": "sum of 1/log2(rank + 1) over hits in the top k / the same sum over ranks "
    "1 .. min(k, |relevant|)",
    "hit_ratio": "1 if the top k holds a hit, else 0",
    "precision": "hits in the top k / k",
    "mrr": "1 / rank of the first hit in the top k, else 0",
    "map": "sum over hits in the top k of the precision at their rank / min(k, |relevant|)",
    "coverage": "share of all items that stand in the top k of at least one evaluated user",
}


def per_user(hits: Tensor, num_relevant: Tensor, k: int) -> dict[str, Tensor]:
    """Returns every per-user metric at ``k`` in float64.

    Args:
        hits: Whether the item at each rank is relevant, ``[n, >= k]`` (bool).
        num_relevant: Number of relevant items per user ``[n]``, positive.
        k: The cut.
    """
    hit = hits[:, :k].double()
    rank = torch.arange(1, k + 1, dtype=torch.double, device=hit.device)
    gain = 1.0 / (rank + 1.0).log2()  # [k]
    found = hit.cumsum(dim=1)  # [n, k]
    ideal = num_relevant.clamp(max=k)
    return {
        "recall": found[:, -1] / num_relevant,
        "ndcg": (hit @ gain) / gain.cumsum(0)[ideal - 1],
        "hit_ratio": (found[:, -1] > 0).double(),
        "precision": found[:, -1] / k,
        "mrr": (hit / rank).amax(dim=1),
        "map": (hit * found / rank).sum(dim=1) / ideal,
    }
