import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from pyg_mtrec._errors import InputError
from pyg_mtrec.tasks.prediction_task import Kind, PredictionTask

Transform = Literal["none", "log1p"]
Loss = Literal["mse", "huber"]


class Regression(PredictionTask):
    r"""A continuous target, such as a watch time, standardised on training statistics.

    .. math::
        \ell_b = \left( z_b - \frac{f(y_b) - \mu}{\sigma} \right)^2

    with the head's output :math:`z_b` and :math:`f` the identity or :math:`\log(1 + y)`; the loss
    is the mean over the rows that have a label. Without standardisation the size of a gradient, and
    with it every rule that compares gradients of tasks, would depend on the unit of the target.

    Args:
        target: The target's name.
        mean: Mean :math:`\mu` of :math:`f(y)` over the training labels.
        std: Standard deviation :math:`\sigma` of :math:`f(y)` over the training labels.
        transform: ``"none"``, or ``"log1p"`` for targets of at least zero with a long tail. What
            is predicted is then the exponential of a mean, which lies below the mean itself.
        loss: ``"mse"``, or ``"huber"``: half the square up to one standard deviation, linear
            beyond.

    Raises:
        InputError: If ``std`` is not positive, a number is not finite, or a choice is unknown.

    Example:
        >>> import torch
        >>> from pyg_mtrec.tasks import Regression
        >>> task = Regression.from_labels("seconds", torch.tensor([10.0, 20.0, 30.0]))
        >>> task
        Regression('seconds', mean=20, std=8.165)
        >>> task(torch.tensor([0.0]), torch.tensor([20.0]))
        tensor(0.)
        >>> task.predict(torch.tensor([1.0]))
        tensor([28.1650])
    """

    kind: Kind = "continuous"
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        target: str,
        mean: float = 0.0,
        std: float = 1.0,
        transform: Transform = "none",
        loss: Loss = "mse",
    ) -> None:
        super().__init__(target)
        if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
            raise InputError(
                f"'mean' and 'std' of {target!r} need to be finite, 'std' positive, in 'Regression'"
                f" (got {mean} and {std})"
            )
        for name, value, known in (
            ("transform", transform, ("none", "log1p")),
            ("loss", loss, ("mse", "huber")),
        ):
            if value not in known:
                raise InputError(
                    f"'{name}' needs to be '{known[0]}' or '{known[1]}' in 'Regression'"
                    f" (got {value!r})"
                )
        self.transform, self.loss = transform, loss
        # In float64: a mean may be huge beside the deviation. Saved, so that a model is complete.
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64))

    @classmethod
    def from_labels(
        cls, target: str, label: Tensor, transform: Transform = "none", loss: Loss = "mse"
    ) -> "Regression":
        r"""Makes the task with the mean and the deviation of training labels.

        Args:
            target: The target's name.
            label: Training labels :math:`[n]`, NaN where there is none.
            transform: ``"none"`` or ``"log1p"``.
            loss: ``"mse"`` or ``"huber"``.

        Raises:
            InputError: If there is no label, all are equal, one is infinite, or one is negative
                with ``transform="log1p"``.
        """
        known = label[~label.isnan()].double()
        if known.numel() == 0 or not bool(known.isfinite().all()):
            found = "none" if known.numel() == 0 else "an infinite one"
            raise InputError(f"target {target!r} needs finite training labels (found {found})")
        if transform == "log1p":
            if bool((known < 0).any()):
                raise InputError(
                    f"target {target!r} needs labels of at least 0 for transform='log1p'"
                    f" (found {known.min().item():g})"
                )
            known = known.log1p()
        std = known.std(correction=0).item()
        if not std > 0:
            raise InputError(
                f"target {target!r} has the same training label {known[0].item():g} in all"
                f" {known.numel()} rows: there is nothing to learn, leave it out"
            )
        return cls(target, known.mean().item(), std, transform, loss)

    def row_losses(self, prediction: Tensor, label: Tensor) -> Tensor:
        r"""Returns every row's squared (or Huber) error in standard deviations."""
        value = label.double()
        if self.transform == "log1p":
            value = value.log1p()
        wanted = ((value - self.mean) / self.std).to(prediction.dtype)
        if self.loss == "huber":
            return huber_loss(prediction, wanted, reduction="none")
        return (prediction - wanted).square()

    def predict(self, prediction: Tensor) -> Tensor:
        r"""Returns the value in the target's own units."""
        value = prediction.double() * self.std + self.mean
        if self.transform == "log1p":
            value = value.expm1()
        return value.to(prediction.dtype)

    def extra_repr(self) -> str:
        r"""Returns name, statistics, and what is not the default."""
        parts = [f"{self.target!r}, mean={self.mean.item():.4g}, std={self.std.item():.4g}"]
        parts += [f"transform={self.transform!r}"] if self.transform != "none" else []
        parts += [f"loss={self.loss!r}"] if self.loss != "mse" else []
        return ", ".join(parts)
