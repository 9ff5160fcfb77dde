from dataclasses import dataclass

from torch import Tensor


@dataclass
class RankingResult:
    r"""What a full ranking gave: means, the same per history length, and every user's value.

    Args:
        metrics: Metric at cut, such as ``"recall@20"``, to its mean over the evaluated users.
        per_user: The same names without coverage to values of shape :math:`[n]`, float32.
        users: The evaluated users of shape :math:`[n]`, ascending.
        history: Number of training interactions of each, of shape :math:`[n]`.
        buckets: History length, such as ``"1-5"``, to ``"users"``, how many there are, and their
            metrics; a bucket without users holds the count only.
        num_users_without_labels: Users of the graph that have nothing to be predicted; they take
            no part in any mean.
        num_masked_labels: Pairs to be predicted that are masked as seen and cannot be hit; they
            stay in the denominators. Zero in a split without leaks.
    """

    metrics: dict[str, float]
    per_user: dict[str, Tensor]
    users: Tensor
    history: Tensor
    buckets: dict[str, dict[str, float]]
    num_users_without_labels: int
    num_masked_labels: int = 0

    @property
    def num_users(self) -> int:
        r"""How many users were evaluated."""
        return self.users.numel()

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:.4f}" for name, value in self.metrics.items())
        return f"{self.__class__.__name__}(num_users={self.num_users}, {values})"
