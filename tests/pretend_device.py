"""A pretended GPU: tensors live on the CPU, and a label on their storage says "cuda".

    with PretendedGPU() as gpu:
        x = torch.zeros(3, device="cuda")
        ...
    assert not gpu.mixes
    gpu.waits     # what made the host wait for the device, and where

It runs real code with real numbers, and finds two kinds of fault that only a GPU would show:

* mixes: an operation on tensors of two devices, which CUDA refuses. A zero-dimensional CPU tensor beside CUDA
  tensors is allowed where CUDA allows it.
* waits: reading a number (`.item()`, `bool(tensor)`, `.cpu()`), operations whose result's size depends on values
  (`nonzero`, boolean masks), checks of matrix decompositions, and copies in either direction; a copy to the device
  with `non_blocking=True` is none (it is put in a buffer first, and the host goes on).

What it cannot find: speed, rounding, memory, faults of kernels.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import tpsctl

_PACKAGE = str(Path(tpsctl.__file__).parent) + "/"
GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
MEMORY_BYTES = 80e9

_READS = {"_local_scalar_dense", "item", "is_nonzero", "equal"}
_SIZE_DEPENDS_ON_VALUES = {"nonzero", "masked_select", "_unique2", "unique_consecutive", "unique_dim", "bincount"}
_CHECKED = {"_linalg_check_errors", "_linalg_eigh", "linalg_eigh", "_linalg_svd", "linalg_cholesky"}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
_NO_SCALAR_OF_CPU = {"cat", "stack", "mm", "bmm", "addmm", "baddbmm", "gather", "scatter_", "embedding", "searchsorted"}
_MAKES_FROM_DATA = {torch.tensor, torch.as_tensor, torch.Tensor.new_tensor}

_DEVICE, _IS_CUDA = torch.Tensor.device.__get__, torch.Tensor.is_cuda.__get__
_PROPERTIES = {getattr(torch.Tensor, name).__get__ for name in ("shape", "dtype", "ndim", "requires_grad", "layout")}
"""What is asked of every tensor by run-time shape checks, and is the same on any device."""

_labels: dict[int, StorageWeakRef] = {}
"""Storages on the pretended GPU by address. A weak reference keeps the address from being given to another one."""

_anywhere: dict[int, StorageWeakRef] = {}
"""Storages that torch made by itself on the device of what it was working on, which for it is the CPU: the zeros, for
instance, that stand for the gradient of a part that was not used."""


class PretendedGPU:
    """Context in which there is a GPU "cuda:0".

    Args:
        devices: How many GPUs `torch.cuda.device_count` tells of.

    Attributes:
        waits: How often the host waited, by what and where.
        mixes: Operations on tensors of two devices, by what and where.
    """

    def __init__(self, devices: int = 1) -> None:
        self.waits: Counter[str] = Counter()
        self.mixes: Counter[str] = Counter()
        self._devices = devices
        self._stack = ExitStack()

    @property
    def n_waits(self) -> int:
        """How often the host has waited so far."""
        return self.waits.total()

    def __enter__(self) -> "PretendedGPU":
        for name, replacement in self._cuda().items():
            self._stack.enter_context(mock.patch.object(torch.cuda, name, replacement))
        self._stack.enter_context(mock.patch.object(torch.nn.Module, "to", _module_to))
        self._stack.enter_context(_Functions(self))
        self._stack.enter_context(_Operations(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        for known in (_labels, _anywhere):
            for address in [address for address, storage in known.items() if storage.expired()]:
                del known[address]

    def _cuda(self) -> dict[str, Any]:
        """What replaces functions of `torch.cuda`."""
        return {
            "is_available": lambda: True,
            "device_count": lambda: self._devices,
            "get_device_name": lambda device=None: "pretended GPU",
            "get_device_properties": lambda device=None: mock.Mock(total_memory=MEMORY_BYTES, name="pretended GPU"),
            "mem_get_info": lambda device=None: (int(MEMORY_BYTES), int(MEMORY_BYTES)),
            "memory_reserved": lambda device=None: 0,
            "memory_allocated": lambda device=None: 0,
            "max_memory_allocated": lambda device=None: 0,
            "reset_peak_memory_stats": lambda device=None: None,
            "empty_cache": lambda: None,
            "synchronize": lambda device=None: self.note_wait("synchronize"),
        }

    def note_wait(self, what: str) -> None:
        self.waits[f"{what} at {_place()}"] += 1

    def note_mix(self, what: str) -> None:
        self.mixes[f"{what} at {_place()}"] += 1


def on_gpu(tensor: Tensor) -> bool:
    """Whether a tensor carries the label."""
    return tensor.untyped_storage()._cdata in _labels


def _label(tensor: Tensor, gpu: bool) -> Tensor:
    storage = tensor.untyped_storage()
    _anywhere.pop(storage._cdata, None)
    if gpu:
        _labels.setdefault(storage._cdata, StorageWeakRef(storage))
    else:
        _labels.pop(storage._cdata, None)
    return tensor


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among some values, and in lists and tuples there."""
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [part for part in value if isinstance(part, Tensor)]
    return found


