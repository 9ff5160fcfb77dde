"""HeteroData to HeteroData: filters, splits and operators."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.transforms.add_behaviours import AddBehaviours as AddBehaviours
    from pyg_mtrec.transforms.add_task_hypergraphs import AddTaskHypergraphs as AddTaskHypergraphs
    from pyg_mtrec.transforms.cold_start_split import ColdStartSplit as ColdStartSplit
    from pyg_mtrec.transforms.draw_impressions import DrawImpressions as DrawImpressions
    from pyg_mtrec.transforms.k_core import KCore as KCore
    from pyg_mtrec.transforms.normalized_adjacency import NormalizedAdjacency as NormalizedAdjacency
    from pyg_mtrec.transforms.permute_ids import PermuteIds as PermuteIds
    from pyg_mtrec.transforms.split_impressions import SplitImpressions as SplitImpressions
    from pyg_mtrec.transforms.split_interactions import SplitInteractions as SplitInteractions

_NAMES = {
    "AddBehaviours": "add_behaviours",
    "AddTaskHypergraphs": "add_task_hypergraphs",
    "ColdStartSplit": "cold_start_split",
    "DrawImpressions": "draw_impressions",
    "KCore": "k_core",
    "NormalizedAdjacency": "normalized_adjacency",
    "PermuteIds": "permute_ids",
    "SplitImpressions": "split_impressions",
    "SplitInteractions": "split_interactions",
}
__all__ = [
    "AddBehaviours",
    "AddTaskHypergraphs",
    "ColdStartSplit",
    "DrawImpressions",
    "KCore",
    "NormalizedAdjacency",
    "PermuteIds",
    "SplitImpressions",
    "SplitInteractions",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
