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
    evaluate = {"evaluate": lambda: {"recall@20": next(script)}} if values else {}
    return Trainer(
        step,
        loader,
        torch.optim.Adam(embedding.parameters(), lr=0.1),
        **evaluate,
        progress=False,
        **kwargs,
    )


class Scripted:
    """A step that reports losses of a script, one row a step, and leaves a trace in the tables."""

    def __init__(self, fit: Trainer, losses: list[tuple[float, float]]) -> None:
        self.collector, self.balancer = fit.step.collector, fit.step.balancer
        self.losses = iter(losses)

    def __call__(self, batches: Any, *, epoch: int) -> torch.Tensor:
        for weight in self.collector.embedding.weight_dict.values():
            weight.grad = torch.zeros_like(weight)
            with torch.no_grad():
                weight.fill_(epoch)
        return torch.tensor(next(self.losses))


def scripted(losses: list[tuple[float, float]], **kwargs: Any) -> Trainer:
    """A trainer on its loss alone, two steps an epoch."""
    fit = trainer([], select="loss", **kwargs)
    fit.step = Scripted(fit, losses)  # type: ignore[assignment]
    return fit


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
    with pytest.raises(InputError, match=r"'patience' needs to be at least 1"):
        EarlyStopping(0)
    with pytest.raises(InputError, match=r"'min_delta' needs to be at least 0 .* .got -1.0."):
        EarlyStopping(1, min_delta=-1.0)
    with pytest.raises(InputError, match=r"'min_delta' needs to be at least 0 .* .got nan."):
        trainer([], min_delta=float("nan"))
    with pytest.raises(InputError, match=r"'checkpoint_every' needs to be at least 1"):
        trainer([], checkpoint_every=0)
    with pytest.raises(InputError, match=r"one number a task .got 3 for 2 tasks."):
        trainer([], loss_weights=[1.0, 1.0, 1.0])
    with pytest.raises(InputError, match=r"'recall@20' is not computed .found none."):
        trainer([]).fit()


def test_a_gain_has_to_be_larger_than_min_delta() -> None:
    stopping = EarlyStopping(patience=2, min_delta=0.25)
    values = [0.0, 0.25, 0.375, 0.5, 0.625]
    # An exact quarter is no gain; small steps add up to one, for the best value stays behind.
    assert [stopping.update(e, v) for e, v in enumerate(values, 1)] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert (stopping.best_epoch, stopping.best_value) == (3, 0.375)
    assert [stopping.should_stop(epoch) for epoch in (3, 4, 5)] == [False, False, True]


def test_the_loss_selects_and_stops_by_strict_improvement(tmp_path: Path) -> None:
    # Means of an epoch's two steps: 4 + 1, 3 + 1, 3 + 1 (no gain), 2 + 0.5, then it rises.
    steps = [(5, 1), (3, 1), (2, 1), (4, 1), (3, 0), (3, 2), (2, 0), (2, 1), (9, 9), (9, 9)]
    history, saved = History(tmp_path / "h.csv"), Checkpoint(tmp_path / "c.pt")
    fit = scripted(
        [(float(a), float(b)) for a, b in [*steps, *steps[-2:]]],
        patience=2,
        epochs=50,
        history=history,
        checkpoint=saved,
    )
    best = fit.fit()
    assert best == {"loss": 2.5, "loss/bpr": 2.0, "loss/social": 0.5}
    assert (fit.stopping.best_epoch, fit.stopping.best_value, fit.epoch) == (4, -2.5, 6)
    assert [row["loss"] for row in history.rows()] == [5.0, 4.0, 4.0, 2.5, 18.0, 18.0]
    assert list(history.rows()[0]) == ["epoch", "seconds", "loss/bpr", "loss/social", "loss"]
    weights = fit.step.collector.embedding.weight_dict
    assert all(bool((weight == 4).all()) for weight in weights.values())
    # What is saved says so too, and nothing is left to train.
    again = scripted([], patience=2, epochs=50, checkpoint=saved)
    assert again.fit(resume=True) == best
    assert (again.epoch, again.stopping.best_epoch) == (6, 4)


