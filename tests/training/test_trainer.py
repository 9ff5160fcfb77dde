import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import PMTRec
from pyg_mtrec.gradients import GradientCollector
from pyg_mtrec.loader import MultiTaskLoader
from pyg_mtrec.nn import MF, NodeEmbedding
from pyg_mtrec.runs import Checkpoint, History, RunDirectory
from pyg_mtrec.tasks import BPR, LinkPrediction
from pyg_mtrec.training import EarlyStopping, MultiTaskStep, Settings, Trainer, run_experiment

SMALL = Settings(
    dim=8,
    epochs=4,
    batch_size=1024,
    lr=0.02,
    valid_users=200,
    comparison="off",
    yardsticks=["popularity"],
    threads=1,
)


class Killed(BaseException):
    pass


def die_after(monkeypatch: pytest.MonkeyPatch, saves: int, before: bool) -> None:
    """Ends the process, as it were, just before or just after a checkpoint is written."""
    save, left = Checkpoint.save, [saves]

    def dying(self: Checkpoint, state: dict[str, Any]) -> None:
        left[0] -= 1
        if left[0] == 0 and before:
            raise Killed
        save(self, state)
        if left[0] == 0:
            raise Killed

    monkeypatch.setattr(Checkpoint, "save", dying)


def run(settings: Settings, path: Path, resume: bool = False) -> dict[str, Any]:
    return run_experiment(settings, RunDirectory(path), resume, echo=lambda _: None, progress=False)


@pytest.mark.parametrize(
    ("change", "saves", "before"),
    [
        ({}, 1, True),
        ({}, 3, False),
        ({"encoder": "lightgcn", "layers": 1, "at": "representation"}, 2, True),
        ({"encoder": "ngcf", "layers": 1, "auxiliary": "own"}, 2, False),
        ({"encoder": "ngcf", "layers": 1, "epochs": 2}, 2, False),  # nothing left to train
        ({"balancer": "sum", "comparison": "on", "epochs": 2}, 3, False),
    ],
)
def test_resumed_run_is_the_run_that_was_not_interrupted(
    change: dict[str, Any],
    saves: int,
    before: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = replace(SMALL, **change)
    whole = run(settings, tmp_path / "whole")
    with monkeypatch.context() as patch:
        die_after(patch, saves, before)
        with pytest.raises(Killed):
            run(settings, tmp_path / "killed")
    assert not (tmp_path / "killed" / "results.json").exists()
    resumed = run(settings, tmp_path / "killed", resume=True)
    for key in ("test", "valid", "buckets", "comparison", "selection", "popularity"):
        assert resumed[key] == whole[key], key
    drop = lambda rows: [{k: v for k, v in row.items() if k != "seconds"} for row in rows]  # noqa: E731
    histories = [drop(RunDirectory(tmp_path / n).history.rows()) for n in ("whole", "killed")]
    assert histories[0] == histories[1]
    tensors = [RunDirectory(tmp_path / n).load_tensors("model") for n in ("whole", "killed")]
    assert torch.equal(tensors[0]["user_x"], tensors[1]["user_x"])


def test_sigkill_at_a_random_moment(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pyg_mtrec.cli", "train", "--threads", "1"]
    for flag, value in (
        ("--dim", "8"),
        ("--epochs", "12"),
        ("--batch-size", "512"),
        ("--comparison", "off"),
        ("--yardsticks", "popularity"),
    ):
        command += [flag, value]

    def start(name: str, *more: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*command, "--out", str(tmp_path / name), *more],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    whole = start("whole")
    _, error = whole.communicate(timeout=240)
    assert whole.returncode == 0, error.decode()
    killed = start("killed")
    history = tmp_path / "killed" / "history.csv"
    moment = 2 + time.time_ns() % 7  # lines of the history: anywhere inside the training
    while killed.poll() is None:
        if history.exists() and len(history.read_bytes().splitlines()) >= moment:
            break
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    resumed = start("killed", "--resume")
    _, error = resumed.communicate(timeout=240)
    assert resumed.returncode == 0, error.decode()
    results = [json.loads((tmp_path / n / "results.json").read_text()) for n in ("whole", "killed")]
    for key in ("test", "valid", "buckets", "selection"):
        assert results[0][key] == results[1][key]


def trainer(values: list[float], **kwargs: Any) -> Trainer:
    """A trainer whose validation metric follows a script."""
    from torch_geometric.data import HeteroData

    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = 4, 5
    generator = torch.Generator().manual_seed(0)
    data["user", "interacts", "item"].edge_index = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 4]])
    data["user", "trusts", "user"].edge_index = torch.tensor([[0, 1], [1, 2]])
    embedding = NodeEmbedding.from_data(data, 2)
    tasks = {"bpr": BPR(), "social": LinkPrediction(("user", "trusts", "user"))}
    loader = MultiTaskLoader(
        {name: task.sampler(data, generator) for name, task in tasks.items()},
        batch_size=3,
        generator=generator,
    )
    step = MultiTaskStep(GradientCollector(embedding, MF(), tasks), PMTRec())
    script = iter(values)
    return Trainer(
        step,
        loader,
        torch.optim.Adam(embedding.parameters(), lr=0.1),
        lambda: {"recall@20": next(script)},
        progress=False,
        **kwargs,
    )


def test_best_weights_are_restored_and_patience_counts() -> None:
    fit = trainer([0.1, 0.3, 0.3, 0.2, 0.9], patience=2, epochs=5)
    tables = fit.step.collector.embedding
    seen = []
    evaluate = fit.evaluate

    def remember() -> Any:
        seen.append(tables.weight_dict["user"].detach().clone())
        return evaluate()

    fit.evaluate = remember
    assert fit.fit() == {"recall@20": 0.3}
    assert (fit.stopping.best_epoch, fit.epoch, fit.global_step) == (2, 4, 8)
    assert torch.equal(tables.weight_dict["user"], seen[1])
    assert not torch.equal(seen[1], seen[3])


def test_history_holds_mean_losses(tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    history = History(tmp_path / "history.csv")
    fit = trainer([0.1], epochs=1, history=history, loggers=[rows.append])
    losses = []
    step = fit.step

    class Recording:
        collector, balancer = step.collector, step.balancer

        def __call__(self, batches: Any, *, epoch: int) -> Any:
            losses.append(step(batches, epoch=epoch))
            return losses[-1]

    fit.step = Recording()  # type: ignore[assignment]
    fit.fit()
    mean = torch.stack(losses).mean(0)
    (row,) = history.rows()
    assert row["loss/bpr"] == pytest.approx(mean[0].item())
    assert row["loss/social"] == pytest.approx(mean[1].item())
    assert rows[0]["valid/recall@20"] == 0.1


def test_bad_runs() -> None:
    with pytest.raises(InputError, match=r"'select_metric' 'recall@7' is not computed"):
        trainer([0.1], select="recall@7").fit()
    bad = trainer([0.1])
    with torch.no_grad():
        bad.step.collector.embedding.weight_dict["user"].fill_(float("nan"))
    with pytest.raises(InputError, match="the loss of task 'bpr' became nan in epoch 1"):
        bad.fit()
    with pytest.raises(InputError, match="'patience' needs to be at least 1"):
        EarlyStopping(0)
