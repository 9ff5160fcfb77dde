from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._base import RawDataset, Report
from pyg_mtrec.datasets._download import UPRTH, RawFile
from pyg_mtrec.datasets._graph import Ids, edges, is_first, links, published_split
from pyg_mtrec.datasets._lightgcn import read_adjacency_lists
from pyg_mtrec.datasets._tables import Integers

Pairs = tuple[Integers, Integers]


class UPRTHFormat(RawDataset):
    r"""Base of the data sets that come with the code of UPRTH.

    A split in ``train.txt`` and ``test.txt``, and one file for each further relation; a line is
    ``id id id ...``, the first related to each of the others. See
    :class:`~pyg_mtrec.datasets.Steam`.
    """

    default_split = "given"
    default_val_from = "test-users"  # of one training item nothing can be held out
    #: Further relations and their files.
    relations: ClassVar[Mapping[EdgeType, str]]
    #: The files that may have no line.
    may_be_empty: ClassVar[tuple[str, ...]] = ()

    def read(self, raw: Path) -> tuple[HeteroData, Report]:
        parts = [read_adjacency_lists(raw / name) for name in ("train.txt", "test.txt")]
        raw_user, raw_item = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        num_train = len(parts[0][0])
        pairs = {key: self.read_pairs(raw / name) for key, name in self.relations.items()}

        data = HeteroData()
        mentions: dict[str, list[Integers]] = {"user": [raw_user], "item": [raw_item]}
        for (src, _, dst), (heads, others) in pairs.items():
            mentions.setdefault(src, []).append(heads)
            mentions.setdefault(dst, []).append(others)
        ids = {node_type: Ids(*columns) for node_type, columns in mentions.items()}
        for node_type, known in ids.items():
            known.write(data, node_type)

        user, item = ids["user"](raw_user), ids["item"](raw_item)
        first, split, report = published_split(user, item, num_train)
        store = data["user", "interacts", "item"]
        store.edge_index = edges(user[first], item[first])
        store.split = split
        found = {
            **report,
            **_test_report(user, item, num_train),
            "users_without_interactions": len(ids["user"].raw) - len(np.unique(user)),
            "items_without_interactions": len(ids["item"].raw) - len(np.unique(item)),
        }

        for (src, relation, dst), (heads, others) in pairs.items():
            ends = ids[src](heads), ids[dst](others)
            if src == dst:
                edge_index, counts = _links(ends, relation, len(ids[src].raw))
                counts |= _list_report(raw / self.relations[src, relation, dst], relation)
            else:
                edge_index, counts = _memberships(ends, src, dst, len(ids[src].raw))
            data[src, relation, dst].edge_index = edge_index
            found.update(counts)
        empty = [relation for (_, relation, _), (heads, _) in pairs.items() if not len(heads)]
        found["empty_relations"] = ", ".join(empty) or "none"
        return data, found

    def read_pairs(self, path: Path) -> Pairs:
        r"""Reads the heads and the others of the file of a relation."""
        if path.name in self.may_be_empty and not read_bytes(path).strip():
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        return read_adjacency_lists(path)


def raw_files(folder: str, **sha256: str) -> tuple[RawFile, ...]:
    r"""Returns the raw files of a folder of the public copy, from their stems and SHA-256 sums."""
    return tuple(
        RawFile(f"{stem}.txt", f"{UPRTH}/Data/{folder}/{stem}.txt", (digest,))
        for stem, digest in sha256.items()
    )


def read_bytes(path: Path) -> bytes:
    r"""Returns what a file holds.

    Raises:
        InputError: If the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror})") from error


def _test_report(user: Integers, item: Integers, num_train: int) -> Report:
    r"""Counts the test rows as they stand in the file, before any of them is dropped."""
    pair = user * (int(item.max()) + 1) + item
    test = slice(num_train, None)
    in_training = np.isin(pair[test], pair[:num_train])
    users = np.unique(user[test])
    to_find = np.unique(user[test][~in_training])
    return {
        "test_users": len(users),
        "test_users_with_training_items_only": len(users) - len(to_find),
        "test_rows_in_training": int(in_training.sum()),
        "test_duplicates_dropped": len(pair[test]) - len(np.unique(pair[test])),
        "test_rows_of_items_without_training": int((~np.isin(item[test], item[:num_train])).sum()),
    }


def _links(ends: Pairs, relation: str, num_nodes: int) -> tuple[Tensor, Report]:
    edge_index, loops, repeats = links(*ends)
    src, dst = edge_index.numpy()
    one_way = ~np.isin(dst * num_nodes + src, src * num_nodes + dst)
    return edge_index, {
        f"{relation}_pairs_read": len(ends[0]),
        f"{relation}_self_loops_dropped": loops,
        f"{relation}_duplicates_dropped": repeats,
        f"{relation}_one_way_pairs": int(one_way.sum()),
    }


def _memberships(ends: Pairs, src: str, dst: str, num_nodes: int) -> tuple[Tensor, Report]:
    member, group = ends
    new = is_first(member, group)
    count = np.bincount(member[new], minlength=num_nodes)
    several = f"{dst[:-1]}ies" if dst.endswith("y") else f"{dst}s"
    return edges(member[new], group[new]), {
        f"{dst}_pairs_read": len(member),
        f"{dst}_duplicates_dropped": int((~new).sum()),
        f"{src}s_without_{dst}": int((count == 0).sum()),
        f"{src}s_with_several_{several}": int((count > 1).sum()),
    }


def _list_report(path: Path, relation: str) -> Report:
    r"""Counts the lines of a file that was found to hold ids only: each is a set of nodes."""
    content = read_bytes(path).rstrip()
    lines = [[int(entry) for entry in line.split()] for line in content.split(b"\n") if content]
    return {
        f"{relation}_lines_read": len(lines),
        f"{relation}_repeated_heads": len(lines) - len({line[0] for line in lines}),
        f"{relation}_duplicate_sets": len(lines) - len({frozenset(line) for line in lines}),
    }
