"""Per-task gradients to one update."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.balancing.aligned_mtl import AlignedMTL as AlignedMTL
    from pyg_mtrec.balancing.balancer import Balancer as Balancer
    from pyg_mtrec.balancing.cagrad import CAGrad as CAGrad
    from pyg_mtrec.balancing.constant import Constant as Constant
    from pyg_mtrec.balancing.dwa import DWA as DWA
    from pyg_mtrec.balancing.from_torchjd import FromTorchJD as FromTorchJD
    from pyg_mtrec.balancing.graddrop import GradDrop as GradDrop
    from pyg_mtrec.balancing.gradient_adjustment import GradientAdjustment as GradientAdjustment
    from pyg_mtrec.balancing.gradvac import GradVac as GradVac
    from pyg_mtrec.balancing.gram_balancer import GramBalancer as GramBalancer
    from pyg_mtrec.balancing.imtlg import IMTLG as IMTLG
    from pyg_mtrec.balancing.loss_balancer import LossBalancer as LossBalancer
    from pyg_mtrec.balancing.mean import Mean as Mean
    from pyg_mtrec.balancing.metabalance import MetaBalance as MetaBalance
    from pyg_mtrec.balancing.mgda import MGDA as MGDA
    from pyg_mtrec.balancing.nash_mtl import NashMTL as NashMTL
    from pyg_mtrec.balancing.pcgrad import PCGrad as PCGrad
    from pyg_mtrec.balancing.pmtrec import PMTRec as PMTRec
    from pyg_mtrec.balancing.rlw import RLW as RLW
    from pyg_mtrec.balancing.sum import Sum as Sum
    from pyg_mtrec.balancing.uncertainty_weighting import (
        UncertaintyWeighting as UncertaintyWeighting,
    )
    from pyg_mtrec.balancing.upgrad import UPGrad as UPGrad

_NAMES = {
    "AlignedMTL": "aligned_mtl",
    "Balancer": "balancer",
    "CAGrad": "cagrad",
    "Constant": "constant",
    "DWA": "dwa",
    "FromTorchJD": "from_torchjd",
    "GradDrop": "graddrop",
    "GradVac": "gradvac",
    "GradientAdjustment": "gradient_adjustment",
    "GramBalancer": "gram_balancer",
    "IMTLG": "imtlg",
    "LossBalancer": "loss_balancer",
    "MGDA": "mgda",
    "Mean": "mean",
    "MetaBalance": "metabalance",
    "NashMTL": "nash_mtl",
    "PCGrad": "pcgrad",
    "PMTRec": "pmtrec",
    "RLW": "rlw",
    "Sum": "sum",
    "UPGrad": "upgrad",
    "UncertaintyWeighting": "uncertainty_weighting",
}
__all__ = [
    "AlignedMTL",
    "Balancer",
    "CAGrad",
    "Constant",
    "DWA",
    "FromTorchJD",
    "GradDrop",
    "GradVac",
    "GradientAdjustment",
    "GramBalancer",
    "IMTLG",
    "LossBalancer",
    "MGDA",
    "Mean",
    "MetaBalance",
    "NashMTL",
    "PCGrad",
    "PMTRec",
    "RLW",
    "Sum",
    "UPGrad",
    "UncertaintyWeighting",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
