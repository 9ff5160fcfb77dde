from collections.abc import Mapping

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.baselines._target_columns import target_columns


class ItemRate:
    r"""Predicts every target by its mean over the item's impressions, shrunk to the overall mean.

    .. math::
        \hat y^t_i = \frac{\lambda \, \bar y^t + \sum_{b \in L_{t,i}} y^t_b}
        {\lambda + |L_{t,i}|}, \qquad \bar y^t = \frac{1}{|L_t|} \sum_{b \in L_t} y^t_b

    where :math:`L_t` are the impressions whose label is known and :math:`L_{t,i}` those of item
    :math:`i` among them. It is to predictions what :class:`Popularity` is to rankings: what a model
    gains over it is what it knows of the user or the moment. Items that were never shown get the
    overall mean, and with :math:`\lambda \to \infty` all do, as with :class:`Constant`.

    Args:
        item: Items :math:`[n]` of the training impressions.
        label: Their labels of shape :math:`[n, K]`, NaN where unlabelled.
        targets: Target to ``"binary"`` or ``"continuous"``, in the order of the columns.
        num_items: Number of items of the catalogue.
        smoothing: Strength :math:`\lambda`, as many impressions of the overall mean are added to
            every item's own; to be chosen on validation.

    Raises:
        InputError: If ``smoothing`` is not positive, items do not match labels or are out of range,
            columns and targets do not match, a target has no label, or a label is infinite or, of a
            binary target, neither 0 nor 1.

    Example:
        >>> import torch
        >>> from pyg_mtrec.baselines import ItemRate
        >>> item, label = torch.tensor([0, 0, 1, 1]), torch.tensor([[1.0], [1.0], [0.0], [0.0]])
        >>> rate = ItemRate(item, label, {"click": "binary"}, num_items=3, smoothing=2.0)
        >>> rate
        ItemRate(click=0.5, num_items=3, smoothing=2)
        >>> rate.predict(torch.tensor([0, 1, 2]))["click"]
        tensor([0.7500, 0.2500, 0.5000], dtype=torch.float64)
    """

    def __init__(
        self,
        item: Tensor,
        label: Tensor,
        targets: Mapping[str, str],
        num_items: int,
        smoothing: float = 10.0,
    ) -> None:
        name = type(self).__name__
        columns = target_columns(label, targets, name)
        if not smoothing > 0:
            raise InputError(f"'smoothing' needs to be positive in '{name}' (got {smoothing})")
        if item.shape != label.shape[:1]:
            raise InputError(
                f"'item' needs one id per row of 'label' in '{name}' (got {list(item.shape)} and"
                f" {label.size(0)} rows)"
            )
        self.num_items, self.smoothing = num_items, smoothing
        item = self._checked(item)
        self.targets = dict(targets)
        self.means: dict[str, float] = {}
        #: Target to the prediction for every item :math:`[I]`, float64.
        self.rates: dict[str, Tensor] = {}
        for target, column in columns.items():
            known = ~column.isnan()
            column, own = column[known], item[known]
            mean = float(column.mean())
            # Sums of deviations, so that what is added is exactly nothing where nothing is known.
            sums = torch.zeros(num_items, dtype=torch.double).index_add_(0, own, column - mean)
            counts = torch.bincount(own, minlength=num_items).double()
            self.means[target] = mean
            self.rates[target] = mean + sums / (smoothing + counts)

    def predict(self, item: Tensor) -> dict[str, Tensor]:
        r"""Predicts every target of some impressions.

        Args:
            item: Their items :math:`[n]`.

        Returns:
            Target to prediction of shape :math:`[n]`, float64; a probability for a binary one.

        Raises:
            InputError: If an item is out of range.
        """
        item = self._checked(item)
        return {target: rate[item] for target, rate in self.rates.items()}

    def _checked(self, item: Tensor) -> Tensor:
        r"""Returns the items on the CPU, all of which are there."""
        item = item.detach().cpu()
        if item.numel() and not 0 <= int(item.min()) <= int(item.max()) < self.num_items:
            raise InputError(
                f"'item' needs ids in 0..{self.num_items - 1} in '{type(self).__name__}'"
                f" (got {int(item.min())}..{int(item.max())})"
            )
        return item

    def __repr__(self) -> str:
        means = ", ".join(f"{name}={mean:.4g}" for name, mean in self.means.items())
        sizes = f"num_items={self.num_items}, smoothing={self.smoothing:g}"
        return f"{self.__class__.__name__}({means}, {sizes})"
