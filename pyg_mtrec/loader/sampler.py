from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader._draw import unique_padded
from pyg_mtrec.loader.batch import Batch


class Sampler(ABC):
    r"""Makes the batches of one task: from its own relation, or around the main task's batch.

    Nothing that draws waits for the device or has a shape that depends on the data.

    Args:
        edge_type: The relation ``(source, name, destination)`` of the batches.
        num_edges: Length of the sampler's own stream: positions run over ``0 .. num_edges - 1``.
        generator: Source of all randomness, on the device of the data.
        anchored: Whether, as an auxiliary task, it samples around the main task's batch.
        device: The device of the data.

    Raises:
        InputError: If the generator lives on another device than the data.

    Example:
        >>> import torch
        >>> from pyg_mtrec.loader import Batch, Sampler
        >>> class FirstItem(Sampler):
        ...     def sample(self, index, size):
        ...         return Batch(self.edge_type, size, index, torch.zeros_like(index))
        ...     def sample_anchored(self, main, size):
        ...         return self.sample(self.anchors(main)[0], size)
        >>> generator = torch.Generator()
        >>> sampler = FirstItem(("user", "likes", "item"), 3, generator, False, generator.device)
        >>> sampler.sample(torch.tensor([2, 1]), size=2).dst_pos_index
        tensor([0, 0])
    """

    def __init__(
        self,
        edge_type: EdgeType,
        num_edges: int,
        generator: torch.Generator,
        anchored: bool,
        device: torch.device,
    ) -> None:
        if generator.device.type != device.type:
            raise InputError(
                f"the generator needs to live on the data's device in {type(self).__name__!r}"
                f" (got {generator.device}, the data is on {device})"
            )
        self.edge_type = edge_type
        self.num_edges = num_edges
        self.generator = generator
        self.anchored = anchored

    @abstractmethod
    def sample(self, index: Tensor, size: int) -> Batch:
        r"""Makes a batch of the sampler's own edges.

        Args:
            index: Positions :math:`[b]` in its own edges.
            size: The nominal batch size.
        """

    @abstractmethod
    def sample_anchored(self, main: Batch, size: int) -> Batch:
        r"""Makes a batch around the nodes or edges of the main task's batch.

        Args:
            main: The main task's batch.
            size: The nominal batch size.
        """

    def full(self) -> Batch:
        r"""Makes one batch of all of the sampler's own edges."""
        index = torch.arange(self.num_edges, device=self.generator.device)
        return self.sample(index, max(1, self.num_edges))

    def check_main(self, main: "Sampler") -> None:
        r"""Refuses a main task around whose batches this sampler cannot sample.

        Args:
            main: The sampler of the main task.

        Raises:
            InputError: If the main task's batches hold no anchors.
        """
        source, (src, _, dst) = self.edge_type[0], main.edge_type
        if source not in (src, dst):
            raise InputError(
                f"batches of the main task over {main.edge_type} hold no {source!r} nodes to anchor"
                f" {self.edge_type} at; use anchored=False"
            )

    def anchors(self, main: Batch) -> tuple[Tensor, Tensor]:
        r"""Returns the distinct nodes of the main batch's positives from which this one starts.

        Args:
            main: The main task's batch.

        Returns:
            Node ids :math:`[b]`, padded by repeating the last, and weights :math:`[b]`, 0 for
            padding.
        """
        src, dst = main.pairs()
        return unique_padded(src if main.edge_type[0] == self.edge_type[0] else dst)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.edge_type}, num_edges={self.num_edges},"
            f" anchored={self.anchored})"
        )
