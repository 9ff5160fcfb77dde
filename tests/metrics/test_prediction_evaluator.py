import math

import pytest
import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.baselines import Constant
from pyg_mtrec.metrics import (
    PredictionEvaluator,
    auc,
    calibration_error,
    log_loss,
    mae,
    nmae,
    normalized_gini,
    nrmse,
    rmse,
    spearman,
)
from pyg_mtrec.metrics._direction import is_smaller_better

TARGETS = {"click": "binary", "watch_time": "continuous"}


def world(size: int = 500) -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(size, generator=generator)
    click = (torch.rand(size, generator=generator) < x.sigmoid()).float()
    watch_time = (x + torch.randn(size, generator=generator)).exp()
    label = torch.stack([click, watch_time], dim=1)
    label[::7, 0] = label[::5, 1] = math.nan
    return label, {"click": x.sigmoid(), "watch_time": x.exp()}


def test_every_metric_is_the_public_function_of_its_name() -> None:
    label, predictions = world()
    result = PredictionEvaluator(label, TARGETS, num_bins=9)(predictions)
    click = predictions["click"], label[:, 0]
    watch_time = predictions["watch_time"], label[:, 1]
    known = ~label[:, 1].isnan()
    error = (predictions["watch_time"] - label[:, 1])[known].double().square().sum()
    spread = (label[known, 1].double() - label[known, 1].double().mean()).square().sum()
    expected = {
        "click/auc": auc(*click),
        "click/log_loss": log_loss(*click),
        "click/calibration_error": calibration_error(*click, 9),
        "watch_time/rmse": rmse(*watch_time),
        "watch_time/mae": mae(*watch_time),
        "watch_time/nrmse_std": nrmse(*watch_time, "std"),
        "watch_time/nmae_mean": nmae(*watch_time, "mean"),
        "watch_time/spearman": spearman(*watch_time),
        "watch_time/gini": normalized_gini(*watch_time),
        "watch_time/r2": float(1 - error / spread),
        "watch_time/calibration_error": calibration_error(*watch_time, 9),
    }
    assert result.metrics == pytest.approx(expected, rel=1e-6)
    assert list(result.metrics) == list(expected)
    assert {name.rpartition("/")[2] for name in expected} <= set(PredictionEvaluator.definitions)
    assert result.num_labelled == {"click": 500 - 72, "watch_time": 400}
    assert result.metrics["watch_time/nrmse_std"] ** 2 == pytest.approx(
        1 - result.metrics["watch_time/r2"], rel=1e-12
    )


def test_the_means_of_the_rows_are_the_metrics() -> None:
    label, predictions = world()
    result = PredictionEvaluator(label, TARGETS)(predictions)
    rows = result.per_row
    assert list(rows) == ["click/log_loss", "watch_time/squared_error", "watch_time/absolute_error"]
    assert torch.equal(rows["click/log_loss"].isnan(), label[:, 0].isnan())
    assert torch.equal(rows["watch_time/absolute_error"].isnan(), label[:, 1].isnan())
    means = {name: float(values.nanmean()) for name, values in rows.items()}
    assert means["click/log_loss"] == pytest.approx(result.metrics["click/log_loss"], rel=1e-12)
    assert math.sqrt(means["watch_time/squared_error"]) == pytest.approx(
        result.metrics["watch_time/rmse"], rel=1e-12
    )
    assert means["watch_time/absolute_error"] == pytest.approx(
        result.metrics["watch_time/mae"], rel=1e-12
    )


def test_normalisers() -> None:
    label, predictions = world()
    names = ("nmae_range", "nrmse_mean", "nmae_std")
    metrics = PredictionEvaluator(label, TARGETS, normalizers=names)(predictions).metrics
    pair = predictions["watch_time"], label[:, 1]
    assert {n for n in metrics if "nmae" in n or "nrmse" in n} == {f"watch_time/{n}" for n in names}
    assert metrics["watch_time/nmae_range"] == pytest.approx(nmae(*pair, "range"), rel=1e-12)
    assert metrics["watch_time/nrmse_mean"] == pytest.approx(nrmse(*pair, "mean"), rel=1e-12)
    assert metrics["watch_time/nmae_std"] == pytest.approx(nmae(*pair, "std"), rel=1e-12)