def _on_cpu(tensor: Tensor) -> bool:
    address = tensor.untyped_storage()._cdata
    return address not in _labels and address not in _anywhere


def _place() -> str:
    """The innermost two lines of the package (or of a test, if there is none) that led here."""
    frame, every, inside = sys._getframe(1), [], []
    while frame is not None and len(inside) < 2:
        file = frame.f_code.co_filename
        if file != __file__ and "/site-packages/" not in file:
            every.append(f"{file.removeprefix(_PACKAGE)}:{frame.f_lineno}")
            if file.startswith(_PACKAGE):
                inside.append(every[-1])
        frame = frame.f_back
    return " < ".join(inside or every[:2])


class _Operations(TorchDispatchMode):
    """Sees every operation below autograd: labels results, finds mixes and waits."""

    def __init__(self, gpu: PretendedGPU) -> None:
        super().__init__()
        self._gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        tensors = _tensors((*args, *(kwargs or {}).values()))
        there = [tensor for tensor in tensors if on_gpu(tensor)]
        result_on_gpu = bool(there)
        if there:
            result_on_gpu = self._look(name, args, kwargs or {}, tensors)
        result = func(*args, **(kwargs or {}))
        known = {tensor.untyped_storage()._cdata for tensor in tensors}
        for tensor in _tensors((result,)):
            if tensor.untyped_storage()._cdata not in known:
                _label(tensor, result_on_gpu)
                if not any(map(_on_cpu, tensors)) and not there:
                    storage = tensor.untyped_storage()
                    _anywhere[storage._cdata] = StorageWeakRef(storage)
        return result

    def _look(self, name: str, args: Any, kwargs: dict[str, Any], tensors: list[Tensor]) -> bool:
        """Note what is wrong with an operation; whether its result is on the GPU."""
        if name in _READS or name in _SIZE_DEPENDS_ON_VALUES or name in _CHECKED:
            self._gpu.note_wait(name)
        if name in _INDEXING:
            return self._look_at_indexing(name, args)
        if name in ("copy_", "_to_copy"):
            if name == "copy_" and on_gpu(args[0]) != on_gpu(args[1]):
                self._copied(to_gpu=on_gpu(args[0]), non_blocking=kwargs.get("non_blocking", (*args, False, False)[2]))
            return on_gpu(args[0])
        here = [tensor for tensor in tensors if _on_cpu(tensor)]
        if any(tensor.dim() > 0 for tensor in here) or (here and name in _NO_SCALAR_OF_CPU):
            shapes = [tuple(tensor.shape) for tensor in here]
            self._gpu.note_mix(f"{name} with CPU tensors of shape {shapes}")
        return True

    def _copied(self, *, to_gpu: bool, non_blocking: bool) -> None:
        if not (to_gpu and non_blocking):
            self._gpu.note_wait("copy to the device" if to_gpu else "copy to the host")

    def _look_at_indexing(self, name: str, args: Any) -> bool:
        target, indices = args[0], [index for index in args[1] if isinstance(index, Tensor)]
        values = args[2] if name != "index" else None
        if any(on_gpu(index) for index in indices) and not on_gpu(target):
            self._gpu.note_mix(f"{name}: CUDA indices into a CPU tensor")
        if on_gpu(target) and any(not on_gpu(index) for index in indices):
            self._gpu.note_wait(f"{name}: indices copied to the device")
        one_value = values is not None and values.numel() == 1 and not on_gpu(values)  # a masked fill
        if any(index.dtype is torch.bool for index in indices) and not one_value:
            self._gpu.note_wait(f"{name}: boolean mask")
        if values is not None and on_gpu(values) != on_gpu(target) and (values.dim() > 0 or on_gpu(values)):
            self._gpu.note_mix(f"{name}: values of another device")
        return on_gpu(target)


