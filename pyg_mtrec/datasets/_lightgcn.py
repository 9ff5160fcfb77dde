import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._base import RawDataset, Report
from pyg_mtrec.datasets._graph import Ids, edges, published_split
from pyg_mtrec.datasets._tables import LARGEST_ID, Integers

_WHITE, _LINE_END = b" \r\n", b"\n"
_LARGEST_DIGITS = len(str(LARGEST_ID)) - 1


class LightGCNFormat(RawDataset):
    r"""Base of the data sets with ``train.txt`` and ``test.txt``, one line for each user.

    A line is ``user item item ...``; the order of its items carries nothing. See
    :class:`~pyg_mtrec.datasets.Gowalla`.
    """

    default_tasks = ("bpr",)
    default_split = "given"

    def read(self, raw: Path) -> tuple[HeteroData, Report]:
        parts = [read_adjacency_lists(raw / name) for name in self.raw_file_names]
        raw_user, raw_item = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        num_train = len(parts[0][0])
        data = HeteroData()
        users, items = Ids(raw_user), Ids(raw_item)
        users.write(data, "user")
        items.write(data, "item")
        user, item = users(raw_user), items(raw_item)
        first, split, report = published_split(user, item, num_train)
        store = data["user", "interacts", "item"]
        store.edge_index = edges(user[first], item[first])
        store.split = split
        return data, {**report}


def read_adjacency_lists(path: Path) -> tuple[Integers, Integers]:
    r"""Reads lines of a user and the user's items.

    A line may hold a user alone, who then has no row; a line without a user may only end the file.

    Returns:
        The users and the items of the pairs, in the order of the file.

    Raises:
        InputError: If the file cannot be read, holds anything but ids, or has no pair.
    """
    try:
        content = path.read_bytes().rstrip(_WHITE)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror})") from error
    text = np.frombuffer(content, dtype=np.uint8)
    digit = (text >= ord("0")) & (text <= ord("9"))
    white = np.isin(text, list(_WHITE))
    line_end = text == ord("\n")
    if not (digit | white).all():
        raise _bad_line(path, content, int(np.argmin(digit | white)), "ids >= 0 only")

    start = np.flatnonzero(digit & ~_shifted(digit))
    length = np.flatnonzero(digit & ~_shifted(digit[::-1])[::-1]) + 1 - start
    if (length > _LARGEST_DIGITS).any():
        where = int(start[np.argmax(length > _LARGEST_DIGITS)])
        raise _bad_line(path, content, where, f"ids below {LARGEST_ID}")
    line = np.cumsum(line_end)[start]
    first_of_line = np.diff(line, prepend=-1)
    if (first_of_line > 1).any():
        skipped = int(line[np.argmax(first_of_line > 1)])
        raise InputError(f"'{path}', line {skipped}: needs a user and items (got an empty line)")

    value = np.fromstring(content.decode("ascii"), dtype=np.int64, sep=" ")
    is_user = first_of_line == 1
    if is_user.all():
        raise InputError(f"'{path}' has no rows: place the whole file there")
    user = value[is_user][line]
    return user[~is_user], value[~is_user]


def _shifted(mark: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return np.concatenate([[False], mark[:-1]]) if mark.size else mark


def _bad_line(path: Path, content: bytes, where: int, need: str) -> InputError:
    line = content.count(_LINE_END, 0, where) + 1
    begin = max(content.rfind(_LINE_END, 0, where) + 1, where - 20)
    got = re.split(rb"[\r\n]", content[begin : where + 20])[0].decode("utf-8", "replace")
    return InputError(f"'{path}', line {line}: needs {need} (got '{got}')")
