"""Tables of the UPRTH benchmark on Steam, from what benchmarks/results/uprth-*.json hold."""

import json
from pathlib import Path
from typing import Any

from benchmarks.paper._tables import Table
from benchmarks.paper._uprth_ours import METRICS
from pyg_mtrec.runs._labels import metric_label

LABELS = {
    "popularity": "popularity",
    "ceiling": "supervised features",
    "none": "no pretraining",
    "constant": "pretraining, the authors' weights",
    "sum": "pretraining, sum",
    "pmtrec": "pretraining, PMTRec",
    "auxiliary": "pretraining, auxiliary tasks weigh more",
    "attention": "with attention",
    "no-attention": "without attention",
    "no-pretraining": "without pretraining",
    "plain-sum": "plain sum of the tasks' features",
    "no-alignment": "without alignment",
    "no-group": "without groups",
    "no-befriends": "without friends",
    "no-category": "without categories",
    "no-rating": "without rating labels",
    "no-popularity": "without the start at popularity",
    "no-popularity-none": "without that and pretraining",
    "pretrained": "UPRTH, pretrained",
    "lightgcn": "LightGCN, no pretraining",
}
BUCKETS = {
    "warm": "warm users",
    "few": "unseen users",
    "zero": "users without a training item",
    "cold-items": "cold items, among themselves",
}
TESTED = ("recall@10", "ndcg@20")
Found = dict[str, Any]


def authors(results: Path) -> Table:
    """Our restatement beside the authors' code, on their terms."""
    found = _load(results / "uprth-authors-steam.json")
    if not found:
        return Table([], [])
    rows = [["popularity", *(f"{found['popularity'][name]:.4f}" for name in METRICS), ""]]
    for arm, run in found["runs"].items():
        if arm in found["authors"]:
            theirs = [f"{found['authors'][arm][name]:.4f}" for name in METRICS]
            rows.append([f"the authors' code, {LABELS[arm]}", *theirs, "1"])
        rows.append([f"this library, {LABELS[arm]}", *_means(run), str(len(run["seeds"]))])
    notes = ["The epoch is the best on the *test* set, as the authors select it."]
    if "loss_at_50" in found.get("beside_the_authors", {}):
        loss = found["beside_the_authors"]["loss_at_50"]
        notes.append(
            f"Loss of pretraining at epoch 50: {loss['mean']:.4f}, the authors'"
            f" {found['authors']['loss_at_50']:.4f} ({loss['relative_difference']:+.2%}). Largest"
            " relative difference of a loss term over five steps from a float64 restatement:"
            f" {_largest(found['terms']):.1e}."
        )
    return Table(["ranked by", *map(metric_label, METRICS), "seeds"], rows, notes)


def ours(results: Path) -> Table:
    """Every arm, and how it stands to popularity and to no pretraining."""
    found = _load(results / "uprth-steam.json")
    if not found.get("arms"):
        return Table([], [])
    rows = []
    for arm, run in found["arms"].items():
        beside = [
            _difference(found["comparisons"]["recall@10"].get(f"{arm} - {against}"))
            for against in ("popularity", "none")
        ]
        rows.append([LABELS[arm], *_means(run["test"]), *beside, str(len(run["seeds"]))])
    header = ["ranked by", *map(metric_label, METRICS)]
    header += ["Recall@10 less popularity", "less no pretraining", "seeds"]
    return Table(header, rows, _verdict(found))


def ablation(results: Path) -> Table:
    """Each part left out, less everything."""
    found = _load(results / "uprth-steam.json")
    part = found.get("ablation", {})
    if not part.get("arms"):
        return Table([], [])
    full = part["full"]
    rows = [[f"all parts ({LABELS[full]})", *_means(found["arms"][full]["test"]), "", ""]]
    for arm in (*part["arms"], "none"):
        run = part["arms"][arm] if arm in part["arms"] else found["arms"][arm]
        entries = [part["comparisons"][metric].get(arm) for metric in TESTED]
        rows.append([LABELS[arm], *_means(run["test"]), *map(_difference, entries)])
    header = ["", *map(metric_label, METRICS)]
    seeds = len(next(iter(part["arms"].values()))["seeds"])
    notes = [
        f"{_seeds(seeds)}; settings as chosen for all parts. Differences are paired by user, with"
        " 95 % intervals; p-values in the results file are corrected by Holm's method."
    ]
    return Table([*header, *(f"{metric_label(name)} less all" for name in TESTED)], rows, notes)


