"""Runs with a head: numbers follow from the saved predictions, and a kill loses nothing."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyg_mtrec import InputError
from pyg_mtrec.datasets import Planted
from pyg_mtrec.metrics._top_k import top_k
from pyg_mtrec.runs import Checkpoint, RunDirectory
from pyg_mtrec.training import PredictionScorer, Settings, evaluate_run, run_experiment
from pyg_mtrec.training._impressions import load_impressions
from pyg_mtrec.training._prediction_run import prediction_plans
from pyg_mtrec.training.evaluation import load_scorer

SMALL = Settings(
    dataset="planted",
    dataset_options=["num_interactions=1000"],
    head="shared-bottom",
    balancer="pcgrad",
    dim=4,
    epochs=3,
    batch_size=256,
    threads=1,
)


def run(settings: Settings, path: Path, resume: bool = False) -> dict[str, Any]:
    return run_experiment(settings, RunDirectory(path), resume, echo=lambda _: None, progress=False)


def log(path: Path, rows: int = 300, seed: int = 0) -> Path:
    """A log of impressions whose minutes follow from its clicks."""
    draws = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "item", "device", "price", "click", "minutes"])
        for _ in range(rows):
            click = draws.integers(2)
            writer.writerow(
                [
                    f"u{draws.integers(20)}",
                    f"i{draws.integers(15)}",
                    draws.choice(["phone", "desk", ""]),
                    draws.choice(["", f"{draws.random():.3f}"]),
                    click,
                    "" if draws.random() < 0.1 else f"{5 * click + draws.random():.3f}",
                ]
            )
    return path


def test_metrics_follow_from_the_saved_predictions(tmp_path: Path) -> None:
    results = run(SMALL, tmp_path / "run")
    rows = RunDirectory(tmp_path / "run").load_tensors("test_rows")
    time = Planted(num_interactions=1000, targets="hybrid")[0]["user", "interacts", "item"].time
    assert rows["user"].numel() == results["num_labelled"]["click"] == time.numel() // 10
    for target in ("click", "long_view"):
        label, pred = rows["labels"][target].double(), rows["predictions"][target].double()
        wins = [
            0.5 * (p == n) + (p > n)
            for p in pred[label == 1].tolist()
            for n in pred[label == 0].tolist()
        ]
        assert results["test"][f"{target}/auc"] == pytest.approx(sum(wins) / len(wins))
        losses = [
            -math.log(p if y else 1 - p) for p, y in zip(pred.tolist(), label.tolist(), strict=True)
        ]
        assert results["test"][f"{target}/log_loss"] == pytest.approx(sum(losses) / len(losses))
    error = rows["predictions"]["watch_time"].double() - rows["labels"]["watch_time"].double()
    assert results["test"]["watch_time/rmse"] == pytest.approx(error.square().mean().sqrt().item())
    assert results["selection"]["metric"] == "watch_time/rmse"
    history = [float(row["valid/watch_time/rmse"]) for row in history_of(tmp_path / "run")]
    assert results["selection"]["value"] == pytest.approx(min(history))
    assert results["selection"]["epoch"] == 1 + history.index(min(history))


def history_of(path: Path) -> list[dict[str, str]]:
    with (path / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_constant_and_the_oracle_stand_beside_the_result(tmp_path: Path) -> None:
    results = run(replace(SMALL, epochs=1, comparison="on"), tmp_path / "run")
    data = load_impressions(SMALL)
    label = data.label("test", "watch_time").double()
    mean = data.label("train", "watch_time").double().mean()
    rmse = (label - mean).square().mean().sqrt().item()
    assert results["constant"]["watch_time/rmse"] == pytest.approx(rmse)
    assert list(results["comparison"]) == [
        "constant",
        "oracle",
        "single-task sum",
        "shared-bottom sum",
        "shared-bottom pcgrad",
    ]
    assert results["comparison"]["oracle"]["click/auc"] > results["test"]["click/auc"]


@pytest.mark.parametrize(
    "changes", [{}, {"encoder": "lightgcn"}, {"head": "htlnet", "bottom": "dtrn"}]
)
def test_a_killed_run_goes_on_as_if_it_had_not_stopped(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SMALL, balancer="pmtrec", epochs=4, **changes)
    wanted = run(settings, tmp_path / "whole")
    save, calls = Checkpoint.save, []

    def killed(self: Checkpoint, state: dict[str, Any]) -> None:
        save(self, state)
        calls.append(state["epoch"])
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        run(settings, tmp_path / "killed")
    assert not (tmp_path / "killed" / "results.json").exists()
    found = run(settings, tmp_path / "killed", resume=True)
    assert found["test"] == wanted["test"]
    first, second = (RunDirectory(tmp_path / name) for name in ("whole", "killed"))
    mine, theirs = first.load_tensors("model")["model"], second.load_tensors("model")["model"]
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_finished_run_is_evaluated_again_and_ranks(tmp_path: Path) -> None:
    results = run(SMALL, tmp_path / "run")
    found = evaluate_run(RunDirectory(tmp_path / "run"))
    assert found["test"] == pytest.approx(results["test"])
    scorer = load_scorer(RunDirectory(tmp_path / "run"))
    assert isinstance(scorer, PredictionScorer)
    scores, items = top_k(scorer, torch.tensor([3]), 5)
    every = scorer.score(torch.tensor([3]))[0]
    assert scores[0].tolist() == every.topk(5).values.tolist()
    assert every[items[0]].tolist() == scores[0].tolist()


def test_scores_are_predictions_without_the_moment(tmp_path: Path) -> None:
    data = load_impressions(SMALL)
    arm = prediction_plans(SMALL)[-1].build(SMALL, data, torch.device("cpu"))
    scorer = PredictionScorer(arm.model, arm.tasks["click"], arm.loader)
    batch = arm.loader.whole(0, 1)
    batch.categorical[:, arm.loader.categorical_names.index("hour")] = -1
    batch.numeric[:, arm.loader.numeric_names.index("noise")] = float("nan")
    wanted = arm.model(batch)["click"][0]
    assert scorer.score(batch.user)[0, batch.item[0]].item() == pytest.approx(wanted.item())


def test_a_bottom_reads_what_came_before(tmp_path: Path) -> None:
    settings = replace(SMALL, bottom="dtrn", behaviours=["clicks"], sequence_length=3, epochs=1)
    results = run(settings, tmp_path / "run")
    assert list(results["arms"]) == ["dtrn shared-bottom pcgrad"]
    assert evaluate_run(RunDirectory(tmp_path / "run"))["test"] == pytest.approx(results["test"])

    data = load_impressions(settings)
    arm = prediction_plans(settings)[-1].build(settings, data, torch.device("cpu"))
    log = Planted(num_interactions=1000, targets="hybrid")[0]["user", "interacts", "item"]
    batch = arm.loader.whole(0, 50)
    assert batch.sequences is not None
    for user, time, items in zip(batch.user, batch.time, batch.sequences["clicks"], strict=True):
        before = (log.edge_index[0] == user) & (log.time < time) & (log.target[:, 0] == 1)
        wanted = log.edge_index[1, before][-3:].tolist()
        assert [item for item in items.tolist() if item >= 0] == wanted


@pytest.mark.parametrize("bottom", [None, "dtrn"])
def test_planted_sequences_know_their_best_predictions(bottom: str | None, tmp_path: Path) -> None:
    options = ["num_interactions=1000", "targets=sequences"]
    settings = replace(SMALL, dataset_options=options, bottom=bottom, epochs=1, sequence_length=5)
    results = run(settings, tmp_path / "run")
    assert results["comparison"]["oracle"]["cart/auc"] > 0.7
    assert load_impressions(settings).behaviours == (["views", "carts", "buys"] if bottom else [])


@pytest.mark.parametrize("at", ["embedding", "representation"])
def test_a_bottom_on_an_encoder_that_widens_rows(at: str, tmp_path: Path) -> None:
    settings = replace(SMALL, encoder="ngcf", layers=2, bottom="dtrn", epochs=1, at=at)
    results = run(settings, tmp_path / "run")
    assert evaluate_run(RunDirectory(tmp_path / "run"))["test"] == pytest.approx(results["test"])


def test_impressions_are_drawn_of_behaviours(real_root: Any, tmp_path: Path) -> None:
    settings = Settings(
        dataset="retailrocket",
        root=str(real_root("retailrocket").parent),
        head="mmoe",
        bottom="dtrn",
    )
    data = load_impressions(settings)
    assert list(data.targets) == ["cart", "buy"]
    assert data.behaviours == ["views", "carts", "buys"]
    assert data.test.split_report["drawn"]["num_negatives"] == 4


def test_your_own_log(tmp_path: Path) -> None:
    settings = Settings(
        interactions=str(log(tmp_path / "log.csv")),
        head="shared-bottom",
        targets=["click", "minutes"],
        categorical=["device"],
        numeric=["price"],
        core_target="click",
        target_options=["minutes.transform=log1p"],
        dim=4,
        epochs=2,
        batch_size=64,
        threads=1,
    )
    results = run(settings, tmp_path / "run")
    assert results["targets"] == {"click": "binary", "minutes": "continuous"}
    assert results["split"]["strategy"] == "random"
    assert results["selection"]["metric"] == "click/log_loss"
    labelled = results["num_labelled"]
    assert labelled["minutes"] < labelled["click"] == 30


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ["buy"]}, "'targets' needs to name targets of the data, click, long_view, w"),
        ({"core_target": "buy"}, "'core_target' needs to name targets of the data"),
        ({"target_options": ["buy.loss=mse"]}, "'target_options' needs TARGET.NAME=VALUE"),
        ({"target_options": ["click.loss=mse"]}, "'Classification' takes no option 'loss'"),
        ({"target_options": ["watch_time.loss=mae"]}, "'loss' needs to be 'mse' or 'huber'"),
        ({"head_options": ["in_dim=3"]}, "'in_dim' of 'SharedBottom' follows from the run"),
        ({"head_options": ["depth=3"]}, "'SharedBottom' takes no option 'depth'"),
        ({"select_metric": "click/rmse"}, "'select_metric' needs TARGET/METRIC with a metric of"),
        ({"select_metric": "buy/auc"}, "'select_metric' needs TARGET/METRIC with click, long"),
        ({"split": "per-user"}, "'split' of a run with a head needs to be 'time' or 'random'"),
        ({"tasks": ["bpr"]}, "'--tasks' is of a run that ranks"),
        ({"encoder": "uprth"}, "encoder 'uprth' cannot feed a head"),
        ({"head": None, "targets": ["click"]}, "'--targets' is of a run that predicts"),
        (
            {"bottom": "dtrn", "behaviours": ["views"]},
            "'behaviours' needs names of timed behaviours",
        ),
        ({"behaviours": ["clicks"]}, "'--behaviours' is of a bottom"),
        ({"bottom": "dtrn", "bottom_options": ["dim=3"]}, "'dim' of 'DTRN' follows from the run"),
        ({"dataset_options": ["size=3"]}, "'Planted' takes no option 'size'"),
        ({"dataset_options": ["root=here"]}, "'root' is none of '--dataset-options'"),
    ],
)
def test_wrong_settings_get_one_line_and_write_nothing(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        run(replace(SMALL, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    settings = replace(
        SMALL, interactions=str(log(tmp_path / "log.csv")), dataset_options=[], targets=["buy"]
    )
    with pytest.raises(InputError, match="has no column 'buy', which '--targets' names"):
        run(settings, tmp_path / "run")
    with pytest.raises(InputError, match="a head on '--interactions' needs '--targets'"):
        run(replace(settings, targets=[]), tmp_path / "run")


def test_targets_of_the_data_set_s_own_arguments_are_learned(real_root: Any) -> None:
    settings = Settings(
        dataset="kuairand-slice",
        root=str(real_root("kuairand_slice").parent),
        dataset_options=["targets=click,profile_enter,watch_time"],
        head="shared-bottom",
    )
    assert list(load_impressions(settings).targets) == ["click", "profile_enter", "watch_time"]
    only = replace(settings, targets=["profile_enter"])
    assert list(load_impressions(only).targets) == ["profile_enter"]
    default = replace(settings, dataset_options=[])
    assert list(load_impressions(default).targets) == ["click", "long_view", "watch_time"]
