"""Raw ids: integers on the node store, strings in a table of bytes that tensors can hold."""

import difflib
import heapq
from itertools import accumulate, takewhile

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError


def encode_strings(strings: list[str]) -> dict[str, Tensor]:
    r"""Returns the UTF-8 bytes [M] of all strings, and where each begins and ends [S + 1]."""
    encoded = [string.encode() for string in strings]
    offsets = torch.tensor([0, *accumulate(map(len, encoded))])
    buffer = torch.frombuffer(bytearray(b"".join(encoded)) or bytearray(1), dtype=torch.uint8)
    return {"bytes": buffer[: int(offsets[-1])], "offsets": offsets}


def decode(data: HeteroData, node_type: str, ids: Tensor) -> list[int | str]:
    r"""Returns the raw ids of the nodes ``ids`` [n]."""
    rows = data[node_type].raw_id[ids]
    table = _table(data, node_type)
    if table is None:
        return list(rows.tolist())
    return list(_strings(table, rows))


def lookup(data: HeteroData, node_type: str, raw: str) -> int:
    r"""Returns the node whose raw id is ``raw``.

    Raises:
        InputError: If there is none; names the nearest ones.
    """
    table = _table(data, node_type)
    raw_id = data[node_type].raw_id
    try:
        wanted = int(raw) if table is None else _row(table, raw)
    except ValueError:
        raise InputError(f"ids of '{node_type}' are integers (got '{raw}')") from None
    found = (raw_id == wanted).nonzero().flatten() if -(2**63) <= wanted < 2**63 else raw_id[:0]
    if found.numel():
        return int(found[0])
    if table is None:
        near = [str(i) for i in heapq.nsmallest(3, raw_id.tolist(), lambda i: abs(i - wanted))]
    else:
        near = _alike(raw, _strings(table, raw_id))
    raise InputError(f"there is no {node_type} '{raw}' (nearest: {', '.join(near) or 'none'})")


def _table(data: HeteroData, node_type: str) -> dict[str, Tensor] | None:
    tables: dict[str, dict[str, Tensor]] = getattr(data, "raw_id_tables", {})
    return tables.get(node_type)


def _strings(table: dict[str, Tensor], rows: Tensor) -> list[str]:
    buffer, offsets = table["bytes"].cpu().numpy().tobytes(), table["offsets"].cpu()
    rows = rows.cpu()
    begin, end = offsets[rows].tolist(), offsets[rows + 1].tolist()
    return [buffer[i:j].decode() for i, j in zip(begin, end, strict=True)]


def _row(table: dict[str, Tensor], raw: str) -> int:
    r"""The row of a string, -1 if there is none."""
    offsets, wanted = table["offsets"], raw.encode()
    rows = (offsets.diff() == len(wanted)).nonzero().flatten()
    for place, byte in enumerate(wanted):
        rows = rows[table["bytes"][offsets[rows] + place] == byte]
    return int(rows[0]) if rows.numel() else -1


def _alike(raw: str, strings: list[str]) -> list[str]:
    if len(strings) > 10_000:  # difflib compares one pair in tens of microseconds
        strings = heapq.nlargest(2_000, strings, lambda s: _shared(s, raw))
    return [f"'{string}'" for string in difflib.get_close_matches(raw, strings, 3, 0.5)]


def _shared(first: str, second: str) -> int:
    return sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    )
