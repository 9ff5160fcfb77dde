from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchjd import Stateful
from torchjd.aggregation import (
    Aggregator,
    ExcessMTL,
    GramianWeightedAggregator,
    WeightedAggregator,
)

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import _plain_state
from pyg_mtrec.balancing._combine import weighted
from pyg_mtrec.balancing._global_draws import GlobalDraws
from pyg_mtrec.balancing.balancer import Balancer, Needs
from pyg_mtrec.gradients import TaskGradients, Update


class FromTorchJD(Balancer):
    r"""Any aggregator of `TorchJD <https://torchjd.org>`_, on the rows that a step touched.

    All rows of all tables and the encoder's own parameters are one vector a task,
    :math:`J \in \mathbb{R}^{T \times P}`, and the aggregator :math:`\mathcal{A}` makes the update:

    .. math::
        G = \mathcal{A}(J), \qquad \text{or } G = w(J J^\top)^\top J
        \text{ where it weighs by inner products.}

    In the second case :math:`J` is never put together: the aggregator's weighting gets the Gram
    matrix of the gathered gradients, every row gets the same mixture, and untouched rows cost
    nothing.

    TorchJD's rules draw from torch's global generators and, where they remember something, cannot
    load it. Here they draw from generators of their own (the global ones are as before after each
    step), and tensors, numbers, strings and tuples that a rule keeps beside its arguments are in
    :meth:`state_dict`: a resumed run goes on as it would have, on the same kind of device.

    Some rules need packages beside TorchJD (``CAGrad``, ``DualProj``, ``NashMTL``, ``UPGrad``) and
    say which when they are made. Three of them take gradients for zero whose squared norms sum to
    less than 1e-4, as those of batch means often do: ``CAGrad`` then stands still, ``DualProj`` and
    ``UPGrad`` return the mean. Lower their ``norm_eps``, or take :class:`CAGrad`, :class:`NashMTL`
    and :class:`UPGrad` of this package, which need no other and know no such threshold.

    Args:
        aggregator: The aggregator, new or reset. Tensors among its arguments need the gradients'
            device and type.
        at: Where the gradients are taken, ``"embedding"`` or ``"representation"``; :obj:`None`
            leaves it to the collector.
        seed: Where the generators start.

    Raises:
        InputError: If ``aggregator`` is none or ``at`` is unknown.

    Example:
        >>> import torch
        >>> from torchjd.aggregation import MGDA, TrimmedMean
        >>> from pyg_mtrec.balancing import FromTorchJD
        >>> grads = torch.tensor([[[2.0, 0.0]], [[0.0, 2.0]], [[8.0, 8.0]]])
        >>> FromTorchJD(MGDA())(grads), FromTorchJD(TrimmedMean(trim_number=1))(grads)
        (tensor([[1., 1.]]), tensor([[2., 2.]]))
    """

    needs: ClassVar[Needs] = "gram"
    aggregator: Aggregator

    def __init__(
        self,
        aggregator: Aggregator,
        at: Literal["embedding", "representation"] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(aggregator, Aggregator):
            raise InputError(
                "'aggregator' needs to be an object of 'torchjd.aggregation.Aggregator' in"
                f" 'FromTorchJD' (got {aggregator!r})"
            )
        if at not in (None, "embedding", "representation"):
            raise InputError(
                f"'at' needs to be 'embedding' or 'representation' in 'FromTorchJD' (got {at!r})"
            )
        # Beside the submodules: their buffers are None until the first step and would not load.
        vars(self)["aggregator"] = aggregator
        self.at = at
        self.draws = GlobalDraws(seed)
        self._loaded: dict[str, Any] | None = None
        if not self._weighs_by_gram():
            self.needs = "elements"  # type: ignore[misc] # what the rule looks at depends on it

    def update(self, gradients: TaskGradients, *, epoch: int) -> Update:
        r"""Combines all that the tasks share by the aggregator."""
        if isinstance(self.aggregator, GramianWeightedAggregator) and self._weighs_by_gram():
            # Rules cut off what rounding left; that is relative to the gradients' precision.
            gram = gradients.gram().to(_dtype(gradients))
            return weighted(gradients, self._call(self.aggregator.gramian_weighting, gram))
        if isinstance(self.aggregator, ExcessMTL):
            _check_whole_tables(gradients)
        blocks = [*(rows.grads for rows in gradients.rows.values()), *gradients.dense.values()]
        vector = self._call(self.aggregator, torch.cat([b.flatten(1) for b in blocks], dim=1))
        parts = vector.split([block[0].numel() for block in blocks])
        found = [part.view(block.shape[1:]) for part, block in zip(parts, blocks, strict=True)]
        rows = dict(zip(gradients.rows, found, strict=False))
        dense = dict(zip(gradients.dense, found[len(rows) :], strict=True))
        return Update(rows, dense, gradients.own)

    def _weighs_by_gram(self) -> bool:
        forward = type(self.aggregator).forward
        gramian = isinstance(self.aggregator, GramianWeightedAggregator)
        return gramian and forward is WeightedAggregator.forward

    def _call(self, rule: Callable[[Tensor], Tensor], matrix: Tensor) -> Tensor:
        if self._loaded is not None:
            self._restore(self._loaded, matrix.device)
            self._loaded = None
        with self.draws.lend(matrix.device), torch.no_grad():
            return rule(matrix)

    def _restore(self, state: dict[str, Any], device: torch.device) -> None:
        _plain_state.load_state(self.aggregator, state, device)
        for module in self.aggregator.modules():
            # The solver's problem of TorchJD's NashMTL, which it makes in its very first step.
            if getattr(module, "step", 0) and hasattr(module, "_init_optim_problem"):
                module._init_optim_problem()  # type: ignore[operator] # no submodule

    def reset(self) -> None:
        self._loaded = None
        self.draws.reset()
        if isinstance(self.aggregator, Stateful):
            self.aggregator.reset()

    def get_extra_state(self) -> dict[str, Any]:
        r"""Returns what the aggregator has learnt."""
        loaded = self._loaded
        return {
            "aggregator": _plain_state.save_state(self.aggregator) if loaded is None else loaded
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        r"""Continues with what a saved aggregator had learnt, once the device is known."""
        _plain_state.check_state(self.aggregator, state["aggregator"])
        self._loaded = state["aggregator"]

    def extra_repr(self) -> str:
        r"""Returns the aggregator."""
        return f"{self.aggregator!r}, at={self.at!r}"


def _dtype(gradients: TaskGradients) -> torch.dtype:
    blocks = [*(rows.grads for rows in gradients.rows.values()), *gradients.dense.values()]
    return torch.float64 if blocks[0].dtype == torch.float64 else torch.float32


def _check_whole_tables(gradients: TaskGradients) -> None:
    if any(rows.ids is not None for rows in gradients.rows.values()):
        raise InputError(
            "'ExcessMTL' keeps a number for every entry and cannot follow rows that change from"
            " step to step: take an encoder that propagates and at='embedding'"
        )
