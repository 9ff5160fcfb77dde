"""Bottoms, small, and the loops that their equations are."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from pyg_mtrec.nn import DTRN, TIM, TRM

TARGETS = ["cart", "buy"]
BEHAVIOURS = ["views", "carts", "buys"]
Sequences = dict[str, tuple[Tensor, Tensor]]


def rows(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Random input in float64 that wants a gradient."""
    draws = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape, generator=draws, dtype=torch.float64)).requires_grad_()


def make_sequences(
    size: int, dim: int, lengths: Mapping[str, int], seed: int = 0, scale: float = 1.0
) -> Sequences:
    """Left-padded sequences of random lengths; the first row of each has no event."""
    draws = torch.Generator().manual_seed(seed + 100)
    found = {}
    for number, (behaviour, length) in enumerate(lengths.items()):
        counts = torch.randint(0, length + 1, (size, 1), generator=draws)
        counts[:1] = 0
        counts[1:2] = length
        mask = torch.arange(length) >= length - counts
        found[behaviour] = rows(size, length, dim, seed=seed + number, scale=scale), mask
    return found


def shaken(module: torch.nn.Module, seed: int = 8) -> torch.nn.Module:
    """A module in float64 in which no parameter is zero."""
    module, draws = module.double(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=draws, dtype=parameter.dtype)
            parameter += 0.3 * noise
    return module


def small_tim(dim: int = 4, targets: list[str] = TARGETS, **kwargs: object) -> TIM:
    """A TIM of small widths, in float64, whose tasks differ."""
    sizes = {"ffn_hidden": 5, "hyper_hidden": 3, "behaviours": BEHAVIOURS, "max_len": 9}
    kwargs = {**sizes, "generator": torch.Generator().manual_seed(7), **kwargs}
    return shaken(TIM(dim, targets, **kwargs))


def small_dtrn(dim: int = 4, **kwargs: object) -> DTRN:
    """A DTRN of small widths, in float64, whose tasks differ."""
    sizes = {"ffn_hidden": 5, "hyper_hidden": 3, "targets": TARGETS, "behaviours": BEHAVIOURS}
    kwargs = {**sizes, "generator": torch.Generator().manual_seed(7), "num_fields": 2, **kwargs}
    return shaken(DTRN(dim, **kwargs))


def norms_of(tim: TIM, task: int, behaviour: int) -> list[tuple[Tensor, Tensor]]:
    """Scale and shift of every norm of one pair, layer by layer."""
    found, dim = [], tim.dim
    for norm in range(2 * len(tim.transformer.blocks)):
        if tim.conditional:
            net = tim.hypernetwork
            z = torch.cat([tim.task_embeddings[task], tim.behaviour_embedding[behaviour]])
            hidden = (net.in_weight[norm] @ z + net.in_bias[norm]).clamp(min=0)
            both = net.out_weight[norm] @ hidden + net.out_bias[norm]
        else:
            both = tim.norm_bias[norm]
        found.append((1 + both[:dim], both[dim:]))
    return found


