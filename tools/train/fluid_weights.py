"""ImageNet weights of the oldest Paddle export, for a network of `paddle.vision.models`.

Such an export is a `__model__` program with one file a parameter. Its parameters carry other names
than the network's, but the graph's convolutions, batch norms and fully connected layers come in the
order in which the network lists its own, so that taking both in order pairs them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from .errors import WeightsError

# Inputs that hold parameters, in the order in which `state_dict` lists them.
_PARAMETER_INPUTS = {
    "conv2d": ("Filter",),
    "depthwise_conv2d": ("Filter",),
    "batch_norm": ("Scale", "Bias", "Mean", "Variance"),
    "mul": ("Y",),
    "elementwise_add": ("Y",),
}


def load_fluid_weights(network: paddle.nn.Layer, folder: Path, *, new_head: bool = True) -> int:
    """Copy the export's parameters into `network`; return how many were copied.

    With `new_head` the last layer is left out where the number of classes differs.

    Raises:
        WeightsError: the export cannot be read, has another number of parameters, or one of
            another size.
    """
    shapes = parameter_shapes(folder / "__model__")
    names, state = list(shapes), network.state_dict()
    if len(names) != len(state):
        raise WeightsError(
            f"{folder} holds {len(names)} parameters and the network {len(state)}; "
            "they are not the same architecture"
        )
    copied = 0
    for position, ((key, tensor), name) in enumerate(zip(state.items(), names, strict=True)):
        values = _read_parameter(folder / name, shapes[name])
        if values.size == int(np.prod(tensor.shape)):
            tensor.set_value(values.reshape(tensor.shape))
            copied += 1
        elif not new_head or position < len(names) - 2:
            raise WeightsError(f"{name} has {values.size} numbers, {key} {tensor.shape}")
    return copied


def parameter_shapes(model_file: Path) -> dict[str, tuple[int, ...]]:
    """Return each parameter's shape by its name, in the order in which the graph uses them.

    Raises:
        WeightsError: there is no such file, or it is no program.
    """
    if not model_file.is_file():
        raise WeightsError(f"there is no {model_file}; an old export is a folder that holds one")
    from paddle.base.framework import Program

    # Paddle builds a program's operators in static mode only.
    dynamic = paddle.in_dynamic_mode()
    paddle.enable_static()
    try:
        block = Program.parse_from_string(model_file.read_bytes()).global_block()
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"{model_file} is no program that Paddle can read") from error
    finally:
        if dynamic:
            paddle.disable_static()
    names: list[str] = []
    for operator in block.ops:
        for slot in _PARAMETER_INPUTS.get(operator.type, ()):
            names += [name for name in operator.input(slot) if _is_parameter(block, name)]
    return {name: tuple(block.var(name).shape) for name in names}


def _is_parameter(block: Any, name: str) -> bool:  # noqa: ANN401 - a Paddle block
    return bool(block.has_var(name) and block.var(name).persistable)


def _read_parameter(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 numbers of one LoDTensor file, flat; as many as `shape` says.

    Layout (paddle/fluid/framework/lod_tensor.cc): uint32 version, uint64 number of LoD levels
    (0 for parameters), uint32 tensor version, int32 length of a description, the description, data.
    """
    raw = path.read_bytes() if path.is_file() else b""
    start = 20 + int.from_bytes(raw[16:20], "little")
    # Otherwise a truncated file would be taken for a last layer with fewer classes.
    if len(raw) - start != 4 * math.prod(shape):
        raise WeightsError(f"{path} is missing or cut off; fetch the export again")
    return np.frombuffer(raw, dtype="<f4", offset=start)
