import hashlib

import pytest

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import (
    AmazonBook,
    AmazonOffice,
    AmazonVideoGames,
    Ciao,
    Epinions,
    Gowalla,
    LastFM,
    Yelp2018,
)
from pyg_mtrec.datasets._download import RawFile, download, git_blob_of

CONTENT = b"0 1 2\n1 2\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
GIT_BLOB = "9e8874dad81431be0ffbda71355835407d536ac8"  # git hash-object


def fails(file, folder, match):
    with pytest.raises(InputError, match=match) as info:
        download(file, folder)
    text = str(info.value)
    assert "\n" not in text
    assert str(folder / file.name) in text
    return text


def test_a_file_arrives_whole_or_not_at_all(server, tmp_path):
    address, folder = server
    (folder / "train.txt").write_bytes(CONTENT)
    raw = tmp_path / "new" / "raw"
    source = f"{address}/train.txt"

    for wrong in (
        RawFile("train.txt", source, ("0" * 64,)),
        RawFile("train.txt", source, git_blob="0" * 40),
        RawFile("train.txt", f"{address}/absent.txt", (SHA256,)),
        RawFile("train.txt", "http://127.0.0.1:9/train.txt", (SHA256,)),
    ):
        assert wrong.source in fails(wrong, raw, "is missing and the download from")
        assert not raw.parent.exists()  # nothing half-written

    download(RawFile("train.txt", source, (SHA256,)), raw)
    assert (raw / "train.txt").read_bytes() == CONTENT
    assert [path.name for path in raw.iterdir()] == ["train.txt"]
    (raw / "train.txt").unlink()
    download(RawFile("train.txt", source, ("0" * 64,), GIT_BLOB), raw)
    assert git_blob_of(raw / "train.txt") == GIT_BLOB


def test_a_truncated_download_is_refused(server, tmp_path):
    address, folder = server
    (folder / "train.txt").write_bytes(CONTENT[:-4])
    for file in (
        RawFile("train.txt", f"{address}/train.txt", (SHA256,)),
        RawFile("train.txt", f"{address}/train.txt", git_blob=GIT_BLOB),
    ):
        fails(file, tmp_path / "raw", "(SHA-256|git id) [0-9a-f]+ instead of")
        assert not (tmp_path / "raw").exists()


def test_without_a_public_copy(tmp_path):
    fails(RawFile("office.tsv"), tmp_path, "no public copy: place it there by hand")


def test_a_folder_that_cannot_be_written(server, tmp_path):
    address, folder = server
    (folder / "train.txt").write_bytes(CONTENT)
    (tmp_path / "file").touch()
    file = RawFile("train.txt", f"{address}/train.txt", (SHA256,))
    fails(file, tmp_path / "file" / "raw", "cannot be written .*place it there by hand")


def test_published_bytes(tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes(CONTENT)
    assert RawFile("train.txt", sha256=("0" * 64, SHA256)).is_published(path, SHA256)
    assert RawFile("train.txt", git_blob=GIT_BLOB).is_published(path, SHA256)
    assert not RawFile("train.txt").is_published(path, SHA256)
    assert not RawFile("train.txt", None, ("0" * 64,), "0" * 40).is_published(path, SHA256)


@pytest.mark.parametrize(
    "cls",
    [AmazonBook, AmazonOffice, AmazonVideoGames, Ciao, Epinions, Gowalla, LastFM, Yelp2018],
)
def test_every_data_set_can_be_downloaded_from_pinned_addresses(cls):
    public = [
        files for files in cls.layouts.values() if all(file.source is not None for file in files)
    ]
    assert len(public) == 1
    for file in public[0]:
        host, owner, repository, commit, *path = file.source.removeprefix("https://").split("/")
        assert host == "raw.githubusercontent.com"
        assert owner and repository and len(commit) == 40 and int(commit, 16)
        assert path[-1] == file.name
        assert file.sha256 or file.git_blob
        assert all(len(digest) == 64 for digest in file.sha256)
