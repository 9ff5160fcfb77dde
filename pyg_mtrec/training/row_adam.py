from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer

from pyg_mtrec._errors import InputError
from pyg_mtrec.gradients._unique_rows import unique_rows
from pyg_mtrec.training._skipped_steps import SkippedSteps, first_sparse_step

_CHUNK = 1 << 13  # rows


class RowAdam(Optimizer):
    r"""AdamW on large tables of which a step reads few rows, at the cost of these rows.

    Dense Adam sweeps over every row in every step: one without a gradient still moves by its
    momentum. This one leaves such rows where they are until they are read again, and then makes
    up for all skipped steps at once: from :math:`t` to :math:`T`, with moments :math:`m, v`,

    .. math::
        \mathbf{x}_T = \mathbf{x}_t \prod_{\tau} (1 - \eta \lambda) - \sum_{\tau = t + 1}^{T}
        \frac{\eta}{1 - \beta_1^\tau} \cdot \frac{\beta_1^{\tau - t} m}{
        \sqrt{v \beta_2^{\tau - t} / (1 - \beta_2^\tau)} + \epsilon}
        \prod_{\tau^\prime > \tau} (1 - \eta \lambda)

    in a closed form that is as exact as float32: training is that of :class:`torch.optim.AdamW`,
    and without weight decay that of :class:`torch.optim.Adam`. (A lazy Adam, such as
    :class:`torch.optim.SparseAdam`, drops these terms and is another method. Adam with coupled
    weight decay has a gradient in every row and no such form.) The first steps, 252 with the
    default ``betas``, are dense: the form is not exact yet.

    Whoever reads rows says so first: a collector does, once :meth:`watch` has been called. Anything
    that reads whole tables (an evaluation, a checkpoint) has to call :meth:`flush` before, as
    :class:`Trainer` does. An encoder that propagates reads all rows in every step and gains
    nothing.

    Args:
        tables: Name to embedding table.
        others: Parameters or groups that are dense, updated by :class:`torch.optim.AdamW`.
        lr: The learning rate :math:`\eta`.
        betas: :math:`\beta_1, \beta_2`.
        eps: :math:`\epsilon`.
        weight_decay: The decoupled weight decay :math:`\lambda`.

    Raises:
        InputError: If an argument is out of its range, there is no table, or ``betas`` forget too
            slowly for the closed form.

    Example:
        >>> import torch
        >>> from pyg_mtrec.training import RowAdam
        >>> table = torch.nn.Parameter(torch.ones(4, 2))
        >>> optimizer = RowAdam({"user": table}, lr=0.1)
        >>> optimizer.read({"user": torch.tensor([1, 3])})  # these rows are current now
        >>> table.grad = torch.zeros(4, 2)
        >>> table.grad[1] = 0.5
        >>> optimizer.step()
        >>> optimizer.flush()  # and now all of them
        >>> table[1]
        tensor([0.9000, 0.9000], grad_fn=<SelectBackward0>)
    """

    def __init__(
        self,
        tables: Mapping[str, Parameter],
        others: Iterable[Any] = (),
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if not tables:
            raise InputError("'RowAdam' needs at least one table (got none)")
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise InputError(f"'{name}' needs to be at least 0 in 'RowAdam' (got {value})")
        if not eps > 0:
            raise InputError(f"'eps' needs to be positive in 'RowAdam' (got {eps})")
        self.tables = dict(tables)
        self.dense_steps = first_sparse_step(betas, eps)
        options: dict[str, Any] = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        groups = [{"params": list(self.tables.values())}, *_as_groups(others)]
        super().__init__(groups, options)
        device = next(iter(self.tables.values())).device
        self._skipped = SkippedSteps(betas, eps, device)
        # The first and second moments of a row side by side, and the step that they are of.
        self._moments = {
            name: torch.zeros(table.size(0), 2, table.size(1), dtype=table.dtype, device=device)
            for name, table in self.tables.items()
        }
        self._last = {
            name: torch.zeros(table.size(0), dtype=torch.long, device=device)
            for name, table in self.tables.items()
        }
        self._read: dict[str, tuple[Tensor, Tensor] | None] = {}
        rest = self.param_groups[1:]
        self._others = AdamW(rest, fused=True, **options) if rest else None

    def watch(self, collector: Any) -> None:
        r"""Makes a collector say which rows it is about to read.

        Args:
            collector: A :class:`~pyg_mtrec.gradients.GradientCollector` or
                :class:`~pyg_mtrec.gradients.PredictionCollector` of these tables.
        """
        collector.on_read = self.read

    @torch.no_grad()
    def read(self, ids: Mapping[str, Tensor | None]) -> None:
        r"""Brings rows up to date. The next step is theirs; other rows have no gradient in it.

        Args:
            ids: Table to row ids :math:`[n]`, which may repeat, :obj:`None` for all rows.
        """
        self._read = {}
        for name, rows in ids.items():
            if self._is_sparse and rows is not None:
                rows = unique_rows(rows, static=rows.device.type != "cpu")
                self._read[name] = rows, self._catch_up(name, rows)
            elif self._is_sparse:
                self._flush(name)
                self._read[name] = None

    @torch.no_grad()
    def flush(self) -> None:
        r"""Brings all rows of all tables up to date."""
        if self._is_sparse:
            for name in self.tables:
                self._flush(name)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        r"""Takes one step.

        Args:
            closure: Not supported.
        """
        if self._is_sparse:
            for name, found in self._read.items():
                if found is None:
                    self._sweep(name)
                else:
                    self._update(name, *found)
        else:
            for name in self.tables:
                self._sweep(name)
        if self._others is not None:
            self._others.step()
        group = self.param_groups[0]
        self._skipped.advance(group["lr"], group["weight_decay"])
        self._read = {}

    def state_dict(self) -> dict[str, Any]:
        r"""Returns tensors and plain numbers: moments, and what skipped steps come to."""
        return {
            "groups": [
                {key: value for key, value in group.items() if key != "params"}
                for group in self.param_groups
            ],
            "moments": {name: moments.clone() for name, moments in self._moments.items()},
            "last": {name: last.clone() for name, last in self._last.items()},
            "skipped": self._skipped.state(),
            "others": None if self._others is None else self._others.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        r"""Puts a state back in place.

        Args:
            state_dict: What :meth:`state_dict` returned.
        """
        if self._others is not None:
            self._others.load_state_dict(state_dict["others"])
            self.param_groups[1:] = self._others.param_groups  # loading made new ones
        for group, saved in zip(self.param_groups, state_dict["groups"], strict=True):
            group.update(saved)
        for name in self.tables:
            self._moments[name].copy_(state_dict["moments"][name])
            self._last[name].copy_(state_dict["last"][name])
        self._skipped.load(state_dict["skipped"])

    @property
    def _is_sparse(self) -> bool:
        return self._skipped.step >= self.dense_steps

    def _catch_up(self, name: str, rows: Tensor) -> Tensor:
        """Writes what rows are now, and returns their moments [R, 2, d], which are not written."""
        table, last = self.tables[name], self._last[name].index_select(0, rows)
        moments = self._moments[name].index_select(0, rows)
        x = self._skipped.catch_up(table.index_select(0, rows), moments, last)
        table.index_copy_(0, rows, x)
        return moments

    def _flush(self, name: str) -> None:
        table = self.tables[name]
        for rows in torch.arange(table.size(0), device=table.device).split(_CHUNK):
            self._moments[name].index_copy_(0, rows, self._catch_up(name, rows))
        self._last[name].fill_(self._skipped.step)

    def _update(self, name: str, rows: Tensor, moments: Tensor) -> None:
        table, last = self.tables[name], self._last[name]
        if table.grad is not None:
            x = table.index_select(0, rows)
            self._move(x, moments, table.grad.index_select(0, rows))
            table.index_copy_(0, rows, x)
            self._moments[name].index_copy_(0, rows, moments)
            last.index_fill_(0, rows, self._skipped.step + 1)

    def _sweep(self, name: str) -> None:
        """A dense step, in pieces that stay in the cache."""
        table = self.tables[name]
        if table.grad is None:
            return
        parts = (x.split(_CHUNK) for x in (table, self._moments[name], table.grad))
        for x, moments, grad in zip(*parts, strict=True):
            self._move(x, moments, grad)
        self._last[name].fill_(self._skipped.step + 1)

    def _move(self, x: Tensor, moments: Tensor, grad: Tensor) -> None:
        group, step = self.param_groups[0], self._skipped.step + 1
        (first, second), lr = group["betas"], group["lr"]
        m, v = moments.unbind(1)
        m.lerp_(grad, 1 - first)
        v.mul_(second).addcmul_(grad, grad, value=1 - second)
        below = v.sqrt().div_((1 - second**step) ** 0.5).add_(group["eps"])
        x.mul_(1 - lr * group["weight_decay"])
        x.addcdiv_(m, below, value=-lr / (1 - first**step))


def _as_groups(others: Iterable[Any]) -> list[dict[str, Any]]:
    given = list(others)
    if given and not isinstance(given[0], dict):
        given = [{"params": given}]
    return [group for group in given if len(list(group["params"])) > 0]
