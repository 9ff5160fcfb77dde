"""``pyg-mtrec datasets``: what there is, and what is in one."""

import argparse
from importlib import import_module
from typing import Any

from pyg_mtrec.cli import _table
from pyg_mtrec.cli._choices import choose, names
from pyg_mtrec.cli._settings import check_root


def run(arguments: argparse.Namespace) -> None:
    if arguments.name is None:
        print(_list())
        return
    name = choose("dataset", arguments.name, "datasets")
    if name != "planted":
        check_root(name, arguments.root)
    from pyg_mtrec.training._data import open_dataset

    print(describe(name, open_dataset(name.replace("-", "_"), arguments.root)))


def _list() -> str:
    room = import_module("pyg_mtrec.datasets")
    blocks = []
    for name, class_name in names("datasets").items():
        cls = getattr(room, class_name)
        blocks.append(
            "\n".join(
                [
                    _table.emphasise(name),
                    _table.wrap(_first_line(cls), "    ", "    "),
                    f"    {_supervision(cls)}; split: {cls.default_split}",
                ]
            )
        )
    return "\n".join(blocks)


def describe(name: str, dataset: Any) -> str:
    r"""Returns counts, hashes and defects of a data set."""
    data = dataset[0]
    nodes = [[node_type, f"{data[node_type].num_nodes:,}"] for node_type in data.node_types]
    edges = []
    for edge_type in data.edge_types:
        store = data[edge_type]
        known = ("rating", "time", "split", "target", "categorical", "numeric")
        attributes = [key for key in known if key in store]
        edges.append(
            [
                f"{edge_type[0]} {edge_type[1]} {edge_type[2]}",
                f"{store.edge_index.size(1):,}",
                ", ".join(attributes) or "-",
            ]
        )
    parts = [
        _table.wrap(f"{name}: {_first_line(type(dataset))}"),
        f"{_supervision(type(dataset))}; split: {dataset.default_split}",
        _table.render(["nodes", "number"], nodes),
        _table.render(["relation", "edges", "with"], edges),
    ]
    columns = _columns(data)
    if columns:
        parts.append(_table.render(["column", "of", "kind", "known"], columns))
    if dataset.report:
        report = {key.replace("_", " "): _cell(value) for key, value in dataset.report.items()}
        parts.append(f"report\n{_table.pairs(report)}")
    if dataset.raw_sha256:
        verdict = "the published files" if dataset.known else "not the published files"
        parts.append(f"raw files, SHA-256 ({verdict})\n{_table.pairs(dataset.raw_sha256)}")
    return "\n\n".join(parts)


def _supervision(cls: Any) -> str:
    targets = getattr(cls, "default_targets", ())
    if targets:
        return f"targets of a head: {', '.join(targets)}"
    return f"tasks: {', '.join(cls.default_tasks)}"


def _columns(data: Any) -> list[list[str]]:
    r"""Returns targets and features with the share of rows in which they are known."""
    rows = []
    main = data["user", "interacts", "item"]
    if "target" in main:
        known = (~main.target.isnan()).double().mean(dim=0).tolist()
        rows += [
            [name, "target", kind, f"{share:.1%}"]
            for name, kind, share in zip(main.target_names, main.target_kinds, known, strict=True)
        ]
    for owner, store in (("user", data["user"]), ("item", data["item"]), ("impression", main)):
        for kind in ("categorical", "numeric"):
            if kind not in store:
                continue
            column = store[kind]
            there = ~column.isnan() if kind == "numeric" else column >= 0
            shares = there.double().mean(dim=0).tolist()
            names = store[f"{kind}_names"]
            rows += [
                [name, owner, kind, f"{share:.1%}"]
                for name, share in zip(names, shares, strict=True)
            ]
    return rows


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
