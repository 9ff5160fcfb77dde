import hashlib
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pooch

from pyg_mtrec._errors import InputError


def _address(repository: str, commit: str) -> str:
    return f"https://raw.githubusercontent.com/{repository}/{commit}"


# Pinned to a commit: such an address can never serve other bytes than those that were checked.
CONSISREC = _address("YangLiangwei/ConsisRec", "d1fba6e6a96cdfdab3f505270b0deb5b50c15d45")
LIGHTGCN = _address("gusye1234/LightGCN-PyTorch", "947ca2b3b1d2d3545b114145710cb06c4e57b3d2")
POPULARITY_BIAS = _address(
    "sisinflab/MultiMod-Popularity-Bias", "e98e02e82740be8bb452c65198a73e8d2a879085"
)
KUAIRAND_FEEDBACK = _address(
    "alessandrosocc/predict_explicit_negative_feedback_kuairand",
    "959232d6dd3c66f45e802436c2914e9584139eac",
)
SEQ_REC = _address("tuandung2812/Group-3---Seq_Rec", "fff1be333c3e2531a524e4310354941db971543c")
SSLREC = _address("HKUDS/SSLRec", "7597c31ce3f78c7497918d886b90df6d4d02cad5")
UPRTH = _address("mdyfrank/UPRTH", "f741aae46369f4df1cf7e9faed2ba7a3548d3f79")


@dataclass(frozen=True)
class RawFile:
    r"""A raw file, where it is public, and what is known of its bytes.

    Args:
        name: File name inside ``raw/``.
        source: Address of the public copy, or :obj:`None` if no public file has these bytes.
        sha256: Published SHA-256 sums; without ``git_blob`` the first is that of ``source``.
        git_blob: Git's id of the public copy, for a file whose SHA-256 nobody has published.
    """

    name: str
    source: str | None = None
    sha256: tuple[str, ...] = ()
    git_blob: str | None = None

    def is_published(self, path: Path, sha256: str) -> bool:
        r"""Whether the file at ``path``, whose SHA-256 is given, has published bytes."""
        return sha256 in self.sha256 or (
            self.git_blob is not None and git_blob_of(path) == self.git_blob
        )


def sha256_of(path: Path) -> str:
    r"""Returns the SHA-256 of a file in hexadecimal digits."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"cannot read '{path}' ({error.strerror}): check its permissions"
        ) from error


def git_blob_of(path: Path) -> str:
    r"""Returns the id under which git stores a file's content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def download(file: RawFile, folder: Path) -> None:
    r"""Downloads ``file`` to ``folder``; what arrives is checked before it appears there.

    Raises:
        InputError: If there is no public copy, it cannot be reached, it has other bytes than the
            published ones, or ``folder`` cannot be written.
    """
    target = folder / file.name
    if file.source is None:
        raise InputError(f"'{target}' is missing and has no public copy: place it there by hand")
    with tempfile.TemporaryDirectory() as scratch:
        found = Path(scratch, file.name)
        fetch(file.source, found, target)
        if file.git_blob is None:
            kind, need, got = "SHA-256", file.sha256[0], sha256_of(found)
        else:
            kind, need, got = "git id", file.git_blob, git_blob_of(found)
        if got != need:
            raise InputError(
                f"'{target}' is missing and the download from {file.source} has the {kind} {got}"
                f" instead of {need}: try again, or place the right file there by hand"
            )
        move(found, target)


def fetch(source: str, found: Path, target: Path) -> None:
    r"""Downloads ``source`` to the path ``found``; errors speak of ``target``, which needs it."""
    try:
        get = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30)
        get(source, str(found), None)
    except (OSError, ValueError) as error:
        reason, response = type(error).__name__, getattr(error, "response", None)
        if response is not None:
            reason = f"{reason} {response.status_code}"
            response.close()  # a refused request leaves its connection open
        raise InputError(
            f"'{target}' is missing and the download from {source} failed ({reason}):"
            " try again, or place the file there by hand"
        ) from error


def move(found: Path, target: Path) -> None:
    r"""Moves a checked file to its place, where it appears whole or not at all."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(found, temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"'{target}' is missing and cannot be written ({error.strerror}): place it there by"
            " hand"
        ) from error
