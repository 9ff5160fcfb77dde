"""What modules keep beside their constructors' arguments, as plain containers and back."""

import contextlib
import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyg_mtrec._errors import InputError

State = dict[str, tuple[str, dict[str, Any]]]
_INHERITED = frozenset(vars(nn.Module()))


def save_state(root: nn.Module) -> State:
    r"""Returns the buffers and plain attributes of a module and of all inside it.

    Unlike ``state_dict`` it knows buffers that are :obj:`None` as long as nothing was learnt, and
    attributes that are no buffers. A constructor's arguments are left out; so is what has no plain
    form.

    Args:
        root: The module.

    Returns:
        Path of every module to its class and values.
    """
    return {path: (type(m).__name__, _save(m)) for path, m in root.named_modules()}


def check_state(root: nn.Module, state: State) -> None:
    r"""Raises an InputError if the state is that of another kind of module.

    Args:
        root: The module.
        state: What :func:`save_state` returned.
    """
    found = {path: type(module).__name__ for path, module in root.named_modules()}
    saved = {path: name for path, (name, _) in state.items()}
    if found != saved:
        raise InputError(
            f"a state of '{saved.get('')}' cannot be loaded into '{found['']}': make the rule with"
            " the arguments of the saved one"
        )


def load_state(root: nn.Module, state: State, device: torch.device) -> None:
    r"""Puts a saved state into a module that was made with the same arguments.

    Args:
        root: The module.
        state: What :func:`save_state` returned.
        device: Where to put tensors that were not on the host.
    """
    modules = dict(root.named_modules())
    for path, (_, values) in state.items():
        for name, value in values.items():
            setattr(modules[path], name, _decode(value, device))


def _save(module: nn.Module) -> dict[str, Any]:
    arguments = inspect.signature(type(module).__init__).parameters
    found = {}
    for name, value in {**vars(module), **module._buffers}.items():
        if name in _INHERITED or name.removeprefix("_") in arguments or name in arguments:
            continue
        with contextlib.suppress(TypeError):
            found[name] = _encode(value)
    return found


def _encode(value: Any) -> tuple[Any, ...]:
    if isinstance(value, Tensor):
        # A copy: rules also change their tensors in place.
        return "tensor", value.detach().clone(), value.device.type == "cpu"
    if isinstance(value, np.ndarray):
        return "array", torch.from_numpy(value.copy())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, torch.dtype):
        return "dtype", str(value).removeprefix("torch.")
    if isinstance(value, torch.device):
        return "device", value.type == "cpu"
    if isinstance(value, tuple):
        return "tuple", tuple(_encode(item) for item in value)
    if isinstance(value, list):
        return "list", tuple(_encode(item) for item in value)
    if value is None or isinstance(value, bool | int | float | str):
        return "value", value
    raise TypeError(f"a {type(value).__name__} has no plain form")


def _decode(encoded: tuple[Any, ...], device: torch.device) -> Any:
    match encoded:
        case "tensor", value, on_host:
            return value.to("cpu" if on_host else device, copy=True)
        case "array", value:
            return value.clone().numpy()
        case "dtype", name:
            return getattr(torch, name)
        case "device", on_host:
            return torch.device("cpu") if on_host else device
        case "tuple", items:
            return tuple(_decode(item, device) for item in items)
        case "list", items:
            return [_decode(item, device) for item in items]
    return encoded[1]
