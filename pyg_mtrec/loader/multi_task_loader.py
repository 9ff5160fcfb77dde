import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader._edge_stream import EdgeStream
from pyg_mtrec.loader.batch import Batch
from pyg_mtrec.loader.sampler import Sampler


class MultiTaskLoader:
    r"""Yields one batch per task and step.

    The first sampler is the main task: an epoch is one pass over its edges. Anchored auxiliary
    samplers get the main task's batch (Algorithm 1 of `PMTRec <https://arxiv.org/abs/2407.21364>`_);
    the others stream their own shuffled edges, going on in the next epoch where this one stopped.
    The nominal size of a batch is ``batch_size``, or the number of edges if the relation has fewer.
    Without a ``batch_size`` an epoch is one step over all edges of every relation, unshuffled.

    Args:
        samplers: Task name to sampler, the main task first.
        batch_size: Edges per step, :obj:`None` for all.
        generator: Shuffles edges, on the device of the data (default: a fresh one with seed 0 on
            the device of the main sampler's generator).
        shuffle: Whether edges are shuffled.
        drop_last: Whether a short last batch of the main task is left out.

    Raises:
        InputError: If there is no sampler, the main one has no edges, ``batch_size`` is not
            positive, or a sampler cannot be anchored at the main task.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.loader import EdgeSampler, MultiTaskLoader, PartnerSampler
        >>> data = HeteroData()
        >>> data["user"].num_nodes, data["item"].num_nodes = 3, 4
        >>> main, trusts = ("user", "interacts", "item"), ("user", "trusts", "user")
        >>> data[main].edge_index = torch.tensor([[0, 0, 1, 2, 2], [0, 1, 2, 3, 0]])
        >>> data[trusts].edge_index = torch.tensor([[0, 1], [1, 2]])
        >>> generator = torch.Generator().manual_seed(0)
        >>> loader = MultiTaskLoader({
        ...     "bpr": EdgeSampler(data, main, generator),
        ...     "social": PartnerSampler(data, trusts, generator),
        ... }, batch_size=2, generator=generator)
        >>> [batches["social"].src_index.numel() for batches in loader]
        [2, 2, 1]
    """

    def __init__(
        self,
        samplers: Mapping[str, Sampler],
        batch_size: int | None = 2048,
        generator: torch.Generator | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> None:
        if not samplers:
            raise InputError("'MultiTaskLoader' needs at least one sampler (got none)")
        if batch_size is not None and batch_size < 1:
            raise InputError(
                f"'batch_size' needs to be positive in 'MultiTaskLoader' (got {batch_size})"
            )
        self.samplers = dict(samplers)
        self.main = next(iter(samplers))
        main = self.samplers[self.main]
        if main.num_edges == 0:
            raise InputError(
                f"the main task {self.main!r} needs at least one edge of {main.edge_type} (found 0)"
            )
        if generator is None:
            generator = torch.Generator(main.generator.device).manual_seed(0)
        self.batch_size, self.generator = batch_size, generator
        self.shuffle, self.drop_last = shuffle, drop_last
        self.streams = {}
        for name, sampler in self.samplers.items():
            if name != self.main and sampler.anchored:
                sampler.check_main(main)
            elif batch_size is not None:
                size = min(batch_size, sampler.num_edges)
                self.streams[name] = EdgeStream(sampler.num_edges, size, generator, shuffle)

    def __len__(self) -> int:
        if self.batch_size is None:
            return 1
        stream = self.streams[self.main]
        steps = stream.num_edges / stream.size
        return math.floor(steps) if self.drop_last else math.ceil(steps)

    def __iter__(self) -> Iterator[dict[str, Batch]]:
        sampler = self.samplers[self.main]
        if self.batch_size is None:
            yield self._with_others(sampler.full())
            return
        stream = self.streams[self.main]
        order = stream.draw()  # [E]
        for step in range(len(self)):
            index = order[step * stream.size : (step + 1) * stream.size]
            yield self._with_others(sampler.sample(index, stream.size))

    def _with_others(self, main: Batch) -> dict[str, Batch]:
        batches = {self.main: main}
        for name, sampler in self.samplers.items():
            if name == self.main:
                continue
            if sampler.anchored:
                batches[name] = sampler.sample_anchored(main, main.size)
            elif self.batch_size is None:
                batches[name] = sampler.full()
            else:
                stream = self.streams[name]
                batches[name] = sampler.sample(stream.advance(), max(1, stream.size))
        return batches

    def state_dict(self) -> dict[str, Any]:
        r"""Returns what decides all following epochs: generators and places in the streams.

        It is taken between epochs; the rest of an epoch under way is not part of it. It holds
        tensors, integers and plain containers only.
        """
        return {
            "generator": self.generator.get_state(),
            "samplers": {name: s.generator.get_state() for name, s in self.samplers.items()},
            "streams": {
                name: stream.state_dict()
                for name, stream in self.streams.items()
                if name != self.main
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        r"""Continues as the loader that gave the state would have.

        Args:
            state: What :meth:`state_dict` of a loader over the same data and tasks returned.

        Raises:
            InputError: If the state belongs to other tasks.
        """
        streamed = [name for name in self.streams if name != self.main]
        held, found = (
            (list(self.samplers), streamed),
            (list(state["samplers"]), list(state["streams"])),
        )
        if found != held:
            raise InputError(
                f"the loader's state needs to be of the tasks {held[0]}, streaming {held[1]}"
                f" (found {found[0]}, streaming {found[1]})"
            )
        for name, stream in state["streams"].items():
            self.streams[name].load_state_dict(stream)
        for name, sampler in self.samplers.items():
            sampler.generator.set_state(state["samplers"][name])
        self.generator.set_state(state["generator"])

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({list(self.samplers)}, batch_size={self.batch_size},"
            f" steps={len(self)})"
        )
