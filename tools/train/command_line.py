"""The command line of the training tool. Nothing here imports Paddle, so that --help is quick."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from .recipe import OPTIMIZERS, Recipe

if TYPE_CHECKING:
    _Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

FIT, EVALUATE, AVERAGE, EXPORT = "fit", "evaluate", "average", "export"
DEFAULT_ARCH = "shufflenet_v2_x1_0"

# Meanings of the flags that are not clear from their names.
_MEANINGS = {
    "epochs": "passes over the training images",
    "batch_size": "images in one training step",
    "learning_rate": "its largest value",
    "size": "side of training images in pixels",
    "head_factor": "the last layer learns at this multiple of the learning rate",
    "warm_up_epochs": "epochs in which the learning rate rises",
    "mixup": "share of batches whose images are blended in pairs",
    "cutmix": "share of batches in which parts of images are exchanged",
    "balance": "0 draws images as they are, 1 classes equally often",
    "ema": "decay of the moving average of the weights; the average is saved",
    "min_area": "smallest part of the image that a random crop shows, 0 to 1",
    "aspect": "largest stretch of a random crop; 1: none",
    "rotation": "largest rotation in degrees, to both sides",
    "quarter_turns": "rotate by 0, 90, 180 or 270 degrees",
    "colour": "largest relative change of brightness, contrast, saturation",
    "erase": "probability that a rectangle is erased",
    "plain_epochs": "last epochs, without mixup and cutmix",
    "drop_epochs": "divide the learning rate by 10 at the start of these epochs",
    "early_stop": "stop after this many epochs without a better validation; 0: never",
}
_THREADS = "CPU threads (default: OMP_NUM_THREADS, else 1); the last digits of results depend on it"


def command_parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser; `command` of its result is one of `COMMANDS`."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.train",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared = _shared_options()
    _add_fit(commands, shared)
    _add_evaluate(commands, shared)
    _add_average(commands)
    _add_export(commands, shared)
    return parser


def _shared_options() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--threads", type=_positive, metavar="N", help=_THREADS)
    shared.add_argument("data", type=Path, help="folder with train/ and val/, or list files")
    of = f"a network of paddle.vision.models (default: the run's own, else {DEFAULT_ARCH})"
    shared.add_argument("--arch", help=of)
    shared.add_argument(
        "--test-resize", type=int, help="length of the short side before the centre crop"
    )
    shared.add_argument(
        "--test-size", type=int, help="side of the centre crop, the input of the exported model"
    )
    for name in ("mean", "std"):
        of = f"{name} of red, green and blue in 0..1 (default: ImageNet's)"
        shared.add_argument(f"--{name}", type=float, nargs=3, metavar=("R", "G", "B"), help=of)
    return shared


def _add_fit(commands: _Commands, shared: argparse.ArgumentParser) -> None:
    train = commands.add_parser(FIT, parents=[shared], help="train a network")
    train.set_defaults(command=FIT)
    train.add_argument("--run", type=Path, required=True, help="folder for the results of this run")
    train.add_argument(
        "--init",
        type=Path,
        help="weights to start from: imagenet (Paddle downloads its own), a .pdparams, or the"
        " folder of an old export",
    )
    train.add_argument("--resume", action="store_true", help="continue a run that was stopped")
    for field in fields(Recipe):
        if not field.name.startswith("test_") and field.name not in ("mean", "std"):
            _add_recipe_flag(train, field.name, field.default)


def _add_evaluate(commands: _Commands, shared: argparse.ArgumentParser) -> None:
    check = commands.add_parser(EVALUATE, parents=[shared], help="measure the accuracy of weights")
    check.set_defaults(command=EVALUATE)
    check.add_argument("--weights", type=Path, required=True)


def _add_average(commands: _Commands) -> None:
    soup = commands.add_parser(AVERAGE, help="average the weights of several runs")
    soup.set_defaults(command=AVERAGE)
    soup.add_argument("weights", type=Path, nargs="+")
    soup.add_argument("--output", type=Path, required=True)


def _add_export(commands: _Commands, shared: argparse.ArgumentParser) -> None:
    out = commands.add_parser(EXPORT, parents=[shared], help="write the inference model")
    out.set_defaults(command=EXPORT)
    out.add_argument("--weights", type=Path, required=True)
    out.add_argument("--output", type=Path, required=True)
    out.add_argument("--labels", type=Path, help="one label a line, in class-folder order")


def _add_recipe_flag(parser: argparse.ArgumentParser, name: str, default: Any) -> None:  # noqa: ANN401
    options: dict[str, Any] = {"default": argparse.SUPPRESS}
    if isinstance(default, bool):
        options["action"] = argparse.BooleanOptionalAction
    elif name == "drop_epochs":
        options.update(type=int, nargs="+", metavar="N")
    elif name == "optimizer":
        options["choices"] = sorted(OPTIMIZERS)
    else:
        options["type"] = type(default)
    meaning = _MEANINGS.get(name, "")
    shown = f"default {_short(default)}" if default != () else "default: a cosine"
    help_text = f"{meaning} ({shown})" if meaning else shown
    parser.add_argument(f"--{name.replace('_', '-')}", help=help_text, **options)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_positive.__name__ = "number from 1 on"  # argparse says "invalid number from 1 on value: '0'"
