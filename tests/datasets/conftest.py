import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io


def write_raw(root: Path, files: dict[str, Any]) -> Path:
    (root / "raw").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = root / "raw" / name
        if isinstance(content, str):
            path.write_bytes(content.encode())
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            scipy.io.savemat(path, {path.stem: np.asarray(content)}, do_compression=True)
    return root


@pytest.fixture
def raw_root(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """`raw_root({name: text, bytes or matrix})`: a root with these raw files."""
    return partial(write_raw, tmp_path / "root")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The address of a web server on this machine, and the folder that it serves."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}", folder
        httpd.shutdown()
        thread.join()