def cln(x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
    """The conditional layer norm of rows [L, d]."""
    scale, shift = norm
    centred = x - x.mean(1, keepdim=True)
    return scale * centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() + shift


def attention(block: torch.nn.Module, x: Tensor) -> Tensor:
    """Multi-head self-attention of the rows [L, d] of one sequence, head by head."""
    query, key, value = (x @ w.T + b for w, b in zip(block.qkv_weight, block.qkv_bias, strict=True))
    width, heads = x.size(1) // block.num_heads, []
    for first in range(0, x.size(1), width):
        part = slice(first, first + width)
        scores = query[:, part] @ key[:, part].T / math.sqrt(width)
        shares = scores.exp() / scores.exp().sum(1, keepdim=True)
        heads.append(shares @ value[:, part])
    return torch.cat(heads, dim=1) @ block.out_weight.T + block.out_bias


def feed_forward(block: torch.nn.Module, x: Tensor) -> Tensor:
    """The feed-forward network of rows [L, d]."""
    hidden = (x @ block.up_weight.T + block.up_bias).clamp(min=0)
    return hidden @ block.down_weight.T + block.down_bias


def one_interest(
    tim: TIM, events: Tensor, target: Tensor, task: int, behaviour: int
) -> tuple[Tensor, Tensor]:
    """The interest [d] in the events [n, d] of one row, no padding, and the weights [n]."""
    network = tim.transformer
    if len(events) == 0:
        return torch.zeros(tim.dim, dtype=target.dtype), events.new_zeros(0)
    x, norms = events, norms_of(tim, task, behaviour)
    if tim.max_len is not None:
        age = torch.arange(len(x) - 1, -1, -1)
        x = x + network.positions[age]
    for layer, block in enumerate(network.blocks):
        first, second = norms[2 * layer : 2 * layer + 2]
        if network.post:
            x = cln(x + attention(block, x), first)
            x = cln(x + feed_forward(block, x), second)
        else:
            x = x + attention(block, cln(x, first))
            x = x + feed_forward(block, cln(x, second))
    if tim.pooling == "last":
        weights = torch.zeros(len(x), dtype=x.dtype)
        weights[-1] = 1
    elif tim.pooling == "mean":
        weights = torch.full((len(x),), 1 / len(x), dtype=x.dtype)
    else:
        query, keys = network.query_weight @ target, x @ network.key_weight.T
        weights = (keys @ query / math.sqrt(tim.dim)).softmax(0)
    return weights @ x, weights


def loop_interests(tim: TIM, target: Tensor, sequences: Sequences) -> Tensor:
    """Interests [K, B, M, d]: a loop over tasks, rows and behaviours."""
    tasks = []
    for task in range(len(tim.targets)):
        each = []
        for row in range(len(target)):
            found = []
            for number, behaviour in enumerate(tim.behaviours):
                events, mask = sequences[behaviour]
                found.append(
                    one_interest(tim, events[row][mask[row]], target[row], task, number)[0]
                )
            each.append(torch.stack(found))
        tasks.append(
            torch.stack(each) if each else target.new_zeros(0, len(tim.behaviours), tim.dim)
        )
    return torch.stack(tasks)


def loop_refined(trm: TRM, x: Tensor) -> Tensor:
    """Refined fields [K, B, F, d]: a loop over tasks and rows."""
    tasks = []
    for task in range(len(trm.targets)):
        each = []
        for row in x[task] if x.dim() == 4 else x:
            hidden = (trm.in_weights[task] @ row.flatten() + trm.in_biases[task]).clamp(min=0)
            logits = trm.out_weights[task] @ hidden + trm.out_biases[task]
            weights = 1 / (1 + (-logits).exp())
            weights = {"sigmoid": weights, "2sigmoid": 2 * weights, "residual": 1 + weights}[
                trm.gate
            ]
            size = 1 if trm.granularity == "field" else trm.dim
            each.append(row * weights.view(trm.num_fields, size))
        tasks.append(torch.stack(each) if each else x.new_zeros(x.shape[-3:]))
    return torch.stack(tasks)


def assert_same_gradients(
    module: torch.nn.Module, leaves: list[Tensor], got: Tensor, want: Tensor
) -> None:
    """Values, and the gradients of everything that they are made of."""
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)
    upstream = torch.randn(got.shape, generator=torch.Generator().manual_seed(1), dtype=got.dtype)
    names, parameters = zip(*module.named_parameters(), strict=True)
    leaves = [*leaves, *parameters]
    grads = [torch.autograd.grad(out, leaves, upstream, allow_unused=True) for out in (got, want)]
    labels = [*map(str, range(len(leaves) - len(names))), *names]
    for name, one, two in zip(labels, *grads, strict=True):
        one, two = (torch.zeros(()) if g is None else g for g in (one, two))
        torch.testing.assert_close(
            one.expand(two.shape) if one.dim() == 0 else one,
            two.expand(one.shape) if two.dim() == 0 else two,
            rtol=1e-7,
            atol=1e-10,
            check_dtype=False,
            msg=lambda m, n=name: f"{n}: {m}",
        )