def shares(results: Path) -> Table:
    """The gain over no pretraining with a share of one relation."""
    found = _load(results / "uprth-steam.json").get("shares", {})
    if not found:
        return Table([], [])
    columns = ["0", "0.1", "0.25", "0.5", "1"]
    rows = []
    for relation, part in found.items():
        title = relation
        for metric in TESTED:
            gains = part["gain"][metric]
            rows.append(
                [title, metric_label(metric), *(_difference(gains.get(at)) for at in columns)]
            )
            title = ""
    seeds = {len(arm["seeds"]) for part in found.values() for arm in part["arms"].values()}
    notes = [
        "Difference from no pretraining, paired by user, with 95 % intervals; all other relations"
        f" are whole. {_seeds(min(seeds))}{' or more' if len(seeds) > 1 else ''}."
    ]
    header = ["relation", "metric", *(f"{float(at):.0%} of its edges" for at in columns)]
    return Table(header, rows, notes)


def cold(results: Path) -> Table:
    """Every bucket of users and items that are new."""
    found = _load(results / "uprth-steam.json").get("cold", {})
    if not found:
        return Table([], [])
    rows = []
    users = next(iter(found["split"].values()))
    for bucket, title in BUCKETS.items():
        if bucket not in users:
            continue
        name = f"{title} ({users[bucket]['evaluated']:,} tested)"
        for arm, run in found["arms"].items():
            less = [found["comparisons"][bucket][metric].get(arm) for metric in TESTED]
            rows.append([name, LABELS[arm], *_means(run[bucket]), *map(_difference, less)])
            name = ""
    notes = [
        f"{_seeds(len(found['seeds']))}. The number of users tested is that of the first one."
        " Validation of warm users selects the epoch."
    ]
    header = ["bucket", "ranked by", *map(metric_label, METRICS)]
    return Table([*header, *(f"{metric_label(at)}, UPRTH less it" for at in TESTED)], rows, notes)


def _load(path: Path) -> Found:
    found: Found = json.loads(path.read_text()) if path.exists() else {}
    return found


def _largest(terms: Found) -> float:
    return max(float(max(term["largest_relative_difference"].values())) for term in terms.values())


def _means(run: Found) -> list[str]:
    """Mean ± standard deviation, however a file keeps them."""
    cells = []
    for name in METRICS:
        mean, sd = (
            (run["mean"][name], run["sd"][name])
            if "mean" in run
            else (run[name]["mean"], run[name]["sd"])
        )
        cells.append(f"{mean:.4f}" if sd is None else f"{mean:.4f} ± {sd:.4f}")
    return cells


def _difference(entry: Found | None) -> str:
    if entry is None:
        return ""
    return f"{entry['of_seeds']:+.4f} ({entry['low']:+.4f} to {entry['high']:+.4f})"


def _seeds(number: int) -> str:
    return f"{number} split seed{'s' if number > 1 else ''}"


def _verdict(found: Found) -> list[str]:
    notes = [
        "Test half of the users, read once by each arm and seed. Differences are paired by user,"
        " with 95 % intervals that resample users and seeds."
    ]
    must, full = found.get("must", {}), found["full"]
    if "not_below_popularity" in must and "above_no_pretraining" in must:
        above = "above" if must["above_no_pretraining"] else "not above"
        sure = (
            "" if must["above_no_pretraining_by_interval"] else ", though zero is in the interval"
        )
        below = "not below" if must["not_below_popularity"] else "below"
        beyond = "above" if must["above_popularity_by_interval"] else "not above"
        notes.append(
            f"Best on validation: {LABELS[full]}. It is {above} no pretraining in Recall@10{sure};"
            f" {below} popularity by a standard error ({must['standard_error']:.4f}); {beyond}"
            " popularity with a 95 % interval."
        )
    return notes
