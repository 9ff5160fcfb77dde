r"""Times the full ranking of a catalogue of 296,278 items, and what it could cost at best.

    python benchmarks/speed/full_ranking.py --root DATA --out benchmarks/results/full_ranking.json

With ``--root`` the test split of Epinions is ranked, without it random interactions of that size.
The representations are random: cost does not depend on what was learned. Three things are timed
on the same chunks of users: the evaluator; the bound, that is forming every score and reading it
once (matrix product and row maximum); and the selection of the best 41 by two stages beside
``torch.topk``.
"""

import argparse
import json
import platform
import resource
import time
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mtrec.metrics import DotProductScorer, RankingEvaluator
from pyg_mtrec.metrics._largest import largest
from pyg_mtrec.metrics._top_k import CHUNK_BYTES

MAIN = ("user", "interacts", "item")
NUM_USERS, NUM_ITEMS, NUM_EDGES = 22_167, 296_278, 912_441


def synthetic() -> HeteroData:
    """A test split of Epinions' size with a long tail of users and items."""
    generator = torch.Generator().manual_seed(0)
    user = (torch.rand(NUM_EDGES, generator=generator).pow(2) * NUM_USERS).long()
    item = (torch.rand(NUM_EDGES, generator=generator).pow(4) * NUM_ITEMS).long()
    keys = (user * NUM_ITEMS + item).unique()
    keys = keys[torch.randperm(keys.numel(), generator=generator)]
    edges = torch.stack([keys // NUM_ITEMS, keys % NUM_ITEMS])
    num_train, num_seen = int(0.7 * keys.numel()), int(0.8 * keys.numel())
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = NUM_USERS, NUM_ITEMS
    data[MAIN].edge_index = edges[:, :num_train]
    data[MAIN].seen_edge_index = edges[:, :num_seen]
    data[MAIN].edge_label_index = edges[:, num_seen:]
    return data


def epinions(root: str) -> HeteroData:
    """The test split of Epinions."""
    from pyg_mtrec.datasets import Epinions
    from pyg_mtrec.transforms import SplitInteractions

    test: HeteroData = SplitInteractions()(Epinions(root)[0])[2]
    return test


def peak_above(start_kb: int) -> float:
    """Megabytes of resident memory that were needed on top of ``start_kb``."""
    return (_status("VmHWM") - start_kb) / 1024


def _status(field: str) -> int:
    path = Path("/proc/self/status")
    if not path.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = path.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def forget_peak() -> int:
    """Resets the high-water mark (Linux) and returns the present size in kB."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")
    return _status("VmRSS")


def bound(scorer: DotProductScorer, users: Tensor) -> float:
    """Seconds to form every score and look at it once."""
    start = time.perf_counter()
    for chunk in users.split(CHUNK_BYTES // (4 * scorer.num_items)):
        scorer.score(chunk).amax(dim=1)
    return time.perf_counter() - start


def selection(scorer: DotProductScorer, users: Tensor, repeats: int = 9) -> tuple[float, float]:
    """Median milliseconds of the two-stage selection and of ``torch.topk``, interleaved."""
    scores = scorer.score(users[: CHUNK_BYTES // (4 * scorer.num_items)])
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        ours = largest(scores, 41)[0]
        middle = time.perf_counter()
        theirs = scores.topk(41).values
        times.append((middle - start, time.perf_counter() - middle))
        if not torch.equal(ours, theirs):
            raise SystemExit("the two selections differ")
    two_stage, plain = torch.tensor(times).median(dim=0).values.tolist()
    return 1000 * two_stage, 1000 * plain


def main() -> None:
    """Runs and prints one measurement."""
    parser = argparse.ArgumentParser(description="Times the full ranking.")
    parser.add_argument("--root", help="folder whose raw/ holds the files of Epinions")
    parser.add_argument("--dim", type=int, default=32, help="width of the representations")
    parser.add_argument("--max-users", type=int, help="ranks a sample of the test users")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--out", type=Path, help="writes the numbers to this JSON file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    data = synthetic() if args.root is None else epinions(args.root)
    generator = torch.Generator().manual_seed(0)
    user_x = torch.randn(int(data["user"].num_nodes), args.dim, generator=generator)
    item_x = torch.randn(int(data["item"].num_nodes), args.dim, generator=generator)
    scorer = DotProductScorer(user_x, item_x)
    evaluator = RankingEvaluator(data, max_users=args.max_users)
    bound(scorer, evaluator.users[:256])  # warm-up

    before = forget_peak()
    start, cpu = time.perf_counter(), time.process_time()
    result = evaluator(scorer)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    memory = peak_above(before)
    two_stage, plain = selection(scorer, evaluator.users)
    report = {
        "data": "synthetic" if args.root is None else "epinions",
        "users": result.num_users,
        "items": evaluator.num_items,
        "dim": args.dim,
        "k": list(evaluator.k),
        "threads": args.threads,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),  # of all threads: tells a busy machine from slow code
        "bound_seconds": round(bound(scorer, evaluator.users), 2),
        "peak_mb_above_model": round(memory),
        "chunk_ms_two_stage": round(two_stage, 2),
        "chunk_ms_topk": round(plain, 2),
        "topk_over_two_stage": round(plain / two_stage, 2),
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
