import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import MultiTaskLoader
from pyg_mtrec.runs import Checkpoint, RunDirectory, _toml
from pyg_mtrec.training import MultiTaskStep, Settings, Trainer, evaluate_run, run_experiment
from pyg_mtrec.training._arm import Arm
from pyg_mtrec.training._data import load_data
from pyg_mtrec.training._first_stage import describe_pretraining
from pyg_mtrec.training._plans import plans
from pyg_mtrec.training._stages import (
    check_stages,
    finetuning,
    has_two_stages,
    needs_hypergraphs,
    pretraining,
)
from pyg_mtrec.training.experiment import evaluator

CPU = torch.device("cpu")
LN2 = math.log(2)
Tiny = Callable[..., Settings]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the images, which take most of so small a run's time."""
    for name in ("plot_curve", "plot_comparison", "plot_pretraining"):
        monkeypatch.setattr(RunDirectory, name, lambda *arguments: None)


def run(
    settings: Settings, path: Path, resume: bool = False, lines: list[str] | None = None
) -> dict[str, Any]:
    echo = (lambda line: None) if lines is None else lines.append
    return run_experiment(settings, RunDirectory(path), resume, echo=echo, progress=False)


def model(path: Path) -> dict[str, Any]:
    return RunDirectory(path).load_tensors("model")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


# What the two stages are


def test_a_run_has_two_stages_by_its_encoder_or_by_its_finetuning() -> None:
    assert not has_two_stages(Settings())
    assert has_two_stages(Settings(encoder="uprth"))
    assert has_two_stages(Settings(encoder="lightgcn", finetune="mf"))
    assert not needs_hypergraphs(Settings(encoder="lightgcn", finetune="mf"))
    assert needs_hypergraphs(Settings(encoder="mf", finetune="uprth"))
    assert needs_hypergraphs(Settings(encoder="uprth", finetune="mf"))


def test_settings_of_the_stages() -> None:
    whole = Settings(
        encoder="uprth",
        encoder_options=["fusion=sum", "vertex_exponent=-0.5"],
        balancer="pcgrad",
        balancer_options=["seed=3"],
        scope="row",
        finetune_tasks=["bpr", "social"],
        pretrain_epochs=7,
        pretrain_patience=3,
        pretrain_lr=0.5,
        pretrain_weight_decay=0.25,
        lr=0.125,
    )
    first, last = pretraining(whole), finetuning(whole)
    assert (first.epochs, first.patience, first.lr, first.weight_decay) == (7, 3, 0.5, 0.25)
    assert (first.encoder, first.encoder_options) == ("uprth", whole.encoder_options)
    assert (first.balancer, first.scope, first.select_metric) == ("pcgrad", "row", "loss")
    assert (last.epochs, last.patience, last.lr) == (whole.epochs, whole.patience, 0.125)
    assert (last.tasks, last.balancer, last.balancer_options) == (["bpr", "social"], "sum", [])
    assert (last.scope, last.at, last.select_metric) == ("table", "embedding", "recall@20")
    # Attention is of pretraining alone; what else its encoder was told stays.
    assert last.encoder_options == ["vertex_exponent=-0.5", "fusion=none"]
    other = finetuning(replace(whole, finetune="lightgcn"))
    assert (other.encoder, other.encoder_options) == ("lightgcn", [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "lightgcn", "tasks": ["bpr", "hyperedge-in"]}, r"only encoder 'uprth'"),
        (
            {"encoder": "lightgcn", "finetune": "mf", "tasks": ["bpr", "hyperedge-in"]},
            r"'hyperedge-in' reads hyperedges, .* \(got 'lightgcn'\)",
        ),
        (
            {"encoder": "uprth", "finetune": "mf", "finetune_tasks": ["bpr", "hyperedge-in"]},
            r"\(got 'mf'\)",
        ),
        ({"encoder": "uprth", "finetune_tasks": []}, "'finetune_tasks' needs at least one task"),
        ({"encoder": "uprth", "at": "representation"}, "'at' needs to be 'embedding'"),
    ],
)
def test_stages_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_stages(Settings(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": "uprth", "finetune_tasks": ["bpr", "hyperedge-in"]},
        {"encoder": "mf", "finetune": "uprth", "finetune_tasks": ["bpr", "hyperedge-in"]},
        {"encoder": "mf", "finetune": "mf", "pretrain_epochs": 0, "tasks": ["hyperedge-in"]},
        {"encoder": "uprth", "pretrain_epochs": 0, "at": "representation"},
        {"encoder": "mf", "finetune": "mf", "at": "representation"},
        {"encoder": "mf", "finetune_tasks": []},
    ],
)
def test_stages_that_fit(changes: dict[str, Any]) -> None:
    check_stages(Settings(**changes))