def test_the_constant_says_nothing_and_nothing_is_warned_of() -> None:
    label, _ = world()
    metrics = PredictionEvaluator(label, TARGETS)(Constant(label, TARGETS).predict(500)).metrics
    assert metrics["click/auc"] == 0.5
    assert metrics["watch_time/spearman"] == metrics["watch_time/gini"] == 0.0
    assert metrics["watch_time/nrmse_std"] == pytest.approx(1.0, rel=1e-12)
    assert metrics["watch_time/r2"] == pytest.approx(0.0, abs=1e-12)
    assert metrics["click/calibration_error"] == pytest.approx(0.0, abs=1e-12)


def test_a_perfect_model_beats_the_constant_in_every_direction() -> None:
    label, _ = world()
    perfect = {"click": label[:, 0].nan_to_num(), "watch_time": label[:, 1].nan_to_num()}
    evaluator = PredictionEvaluator(label, TARGETS)
    best = evaluator(perfect).metrics
    worst = evaluator(Constant(label + 0, TARGETS).predict(500)).metrics
    for name, value in best.items():
        if "calibration" not in name:
            assert (value < worst[name]) == is_smaller_better(name), name


def test_labels_that_are_all_equal_are_warned_of_once() -> None:
    label = torch.tensor([[1.0, 3.0], [1.0, 3.0]])
    with pytest.warns(UserWarning) as caught:
        evaluator = PredictionEvaluator(label, TARGETS)
    assert [str(w.message) for w in caught] == [
        "all 2 labels of target 'click' are 1: its AUC is NaN",
        "all 2 labels of target 'watch_time' are 3: metrics against them are NaN",
    ]
    assert caught[0].filename == __file__
    metrics = evaluator({"click": torch.rand(2), "watch_time": torch.tensor([1.0, 2.0])}).metrics
    nan = {name for name, value in metrics.items() if math.isnan(value)}
    relative = ("nrmse_std", "spearman", "gini", "r2")
    assert nan == {"click/auc", *(f"watch_time/{name}" for name in relative)}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("click", None, "predictions of target 'click' are missing .got watch_time"),
        ("click", torch.rand(499), r"one value per row, 500 \(got \(499,\)\)"),
        ("click", torch.rand(500, 1), r"one value per row, 500 \(got \(500, 1\)\)"),
        ("click", torch.linspace(-1, 1, 500), r"target 'click' needs probabilities .*got -1 to 1"),
        (
            "watch_time",
            torch.ones(500).index_fill(0, torch.tensor([3, 9]), math.nan),
            "'watch_time' need to be finite .got nan in row 3 and 1 more.: training may",
        ),
    ],
)
def test_bad_predictions(name: str, value: Tensor | None, message: str) -> None:
    label, predictions = world()
    if value is None:
        del predictions[name]
    else:
        predictions[name] = value
    with pytest.raises(InputError, match=message):
        PredictionEvaluator(label, TARGETS)(predictions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalizers": ("nrmse",)}, r"nrmse_std, .* \(got 'nrmse'\)"),
        ({"num_bins": 0}, "'num_bins' needs to be positive"),
    ],
)
def test_bad_arguments(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PredictionEvaluator(world()[0], TARGETS, **options)  # type: ignore[arg-type]


def test_predictions_of_other_targets_are_ignored() -> None:
    label, predictions = world()
    evaluator = PredictionEvaluator(label, TARGETS)
    more = evaluator(predictions | {"like": torch.rand(3)})
    assert more.metrics == evaluator(predictions).metrics
    assert "click/auc" in repr(more) and "500" in repr(evaluator)
