import io
import math

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import reliability_curve
from pyg_mtrec.runs import RunDirectory, _prediction_plots

BLUE, ORANGE, INK = "#0072B2", "#D55E00", "#333333"


def pixels(png: bytes) -> np.ndarray:
    return imread(io.BytesIO(png))[..., :3]


def places(image: np.ndarray, color: str) -> tuple[np.ndarray, np.ndarray]:
    wanted = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return np.nonzero(np.abs(image - wanted).max(axis=-1) < 0.02)


def drawn(size: int = 4000, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logit = torch.randn(size, generator=generator)
    label = (torch.rand(size, generator=generator) < logit.sigmoid()).float()
    return (logit + shift).sigmoid(), label


def amounts(size: int = 4000) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    pred = torch.randn(size, generator=generator).add(2).exp()
    return pred, pred * torch.randn(size, generator=generator).exp()


def test_too_high_probabilities_lie_below_the_diagonal() -> None:
    sides = []
    for shift in (1.5, -1.5):
        curve = reliability_curve(*drawn(shift=shift))
        image = pixels(_prediction_plots.reliability({"click": curve}))
        top, bottom, left, right = _frame(image)
        y, x = places(image, BLUE)
        across, up = (x - left) / (right - left), (bottom - y) / (bottom - top)
        sides.append(float(np.median(up - across)))
    assert sides[0] < -0.1 and sides[1] > 0.1


def test_calibrated_probabilities_lie_on_it() -> None:
    image = pixels(_prediction_plots.reliability({"click": reliability_curve(*drawn(100_000))}))
    top, bottom, left, right = _frame(image)
    y, x = places(image, BLUE)
    distance = (x - left) / (right - left) - (bottom - y) / (bottom - top)
    assert float(np.abs(distance).max()) < 0.05


def _frame(image: np.ndarray) -> tuple[int, int, int, int]:
    """Where the axes stand: the longest grey lines."""
    y, x = places(image, "#9A9A9A")
    left, bottom = np.bincount(x).argmax(), np.bincount(y).argmax()
    return y[x == left].min(), bottom, left, x[y == bottom].max()


def test_the_mean_label_is_drawn_over_the_density() -> None:
    pred, label = amounts()
    image = pixels(_prediction_plots.predicted({"watch_time": (pred, label)}))
    y, x = places(image, ORANGE)
    inside = x > 0.35 * image.shape[1]  # right of the legend
    slope = np.polyfit(x[inside], -y[inside], 1)[0]
    assert slope > 0.3  # means grow with predictions, on axes that both grow with the logarithm
    assert len(places(image, INK)[0]) > 500


def test_unlabelled_rows_change_nothing() -> None:
    pred, label = amounts(300)
    wild, nan = torch.tensor([1e9, -5.0]), torch.full((2,), math.nan)
    more = torch.cat([pred, wild]), torch.cat([label, nan])
    assert _prediction_plots.predicted({"a": more}) == _prediction_plots.predicted(
        {"a": (pred, label)}
    )


@pytest.mark.parametrize("number", [1, 2, 4])
def test_one_panel_per_target(number: int) -> None:
    curve = reliability_curve(*drawn(50))
    image = pixels(_prediction_plots.reliability({f"t{i}": curve for i in range(number)}))
    columns, rows = min(number, 3), -(-number // 3)
    assert image.shape == (576 * rows, 624 * columns, 3)


@pytest.mark.parametrize(
    "columns",
    [
        (torch.tensor([0.3]), torch.tensor([1.0])),
        (torch.full((9,), 0.2), torch.tensor([0.0] * 9)),
        (torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])),
        (torch.logspace(-9, -1, 60), torch.tensor([0.0] * 59 + [1.0])),
        (torch.logspace(-9, -1, 60), torch.zeros(60)),
    ],
    ids=["one", "constant", "certain", "rare", "never"],
)
def test_odd_probabilities(columns: tuple[Tensor, Tensor]) -> None:
    assert pixels(_prediction_plots.reliability({"click": reliability_curve(*columns)})).size > 0


@pytest.mark.parametrize("scale", [1e-10, 1e10])
@pytest.mark.parametrize("kind", ["heavy", "one", "equal", "constant", "zero", "negative"])
def test_odd_amounts(kind: str, scale: float) -> None:
    pred, label = (column * scale for column in amounts(400))
    if kind == "one":
        pred, label = pred[:1], label[:1]
    elif kind == "equal":
        label = torch.full_like(label, scale)
    elif kind == "constant":
        pred = torch.full_like(pred, scale)
    elif kind == "zero":
        label = label * (torch.arange(400) % 50 == 0)
    elif kind == "negative":
        pred = pred - 20 * scale
    assert pixels(_prediction_plots.predicted({"a": (pred, label)})).shape == (576, 624, 3)


def test_the_images_lie_in_the_run_directory(tmp_path) -> None:  # type: ignore[no-untyped-def]
    run = RunDirectory(tmp_path / "run")
    run.prepare({"dataset": "planted"}, resume=False)
    first = run.plot_reliability({"click": reliability_curve(*drawn(100))})
    second = run.plot_predicted({"watch_time": amounts(100)})
    assert [first.name, second.name] == ["reliability.png", "predicted.png"]
    assert all(imread(path).size > 0 for path in (first, second))


def test_nothing_to_draw() -> None:
    with pytest.raises(InputError, match="no binary target has predictions"):
        _prediction_plots.reliability({})
    with pytest.raises(InputError, match="no continuous target has predictions"):
        _prediction_plots.predicted({})
