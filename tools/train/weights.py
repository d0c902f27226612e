"""Reads the weights of a network, checks and loads them, and averages them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import paddle

from .errors import WeightsError
from .fluid_weights import load_fluid_weights


def load_weights(network: paddle.nn.Layer, path: Path, *, new_head: bool = False) -> None:
    """Load `path` (a `.pdparams`, or the folder of an old export) into `network`.

    With `new_head` the last layer may have another number of classes and then stays as it was
    made. That is for the start of training only: to evaluate or export a network whose last layer
    was left out would use random numbers for it.

    Raises:
        WeightsError: the weights cannot be read, or are not of this network.
    """
    head = list(network.state_dict())[-2:] if new_head else []
    if path.is_dir():
        load_fluid_weights(network, path, new_head=new_head)
        return
    _set_state(network, read_weights(path), str(path), head)


def load_imagenet(network: paddle.nn.Layer, state: Mapping[str, paddle.Tensor], arch: str) -> None:
    """Load `state`, of ImageNet's classes, but for a last layer of another number of classes.

    Raises:
        WeightsError: it is not of this network.
    """
    head = list(network.state_dict())[-2:]
    _set_state(network, state, f"the ImageNet weights of {arch}", head)


def _set_state(
    network: paddle.nn.Layer, state: Mapping[str, paddle.Tensor], source: str, head: Sequence[str]
) -> None:
    """Set all weights, except those of `head` that have another shape; `source` is for errors."""
    own = network.state_dict()
    if set(state) != set(own):
        raise WeightsError(f"{source}: of another architecture; give the --arch it was trained as")
    other = [key for key in own if list(own[key].shape) != list(state[key].shape)]
    if any(key not in head for key in other):
        raise WeightsError(
            f"{source}: {other[0]} is {list(state[other[0]].shape)} there and "
            f"{list(own[other[0]].shape)} here; it was trained on another number of classes"
        )
    network.set_state_dict({key: (own if key in other else state)[key] for key in own})


def read_weights(path: Path) -> dict[str, paddle.Tensor]:
    """Return the tensors of a `.pdparams` file by name.

    Raises:
        WeightsError: there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise WeightsError(
            f"there are no weights at {path}; give a .pdparams (fit takes --init imagenet, too)"
        )
    try:
        state = paddle.load(str(path))
    except Exception as error:
        # Paddle passes on the errors of its unpickler, which may be of any kind.
        raise WeightsError(f"{path} cannot be read as weights; is it a .pdparams?") from error
    if not isinstance(state, dict) or not state:
        raise WeightsError(f"{path} holds no weights")
    if "optimizer" in state:
        raise WeightsError(
            f"{path} is a checkpoint to resume from; give best.pdparams or final.pdparams beside it"
        )
    return dict(state)


def average_weights(paths: Sequence[Path], output: Path) -> None:
    """Write the mean of the weights in `paths`.

    Raises:
        WeightsError: they cannot be read, or are not of one network.
    """
    states = [read_weights(path) for path in paths]
    shapes = [{key: list(value.shape) for key, value in state.items()} for state in states]
    for path, shape in zip(paths, shapes, strict=True):
        if shape != shapes[0]:
            raise WeightsError(f"{path} and {paths[0]} are not of one network; see --arch and DATA")
    mean = {key: sum(state[key] for state in states) / len(states) for key in states[0]}
    output.parent.mkdir(parents=True, exist_ok=True)
    paddle.save(mean, str(output))
