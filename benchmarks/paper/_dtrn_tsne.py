"""Exact t-SNE of a few hundred points, without a library and without a random number."""

import math

import torch
from torch import Tensor

PERPLEXITY = 30.0
STEPS, EXAGGERATED, FACTOR = 500, 120, 12.0  # of which the first attract each other more strongly


def tsne(x: Tensor, perplexity: float = PERPLEXITY, steps: int = STEPS) -> Tensor:
    """Puts points [n, D] on a plane [n, 2] so that neighbours stay neighbours.

    Gradient descent with momentum and gains, from the first two principal components.
    """
    x = x.double()
    p = affinities(x, min(perplexity, (len(x) - 1) / 3))
    y = principal(x)
    y = y * (1e-4 / y[:, 0].std().clamp(min=1e-12))
    speed, gain = torch.zeros_like(y), torch.ones_like(y)
    rate = max(len(x) / FACTOR / 4, 50.0)
    for step in range(steps):
        early = step < EXAGGERATED
        grad = gradient(FACTOR * p if early else p, y)
        gain = torch.where(grad.sign() == speed.sign(), gain * 0.8, gain + 0.2).clamp(min=0.01)
        speed = (0.5 if early else 0.8) * speed - rate * gain * grad
        y = y + speed
        y = y - y.mean(0)
    return y


def affinities(x: Tensor, perplexity: float) -> Tensor:
    """Symmetric probabilities [n, n], of widths that give every point this perplexity."""
    distance = torch.cdist(x, x).square()
    itself = torch.eye(len(x), dtype=torch.bool)
    scale = distance[~itself].mean().clamp(min=1e-12)
    low = torch.full((len(x), 1), -30.0, dtype=x.dtype)  # logarithms of precisions
    high = torch.full((len(x), 1), 30.0, dtype=x.dtype)
    for _ in range(60):  # a perplexity falls with the precision
        middle = (low + high) / 2
        logits = (-distance / scale * middle.exp()).masked_fill(itself, -math.inf)
        rows = logits.softmax(1)
        entropy = -(rows * rows.clamp(min=1e-300).log()).sum(1, keepdim=True)
        flat = entropy > math.log(perplexity)
        low, high = torch.where(flat, middle, low), torch.where(flat, high, middle)
    return (rows + rows.t()) / (2 * len(x))


def gradient(p: Tensor, y: Tensor) -> Tensor:
    """Of the divergence of the map's probabilities from the given ones [n, 2]."""
    kernel = 1 / (1 + torch.cdist(y, y).square())
    kernel = kernel.fill_diagonal_(0)
    force = (p - kernel / kernel.sum()) * kernel  # [n, n]
    return 4 * (force.sum(1, keepdim=True) * y - force @ y)


def principal(x: Tensor) -> Tensor:
    """The first two principal components [n, 2]; a sign is nobody's choice."""
    left, values, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    points: Tensor = left[:, :2] * values[:2]
    return points * torch.where(points.sum(0) < 0, -1.0, 1.0)
