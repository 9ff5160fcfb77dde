import torch
from torch import Tensor


def task_orders(num_tasks: int, generator: torch.Generator) -> Tensor:
    r"""Draws, for every task, the order in which it meets the others.

    Args:
        num_tasks: The number of tasks :math:`T`.
        generator: A generator on the CPU: the same orders whatever the device of the gradients.

    Returns:
        The other tasks :math:`[T, T - 1]` on the CPU.
    """
    count = num_tasks - 1
    orders = [torch.randperm(count, generator=generator, device="cpu") for _ in range(num_tasks)]
    others = torch.stack(orders)
    return others + (others >= torch.arange(num_tasks, device="cpu").unsqueeze(1))
