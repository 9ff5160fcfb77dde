"""Tables of docs/speed.rst, from what the cases measured."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.paper._tables import Table

Found = dict[str, Any]


def lightgcn(results: Path) -> Table:
    """A training step of LightGCN and its epoch."""
    found = _load(results, "lightgcn_epoch")
    if found is None:
        return Table([], [])
    rows = [
        [name, _ms(arm), f"{arm['epoch_seconds']:.1f}", _times(arm), f"{arm['mb']:.0f}"]
        if "ms" in arm
        else [name, "not measured", "", "", ""]
        for name, arm in found["arms"].items()
    ]
    sizes = found["sizes"]
    notes = [
        f"{found['data']}: {sizes['edges']:,} training edges, d = {sizes['dim']},"
        f" {sizes['layers']} layers, batches of {found['batch_size']},"
        f" {found['steps_per_epoch']} steps an epoch; medians of {found['rounds']} interleaved"
        " rounds. MB: the peak above model, gradients and what the optimiser keeps. If every row"
        f" were fetched anew for every edge, a step would move {found['bound_ms']:.0f} ms of a"
        f" copy's bytes ({found['copy_gb_per_s']:.1f} GB/s): what is faster finds them in caches.",
        _machine(found),
    ]
    return Table(["library", "ms a step", "s an epoch", "times ours", "MB"], rows, notes)


def rules(results: Path) -> Table:
    """A step of three tasks under every rule."""
    found = _load(results, "rules")
    if found is None:
        return Table([], [])
    rows, last = [], ""
    for case in found["cases"]:
        title = {"mf": "MF", "lightgcn": "LightGCN"}[case["encoder"]]
        title += " at the representation" if case["at"] == "representation" else ""
        ours = case["arms"][f"pyg_mtrec {case['encoder']} {case['rule']} {case['at']}"]
        row = ["" if title == last else title, case["rule"]]
        row += [_ms(ours), f"{ours['times_sum']:.2f}", _megabytes(ours)]
        last = title
        for library in ("LibMTL", "TorchJD"):
            arm = case["arms"].get(f"{library} {case['encoder']} {case['rule']}", {})
            row += [_ms(arm), _times(arm), _megabytes(arm)] if "ms" in arm else ["", "", ""]
        rows.append(row)
    header = ["encoder", "rule", "ms", "times sum", "MB"]
    for library in ("LibMTL", "TorchJD"):
        header += [f"{library}, ms", "times ours", "MB"]
    sizes = found["sizes"]
    notes = [
        f"{found['data']}, d = {sizes['dim']}, batches of {sizes['batch_size']} a task, fused Adam"
        f" everywhere; medians of {found['rounds']} interleaved rounds. MB: the peak above model,"
        f" gradients and what the optimiser keeps; the tables have {found['tables_mb']:.0f} MB.",
        _machine(found),
    ]
    return Table(header, rows, notes)


def ranking(results: Path) -> Table:
    """The full ranking of two data sets."""
    rows, notes = [], []
    for name in ("ranking", "ranking_epinions"):
        found = _load(results, name)
        if found is None:
            continue
        title = found["data"]
        for library, arm in found["arms"].items():
            text = f"{arm['ms'] / 1e3:.2f}" if "ms" in arm else "not measured"
            rows.append([title, library, text, _times(arm) if "ms" in arm else ""])
            title = ""
        sizes = found["sizes"]
        notes.append(
            f"{found['data']}: {sizes['test_users']:,} users, {sizes['num_items']:,} items,"
            f" d = {sizes['dim']}; Recall@20 and NDCG@20 are the same for all. {_machine(found)}"
        )
    return Table(["data", "", "seconds", "times ours"], rows, notes) if rows else Table([], [])


def sampling(results: Path) -> Table:
    """An epoch of batches and negatives."""
    found = _load(results, "sampling")
    if found is None:
        return Table([], [])
    rows = [
        [name, _ms(arm), _times(arm), f"{100 * arm['values'][-1]:.2f} %"]
        if "ms" in arm
        else [name, "not measured", "", ""]
        for name, arm in found["arms"].items()
    ]
    sizes = found["sizes"]
    notes = [
        f"{found['data']}: {sizes['edges']:,} edges in batches of {sizes['batch_size']}; medians of"
        f" {found['rounds']} interleaved rounds. Known: negatives that are interactions after all.",
        _machine(found),
    ]
    return Table(["library", "ms an epoch", "times ours", "known"], rows, notes)


def start(results: Path) -> Table:
    """How long it takes to begin."""
    found = _load(results, "start")
    if found is None:
        return Table([], [])
    rows = [[name, f"{seconds:.2f}"] for name, seconds in found["seconds"].items()]
    rows += [[f"added: {name}", f"{seconds:+.2f}"] for name, seconds in found["added"].items()]
    return Table(["", "seconds"], rows, [_machine(found)])


def growth(results: Path) -> Table:
    """How training and ranking grow."""
    found = _load(results, "growth")
    if found is None:
        return Table([], [])
    names = ("mf_epoch_seconds", "lightgcn_epoch_seconds", "ranking_seconds")
    memory = "peak_above_imports_gb"
    rows = [
        [f"{int(size):,}", *(f"{entry[name]:.2f}" for name in (*names, memory))]
        for size, entry in found["sizes"].items()
    ]
    rows.append(["exponent", *(f"{found['exponents'][name]:.2f}" for name in (*names, memory))])
    header = ["interactions", "MF, s an epoch", "LightGCN, s an epoch", "ranking, s", "GB"]
    notes = [
        f"Three tasks under PMTRec, d = {found['dim']}; exponents of the three largest sizes.",
        _machine(found),
    ]
    return Table(header, rows, notes)


TABLES = {
    "speed-lightgcn": lightgcn,
    "speed-rules": rules,
    "speed-ranking": ranking,
    "speed-sampling": sampling,
    "speed-start": start,
    "speed-growth": growth,
}


def _load(results: Path, name: str) -> Found | None:
    path = results / f"{name}.json"
    return dict(json.loads(path.read_text())) if path.exists() else None


def _ms(arm: Mapping[str, Any]) -> str:
    return f"{arm['ms']:.1f}" if arm["ms"] < 100 else f"{arm['ms']:,.0f}"


def _times(arm: Mapping[str, Any]) -> str:
    return f"{arm['times_ours']:.2f}"


def _megabytes(arm: Mapping[str, Any]) -> str:
    return "" if arm.get("mb") is None else f"{arm['mb']:.0f}"


def _machine(found: Found) -> str:
    machine = found["machine"]
    where = machine["gpu"] if str(machine.get("device", "cpu")) != "cpu" else machine["processor"]
    return f"{where}, {machine['threads']} thread(s), torch {machine['torch']}."
