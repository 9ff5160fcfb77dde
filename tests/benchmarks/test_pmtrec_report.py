"""A made-up work folder, its assembled numbers against loops, and what tables and plots show."""

import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib.colors
import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

from benchmarks import render
from benchmarks.paper import _assemble, _plots, _tables
from benchmarks.paper._assemble import assemble, write_results
from benchmarks.paper._cells import (
    ABLATION,
    CONTROL_RULES,
    MORE_RULES,
    OWN,
    PAPER_RULES,
    ROW_RULES,
    YARDSTICKS,
)
from benchmarks.paper._tables import Report
from pyg_mtrec._errors import InputError

DATASET = "amazon-office"
TASKS = ["bpr", "alignment-uniformity", "rating-regression"]
METRICS = [f"{name}@{k}" for name in ("recall", "ndcg") for k in (5, 10, 20, 40)]
SEEDS = (0, 1, 2)
# Cell to how far its users' recall lies above what chance gives
CELLS = {
    "popularity": -0.4,
    "item-knn": -0.1,
    "ease": 0.15,
    "mf.bpr.sum": -0.2,
    "mf.all.sum": -0.1,
    "mf.all.rlw": -0.05,
    "mf.all.pmtrec": 0.1,
    "mf.all.nash-mtl": 0.1,
    "mf.all.pcgrad-row": 0.3,
    "mf.all.mean": 0.05,
    "mf.all.sum-adamw": 0.0,
    "mf.all.pmtrec-adamw": 0.1,
    "mf.all.pmtrec-nofocus": 0.05,
    "mf.all.pmtrec-nobalance": 0.0,
    "mf.all.home-made": 0.0,
    "lightgcn.t1.sum": 0.0,
    "lightgcn.t1.pmtrec": 0.3,
}


def _users(seed: int, num_users: int) -> dict[str, Any]:
    """The test users of a split, the same for every cell but in another order for each."""
    generator = torch.Generator().manual_seed(1000 + seed)
    ids = torch.randperm(2 * num_users, generator=generator)[:num_users]
    return {"users": ids, "history": (ids * 7) % 41}


