import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._lightgcn import read_adjacency_lists

ids = st.integers(0, 10**15 - 1)


@given(
    st.lists(st.tuples(ids, st.lists(ids, max_size=5)), min_size=1, max_size=20).filter(
        lambda lines: any(items for _, items in lines)
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", " "]),
    st.sampled_from(["", "\n", "\n\n"]),
)
def test_lines_come_back(tmp_path_factory, lines, end, space, tail):
    path = tmp_path_factory.mktemp("lists") / "train.txt"
    text = [" ".join(map(str, [user, *items])) + space for user, items in lines]
    path.write_bytes((end.join(text) + tail).encode())
    user, item = read_adjacency_lists(path)
    expected = [(user, item) for user, items in lines for item in items]
    assert list(zip(user.tolist(), item.tolist(), strict=True)) == expected


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("0 1 2\n1 -3\n", r"line 2: needs ids >= 0 only \(got '1 -3'\)"),
        ("0 1 2\n1 2\n2 nan\n", "line 3: needs ids >= 0 only"),
        ("0 1.5\n", "line 1: needs ids >= 0 only"),
        ("0,1\n", "line 1: needs ids >= 0 only"),
        ("0\t1\n", "line 1: needs ids >= 0 only"),
        ("user item\n0 1\n", r"line 1: needs ids >= 0 only \(got 'user item'\)"),
        ("0 1\n\n1 2\n", "line 2: needs a user and items"),
        ("\n0 1\n", "line 1: needs a user and items"),
        ("0 1\n1 12345678901234567\n", "line 2: needs ids below"),
        ("", "has no rows"),
        ("\n\n", "has no rows"),
        ("0\n1\n", "has no rows"),
    ],
)
def test_bad_files(tmp_path, text, match):
    path = tmp_path / "train.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=match) as info:
        read_adjacency_lists(path)
    assert "\n" not in str(info.value)
    assert str(path) in str(info.value)


def test_absent_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_adjacency_lists(tmp_path / "train.txt")
