"""Task gradients that rules have to survive, and a small training step to put a rule into."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from bank import graphs
from hypothesis import strategies as st
from torch import Tensor

from pyg_mtrec.balancing import Balancer, _symmetric_eigen
from pyg_mtrec.gradients import GradientCollector, RowGradients, TaskGradients
from pyg_mtrec.loader import MultiTaskLoader
from pyg_mtrec.nn import MF, Adjacency, Encoder, NodeEmbedding
from pyg_mtrec.tasks import BPR, AlignmentUniformity, LinkPrediction
from pyg_mtrec.training import MultiTaskStep
from pyg_mtrec.transforms import NormalizedAdjacency

KINDS = ("plain", "zeros", "silent task", "all zero", "opposite", "equal", "mixed scales")


def gradients(kind: str, tasks: int, rows: int, dim: int, scale: float, seed: int) -> Tensor:
    """Gradients [T, R, d] in float64."""
    generator = torch.Generator().manual_seed(seed)
    grads = torch.randn(tasks, rows, dim, generator=generator, dtype=torch.float64) * scale
    if kind == "zeros":  # rows that no task, one task, or all but one task touch
        grads *= torch.rand(tasks, rows, 1, generator=generator) < 0.5
    elif kind == "silent task":
        grads[-1] = 0
    elif kind == "all zero":
        grads.zero_()
    elif kind == "opposite":
        grads[1:] = -grads[:1]
    elif kind == "equal":
        grads[1:] = grads[:1]
    elif kind == "mixed scales":  # from 1e-10 to 1e10 in one matrix, whatever `scale` says
        exponents = torch.linspace(-10, 10, tasks, dtype=torch.float64)
        grads *= (10.0**exponents)[:, None, None] / scale
    return grads


BANK = st.builds(
    gradients,
    kind=st.sampled_from(KINDS),
    tasks=st.integers(1, 5),
    rows=st.integers(0, 6),
    dim=st.integers(1, 5),
    scale=st.sampled_from([1e-10, 1e-4, 1.0, 1e10]),
    seed=st.integers(0, 10**6),
)


def task_gradients(seed: int, tasks: int = 3, scale: float = 1.0) -> TaskGradients:
    """Two tables, two dense parameters and one of a task's own, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * scale

    return TaskGradients(
        torch.rand(tasks, generator=generator, dtype=torch.float64) + 0.5,
        {
            "user": RowGradients(torch.tensor([0, 3, 4]), draw(tasks, 3, 2)),
            "item": RowGradients(torch.tensor([1, 2, 5, 7]), draw(tasks, 4, 2)),
        },
        {"weight": draw(tasks, 2, 3), "bias": draw(tasks, 3)},
        {"rating": {"bias": draw(1)}},
    )


def whole(given: TaskGradients) -> Tensor:
    """All that the tasks share, as one matrix [T, P]."""
    blocks = [*(rows.grads for rows in given.rows.values()), *given.dense.values()]
    return torch.cat([block.flatten(1) for block in blocks], dim=1)


class Training:
    """BPR, alignment and a social task on the plain graph, 4 interactions a step."""

    def __init__(self, rule: Balancer, encoder: Encoder | None = None, at: str = "embedding"):
        data = graphs()["plain"]
        self.embedding = NodeEmbedding.from_data(data, 4).double()
        self.encoder = MF() if encoder is None else encoder
        tasks = {
            "bpr": BPR(),
            "alignment": AlignmentUniformity(),
            "social": LinkPrediction(("user", "trusts", "user")),
        }
        self.generator = torch.Generator().manual_seed(0)
        self.loader = MultiTaskLoader(
            {name: task.sampler(data, self.generator) for name, task in tasks.items()},
            batch_size=4,
            generator=self.generator,
        )
        adj_dict = Adjacency.dict_from(NormalizedAdjacency()(data))
        self.collector = GradientCollector(self.embedding, self.encoder, tasks, at=at)
        self.adj_dict = {name: a.to(torch.float64) for name, a in adj_dict.items()}
        self.step = MultiTaskStep(self.collector, rule, self.adj_dict)

    def grads(self) -> dict[str, Tensor]:
        """What the step left in `.grad`."""
        named = {**dict(self.embedding.named_parameters()), **self.collector.dense}
        return {name: p.grad.clone() for name, p in named.items() if p.grad is not None}


def draw(seed: int, tasks: int, rows: int, dim: int) -> Tensor:
    """Gradients of which about as many conflict as agree, and some are much longer."""
    generator = torch.Generator().manual_seed(seed)
    grads = torch.randn(tasks, rows, dim, generator=generator, dtype=torch.float64)
    shift = torch.rand(1, rows, 1, generator=generator, dtype=torch.float64)
    lengths = torch.rand(tasks, rows, 1, generator=generator, dtype=torch.float64) * 2
    return (grads + shift) * lengths.exp()


@contextmanager
def rotations(rotate: bool = True) -> Iterator[None]:
    """Jacobi rotations for few matrices too, if `rotate`."""
    with pytest.MonkeyPatch.context() as patch:
        if rotate:
            patch.setattr(_symmetric_eigen, "_FEW", -1)
        yield
