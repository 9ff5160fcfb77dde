import io
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from pyg_mtrec._errors import InputError
from pyg_mtrec.runs import _plots


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
