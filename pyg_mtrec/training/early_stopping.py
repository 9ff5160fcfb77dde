from dataclasses import dataclass

from pyg_mtrec._errors import InputError


@dataclass
class EarlyStopping:
    r"""Stops when a metric has not risen for some epochs.

    Args:
        patience: Epochs without a strict gain after which to stop.
        min_delta: A gain has to be larger than this.
        best_epoch: The epoch of the best value so far, 0 before the first.
        best_value: The best value so far.

    Raises:
        InputError: If ``patience`` is not positive or ``min_delta`` is negative.

    Example:
        >>> from pyg_mtrec.training import EarlyStopping
        >>> stopping = EarlyStopping(patience=1)
        >>> stopping.update(1, 0.5), stopping.should_stop(1)
        (True, False)
        >>> stopping.update(2, 0.5), stopping.should_stop(2)
        (False, True)
    """

    patience: int
    best_epoch: int = 0
    best_value: float = float("-inf")
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise InputError(
                f"'patience' needs to be at least 1 in 'EarlyStopping' (got {self.patience})"
            )
        if not self.min_delta >= 0:
            raise InputError(
                f"'min_delta' needs to be at least 0 in 'EarlyStopping' (got {self.min_delta})"
            )

    def update(self, epoch: int, value: float) -> bool:
        r"""Takes an epoch's value and returns whether it is the best so far."""
        if not value - self.min_delta > self.best_value:
            return False
        self.best_epoch, self.best_value = epoch, value
        return True

    def should_stop(self, epoch: int) -> bool:
        r"""Returns whether the best epoch lies ``patience`` epochs back."""
        return epoch - self.best_epoch >= self.patience
