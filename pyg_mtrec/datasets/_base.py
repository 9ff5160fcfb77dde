import hashlib
import io
import json
import os
import pickle
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData, InMemoryDataset
from torch_geometric.transforms import BaseTransform

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._download import RawFile, download, sha256_of

Report: TypeAlias = dict[str, int | float | str]
Layouts: TypeAlias = Mapping[str, tuple[RawFile, ...]]

# Part of the name of every processed file: raise it when a reader or the schema changes.
FORMAT_VERSION = 1


class RawDataset(InMemoryDataset):
    r"""Base of the data sets that are read from files: local ones first, else the public copies.

    A subclass names its files in ``layouts`` (the first complete layout is read, else the first
    public one is completed by downloads) and builds the graph in :meth:`read`.

    Args:
        root: Folder of this data set; raw files lie in ``root/raw``.
        transform: Applied to the graph at every access.
        pre_transform: Applied to the graph once, before it is stored.
        force_reload: Reads the raw files even if a processed file matches them.

    Raises:
        InputError: If a raw file is missing and cannot be downloaded, or its content is wrong.
    """

    name: ClassVar[str]
    default_tasks: ClassVar[tuple[str, ...]]
    default_split: ClassVar[str]
    default_val_from: ClassVar[str] = "train"
    layouts: ClassVar[Layouts]

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], HeteroData] | None = None,
        force_reload: bool = False,
    ) -> None:
        self.layout = ""
        self.raw_sha256: dict[str, str] = {}
        self.known = False
        super().__init__(os.fspath(root), transform, pre_transform, force_reload=force_reload)
        content = self._content
        del self._content
        self.report: Report = content["report"]
        self._data = HeteroData.from_dict(content["data"])

    @abstractmethod
    def read(self, raw: Path) -> tuple[HeteroData, Report]:
        r"""Reads the files of ``self.layout`` in the folder ``raw``.

        Returns:
            The graph, and what was found: rows read, duplicates dropped, defects.
        """

    @property
    def _asked(self) -> Layouts:
        r"""The layouts as the options of this instance ask for them."""
        return self.layouts

    @property
    def _options(self) -> dict[str, Any]:
        r"""What decides the graph beside the files."""
        return {}

    @property
    def raw_file_names(self) -> list[str]:
        return [file.name for file in self._asked[self.layout]]

    @property
    def processed_file_names(self) -> list[str]:
        recipe = [type(self).__name__, self.layout, self.raw_sha256, _identity(self.pre_transform)]
        if self._options:
            recipe.append(_identity(self._options))
        digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
        return [f"{self.layout}-v{FORMAT_VERSION}-{digest[:16]}.pt"]

    def download(self) -> None:
        for file in self._asked[self.layout]:
            if not Path(self.raw_dir, file.name).is_file():
                download(file, Path(self.raw_dir))

    def process(self) -> None:
        data, report = self.read(Path(self.raw_dir))
        report = {"layout": self.layout, **report}
        if self.pre_transform is not None:
            data = self.pre_transform(data)
            if not isinstance(data, HeteroData):
                raise InputError(
                    f"'pre_transform' needs to return a HeteroData in '{type(self).__name__}'"
                    f" (got {type(data).__name__}): pass it as 'transform'"
                )
        path = Path(self.processed_paths[0])
        text = json.dumps(
            {"known": self.known, "raw_sha256": self.raw_sha256, "report": report}, indent=2
        )
        # Into memory first: torch.save hides a full disk behind an error of its own.
        buffer = io.BytesIO()
        torch.save({"data": data.to_dict(), "report": report}, buffer)
        _write(path.with_suffix(".json"), f"{text}\n".encode())
        _write(path, buffer.getvalue())

    # PyG's own versions of the next two create 'raw/' before anything is there to be put into it,
    # and reuse the processed file of another 'pre_transform'.
    def _download(self) -> None:
        self.layout = self._choose_layout()
        self.download()
        paths = {file: Path(self.raw_dir, file.name) for file in self._asked[self.layout]}
        self.raw_sha256 = {file.name: sha256_of(path) for file, path in paths.items()}
        self.known = all(
            file.is_published(path, self.raw_sha256[file.name]) for file, path in paths.items()
        )

    def _process(self) -> None:
        reuse = not self.force_reload and "0x…" not in _identity(self.pre_transform)
        content = self._stored() if reuse else None
        if content is None:
            self.process()
            content = self._stored()
        if content is None:
            raise InputError(
                f"'pre_transform' of '{type(self).__name__}' leaves objects in the graph that"
                " cannot be stored: pass it as 'transform'"
            )
        self._content = content

    def _choose_layout(self) -> str:
        found = {
            layout: [Path(self.raw_dir, file.name).is_file() for file in files]
            for layout, files in self._asked.items()
        }
        for layout in self._asked:
            if all(found[layout]):
                return layout
        for layout, files in self._asked.items():
            if any(found[layout]) and any(file.source is None for file in files):
                missing = files[found[layout].index(False)].name
                raise InputError(
                    f"'{missing}' is missing in '{self.raw_dir}' beside"
                    f" '{files[found[layout].index(True)].name}': place it there too"
                )
        return next(
            layout for layout, files in self._asked.items() if all(file.source for file in files)
        )

    def _stored(self) -> dict[str, Any] | None:
        path = Path(self.processed_paths[0])
        if not path.is_file():
            return None
        try:
            content: dict[str, Any] = torch.load(path, weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError):
            return None  # a cache that cannot be read is made again
        return content


def _identity(value: object) -> str:
    r"""Describes a transform; addresses (functions, generators) and tensors become ``0x…``."""
    if isinstance(value, BaseTransform):
        return f"{type(value).__module__}.{type(value).__qualname__}({_identity(vars(value))})"
    if isinstance(value, dict):
        return ", ".join(f"{key}={_identity(value[key])}" for key in sorted(value))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_identity, value))}]"
    if isinstance(value, (Tensor, np.ndarray)):
        return "0x…"
    return re.sub(r"0x[0-9a-fA-F]+", "0x…", repr(value))


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write '{path}' ({error.strerror}): use a root that can be written, with 'raw'"
            " linked into it"
        ) from error