def test_the_loss_has_to_fall_by_more_than_min_delta() -> None:
    losses = [(1.0, 0.0), (0.875, 0.0), (0.75, 0.0), (0.625, 0.0), *[(0.5, 0.0)] * 3]
    fit = scripted([row for row in losses for _ in range(2)], min_delta=0.25, patience=3, epochs=9)
    assert fit.fit()["loss"] == 0.625  # the first that is more than a quarter below one
    assert (fit.stopping.best_epoch, fit.epoch) == (4, 7)


def test_weights_of_losses_decide_what_is_best() -> None:
    losses = [(1.0, 1.0), (1.0, 1.0), (0.0, 5.0), (0.0, 5.0), (2.0, 0.0), (2.0, 0.0)]
    found = {}
    for weights in (None, [1.0, 0.0], [0.0, 1.0], [1.0, 0.125]):
        fit = scripted(losses, epochs=3, loss_weights=weights)
        found[str(weights)] = (fit.fit()["loss"], fit.stopping.best_epoch)
    assert found == {
        "None": (2.0, 1),
        "[1.0, 0.0]": (0.0, 2),
        "[0.0, 1.0]": (0.0, 3),
        "[1.0, 0.125]": (0.625, 2),
    }


def test_losses_below_zero_are_shown_as_they_are() -> None:
    fit = scripted([(-1.0, 0.0), (-1.0, 0.0)], epochs=1)
    assert fit.fit()["loss"] == -1.0
    row = {"loss/bpr": -1.0, "loss/social": 0.0, "loss": -1.0}
    assert fit._describe(row) == "bpr -1.0000 social 0.0000 | loss -1.0000 best -1.0000 @ 1"


@pytest.mark.parametrize(
    ("every", "epochs", "saves"), [(1, 3, [1, 2, 3]), (3, 7, [3, 6, 7]), (9, 2, [2]), (4, 4, [4])]
)
def test_every_so_many_epochs_and_the_last_have_a_checkpoint(
    every: int, epochs: int, saves: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    save = Checkpoint.save
    monkeypatch.setattr(
        Checkpoint, "save", lambda self, state: (found.append(state["epoch"]), save(self, state))
    )
    losses = [(1.0 / (i + 1), 0.0) for i in range(2 * epochs)]
    kwargs: dict[str, Any] = {"epochs": epochs, "checkpoint_every": every}
    scripted(losses, checkpoint=Checkpoint(tmp_path / "c.pt"), **kwargs).fit()
    assert found == saves


def test_a_stop_before_its_time_has_a_checkpoint(tmp_path: Path) -> None:
    saved = Checkpoint(tmp_path / "c.pt")
    fit = scripted([(1.0, 0.0)] * 8, patience=2, epochs=50, checkpoint=saved, checkpoint_every=10)
    fit.fit()
    state = saved.load()
    assert state is not None and (state["epoch"], state["best_epoch"]) == (3, 1)


@pytest.mark.parametrize(("every", "at"), [(1, 5), (3, 2), (3, 3), (3, 5), (10, 5)])
def test_rows_past_the_checkpoint_come_again(every: int, at: int, tmp_path: Path) -> None:
    def make(name: str) -> Trainer:
        return trainer(
            [],
            select="loss",
            epochs=7,
            patience=9,
            checkpoint=Checkpoint(tmp_path / f"{name}.pt"),
            checkpoint_every=every,
            history=History(tmp_path / f"{name}.csv"),
        )

    whole, killed = make("whole"), make("killed")
    expected = whole.fit()

    def die(row: dict[str, float]) -> None:
        if row["epoch"] == at:
            raise Killed

    killed.loggers = [die]
    with pytest.raises(Killed):
        killed.fit()
    resumed = make("killed")
    assert resumed.fit(resume=True) == expected
    rows = [History(tmp_path / f"{name}.csv").rows() for name in ("whole", "killed")]
    drop = lambda rows: [{k: v for k, v in row.items() if k != "seconds"} for row in rows]  # noqa: E731
    assert drop(rows[0]) == drop(rows[1]) and len(rows[1]) == 7
    for name, weight in whole.step.collector.embedding.weight_dict.items():
        assert torch.equal(weight, resumed.step.collector.embedding.weight_dict[name])
