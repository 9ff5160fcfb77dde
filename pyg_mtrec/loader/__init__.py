"""HeteroData to batches: one sampler per kind of supervision."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.loader.batch import Batch as Batch
    from pyg_mtrec.loader.behaviour_sequences import BehaviourSequences as BehaviourSequences
    from pyg_mtrec.loader.edge_sampler import EdgeSampler as EdgeSampler
    from pyg_mtrec.loader.full_batch import FullBatch as FullBatch
    from pyg_mtrec.loader.impression_loader import ImpressionLoader as ImpressionLoader
    from pyg_mtrec.loader.impressions import Impressions as Impressions
    from pyg_mtrec.loader.multi_task_loader import MultiTaskLoader as MultiTaskLoader
    from pyg_mtrec.loader.negative_sampler import NegativeSampler as NegativeSampler
    from pyg_mtrec.loader.partner_sampler import PartnerSampler as PartnerSampler
    from pyg_mtrec.loader.sampler import Sampler as Sampler

_NAMES = {
    "Batch": "batch",
    "BehaviourSequences": "behaviour_sequences",
    "EdgeSampler": "edge_sampler",
    "FullBatch": "full_batch",
    "ImpressionLoader": "impression_loader",
    "Impressions": "impressions",
    "MultiTaskLoader": "multi_task_loader",
    "NegativeSampler": "negative_sampler",
    "PartnerSampler": "partner_sampler",
    "Sampler": "sampler",
}
__all__ = [
    "Batch",
    "BehaviourSequences",
    "EdgeSampler",
    "FullBatch",
    "ImpressionLoader",
    "Impressions",
    "MultiTaskLoader",
    "NegativeSampler",
    "PartnerSampler",
    "Sampler",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
