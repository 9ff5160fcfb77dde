"""Predictions that know an impression's item alone, on a log of the DTRN benchmark."""

from pathlib import Path

from benchmarks.paper._dtrn_cells import Cell
from benchmarks.paper._dtrn_runs import METRIC, load, metrics_of, test_of
from benchmarks.paper._htlnet_cells import Study
from benchmarks.paper._search import read_json, write_json
from pyg_mtrec.baselines import ItemRate
from pyg_mtrec.training._data import MAIN
from pyg_mtrec.training._prediction_run import evaluator

SMOOTHINGS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


def item_rate(study: Study, path: Path) -> str:
    """Writes the item's own rates, smoothed as suits validation; the test set is read once."""
    found = read_json(path)
    if found is None:
        data = load(Cell("shared-bottom", "bare").settings(study, {}, study.search_seed))
        valid, targets = evaluator(data, "val"), list(data.targets)
        items = {name: getattr(data, name)[MAIN].edge_label_index[1] for name in ("train", "val")}
        size, label = int(data.train["item"].num_nodes or 0), data.labels("train")
        tried, rates = {}, {}
        for smoothing in SMOOTHINGS:
            rate = ItemRate(items["train"], label, data.targets, size, smoothing)
            tried[smoothing] = metrics_of(valid(rate.predict(items["val"])), targets)[METRIC]
            rates[smoothing] = rate
        chosen = min(tried, key=tried.__getitem__)
        predicted = rates[chosen].predict(data.test[MAIN].edge_label_index[1])
        found = {
            "smoothing": chosen,
            "valid": {f"{smoothing:g}": value for smoothing, value in tried.items()},
            **test_of(data, predicted, path.with_suffix(".rows.pt")),
        }
        write_json(path, found)
    return f"smoothing {found['smoothing']:g}, {METRIC} {found['test'][METRIC]:.4f}"