def _write_run(folder: Path, seed: int, shift: float, num_users: int, epochs: int) -> None:
    """One run of a cell: seedN.json and seedN.users.pt, as the runner writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)  # rivals share the noise of a seed
    users = _users(seed, num_users)
    noise = torch.rand(num_users, generator=generator)
    own = torch.rand(num_users, generator=torch.Generator().manual_seed(len(folder.name)))
    value = ((noise + shift + 0.6 * own).clamp(0, 1) * 5).round() / 5
    metrics = {metric: value / (1 + place) for place, metric in enumerate(METRICS)}
    order = torch.randperm(num_users, generator=torch.Generator().manual_seed(len(folder.name)))
    saved: dict[str, Any] = {name: tensor[order] for name, tensor in users.items()}
    saved["metrics"] = {metric: values[order] for metric, values in metrics.items()}
    test = {metric: float(values.double().mean()) for metric, values in metrics.items()}
    run: dict[str, Any] = {
        "cell": folder.name,
        "seed": seed,
        "params": {"l2": 100.0} if folder.name == "ease" else {},
        "seconds": 1.23456789,
        "test": {**test, "mrr@20": 0.5},
        "buckets": {
            "0-5": {"users": 10 + seed, "recall@20": 0.1 * seed, "ndcg@20": 0.2, "map@20": 0.3},
            "6+": {"users": 0} if seed == 0 else {"users": 4, "recall@20": 0.5, "ndcg@20": 0.25},
        },
    }
    if folder.name not in YARDSTICKS:
        steps = torch.arange(epochs) / epochs
        run |= {
            "params": {"lr": 0.005, "weight_decay": 1e-05},
            "settings": {"dim": 32, "at": "embedding", "batch_size": 2048, "epochs": 120}
            | {"patience": 15, "select_metric": "recall@20", "valid_users": 5000}
            | {"auxiliary": "anchored", "seed": seed},
            "selection": {"epoch": epochs - 1, "value": 0.1234567},
            "epochs": epochs,
            "valid": {**test, "mrr@20": 0.5},
            "curve": ((0.6 + shift) * steps * (2 - steps) * 0.2).tolist(),
            "weights": None,
        }
    if folder.name.startswith("mf.all.pmtrec"):
        weights = torch.rand(3, num_users, generator=generator)
        weights[0] += saved["history"] / 20
        weights = weights / weights.sum(0)
        weights[:, :5] = 0.0  # met by no step
        saved["weights"] = weights
        main = torch.linspace(0.4, 0.9, epochs)
        run["weights"] = {
            "tasks": TASKS,
            "epochs": [
                {"user": [w, 0.7 - 0.7 * w, 0.3 - 0.3 * w], "item": [w / 2, 0.5, 0.5 - w / 2]}
                for w in main.tolist()
            ],
        }
    torch.save(saved, folder / f"seed{seed}.users.pt")
    (folder / f"seed{seed}.json").write_text(json.dumps(run))


def _write_search(folder: Path, trials: int, budget: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    found = [
        {
            "params": {"lr": 0.005, "weight_decay": 10.0**-t},
            "value": 0.1 - 0.001 * (t - 5) ** 2,  # the fifth is the best
            "epoch": 3,
            "epochs": 9,
            "rungs": {},
            "seconds": 10.0,
            "pruned": t % 2 == 0,
        }
        for t in range(trials)
    ]
    space = {"lr": [0.005], "weight_decay": [10.0**-t for t in range(8)]}
    content = {"cell": folder.name, "space": space, "trials": found, "budget": budget}
    (folder / "search.json").write_text(json.dumps(content))


def make_work(
    work: Path,
    cells: dict[str, float] = CELLS,
    seeds: Any = SEEDS,
    users: int = 60,
    epochs: int = 6,
) -> Path:
    for name, shift in cells.items():
        for seed in seeds:
            _write_run(work / name, seed, shift, users, epochs)
        if name not in YARDSTICKS and name.rpartition(".")[2] not in ABLATION:
            _write_search(work / name, trials=8, budget=8)
    _write_search(work / "mf.all.graddrop", trials=3, budget=8)  # the time was over
    (work / "sensitivity").mkdir()
    for alpha, tau, value in ((1.0, 1e-3, 0.08), (1.04, 1e-3, 0.1), (1.04, 10.0, 0.09)):
        point = {"alpha": alpha, "tau": tau, "value": value, "epoch": 3}
        point["params"] = {"lr": 0.005, "weight_decay": 1e-05, "alpha": 1.02, "tau": 0.1}
        (work / "sensitivity" / f"{alpha},{tau:g}.json").write_text(json.dumps(point))
    machine = {"processor": "a processor", "threads": 1, "gpu": None, "torch": "2.13.0"}
    cost = {"encoder": "mf", "rounds": 9, "machine": machine}
    cost["ms_per_step"] = {"sum": 10.0, "pmtrec": 12.0}
    cost["ratio"] = {"sum": 1.0, "pmtrec": 1.2049}
    (work / "cost.json").write_text(json.dumps(cost))
    return work


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_work(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def found(work: Path) -> dict[str, Any]:
    return assemble(work, DATASET)


@pytest.fixture
def report(found: dict[str, Any]) -> Report:
    return Report(DATASET, found, json.loads(_tables.PUBLISHED.read_text()))


@pytest.fixture
def empty() -> Report:
    return Report(DATASET, {}, json.loads(_tables.PUBLISHED.read_text()))


def _row(table: _tables.Table, label: str) -> list[str]:
    (row,) = [row for row in table.rows if label in row[:2]]
    return row


# Assembling


def test_a_cell_keeps_its_search_and_what_tables_need_of_its_runs(found: dict[str, Any]) -> None:
    cell = found["cells"]["mf.all.sum"]
    assert cell["search"]["best"] == {"lr": 0.005, "weight_decay": 1e-05}
    kept = {name: cell["search"][name] for name in ("budget", "trials", "pruned", "seconds")}
    assert kept == {"budget": 8, "trials": 8, "pruned": 4, "seconds": 80.0}
    assert cell["search"]["value"] == 0.1
    assert set(cell["seeds"]) == {"0", "1", "2"}
    run = cell["seeds"]["1"]
    assert set(run["test"]) == set(METRICS) and set(run["valid"]) == {"recall@20", "ndcg@20"}
    assert (run["epoch"], run["epochs"], run["seconds"]) == (5, 6, 1.234568)
    assert "params" not in run  # the search's
    assert found["cells"]["ease"]["seeds"]["0"]["params"] == {"l2": 100.0}
    assert found["cells"]["ease"]["search"] is None
    assert found["cells"]["mf.all.graddrop"]["seeds"] == {}
    assert found["tasks"]["t2"] == "rating-regression"
    assert found["protocol"]["patience"] == 15 and found["protocol"]["trials"] == [8]


def test_only_cells_that_were_reached_are_there(found: dict[str, Any]) -> None:
    assert set(found["cells"]) == {*CELLS, "mf.all.graddrop"}
    assert "curve" not in found["cells"]["lightgcn.t1.pmtrec"]


def test_a_run_without_its_users_was_not_finished(tmp_path: Path) -> None:
    work = make_work(tmp_path / "work", {"mf.all.sum": 0.0, "mf.all.pmtrec": 0.1})
    (work / "mf.all.sum" / "seed1.users.pt").unlink()
    found = assemble(work, DATASET)
    assert set(found["cells"]["mf.all.sum"]["seeds"]) == {"0", "2"}
    assert found["paired"]["metrics"]["recall@20"]["mf.all.sum"]["seeds"] == 2
    text = Report(DATASET, found, json.loads(_tables.PUBLISHED.read_text())).text
    assert text("mf.all.sum", "recall@20").endswith(" (2 seeds)")
    assert "seeds" not in text("mf.all.pmtrec", "recall@20")


def test_an_empty_work_folder_gives_no_cells(tmp_path: Path) -> None:
    found = assemble(tmp_path, DATASET)
    assert found["cells"] == {} and found["paired"]["metrics"]["recall@20"] == {}
    assert (found["cost"], found["sensitivity"], found["weights"]) == (None, None, None)


def test_differences_are_those_of_a_loop_over_users(work: Path, found: dict[str, Any]) -> None:
    sums: dict[str, dict[int, list[float]]] = {}
    for cell in ("mf.all.rlw", "mf.all.pmtrec"):
        sums[cell] = {}
        for seed in SEEDS:
            saved = torch.load(work / cell / f"seed{seed}.users.pt", weights_only=True)
            values = saved["metrics"]["ndcg@20"].double().tolist()
            for user, value in zip(saved["users"].tolist(), values, strict=True):
                sums[cell].setdefault(user, []).append(value)
    differences = [
        statistics.mean(values) - statistics.mean(sums["mf.all.pmtrec"][user])
        for user, values in sums["mf.all.rlw"].items()
    ]
    entry = found["paired"]["metrics"]["ndcg@20"]["mf.all.rlw"]
    assert entry["difference"] == pytest.approx(statistics.mean(differences), abs=1e-6)
    assert entry["wins"] == sum(d > 1e-7 for d in differences)
    assert entry["losses"] == sum(d < -1e-7 for d in differences)
    assert entry["ties"] == len(differences) - entry["wins"] - entry["losses"]
    assert entry["ties"] > 0 and entry["losses"] > entry["wins"] > 0
    assert (entry["users"], entry["seeds"]) == (len(differences), 3)
    assert entry["low"] < entry["difference"] < entry["high"] < 0


@pytest.mark.parametrize("metric", ["recall@20", "ndcg@20"])
def test_p_values_are_corrected_over_the_rows_of_a_table(
    found: dict[str, Any], metric: str
) -> None:
    families = {
        "metrics": set(CELLS)
        - {"mf.all.pmtrec", "mf.all.pmtrec-nofocus", "mf.all.pmtrec-nobalance"}
        - {"lightgcn.t1.sum", "lightgcn.t1.pmtrec"},
        "ablation": {"mf.all.pmtrec-nofocus", "mf.all.pmtrec-nobalance", "mf.all.sum"}
        | {"mf.all.mean", "mf.all.sum-adamw"},
        "table3": {"mf.bpr.sum", "mf.all.sum", "mf.all.rlw", "lightgcn.t1.sum"},
    }
    for family, cells in families.items():
        tests = found["paired"][family][metric]
        assert set(tests) == cells
        ascending = sorted(tests.values(), key=lambda entry: float(entry["p"]))
        highest = 0.0
        for rank, entry in enumerate(ascending):  # step down by hand
            highest = max(highest, min(1.0, (len(ascending) - rank) * entry["p"]))
            assert entry["p_holm"] == pytest.approx(highest, abs=2e-5)
    assert found["paired"]["ablation"][metric]["mf.all.sum-adamw"]["against"] == (
        "mf.all.pmtrec-adamw"
    )
    assert found["paired"]["table3"][metric]["lightgcn.t1.sum"]["against"] == "lightgcn.t1.pmtrec"


def test_a_comparison_does_not_depend_on_what_else_was_run(
    tmp_path: Path, found: dict[str, Any]
) -> None:
    few = {name: CELLS[name] for name in ("mf.all.pmtrec", "mf.all.rlw")}
    alone = assemble(make_work(tmp_path / "work", few), DATASET)
    ours, theirs = (
        dict(content["paired"]["metrics"]["recall@20"]["mf.all.rlw"]) for content in (alone, found)
    )
    assert ours.pop("p_holm") < theirs.pop("p_holm")
    assert ours == theirs


def test_cells_tested_on_other_users_are_refused_by_name(tmp_path: Path) -> None:
    work = make_work(tmp_path / "work", {"mf.all.sum": 0.0, "mf.all.pmtrec": 0.1})
    path = work / "mf.all.sum" / "seed0.users.pt"
    saved = torch.load(path, weights_only=True)
    saved["users"] = saved["users"] + 1
    torch.save(saved, path)
    with pytest.raises(InputError, match=r"^mf\.all\.sum against mf\.all\.pmtrec: "):
        assemble(work, DATASET)


def test_buckets_are_means_over_the_seeds_that_had_such_users(found: dict[str, Any]) -> None:
    buckets = found["cells"]["mf.all.rlw"]["buckets"]
    assert buckets["0-5"] == {"users": 11.0, "recall@20": 0.1, "ndcg@20": 0.2}
    assert buckets["6+"] == {"users": 4.0, "recall@20": 0.5, "ndcg@20": 0.25}


def test_weights_of_users_are_gathered_by_the_length_of_their_history(
    work: Path, found: dict[str, Any]
) -> None:
    users = found["weights"]["users"]
    edges = users["history_edges"]
    assert edges == [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48]
    gathered: list[list[np.ndarray]] = [[] for _ in edges[1:]]
    for seed in SEEDS:
        saved = torch.load(work / "mf.all.pmtrec" / f"seed{seed}.users.pt", weights_only=True)
        for length, weights in zip(saved["history"], saved["weights"].t(), strict=True):
            if weights.sum() > 0:
                place = max(i for i, edge in enumerate(edges) if edge <= length)
                gathered[place].append(weights.double().numpy())
    assert users["count"] == [len(part) for part in gathered]
    assert sum(users["count"]) == len(SEEDS) * (60 - 5)
    for place, part in enumerate(gathered):
        for index, task in enumerate(TASKS):
            got = users["quantiles"][task][place]
            if not part:
                assert got is None
                continue
            expected = np.quantile(np.stack(part)[:, index], [0.1, 0.25, 0.5, 0.75, 0.9])
            assert got == pytest.approx(expected.tolist(), abs=1e-4)
    assert found["weights"]["epochs"]["user"][-1] == [0.9, 0.07, 0.03]
    assert found["weights"]["epochs"]["item"][0] == [0.2, 0.5, 0.3]


def test_a_history_longer_than_all_bins_so_far_has_a_bin() -> None:
    for length in (0, 1, 5, 2**15):
        made = _assemble._by_history(["a"], torch.tensor([length]), torch.ones(1, 1))
        assert made["count"][-1] == 1 and sum(made["count"]) == 1
        low, high = made["history_edges"][-2:]
        assert low <= length < high


def test_points_of_the_sensitivity_that_are_missing_stay_missing(found: dict[str, Any]) -> None:
    made = found["sensitivity"]
    assert made["alpha"] == OWN["pmtrec"]["alpha"][::2]
    assert made["tau"] == sorted(OWN["pmtrec"]["tau"])
    assert made["value"] == {"1,0.001": 0.08, "1.04,0.001": 0.1, "1.04,10": 0.09}
    assert made["params"] == {"lr": 0.005, "weight_decay": 1e-05}


def test_everything_that_can_be_run_makes_a_small_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_assemble, "DRAWS", 10)
    monkeypatch.setattr(_assemble, "RESAMPLES", 10)
    rules = (*PAPER_RULES, *ROW_RULES, *MORE_RULES, *CONTROL_RULES, *ABLATION)
    cells = dict.fromkeys([*YARDSTICKS, *(f"mf.all.{rule}" for rule in rules)], 0.0)
    for encoder in ("mf", "ngcf", "lightgcn"):
        cells[f"{encoder}.bpr.sum"] = 0.0
        for tasks in ("t1", "t2", "all"):
            cells |= {f"{encoder}.{tasks}.{rule}": 0.0 for rule in ("sum", "rlw", "pmtrec")}
    work = make_work(tmp_path / "work", cells, seeds=range(5), users=40, epochs=100)
    found = assemble(work, DATASET)
    path = tmp_path / "results" / "found.json"
    write_results(path, found)
    assert path.stat().st_size < 200_000
    assert json.loads(path.read_text()) == json.loads(json.dumps(found))
    assert [file.name for file in path.parent.iterdir()] == ["found.json"]
    assert max(map(len, path.read_text().splitlines())) < 2000


# Tables


def test_means_and_deviations_stand_beside_the_papers_numbers(work: Path, report: Report) -> None:
    row = _row(_tables.table_2(report), "RLW")
    tests = [
        json.loads((work / "mf.all.rlw" / f"seed{seed}.json").read_text())["test"] for seed in SEEDS
    ]
    for column, metric, paper in ((2, "recall@20", "0.0849"), (5, "ndcg@20", "0.0439")):
        values = np.array([test[metric] for test in tests])
        assert row[column] == f"{values.mean():.4f} ± {values.std(ddof=1):.4f}"
        assert row[column + 1] == paper
    entry = report.found["paired"]["metrics"]["recall@20"]["mf.all.rlw"]
    assert row[4].startswith(f"−{-entry['difference']:.4f}, p ")
    assert row[4].endswith(f"; {entry['wins']} / {entry['ties']} / {entry['losses']}")
    assert row[8:] == ["", "8"]
    assert _row(_tables.table_2(report), "PMTRec")[8:] == ["1.20", "8"]


def test_what_was_not_reached_is_not_run(report: Report) -> None:
    table = _tables.table_2(report)
    assert _row(table, "CAGrad")[2:5] == ["not run", "0.0819", ""]
    assert _row(table, "CAGrad")[5:] == ["not run", "0.0428", "", "", ""]
    assert _row(table, "GradDrop")[2:] == [
        "not run",
        "0.0752",
        "",
        "not run",
        "0.0387",
        "",
        "",
        "3 of 8",
    ]
    assert _row(table, "PCGrad, row by row")[3] == ""  # the paper has no such row
    assert _row(table, "home-made")[2] != "not run"


def test_blocks_hold_every_rule_once_and_the_best_is_bold(report: Report) -> None:
    table = _tables.table_2(report)
    titles = [row[0] for row in table.rows if row[0]]
    assert titles == ["yardsticks", "the paper's rules", "row by row", "further rules", "controls"]
    labels = [row[1] for row in table.rows]
    assert labels[:5] == ["popularity", "ItemKNN", "EASE", "BPR alone", "sum (EW)"]
    assert (
        len(labels)
        == len(set(labels))
        == 4 + len({*PAPER_RULES, *ROW_RULES, *MORE_RULES, *CONTROL_RULES, "home-made"})
    )
    bold = [row[1] for row in table.rows if row[2].startswith("**")]
    assert bold == ["PCGrad, row by row"]
    assert set(_tables.PAPER_RULES) == set(PAPER_RULES)


def test_the_notes_say_who_is_ahead(report: Report, found: dict[str, Any]) -> None:
    tests = found["paired"]["metrics"]["recall@20"]
    rivals = [cell for cell in CELLS if cell.startswith("mf.all.") and cell in tests]
    rivals = [cell for cell in rivals if "adamw" not in cell]
    decided = [cell for cell in rivals if tests[cell]["p_holm"] < 0.05]
    below = sum(tests[cell]["difference"] < 0 for cell in decided)
    assert below > 0 and "mf.all.pcgrad-row" in decided
    means = {
        cell: statistics.mean(
            run["test"]["recall@20"] for run in found["cells"][cell]["seeds"].values()
        )
        for cell in (*rivals, "mf.all.pmtrec")
    }
    rank = sorted(means, key=lambda cell: -means[cell]).index("mf.all.pmtrec") + 1
    note = _tables.table_2(report).notes[0]
    assert note.startswith(
        f"Recall@20: PMTRec is number {rank} of the {len(rivals) + 1} rules that were run; "
        f"p < 0.05 for being above {below} of them and below {len(decided) - below} "
    )
    assert "(PCGrad, row by row)" in note
    assert f"undecided against {len(rivals) - len(decided)}." in note
    ease = tests["ease"]
    assert ease["difference"] > 0
    assert (
        f"PMTRec less EASE is −{ease['difference']:.4f} (p = {ease['p_holm']:.3f}; "
        f"95 % interval over seeds and users from −{ease['high']:.4f} to "
    ) in note


@pytest.mark.parametrize(
    ("recall", "ndcg", "verdict"),
    [
        (0.1, 0.05, "is reached."),
        (0.1, 0.04, "is not reached in NDCG@20."),
        (0.09, 0.04, "is not reached in Recall@20 and NDCG@20."),
    ],
)
def test_the_level_of_the_paper_is_reached_or_not(
    empty: Report, recall: float, ndcg: float, verdict: str
) -> None:
    test = dict.fromkeys(METRICS, 0.0) | {"recall@20": recall, "ndcg@20": ndcg}
    empty.found = {"cells": {"mf.all.pmtrec": {"seeds": {"0": {"test": test}}}}}
    notes = _tables.table_2(empty).notes
    assert f"The level of the paper's PMTRec (0.0905 / 0.0473) {verdict}" in notes
    assert notes[0].startswith("Recall@20: PMTRec is number 1 of the 1 rules")


def test_the_protocol_is_named_beside_the_papers(report: Report, empty: Report) -> None:
    notes = " ".join(_tables.table_2(report).notes)
    for said in (
        "8 trials for every rule alike",
        "after 15 epochs without a gain in validation Recall@20 of at most 5,000 users",
        "(paper: 10 epochs without a gain)",
        "10,000 draws",
        "51,441 interactions",
        "the sum's (10.0 ms), median over 9 interleaved rounds (a processor, 1 thread(s), torch",
        "8.49 %, is over RLW's .0259",
    ):
        assert said in notes, said
    assert "Protocol" not in " ".join(_tables.table_2(empty).notes)


def test_every_table_without_results_says_so(empty: Report) -> None:
    for make in _tables.TABLES.values():
        table = make(empty)
        assert "not run" in table.markdown()
        # Numbers there are the paper's: nothing else has four digits behind the point.
        printed = json.dumps(empty.published)
        numbers = [cell for row in table.rows for cell in row if cell.startswith("0.")]
        assert all(cell.rstrip("0") in printed for cell in numbers)
        assert len({len(row) for row in [table.header, *table.rows]}) == 1
    assert _plots.PLOTS and not any(plot.pick(empty) for plot in _plots.PLOTS.values())


def test_rows_of_a_table_are_as_long_as_its_header(report: Report) -> None:
    for make in _tables.TABLES.values():
        table = make(report)
        assert len({len(row) for row in [table.header, *table.rows]}) == 1
        assert not any("|" in cell or "\n" in cell for row in table.rows for cell in row)


def test_every_cut_off_stands_above_the_papers(report: Report) -> None:
    table = _tables.table_2_full(report)
    place = [row[0] for row in table.rows].index("PMTRec")
    assert table.header[1:] == [
        *(f"Recall@{k}" for k in (5, 10, 20, 40)),
        *(f"NDCG@{k}" for k in (5, 10, 20, 40)),
    ]
    assert table.rows[place][4] == report.text("mf.all.pmtrec", "recall@40")
    assert table.rows[place + 1] == [
        *("PMTRec, paper", "0.0347", "0.0594", "0.0905", "0.1474"),
        *("0.0281", "0.0372", "0.0473", "0.0619"),
    ]
    labels = [row[0] for row in table.rows]
    assert "PCGrad, row by row, paper" not in labels and "CAGrad, paper" in labels


def test_rules_stand_side_by_side_for_every_encoder_and_set_of_tasks(report: Report) -> None:
    table = _tables.table_3(report)
    assert [row[0] for row in table.rows[:3]] == ["popularity", "ItemKNN", "EASE"]
    assert len(table.rows) == 3 + 3 * 4
    start = [row[0] for row in table.rows].index("LightGCN")
    bpr, t1, _, both = table.rows[start : start + 4]
    assert bpr[1:6] == ["BPR", "not run", "", "", "0.0723"]
    assert both[1:6] == ["+ T1, T2", "not run", "not run", "not run", "0.0931"]
    assert t1[2] == report.text("lightgcn.t1.sum", "recall@20") + " †"
    assert t1[3:6] == ["not run", report.text("lightgcn.t1.pmtrec", "recall@20"), "0.0846"]
    assert t1[9] == "0.0450"
    five = _tables.table_3(report, 5)
    assert five.rows[start + 1][4] == report.text("lightgcn.t1.pmtrec", "recall@5")
    assert five.rows[start + 1][5] == "0.0338"
    assert "T1 is alignment-uniformity, T2 is rating-regression" in table.notes[0]


def test_the_ablation_gives_changes_in_per_cent(report: Report) -> None:
    table = _tables.ablation(report)
    row = _row(table, "PMTRec without focusing (α = 1)")
    means = [
        statistics.mean(report.values(cell, "recall@40"))
        for cell in ("mf.all.pmtrec-nofocus", "mf.all.pmtrec")
    ]
    assert row[1] == "PMTRec"
    assert row[6] == f"{100 * (means[0] / means[1] - 1):+.1f} %".replace("-", "−")
    assert (row[7], row[9]) == ("−5.7 %", "−4.7 %")
    assert row[3].startswith("−") or row[3].startswith("+")
    assert _row(table, "sum, decoupled decay")[1] == "PMTRec, decoupled decay"
    assert [row[0] for row in table.rows[:3]] == ["popularity", "ItemKNN", "EASE"]


def test_histories_have_a_column_each(report: Report) -> None:
    table = _tables.history(report)
    assert table.header == ["ranked by", "0-5 interactions", "6+ interactions"]
    assert table.rows[0] == ["users", "11", "4"]
    assert _row(table, "RLW") == ["RLW", "0.1000 / 0.2000", "0.5000 / 0.2500"]
    assert _row(table, "CAGrad") == ["CAGrad", "not run", "not run"]


# What the paper printed, typed in a second time from its tables


@pytest.mark.parametrize(
    ("dataset", "rule", "metric", "number"),
    [
        ("epinions", "pmtrec", "recall@20", 0.0413),
        ("epinions", "pmtrec", "ndcg@20", 0.0249),
        ("epinions", "nash-mtl", "recall@40", 0.0633),
        ("epinions", "aligned-mtl", "ndcg@5", 0.0121),
        ("epinions", "sum", "recall@5", 0.0130),
        ("amazon-office", "pmtrec", "recall@20", 0.0905),
        ("amazon-office", "pmtrec", "ndcg@40", 0.0619),
        ("amazon-office", "cagrad", "ndcg@5", 0.0260),
        ("amazon-office", "rlw", "recall@10", 0.0553),
        ("amazon-video-games", "gradvac", "recall@5", 0.0511),
        ("amazon-video-games", "graddrop", "recall@20", 0.0974),
        ("amazon-video-games", "pcgrad", "ndcg@20", 0.0535),
    ],
)
def test_numbers_of_table_2_are_as_printed(
    empty: Report, dataset: str, rule: str, metric: str, number: float
) -> None:
    assert empty.published["table2"][dataset][rule][metric] == number


@pytest.mark.parametrize(
    ("dataset", "encoder", "tasks", "metric", "number"),
    [
        ("epinions", "lightgcn", "all", "recall@20", 0.0511),
        ("epinions", "lightgcn", "all", "ndcg@20", 0.0301),
        ("epinions", "mf", "all", "ndcg@20", 0.0250),
        ("amazon-office", "ngcf", "t2", "recall@5", 0.0202),
        ("amazon-office", "mf", "bpr", "ndcg@20", 0.0402),
        ("amazon-video-games", "lightgcn", "t1", "recall@20", 0.1133),
    ],
)
def test_numbers_of_table_3_are_as_printed(
    empty: Report, dataset: str, encoder: str, tasks: str, metric: str, number: float
) -> None:
    assert empty.published["table3"][dataset][encoder][tasks][metric] == number


def test_printed_numbers_are_complete_and_agree_with_the_stated_gains(empty: Report) -> None:
    tables = empty.published["table2"]
    assert set(tables) == {"epinions", "amazon-office", "amazon-video-games"}
    odd = []
    for dataset, rules in tables.items():
        assert set(rules) == set(PAPER_RULES)
        for metric in METRICS:
            best = max(numbers[metric] for rule, numbers in rules.items() if rule != "pmtrec")
            gain = 100 * (rules["pmtrec"][metric] / best - 1)
            if abs(gain - empty.published["stated_gain_percent"][dataset][metric]) > 0.02:
                odd.append((dataset, metric))
        for encoder in empty.published["table3"][dataset].values():
            assert {tasks: len(numbers) for tasks, numbers in encoder.items()} == {
                **{"bpr": 4, "t1": 4, "t2": 4, "all": 4}
            }
    # exactly the places that are noted as misprints
    assert odd == [
        ("amazon-video-games", "recall@5"),
        ("amazon-video-games", "ndcg@40"),
        ("amazon-office", "ndcg@5"),
    ]


def test_the_other_edition_of_video_games_is_flagged_and_not_judged(empty: Report) -> None:
    test = dict.fromkeys(METRICS, 0.9)
    found = {"cells": {"mf.all.pmtrec": {"seeds": {"0": {"test": test}}}}}
    for name in ("amazon-video-games", "amazon-video-games-2014"):
        table = _tables.table_2(Report(name, found, empty.published))
        notes = " ".join(table.notes)
        assert "Not comparable with the paper" in notes and "is reached" not in notes
        assert _row(table, "PMTRec")[3] == "0.1154"


# Plots


def test_bars_are_as_long_as_means_and_whiskers_as_deviations(report: Report) -> None:
    plot = _plots.PLOTS["ablation"]
    picked = plot.pick(report)
    assert list(picked)[:2] == ["PMTRec", "PMTRec without focusing (α = 1)"]
    left, right = plot.draw(picked).axes
    for axes, metric in ((left, "recall@20"), (right, "ndcg@20")):
        bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        expected = [statistics.mean(values[metric]) for values in picked.values()]
        assert [bar.get_width() for bar in bars] == pytest.approx(expected)
        (whiskers,) = [c for c in axes.collections if hasattr(c, "get_segments")]
        lengths = [abs(end[0] - start[0]) / 2 for start, end in whiskers.get_segments()]
        deviations = [statistics.stdev(values[metric]) for values in picked.values()]
        assert lengths == pytest.approx(deviations)


def test_points_that_were_not_run_are_hatched_and_the_best_is_framed(report: Report) -> None:
    plot = _plots.PLOTS["sensitivity"]
    axes, _ = plot.draw(plot.pick(report)).axes
    squares = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert sum(patch.get_hatch() is not None for patch in squares) == 6 * 8 - 3
    texts = {text.get_text(): text.get_position() for text in axes.texts}
    assert set(texts) == {"0.0800", "0.1000", "0.0900"}
    taus = [label.get_text() for label in axes.get_xticklabels()]
    alphas = [label.get_text() for label in axes.get_yticklabels()]
    column, row = texts["0.1000"]
    assert (alphas[int(row)], taus[int(column)]) == ("1.04", "0.001")
    (frame,) = [patch for patch in squares if not patch.get_fill()]
    assert frame.get_xy() == (column - 0.5, row - 0.5)


def test_curves_end_where_training_did_and_mark_the_best_epoch(report: Report) -> None:
    plot = _plots.PLOTS["curves"]
    picked = plot.pick(report)
    assert set(picked) == {
        *("mf.bpr.sum", "mf.all.sum", "mf.all.nash-mtl", "mf.all.rlw", "mf.all.pmtrec")
    }
    axes = plot.draw(picked).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["PMTRec"].get_ydata() == pytest.approx(picked["mf.all.pmtrec"])
    assert list(lines["PMTRec"].get_xdata()) == [1, 2, 3, 4, 5, 6]
    assert matplotlib.colors.to_hex(lines["PMTRec"].get_color()) == "#0072b2"
    styles = [(line.get_color(), line.get_linestyle()) for line in axes.lines[::2]]
    assert len(set(styles)) == len(picked)


def test_weights_are_drawn_over_epochs_and_over_histories(report: Report) -> None:
    plot = _plots.PLOTS["weights"]
    user, item = plot.draw(plot.pick(report)).axes
    assert user.lines[0].get_ydata()[-1] == 0.9 and item.lines[0].get_ydata()[0] == 0.2
    plot = _plots.PLOTS["users"]
    picked = plot.pick(report)
    panels = plot.draw(picked).axes
    many = [place for place, count in enumerate(picked["count"]) if count >= 10]
    assert 3 < len(many) < len(picked["count"])
    for axes, task in zip(panels, TASKS, strict=True):
        medians = [picked["quantiles"][task][place][2] for place in many]
        assert list(axes.lines[0].get_ydata()) == medians
    labels = [label.get_text() for label in panels[0].get_xticklabels()]
    assert labels[-1] == "32–47" and len(labels) == len(many)


def test_an_image_knows_what_it_was_drawn_from(tmp_path: Path, report: Report) -> None:
    plot = _plots.PLOTS["weights"]
    picked = plot.pick(report)
    path = tmp_path / "weights.png"
    assert _plots.is_stale(path, "weights", picked)
    path.write_bytes(_plots.png("weights", picked))
    assert not _plots.is_stale(path, "weights", json.loads(json.dumps(picked)))
    picked["epochs"]["user"][0][0] += 0.01
    assert _plots.is_stale(path, "weights", picked)
    picked["epochs"]["user"][0][0] -= 0.01


# Rendering


def test_tables_and_figures_of_the_benchmark_are_filled(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    found: dict[str, Any],
) -> None:
    results = tmp_path / "benchmarks" / "results"
    page = tmp_path / "docs" / "pmtrec.rst"
    page.parent.mkdir()
    kinds = [*_tables.TABLES, "figures"]
    page.write_text(
        "".join(
            f".. table: pmtrec-{kind}-{name}\n\n.. /table\n\n"
            for kind in kinds
            for name in (DATASET, "epinions")
        )
    )
    readme = tmp_path / "README.md"
    readme.write_text(
        f"<!-- table: pmtrec-table2-{DATASET} -->\n<!-- /table -->\n"
        f"<!-- table: pmtrec-figures-{DATASET} -->\n<!-- /table -->\n"
    )
    monkeypatch.setattr(render, "ROOT", tmp_path)
    monkeypatch.setattr(render, "RESULTS", results)
    write_results(results / f"pmtrec-{DATASET}.json", found)
    assert render._runs() == {}

    monkeypatch.setattr("sys.argv", ["render"])
    render.main()
    text = page.read_text()
    images = sorted(path.name for path in (tmp_path / "docs/_static/pmtrec").iterdir())
    assert images == sorted(f"{DATASET}-{name}.png" for name in _plots.PLOTS)
    assert all(f".. figure:: /_static/pmtrec/{image}\n" in text for image in images)
    assert text.count("not run") > 100 and text.count("Figures: not run.") == 1
    report = Report.load(DATASET, results)
    assert f"     - {report.text('mf.all.rlw', 'recall@20')}\n     - 0.0849\n" in text
    assert f"| {report.text('mf.all.rlw', 'recall@20')} | 0.0849 |" in readme.read_text()
    assert f"](docs/_static/pmtrec/{DATASET}-users.png)" in readme.read_text()

    monkeypatch.setattr("sys.argv", ["render", "--check"])
    render.main()
    (tmp_path / "docs/_static/pmtrec" / images[0]).unlink()
    with pytest.raises(SystemExit, match=f"stale .*{images[0]}"):
        render.main()
    capsys.readouterr()


def test_a_table_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InputError, match="no table is called 'pmtrec-tabel2-x': the tables are"):
        render.fill("<!-- table: pmtrec-tabel2-x -->\n<!-- /table -->", render.MARKDOWN)


def test_the_short_table_ranks_what_was_run(report: Report) -> None:
    table = _tables.TABLES["table2-short"](report)
    means = [float(row[1].split(" ")[0]) for row in table.rows]
    assert means == sorted(means, reverse=True)
    row = _row(table, "RLW")
    assert row[1] == report.text("mf.all.rlw", "recall@20") and row[2] == "0.0849"
    assert "CAGrad" in table.notes[-1] and "RLW" not in table.notes[-1]