def test_wrong_stages_leave_nothing_behind(tiny: Tiny, tmp_path: Path) -> None:
    for changes in (
        {"encoder": "lightgcn", "tasks": ["bpr", "hyperedge-category"]},
        {"at": "representation"},
        {"finetune_tasks": ["bpp"]},
        {"task_options": ["nobody.l2=1"]},
        {"task_options": ["alignment.l2=much"]},
        {"task_options": ["alignment.anchored=perhaps"]},
        {"encoder_options": ["alpha=much"]},
        {"encoder_options": ["keep_empty=perhaps"]},
        {"encoder_options": ["main=3"]},
        {"encoder": "ngcf", "encoder_options": ["dim=3"]},
        {"encoder": "ngcf", "encoder_options": ["generator=3"]},
        {"encoder": "uprth", "encoder_options": ["fusion=mean"]},
    ):
        with pytest.raises(InputError):
            run(tiny(**changes), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_options_of_tasks_of_either_stage(tiny: Tiny) -> None:
    settings = tiny(
        encoder="lightgcn",
        finetune="mf",
        tasks=["bpr", "social"],
        finetune_tasks=["bpr", "same-category"],
        task_options=["social.num_negatives=2", "same-category.num_negatives=3", "bpr.l2=0.5"],
    )
    data = load_data(settings)
    (plan,) = plans(settings, data)
    first, last = plan.first_stage(settings, data, CPU), plan.last_stage(settings, data, CPU)
    assert first is not None
    assert (first.tasks["social"].num_negatives, first.tasks["bpr"].l2) == (2, 0.5)
    assert (last.tasks["same-category"].num_negatives, last.tasks["bpr"].l2) == (3, 0.5)


def test_names_of_the_arms_say_what_they_do() -> None:
    settings = Settings(encoder="uprth", balancer="pmtrec", pretrained="x.pt", comparison="on")
    data: Any = type("Data", (), {"tasks": ["alignment", "hyperedge-in"]})

    def found(**changes: Any) -> list[tuple[str, int, str, bool]]:
        every = plans(replace(settings, **changes), data)
        return [(plan.name, len(plan.tasks), plan.balancer, plan.loads) for plan in every]

    alone = ("no pretraining", 0, "sum", False)
    assert found() == [
        alone,
        ("sum pretraining", 2, "sum", True),
        ("pmtrec pretraining", 2, "pmtrec", True),
    ]
    assert found(balancer="sum") == [alone, ("sum pretraining", 2, "sum", True)]
    assert found(pretrain_epochs=0) == [alone, ("pretrained tables", 0, "sum", True)]
    assert found(pretrain_epochs=0, pretrained=None) == [alone]
    assert found(comparison="off") == [("pmtrec pretraining", 2, "pmtrec", True)]
    assert [name for name, *_ in found(encoder="mf")] == ["single task", "sum", "pmtrec"]


# What they compute


@pytest.mark.usefixtures("plain")
def test_wide_representations_are_not_carried(tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny(encoder="ngcf", tasks=["bpr"], finetune="mf", carry="representations")
    with pytest.raises(InputError, match="'carry' needs to be 'tables' after encoder 'ngcf'"):
        run(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("carry", ["tables", "representations"])
def test_a_run_is_pretraining_then_a_copy_then_finetuning(
    tiny: Tiny, tmp_path: Path, carry: str
) -> None:
    settings = tiny(finetune="lightgcn", layers=2, carry=carry)
    results = run(settings, tmp_path / "run")

    data = load_data(settings)
    first = Arm("1", pretraining(settings), data.tasks, "sum", data, CPU)
    best = first.pretrainer(progress=False).fit()
    last = Arm("2", finetuning(settings), ["bpr"], "sum", data, CPU)
    start = first.embedding()
    if carry == "representations":
        with torch.no_grad():
            start = first.encoder(start, first.adj_dict).x_dict
    last.embedding.load_state_dict(
        {f"weight_dict.{name}": start[name] for name in ("user", "item")}
    )
    sample = evaluator(settings, data, "val", settings.valid_users)
    trainer = last.trainer(sample, progress=False)
    trainer.fit()
    scorer = last.scorer(data.test)
    assert same(model(tmp_path / "run"), {"user_x": scorer.user_x, "item_x": scorer.item_x})
    assert results["test"] == evaluator(settings, data, "test")(scorer).metrics
    stage = results["pretraining"]["sum pretraining"]
    assert (stage["loss"], stage["epochs"]) == (best["loss"], 4)
    assert stage["losses"] == {task: best[f"loss/{task}"] for task in data.tasks}
    assert (stage["encoder"], stage["balancer"], stage["tasks"]) == ("uprth", "sum", data.tasks)
    assert results["arms"]["sum pretraining"]["encoder"] == "lightgcn"
    assert results["arms"]["sum pretraining"]["tasks"] == ["bpr"]
    assert evaluate_run(RunDirectory(tmp_path / "run"))["test"] == results["test"]


def test_the_first_stage_is_adam_on_the_sum_of_the_losses(tiny: Tiny) -> None:
    settings = tiny(pretrain_epochs=5, pretrain_lr=0.02, pretrain_weight_decay=0.1)
    data = load_data(settings)
    assert data.tasks == ["alignment", "hyperedge-category", "hyperedge-trusts"]
    arm = Arm("1", pretraining(settings), data.tasks, "sum", data, CPU)
    rows: list[dict[str, float]] = []
    trainer = arm.pretrainer(progress=False, loggers=[rows.append])
    trainer.fit()

    other = Arm("by hand", pretraining(settings), data.tasks, "sum", data, CPU)
    tables = other.embedding.weight_dict
    optimizer = torch.optim.Adam(tables.values(), lr=0.02, weight_decay=0.1)
    kept = {}
    for row in rows:
        batches = next(iter(other.loader))
        representations = other.encoder(other.embedding(), other.adj_dict)
        losses = {n: task(batches[n], representations) for n, task in other.tasks.items()}
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        assert row["loss"] == pytest.approx(total.item(), rel=1e-5)
        for name, loss in losses.items():
            assert row[f"loss/{name}"] == pytest.approx(loss.item(), rel=1e-5, abs=1e-9)
        kept[row["epoch"]] = {name: weight.detach().clone() for name, weight in tables.items()}
    best = min(rows, key=lambda row: row["loss"])
    assert trainer.stopping.best_epoch == best["epoch"]
    for name, weight in arm.embedding.weight_dict.items():
        torch.testing.assert_close(weight.detach(), kept[best["epoch"]][name])


@pytest.mark.usefixtures("plain")
def test_finetuning_starts_from_the_pretrained_tables(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = []
    fit = Trainer.fit

    def spying(self: Trainer, resume: bool = False) -> Any:
        tables = self.step.collector.embedding.weight_dict
        starts.append({name: weight.detach().clone() for name, weight in tables.items()})
        return fit(self, resume)

    monkeypatch.setattr(Trainer, "fit", spying)
    run(tiny(finetune="mf", comparison="on", balancer="rlw"), tmp_path / "run")
    alone, first_sum, sum_, first_rlw, rlw = starts
    assert same(alone, first_sum) and same(alone, first_rlw)  # the same random tables
    assert not same(sum_, rlw)
    saved = RunDirectory(tmp_path / "run").load_tensors("pretrained")["weight"]
    assert same(saved, rlw)


@pytest.mark.usefixtures("plain")
def test_no_pretraining_is_the_second_stage_alone(tiny: Tiny, tmp_path: Path) -> None:
    whole = run(tiny(comparison="on"), tmp_path / "whole")
    alone = run(tiny(pretrain_epochs=0), tmp_path / "alone")
    assert list(whole["arms"]) == ["no pretraining", "sum pretraining"]
    assert list(alone["arms"]) == ["no pretraining"] and "pretraining" not in alone
    assert alone["test"] == whole["comparison"]["no pretraining"]
    assert not (tmp_path / "alone" / "pretrained.pt").exists()
    assert [arm["tasks"] for arm in whole["arms"].values()] == [["bpr"], ["bpr"]]


def test_a_finished_run_is_clean_and_its_config_repeats_it(tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny(comparison="on", balancer="pcgrad")
    first = run(settings, tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"pretrain.csv", "pretrained.pt", "pretrain.png", "curve.png"} <= names
    assert not [name for name in names if name == "pretrain.pt" or name.startswith("arm-")]
    again = Settings(**_toml.load(tmp_path / "run" / "config.toml"))
    assert asdict(again) == asdict(settings)
    second = run(again, tmp_path / "again")
    for key in ("test", "comparison", "selection"):
        assert first[key] == second[key]
    # Resuming what is complete changes nothing.
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert (
        run(settings, tmp_path / "run", resume=True)
        == RunDirectory(tmp_path / "run").read_results()
    )
    after = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert after == before


@pytest.mark.usefixtures("plain")
def test_weights_of_the_losses_reach_what_stops(tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny(balancer="constant", balancer_options=["weights=2,0.5,0"])
    stage = run(settings, tmp_path / "run")["pretraining"]["constant pretraining"]
    rows = RunDirectory(tmp_path / "run").pretrain_history.rows()
    tasks = stage["tasks"]
    for row in rows:
        one, two, three = (float(row[f"loss/{task}"]) for task in tasks)  # type: ignore[arg-type]
        assert row["loss"] == pytest.approx(2 * one + 0.5 * two + 0 * three)
    assert stage["loss"] == min(float(row["loss"]) for row in rows)  # type: ignore[arg-type]


@pytest.mark.usefixtures("plain")
def test_the_first_stage_stops_where_its_loss_does_not_fall_far(tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny(pretrain_min_delta=1e9, pretrain_patience=2, pretrain_epochs=50, patience=9)
    results = run(settings, tmp_path / "run")
    stage = results["pretraining"]["sum pretraining"]
    assert (stage["epoch"], stage["epochs"]) == (1, 3)
    assert results["arms"]["sum pretraining"]["epochs"] == 2
    rows = RunDirectory(tmp_path / "run").pretrain_history.rows()
    assert stage["loss"] == rows[0]["loss"] and len(rows) == 3


@pytest.mark.parametrize("batch_size", [None, 50])
def test_steps_of_an_epoch(tiny: Tiny, batch_size: int | None) -> None:
    settings = tiny(pretrain_batch_size=batch_size)
    data = load_data(settings)
    arm = Arm("1", pretraining(settings), data.tasks, "sum", data, CPU)
    edges = data.train["user", "interacts", "item"].num_edges
    assert len(arm.loader) == (1 if batch_size is None else math.ceil(edges / 50))
    assert arm.pretrainer().checkpoint_every == (10 if batch_size is None else 1)


@pytest.mark.usefixtures("plain")
def test_what_a_guess_costs(tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny(
        tasks=["alignment", "hyperedge-category", "hyperedge-trusts", "social"],
        task_options=["alignment.l2=0.1"],
    )
    lines: list[str] = []
    stage = run(settings, tmp_path / "run", lines=lines)["pretraining"]["sum pretraining"]
    guess = stage["guess"]
    assert guess["alignment"] is None  # zero is what it strives for
    for name in ("hyperedge-category", "hyperedge-trusts"):
        assert guess[name] == pytest.approx(LN2, rel=1e-6)
    data = load_data(settings)
    # Anchored at the main batch, a link counts once a user that has any: fewer than the pairs.
    arm = Arm("1", pretraining(settings), data.tasks, "sum", data, CPU)
    batch = next(iter(arm.loader))["social"]
    assert batch.weight is not None
    share = batch.weight.sum().item() / batch.size
    assert 0 < share < 0.5
    assert guess["social"] == pytest.approx(share * LN2, rel=1e-5)
    text = "\n".join(lines)
    assert "stage 1, pretraining: uprth" in text and "stage 2, finetuning: uprth without" in text
    assert "  hyperedge-trusts    " in text and "a guess costs 0.6931 = ln 2" in text


def test_lines_that_end_a_first_stage() -> None:
    stage: dict[str, Any] = {
        "loss": 1.0,
        "epoch": 3,
        "epochs": 9,
        "losses": {"alignment": 2e-7, "a": 0.6900, "bcd": 0.5},
        "guess": {"alignment": None, "a": LN2, "bcd": 1.0},
        "kept": {"norm": {"user": 0.5, "item": 0.009}, "spread": {"user": 0.2, "item": 0.2}},
        "seconds": {"train": 1.25, "validate": 0.25},
    }
    assert describe_pretraining("pmtrec pretraining", stage) == [
        "PMTRec pretraining: lowest loss 1.0000 in epoch 3 of 9 (1.5 s)",
        "  alignment  2.0e-07",
        "  a          0.6900  a guess costs 0.6931 = ln 2: next to nothing learned",
        "  bcd        0.5000  a guess costs 1.0000",
        "  WARNING: pretraining left 0.9% of the item table's norm and 20.0% of what tells items"
        " apart: add tasks that resist, or stop earlier",
    ]
    stage["kept"] = {"norm": {"user": 0.5}, "spread": {"user": 0.099}}
    assert "of the user table's norm" in describe_pretraining("x", stage)[-1]


@pytest.mark.usefixtures("plain")
def test_what_is_left_of_the_tables(tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny(tasks=["alignment"], pretrain_epochs=60, pretrain_lr=0.02)
    lines: list[str] = []
    kept = run(settings, tmp_path / "run", lines=lines)["pretraining"]["sum pretraining"]["kept"]
    data = load_data(settings)
    arm = Arm("1", pretraining(settings), data.tasks, "sum", data, CPU)
    end = RunDirectory(tmp_path / "run").load_tensors("pretrained")["weight"]

    def spread() -> dict[str, float]:
        x_dict = arm.encoder(arm.embedding(), arm.adj_dict).x_dict
        return {n: (x - x.mean(0)).norm().item() for n, x in x_dict.items() if n in end}

    for name, weight in arm.embedding.weight_dict.items():
        ratio = end[name].norm().item() / weight.norm().item()
        assert kept["norm"][name] == pytest.approx(ratio, rel=1e-5)
    before = spread()
    arm.embedding.load_state_dict({f"weight_dict.{name}": weight for name, weight in end.items()})
    for name, value in spread().items():
        assert kept["spread"][name] == pytest.approx(value / before[name], rel=1e-4)
    # Alignment alone makes one vector of all, while the tables are large still.
    assert min(kept["spread"].values()) < 0.1 < 0.4 < min(kept["norm"].values())
    assert any("WARNING" in line for line in lines)


@pytest.mark.usefixtures("plain")
def test_without_anything_to_pretrain_on(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing but interactions to make them of"):
        run(tiny(auxiliary=False), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run(tiny(auxiliary=False, tasks=["alignment-uniformity"]), tmp_path / "tasks")
    run(tiny(auxiliary=False, pretrain_epochs=0), tmp_path / "alone")


# What interrupts them


class Killed(BaseException):
    pass


def die(patch: pytest.MonkeyPatch, cls: type, method: str, call: int, before: bool) -> None:
    """Ends the process, as it were, just before or just after a call of a method."""
    original, left = getattr(cls, method), [call]

    def dying(self: Any, *arguments: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and before:
            raise Killed
        result = original(self, *arguments, **kwargs)
        if left[0] == 0:
            raise Killed
        return result

    patch.setattr(cls, method, dying)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {}


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    ("cls", "method", "call", "before"),
    [
        (MultiTaskStep, "__call__", 7, False),  # no checkpoint yet, six rows of history
        (Checkpoint, "save", 1, False),  # epoch 10
        (MultiTaskStep, "__call__", 17, True),  # rows past the checkpoint
        (Checkpoint, "save", 3, True),  # the last epoch of the first stage
        (RunDirectory, "save_tensors", 3, True),  # between the stages: pretrained.pt
        (RunDirectory, "save_tensors", 3, False),
        (Checkpoint, "save", 4, True),  # the first epoch of the second stage
        (Checkpoint, "save", 5, False),
        (RunDirectory, "plot_pretraining", 1, False),  # all trained, nothing written of it
        (RunDirectory, "write_results", 1, False),  # complete, but for what is tidied up
    ],
)
def test_resumed_at_any_moment_of_two_stages(
    cls: type,
    method: str,
    call: int,
    before: bool,
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: dict[str, Any],
) -> None:
    settings = tiny(
        balancer="pmtrec", tau=1e-5, pretrain_epochs=22, pretrain_patience=100, epochs=3
    )
    if not whole:
        whole["results"] = run(settings, tmp_path / "whole")
        directory = RunDirectory(tmp_path / "whole")
        whole["tensors"] = {n: directory.load_tensors(n) for n in ("model", "pretrained")}
        whole["rows"] = [directory.pretrain_history.rows(), directory.history.rows()]
    path = tmp_path / "killed"
    with monkeypatch.context() as patch:
        die(patch, cls, method, call, before)
        with pytest.raises(Killed):
            run(settings, path)
    resumed = run(settings, path, resume=True)
    expected = whole["results"]
    for key in ("test", "valid", "buckets", "comparison", "selection"):
        assert resumed[key] == expected[key], key
    drop = ("seconds",)
    for first, second in zip(
        whole["rows"],
        (RunDirectory(path).pretrain_history.rows(), RunDirectory(path).history.rows()),
        strict=True,
    ):
        strip = [{k: v for k, v in row.items() if k not in drop} for row in first]
        assert [{k: v for k, v in row.items() if k not in drop} for row in second] == strip
    stages = [results["pretraining"]["pmtrec pretraining"] for results in (expected, resumed)]
    assert {k: v for k, v in stages[0].items() if k not in drop} == {
        k: v for k, v in stages[1].items() if k not in drop
    }
    assert same(model(path), whole["tensors"]["model"])
    pretrained = RunDirectory(path).load_tensors("pretrained")
    assert same(pretrained["weight"], whole["tensors"]["pretrained"]["weight"])
    names = {file.name for file in path.iterdir()}
    assert "pretrain.csv" in names and "pretrain.pt" not in names


@pytest.mark.usefixtures("plain")
def test_resumed_arms_beside_the_own(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny(comparison="on", balancer="rlw", pretrain_batch_size=100)
    expected = run(settings, tmp_path / "whole")
    saves = 2 + 4 + 1  # no pretraining, the first stage of the sum, an epoch of its second
    with monkeypatch.context() as patch:
        die(patch, Checkpoint, "save", saves, False)
        with pytest.raises(Killed):
            run(settings, tmp_path / "killed")
    assert (tmp_path / "killed" / "arm-sum-pretraining-first-stage.pt").exists()
    resumed = run(settings, tmp_path / "killed", resume=True)
    assert resumed["comparison"] == expected["comparison"]
    assert not list((tmp_path / "killed").glob("arm-*"))


@pytest.mark.usefixtures("plain")
def test_a_full_disk_between_the_stages(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny()
    expected = run(settings, tmp_path / "whole")
    replace_, left = os.replace, [True]

    def full(source: Any, target: Any) -> None:
        if Path(target).name == "pretrained.pt" and left.pop():
            raise OSError(28, "No space left on device")
        replace_(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(InputError, match=r"cannot write '.*pretrained\.pt' .No space left"):
            run(settings, tmp_path / "full")
    names = {path.name for path in (tmp_path / "full").iterdir()}
    assert "pretrained.pt" not in names and not [name for name in names if name.endswith(".tmp")]
    resumed = run(settings, tmp_path / "full", resume=True)
    assert resumed["test"] == expected["test"]
    assert same(model(tmp_path / "full"), model(tmp_path / "whole"))


FORKS = """
import os, signal, sys, time
from pathlib import Path
import torch
import pyg_mtrec.cli._train, pyg_mtrec.training.experiment, pyg_mtrec.runs._plots
from pyg_mtrec.cli import main

config, path = sys.argv[1], Path(sys.argv[2])


def start(history, lines, *more):
    child = os.fork()  # all is imported, and no thread has started yet
    if child == 0:
        os._exit(main(["train", "--config", config, "--out", str(path), *more]))
    while history is not None and not (history.exists() and history.read_bytes().count(10) > lines):
        assert os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        time.sleep(0.001)
    if history is not None:
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


codes = [
    start(path / "pretrain.csv", 1 + time.time_ns() % 40),
    start(path / "history.csv", 1 + time.time_ns() % 10, "--resume"),
    start(None, 0, "--resume"),
]
print(codes)
"""


@pytest.mark.usefixtures("plain")
def test_sigkill_in_both_stages(tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny(pretrain_epochs=60, pretrain_patience=100, epochs=25, patience=100)
    run(settings, tmp_path / "whole")
    (tmp_path / "c.toml").write_text(_toml.dumps(asdict(settings)))
    command = [sys.executable, "-c", FORKS, str(tmp_path / "c.toml"), str(tmp_path / "killed")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[-9, -9, 0]", done.stdout + done.stderr
    whole, killed = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "killed")
    assert same(model(killed.path), model(whole.path))
    assert killed.read_results()["test"] == whole.read_results()["test"]


def test_the_loader_of_the_first_stage_draws_numbers_of_its_own(tiny: Tiny) -> None:
    settings = tiny(encoder="lightgcn", finetune="lightgcn", pretrain_batch_size=64)
    data = load_data(settings)
    first = Arm("1", pretraining(settings), ["bpr"], "sum", data, CPU)
    last = Arm("2", finetuning(settings), ["bpr"], "sum", data, CPU)

    def drawn(loader: MultiTaskLoader) -> Any:
        return next(iter(loader))["bpr"].src_index

    assert not torch.equal(drawn(first.loader), drawn(last.loader))
