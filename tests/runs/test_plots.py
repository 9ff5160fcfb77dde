import io
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from pyg_mtrec._errors import InputError
from pyg_mtrec.runs import _plots
from pyg_mtrec.runs._labels import metric_label


def pixels(png: bytes) -> np.ndarray:
    return imread(io.BytesIO(png))[..., :3]


def share(image: np.ndarray, color: str) -> float:
    wanted = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return float((np.abs(image - wanted).max(axis=-1) < 0.02).mean())


def test_bars_are_as_long_as_their_values() -> None:
    image = pixels(_plots.comparison({"single task": 0.1, "sum": 0.2, "pmtrec": 0.4}, "recall@20"))
    blue = (np.abs(image - [0, 0x72 / 255, 0xB2 / 255]).max(axis=-1) < 0.02).sum(axis=1)
    lengths = [int(n) for n in dict.fromkeys(blue[blue > 0].tolist())]
    longest = max(lengths)
    for expected in (0.25, 0.5, 1.0):
        assert min(abs(length / longest - expected) for length in lengths) < 0.01


def test_yardsticks_are_grey() -> None:
    grey = pixels(_plots.comparison({"popularity": 0.1, "ease": 0.2, "oracle": 0.3}, "ndcg@20"))
    assert share(grey, "#9A9A9A") > 0.1
    assert share(grey, "#0072B2") == 0


def test_the_best_epoch_is_marked_where_it_is() -> None:
    rows = [
        {"epoch": e, "valid/recall@20": v, "loss/bpr": 1.0, "loss/social": 0.5}
        for e, v in enumerate([0.1, 0.2, 0.9, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], start=1)
    ]
    image = pixels(_plots.curve(rows, "recall@20"))
    top = image[: image.shape[0] // 2]
    wanted = np.array([0xD5, 0x5E, 0x00]) / 255
    _, columns = np.nonzero(np.abs(top - wanted).max(axis=-1) < 0.02)
    assert 0.2 < columns.mean() / image.shape[1] < 0.42  # epoch 3 of an axis from 0 to 10.2


@pytest.mark.parametrize("smaller_is_better", [True, False])
def test_the_best_epoch_of_a_loss_is_its_lowest(smaller_is_better: bool) -> None:
    values = [0.5, 0.4, 0.1, 0.6, 0.8, 0.7, 0.9, 0.7]
    metric = "watch_time/nrmse_std" if smaller_is_better else "click/auc"
    rows = [{"epoch": e, f"valid/{metric}": v, "loss/a": 1.0} for e, v in enumerate(values, 1)]
    image = pixels(_plots.curve(rows, metric))
    top = image[: image.shape[0] // 2]
    _, columns = np.nonzero(np.abs(top - np.array([0xD5, 0x5E, 0x00]) / 255).max(axis=-1) < 0.02)
    best = 3 if smaller_is_better else 7
    assert abs(columns.mean() / image.shape[1] - (0.07 + 0.92 * best / 8.16)) < 0.05


def test_bars_of_negative_values_go_left() -> None:
    image = pixels(_plots.comparison({"sum": -0.2, "pmtrec": 0.4}, "watch_time/r2"))
    half = image.shape[0] // 2
    (left,), (right,) = (
        np.nonzero((np.abs(part - [0, 0x72 / 255, 0xB2 / 255]).max(axis=-1) < 0.02).any(axis=0))
        for part in (image[:half], image[half:])
    )
    assert abs(int(left.max()) - int(right.min())) <= 2
    assert np.ptp(left) / np.ptp(right) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("ndcg@20", "NDCG@20"),
        ("click/auc", "click: AUC"),
        ("long_view/log_loss", "long_view: Log loss"),
        ("watch_time/nrmse_std", "watch_time: NRMSE (std)"),
    ],
)
def test_labels(metric: str, label: str) -> None:
    assert metric_label(metric) == label


@pytest.mark.parametrize(
    "rows",
    [
        [{"epoch": 1, "valid/recall@20": 0.0, "loss/bpr": 0.0}],
        [{"epoch": 1, "valid/recall@20": None, "loss/bpr": 1e-10}],
        [{"epoch": e, "valid/a@1": 1e10 * e, "loss/bpr": 10.0**-e} for e in range(1, 40)],
    ],
)
def test_odd_histories(rows: list[dict[str, float]]) -> None:
    assert pixels(_plots.curve(rows)).shape == (720, 960, 3)


def test_nothing_to_draw() -> None:
    with pytest.raises(InputError, match="no finished epoch"):
        _plots.curve([])
    with pytest.raises(InputError, match="no arm has a value of 'recall@20'"):
        _plots.comparison({}, "recall@20")


def test_zeros() -> None:
    assert pixels(_plots.comparison({"sum": 0.0, "pmtrec": 0.0}, "recall@20")).size > 0


def test_no_global_figures() -> None:
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


PRETRAINING = [
    {
        "epoch": e,
        "loss/alignment": 0.01 * e,
        "loss/hyperedge-a": 0.6931 - 0.05 * e,
        "loss/hyperedge-b": 0.6931,
    }
    for e in range(1, 11)
]


def test_pretraining_marks_ln_2_where_a_guess_costs_it() -> None:
    ln2 = float(np.log(2))
    guesses = {"alignment": None, "hyperedge-a": ln2, "hyperedge-b": ln2 * 1.001}
    two = pixels(_plots.pretraining(PRETRAINING, guesses, 10))
    half = two.shape[0] // 2
    blue, orange, green = "#0072B2", "#D55E00", "#009E73"  # in the order of the columns
    assert share(two[:half], orange) > 0 and share(two[:half], green) > 0
    assert share(two[half:], blue) > 0
    assert share(two[:half], blue) == share(two[half:], orange) == 0
    # The dashed line of ln 2 runs through all of the upper panel, which the task that has learned
    # nothing lies on; nothing is marked below.
    grey = np.abs(two - 0x9A / 255).max(axis=-1) < 0.02
    dashed = grey[:half].sum(axis=1) + (
        np.abs(two[:half] - [0, 0x9E / 255, 0x73 / 255]).max(axis=-1) < 0.02
    ).sum(axis=1)
    assert dashed[: half // 3].max() > 0.5 * two.shape[1]
    assert grey[half:-100].sum(axis=1).max() < 0.2 * two.shape[1]


def test_pretraining_marks_the_epoch_that_was_kept() -> None:
    image = pixels(_plots.pretraining(PRETRAINING, {"alignment": None}, 6))
    grey = np.abs(image - 0x9A / 255).max(axis=-1) < 0.02
    (columns,) = np.nonzero(grey.sum(axis=0) > 0.6 * image.shape[0])
    axis, kept = columns.min(), columns.max()  # the axis of the losses, and epoch 6 of 10.2
    width = image.shape[1] - axis
    assert abs((kept - axis) / width - 6 / 10.2) < 0.03


@pytest.mark.parametrize(
    "guesses",
    [{}, {"alignment": 0.7, "hyperedge-a": 0.69, "hyperedge-b": 0.693}, {"other": 0.6931}],
)
def test_one_panel_where_there_is_one_kind_of_task(guesses: dict[str, float]) -> None:
    assert pixels(_plots.pretraining(PRETRAINING, guesses, 10)).shape == (480, 960, 3)


def test_no_epoch_of_pretraining() -> None:
    with pytest.raises(InputError, match=r"'pretrain\.csv' has no finished epoch"):
        _plots.pretraining([], {}, 0)
