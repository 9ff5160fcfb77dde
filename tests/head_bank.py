"""Every head, small, and the loops that its equations are."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from pyg_mtrec.nn import AITM, ESMM, PLE, Head, HTLNet, MMoE, SharedBottom, SingleTask

TARGETS = {"click": "binary", "long_view": "binary", "watch_time": "continuous"}
Make = Callable[..., Head]
HEADS: dict[str, Make] = {
    "SingleTask": SingleTask,
    "SharedBottom": SharedBottom,
    "MMoE": MMoE,
    "PLE": PLE,
    "ESMM": ESMM,
    "AITM": AITM,
    "HTLNet": HTLNet,
}


def small(
    name: str, targets: Mapping[str, str] = TARGETS, in_dim: int = 5, **kwargs: object
) -> Head:
    """A head of small widths, in float64, whose biases are not zero."""
    sizes = {"tower": (4, 3), "fusion_dim": 6, "label_dim": 2}
    if name != "HTLNet":
        sizes = {"hidden": (6, 4), "tower": (3,)}
    kwargs = {**sizes, "generator": torch.Generator().manual_seed(7), **kwargs}
    head = HEADS[name](in_dim, targets, **kwargs).double()
    draws = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter_name, parameter in head.named_parameters():
            if "bias" in parameter_name:
                parameter += torch.randn(parameter.shape, generator=draws, dtype=parameter.dtype)
    return head


def rows(*shape: int, seed: int = 0) -> Tensor:
    """Random input in float64 that wants a gradient."""
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=draws, dtype=torch.float64).requires_grad_()


def dense(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], output: bool = False
) -> Tensor:
    """A perceptron, layer by layer."""
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = x @ weight.T + bias
        if not (output and layer == len(weights) - 1):
            x = torch.where(x > 0, x, 0)
    return x[:, 0] if output else x


def mlp(network: torch.nn.Module, x: Tensor, first: int = 0, last: int | None = None) -> Tensor:
    """A perceptron of a head, or some of its layers."""
    weights, biases = list(network.weights), list(network.biases)
    output = network.output and (last is None or last == len(weights))
    return dense(x, weights[first:last], biases[first:last], output)


def expert(experts: torch.nn.Module, number: int, x: Tensor) -> Tensor:
    """One expert of several."""
    return dense(x, [w[number] for w in experts.weights], [b[number] for b in experts.biases])


def assert_same(head: Head, x: Tensor, expected: Mapping[str, Tensor], **tolerance: float) -> None:
    """Predictions and all their gradients, and that no gradient is missing in one of the two."""
    out = head(x)
    assert list(out) == list(expected) == list(head.targets)
    names, leaves = zip(*[("x", x), *head.named_parameters()], strict=True)
    for target, value in expected.items():
        assert out[target].shape == (x.shape[-2],)
        torch.testing.assert_close(out[target], value, rtol=1e-9, atol=1e-11)
    draws = torch.Generator().manual_seed(1)
    upstream = [torch.randn(x.shape[-2], generator=draws, dtype=x.dtype) for _ in out]
    grads = [
        torch.autograd.grad(list(values), leaves, upstream, allow_unused=True)
        for values in (out.values(), expected.values())
    ]
    for name, got, want in zip(names, *grads, strict=True):
        assert (got is None) == (want is None), name
        if got is not None:
            torch.testing.assert_close(
                got, want, rtol=1e-8, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
            )


def reach(head: Head, x: Tensor) -> dict[str, list[str]]:
    """Which targets' losses, penalties included, have a gradient at a parameter."""
    out = head(x)
    rising = {  # every target above the one before it, so that no penalty is zero
        target: 0.4 * value / value.detach().abs().max() + step
        for step, (target, value) in enumerate(out.items())
    }
    penalties = head.penalties(rising)
    found: dict[str, list[str]] = {name: [] for name, _ in head.named_parameters()}
    for target, value in out.items():
        loss = (value * torch.linspace(-1, 2, len(value), dtype=value.dtype)).sum()
        loss = loss + penalties.get(target, 0.0)
        grads = torch.autograd.grad(
            loss, list(head.parameters()), retain_graph=True, allow_unused=True
        )
        for name, grad in zip(found, grads, strict=True):
            if grad is not None and bool((grad != 0).any()):
                found[name].append(target)
    return found
