"""A context that fails where a step would wait for the device or have a shape that data decide."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

FORBIDDEN = (
    "local_scalar_dense",
    "nonzero",
    "unique",
    "masked_select",
    "is_nonzero",
    "repeat_interleave",
    "equal.default",
)


class NoSync:
    r"""Fails on every operation that would synchronise a GPU with the host."""

    def __enter__(self) -> None:
        self._modes = (_Dispatch(), _Function())
        for mode in self._modes:
            mode.__enter__()

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)


class _Function(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # These read a CPU tensor's memory without an operation that could be seen below.
        name = getattr(func, "__name__", "")
        assert name not in ("tolist", "numpy", "cpu", "__array__", "__bool__", "__index__"), name
        return func(*args, **(kwargs or {}))


class _Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        assert not any(f"aten.{word}" in name or f"aten._{word}" in name for word in FORBIDDEN), (
            name
        )
        if name.startswith(("aten.index.", "aten.index_put")):
            for index in args[1]:
                assert index is None or index.dtype not in (torch.bool, torch.uint8), name
        return func(*args, **(kwargs or {}))
