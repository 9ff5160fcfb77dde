"""Times a bottom's step: against one shared Transformer, and as tasks, behaviours and widths grow.

    python -m benchmarks.speed.bottoms [--out FILE.json] [--smoke]

A step is forward and backward. TIM for T tasks over M behaviours has to stay within 1.15 times
(A + T F) / (A + F) of one plain Transformer over the same sequences, where A is the attention,
which does not depend on the task, and F all that follows it, both measured here, for one task.
Beside that stand parameters and times of DTRN for several numbers of tasks and behaviours and
widths of the hypernetwork. All cases take turns in one process with one thread; times are CPU
times, medians over the rounds, and ratios are medians of the rounds' own.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed._machine import machine
from pyg_mtrec.nn import DTRN, TIM
from pyg_mtrec.nn.bottoms._encode import encode
from pyg_mtrec.nn.bottoms._sequences import by_length

BOUND = {"tasks": 2, "behaviours": 3, "length": 50, "dim": 64, "batch_size": 1024}
GROWTH = {"length": 20, "dim": 32, "batch_size": 256}
SMALL = {"length": 4, "dim": 8, "batch_size": 16}
TASKS, BEHAVIOURS, WIDTHS = (1, 2, 4, 8), (1, 2, 4), (16, 64, 256)
WIDTH = 64  # of the hypernetwork where it does not grow
NUM_FIELDS, DROPOUT = 4, 0.1
Sequences = Mapping[str, tuple[Tensor, Tensor]]


class Inputs:
    """Random fields, targets and sequences, of which a twentieth is padding."""

    def __init__(self, behaviours: int, length: int, dim: int, batch_size: int) -> None:
        draws = torch.Generator().manual_seed(0)
        self.names = [f"behaviour{number}" for number in range(behaviours)]
        self.fields = torch.randn(batch_size, NUM_FIELDS, dim, generator=draws).requires_grad_()
        self.target = torch.randn(batch_size, dim, generator=draws).requires_grad_()
        self.sequences: Sequences = {
            name: (
                torch.randn(batch_size, length, dim, generator=draws).requires_grad_(),
                torch.rand(batch_size, length, generator=draws) < 0.95,
            )
            for name in self.names
        }

    def forget(self) -> None:
        """Drops the gradients, so that none is added to another."""
        for leaf in (self.fields, self.target, *(rows for rows, _ in self.sequences.values())):
            leaf.grad = None


def tim(inputs: Inputs, tasks: int, conditional: bool = True) -> TIM:
    """TIM, or one plain Transformer."""
    names = [f"task{number}" for number in range(tasks)]
    dim = inputs.target.size(1)
    return TIM(dim, names, inputs.names, conditional, hyper_hidden=WIDTH, dropout=DROPOUT)


def step(module: nn.Module, inputs: Inputs, *read: Any) -> Callable[[], None]:
    """Forward and backward of a module, down to the rows."""

    def run() -> None:
        module.zero_grad()
        inputs.forget()
        module(*read, inputs.sequences).square().sum().backward()

    return run


def attention(module: TIM, inputs: Inputs) -> Callable[[], None]:
    """The part of a plain Transformer's step that no task has an influence on."""

    def run() -> None:
        module.zero_grad()
        inputs.forget()
        _, x, mask = next(by_length(module.behaviours, inputs.sequences))
        out = module.transformer.begin(x, mask | ~mask.any(-1, keepdim=True))
        out.backward(torch.ones_like(out))

    return run


def feed(module: TIM, inputs: Inputs) -> Callable[[], None]:
    """The rest of its step: norms, feed-forward network and pooling."""
    _, rows, mask = next(by_length(module.behaviours, inputs.sequences))
    leaf = rows.detach().requires_grad_()
    visible = mask | ~mask.any(-1, keepdim=True)

    def run() -> None:
        module.zero_grad()
        inputs.forget()
        leaf.grad = None
        query, norms = module.transformer.query(inputs.target), module._norms()
        out, _ = encode(module.transformer, leaf, mask, visible, query, norms, seed=0)
        out.square().sum().backward()

    return run