class _Functions(TorchFunctionMode):
    """Sees what Python calls: `.device`, `.to`, `.cpu`, and functions that make tensors on a device."""

    def __init__(self, gpu: PretendedGPU) -> None:
        super().__init__()
        self._gpu = gpu

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _PROPERTIES:
            return func(*args)
        if func == _DEVICE:
            return GPU if on_gpu(args[0]) else func(*args)
        if func == _IS_CUDA:
            return on_gpu(args[0])
        kwargs = dict(kwargs or {})
        if func in (torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.cuda):
            return self._moved(func, *args, **kwargs)
        if func is torch.Tensor.numpy and on_gpu(args[0]):
            self._gpu.note_mix("numpy() of a CUDA tensor")
        if func is torch.Tensor.tolist and on_gpu(args[0]):
            self._gpu.note_wait("tolist")
            return _label(args[0].detach().clone(), False).tolist()
        if kwargs.get("device") is not None and torch.device(kwargs["device"]).type in ("cuda", "cpu"):
            return self._made(func, args, kwargs)
        if func is torch.Tensor.new_tensor and on_gpu(args[0]):
            self._gpu.note_wait("tensor made of data of the host")
            return _label(func(*args, **kwargs), True)
        result = func(*args, **kwargs)
        if isinstance(result, Tensor) and not _tensors((*args, *kwargs.values())):
            _label(result, False)  # made by Python with no device given
        return result

    def _made(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """A tensor made on a device."""
        gpu = torch.device(kwargs.pop("device")).type == "cuda"
        if gpu and kwargs.get("generator") is not None:
            self._gpu.note_mix("random numbers on the device by a generator of the CPU")
        if gpu and func in _MAKES_FROM_DATA:
            self._gpu.note_wait("tensor made of data of the host")
        return _label(func(*args, device="cpu", **kwargs), gpu)

    def _moved(self, func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The tensor in another precision, on another device, or like another one."""
        device = {torch.Tensor.cpu: CPU, torch.Tensor.cuda: GPU}.get(func, kwargs.pop("device", None))
        non_blocking, dtype = kwargs.pop("non_blocking", False), kwargs.pop("dtype", None)
        for word in args:
            if isinstance(word, Tensor):
                device, dtype = (GPU if on_gpu(word) else CPU), word.dtype
            elif isinstance(word, torch.dtype):
                dtype = word
            elif isinstance(word, torch.device | str):
                device = torch.device(word)
        moved = tensor.to(dtype) if dtype is not None else tensor
        gpu = on_gpu(tensor) if device is None else torch.device(device).type == "cuda"
        if gpu == on_gpu(tensor):
            return moved
        if not (gpu and non_blocking):
            self._gpu.note_wait("copy to the device" if gpu else "copy to the host")
        return _label(
            moved.clone() if moved.untyped_storage()._cdata == tensor.untyped_storage()._cdata else moved, gpu
        )


def _module_to(module: torch.nn.Module, *, device: Any = None, dtype: torch.dtype | None = None) -> torch.nn.Module:
    """`torch.nn.Module.to`, which gives the parameters that are there another storage behind Python's back."""
    gpu = torch.device(device).type == "cuda"

    def moved(tensor: Tensor) -> Tensor:
        return _label(tensor.detach().clone().to(dtype if tensor.is_floating_point() else tensor.dtype), gpu)

    for part in module.modules():
        for parameter in part._parameters.values():
            if parameter is not None:
                parameter.data = moved(parameter)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = moved(buffer)
    return module
