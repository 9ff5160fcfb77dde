import hashlib
import json
import os
import shutil

import pytest
import torch
from torch_geometric.transforms import BaseTransform, Compose

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import AmazonVideoGames, Gowalla
from pyg_mtrec.datasets._download import RawFile

FILES = {"train.txt": "0 1 2\n1 2\n", "test.txt": "0 0\n1 0\n"}
EDGE_TYPE = ("user", "interacts", "item")


class KeepFirst(BaseTransform):
    def __init__(self, count):
        self.count = count

    def forward(self, data):
        data[EDGE_TYPE].edge_index = data[EDGE_TYPE].edge_index[:, : self.count]
        return data


@pytest.fixture
def reads(monkeypatch):
    """Counts how often raw files are parsed."""
    calls = []
    read = Gowalla.read

    def counted(self, raw):
        calls.append(raw)
        return read(self, raw)

    monkeypatch.setattr(Gowalla, "read", counted)
    return calls


def edges(dataset):
    return dataset[0][EDGE_TYPE].edge_index.t().tolist()


def test_a_processed_file_is_reused_while_it_fits(raw_root, reads):
    root = raw_root(FILES)
    first = Gowalla(root)
    again = Gowalla(str(root))
    assert len(reads) == 1
    assert edges(first) == edges(again) == [[0, 1], [0, 2], [1, 2], [0, 0], [1, 0]]
    assert first.report == again.report
    assert (
        first.raw_sha256
        == again.raw_sha256
        == {name: hashlib.sha256(text.encode()).hexdigest() for name, text in FILES.items()}
    )
    assert first.known is again.known is False
    assert len(first) == 1 and repr(first) == "Gowalla()"

    Gowalla(root, force_reload=True)
    assert len(reads) == 2
    raw_root({"train.txt": "0 1\n1 2\n"})  # another raw file
    assert edges(Gowalla(root)) == [[0, 1], [1, 2], [0, 0], [1, 0]]
    assert len(reads) == 3
    raw_root(FILES)  # the first one is back: so is its processed file
    assert edges(Gowalla(root)) == edges(first)
    assert len(reads) == 3


def test_options_are_part_of_the_processed_file(raw_root, reads):
    root = raw_root(FILES)
    assert len(edges(Gowalla(root, pre_transform=KeepFirst(3)))) == 3
    assert len(edges(Gowalla(root, pre_transform=KeepFirst(2)))) == 2
    assert len(edges(Gowalla(root, pre_transform=Compose([KeepFirst(2), KeepFirst(1)])))) == 1
    assert len(edges(Gowalla(root, pre_transform=Compose([KeepFirst(4), KeepFirst(3)])))) == 3
    assert len(edges(Gowalla(root))) == 5
    assert len(reads) == 5
    assert len(edges(Gowalla(root, pre_transform=KeepFirst(3)))) == 3
    assert len(reads) == 5
    # one function cannot be told from another, so its result is never reused
    for count in (1, 2, 3):
        keep = KeepFirst(count)
        assert len(edges(Gowalla(root, pre_transform=lambda data, keep=keep: keep(data)))) == count


def test_transform_is_applied_at_every_access(raw_root):
    dataset = Gowalla(raw_root(FILES), transform=KeepFirst(1))
    assert len(edges(dataset)) == 1
    dataset.transform = None
    assert len(edges(dataset)) == 5


def test_pre_transform_needs_to_return_a_graph(raw_root):
    root = raw_root(FILES)
    with pytest.raises(InputError, match=r"'pre_transform' needs to return a HeteroData.*tuple"):
        Gowalla(root, pre_transform=lambda data: (data, data))
    assert not list(root.glob("processed/*.pt"))

    def spoil(data):
        data.function = KeepFirst(1)
        return data

    with pytest.raises(InputError, match="cannot be stored: pass it as 'transform'"):
        Gowalla(root, pre_transform=spoil)


def test_the_report_lies_beside_the_processed_file(raw_root):
    dataset = Gowalla(raw_root(FILES))
    path, *others = dataset.processed_paths
    assert not others
    with open(path.replace(".pt", ".json"), encoding="utf-8") as stream:
        saved = json.load(stream)
    assert saved["report"] == dataset.report
    assert saved["raw_sha256"] == dataset.raw_sha256
    assert saved["known"] is False
    assert sorted(os.listdir(dataset.processed_dir)) == sorted(
        os.path.basename(path)[: -len(".pt")] + end for end in (".pt", ".json")
    )
    torch.load(path, weights_only=True)


def test_a_damaged_processed_file_is_made_again(raw_root, reads):
    root = raw_root(FILES)
    path = Gowalla(root).processed_paths[0]
    with open(path, "rb") as stream:
        whole = stream.read()
    for content in (b"", whole[:100], whole[: len(whole) // 2]):
        with open(path, "wb") as stream:
            stream.write(content)
        assert len(edges(Gowalla(root))) == 5
    assert len(reads) == 4


def test_a_failed_write_leaves_nothing(raw_root, monkeypatch):
    root = raw_root(FILES)

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"cannot write .*No space left"):
            Gowalla(root)
    assert not list((root / "processed").iterdir())
    assert len(edges(Gowalla(root))) == 5


def test_a_root_that_cannot_be_written(raw_root):
    root = raw_root(FILES)
    (root / "processed").touch()
    with pytest.raises(InputError, match=r"cannot write .*use a root that can be written"):
        Gowalla(root)


def test_raw_files_may_be_read_only_links(raw_root, tmp_path):
    source = raw_root(FILES) / "raw"
    root = tmp_path / "scratch"
    root.mkdir()
    os.symlink(source, root / "raw")
    source.chmod(0o555)
    try:
        assert len(edges(Gowalla(root))) == 5
    finally:
        source.chmod(0o755)
    assert sorted(os.listdir(source)) == ["test.txt", "train.txt"]


def test_missing_files_are_downloaded_beside_the_others(raw_root, server, monkeypatch):
    address, folder = server
    (folder / "test.txt").write_text(FILES["test.txt"])
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in FILES.items()}
    files = tuple(RawFile(name, f"{address}/{name}", (sums[name],)) for name in FILES)
    monkeypatch.setattr(Gowalla, "layouts", {"split": files})
    root = raw_root({"train.txt": FILES["train.txt"]})
    dataset = Gowalla(root)
    assert dataset.known
    assert dataset.raw_sha256 == sums
    assert len(edges(dataset)) == 5

    (root / "raw" / "train.txt").unlink()  # the server has none
    with pytest.raises(
        InputError, match=r"'.*raw/train.txt' is missing and the download from http"
    ):
        Gowalla(root)
    shutil.rmtree(root)
    with pytest.raises(InputError, match=r"train.txt"):
        Gowalla(root)
    assert not root.exists()


def test_half_of_a_layout_without_public_copy(raw_root):
    root = raw_root({"interactions_merged.tsv": "user\titem\tpos\ttime\n1\t1\t0\t\n"})
    with pytest.raises(InputError, match=r"'item_meta_merged.tsv' is missing in .* beside"):
        AmazonVideoGames(root)
    assert os.listdir(root) == ["raw"]


def test_a_raw_file_that_cannot_be_read(raw_root, monkeypatch):
    root = raw_root(FILES)

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(hashlib, "file_digest", refuse)
    with pytest.raises(InputError, match=r"cannot read '.*Permission denied"):
        Gowalla(root)