def rounds(cases: Mapping[str, Callable[[], None]], number: int) -> dict[str, list[float]]:
    """Milliseconds of CPU time of every case, round by round."""
    for run in cases.values():
        run()
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(number):
        for name, run in cases.items():
            began = time.process_time()
            run()
            found[name].append(1e3 * (time.process_time() - began))
    return found


def bound(attention_ms: float, feed_ms: float, tasks: int) -> float:
    """What T tasks cost of one Transformer if only what depends on the task is done T times."""
    return (attention_ms + tasks * feed_ms) / (attention_ms + feed_ms)


def acceptance(sizes: Mapping[str, int], number: int) -> dict[str, Any]:
    """TIM's step beside one shared Transformer's."""
    inputs = Inputs(*(sizes[name] for name in ("behaviours", "length", "dim", "batch_size")))
    plain, tasks = tim(inputs, 1, conditional=False), sizes["tasks"]
    took = rounds(
        {
            "tim": step(tim(inputs, tasks), inputs, inputs.target),
            "plain": step(plain, inputs, inputs.target),
            "attention": attention(plain, inputs),
            "feed": feed(plain, inputs),
        },
        number,
    )
    ms = {name: statistics.median(values) for name, values in took.items()}
    return {
        **sizes,
        "tim_ms": ms["tim"],
        "plain_ms": ms["plain"],
        "attention_ms": ms["attention"],
        "feed_ms": ms["feed"],
        "measured": ratio(took["tim"], took["plain"]),
        "bound": bound(ms["attention"], ms["feed"], tasks),
        "target": 1.15,
        "rounds_ms": took,
    }


def growth(sizes: Mapping[str, int], number: int) -> list[dict[str, Any]]:
    """DTRN's parameters and times as tasks, behaviours and the hypernetwork grow."""
    cases = [(tasks, behaviours, WIDTH) for behaviours in BEHAVIOURS for tasks in TASKS]
    cases += [(2, 2, width) for width in WIDTHS if width != WIDTH]
    runs, made = {}, {}
    for behaviours in BEHAVIOURS:
        inputs = Inputs(behaviours, *(sizes[name] for name in ("length", "dim", "batch_size")))
        runs[f"plain {behaviours}"] = step(tim(inputs, 1, conditional=False), inputs, inputs.target)
        for case in cases:
            if case[1] == behaviours:
                names = [f"task{task}" for task in range(case[0])]
                made[case] = DTRN(
                    sizes["dim"], NUM_FIELDS, names, inputs.names, hyper_hidden=case[2]
                )
                runs[str(case)] = step(made[case], inputs, inputs.fields, inputs.target)
    took = rounds(runs, number)
    return [
        {
            "tasks": case[0],
            "behaviours": case[1],
            "hyper_hidden": case[2],
            **parameters(made[case]),
            "ms": statistics.median(took[str(case)]),
            "ratio": ratio(took[str(case)], took[f"plain {case[1]}"]),
        }
        for case in cases
    ]


def parameters(bottom: DTRN) -> dict[str, int]:
    """Sizes of its parts, and of one plain Transformer for each pair of task and behaviour."""
    plain = TIM(bottom.dim, ["task"], ["behaviour"], conditional=False)
    pairs = len(bottom.targets) * len(bottom.behaviours)
    assert bottom.trm is not None
    return {
        "tim_parameters": size(bottom.tim),
        "trm_parameters": size(bottom.trm),
        "naive_parameters": pairs * size(plain),
    }


def size(module: nn.Module) -> int:
    """The number of parameters."""
    return sum(p.numel() for p in module.parameters())


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """The median of the rounds' own ratios."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def main() -> None:
    """Prints the medians, and writes them where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--smoke", action="store_true", help="everything once, in seconds")
    args = parser.parse_args()
    torch.set_num_threads(1)
    number = 1 if args.smoke else args.rounds
    wide = {**BOUND, **SMALL} if args.smoke else BOUND
    narrow = SMALL if args.smoke else GROWTH
    found = {
        "case": "bottoms",
        "machine": machine(),
        "rounds": number,
        "bound": acceptance(wide, number),
        "growth_case": narrow,
        "growth": growth(narrow, number),
    }
    text = json.dumps(found, indent=2)
    print(text)
    if args.out:
        with open(args.out, "w") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
