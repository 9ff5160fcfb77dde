"""Raw files that are public inside an archive only."""

import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._download import fetch, move


@dataclass(frozen=True)
class Archive:
    r"""A ``tar.gz`` file and the MD5 under which its archive has recorded it.

    Args:
        source: Its address.
        md5: MD5 sum of the published bytes.
        folder: Folder inside the archive in which the raw files lie.
    """

    source: str
    md5: str
    folder: str

    def extract(self, names: Sequence[str], folder: Path) -> None:
        r"""Downloads the archive, checks it, and puts the named files into ``folder``.

        Raises:
            InputError: If the archive cannot be reached, has other bytes than the published ones,
                lacks a file, or ``folder`` cannot be written.
        """
        target = folder / names[0]
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch, "archive.tar.gz")
            fetch(self.source, packed, target)
            with open(packed, "rb") as stream:
                got = hashlib.file_digest(stream, _md5).hexdigest()
            if got != self.md5:
                raise InputError(
                    f"'{target}' is missing and the download from {self.source} has the MD5 {got}"
                    f" instead of {self.md5}: try again, or place the files there by hand"
                )
            try:
                with tarfile.open(packed) as tar:
                    for name in names:
                        member = tar.extractfile(f"{self.folder}/{name}")
                        assert member is not None
                        with open(Path(scratch, name), "wb") as out:
                            shutil.copyfileobj(member, out)
            except (OSError, EOFError, KeyError, tarfile.TarError) as error:
                raise InputError(
                    f"'{target}' cannot be taken out of {self.source} ({error}): place it there by"
                    " hand"
                ) from error
            for name in names:
                move(Path(scratch, name), folder / name)


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)
