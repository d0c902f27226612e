"""Train a classifier on folders of images and export it for `python -m converter convert`.

    python -m tools.train fit ../data --run runs/a --arch shufflenet_v2_x1_0 --init WEIGHTS
    python -m tools.train evaluate ../data --weights runs/a/best.pdparams
    python -m tools.train average runs/*/best.pdparams --output soup.pdparams
    python -m tools.train export ../data --weights soup.pdparams --output exports/mine

`DATA` holds train/<class>/* and val/<class>/*, or the list files of PaddleX (train_list.txt,
val_list.txt, labels.txt) or PaddleClas (label_list.txt). Any network of `paddle.vision.models` with
one output can be trained. A run that was stopped goes on with `--resume`. docs/training.md walks
three roads.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

# Strided views make ShuffleNet's channel shuffle slow on the CPU: without them a step takes 0.75 of
# the time. It must be set before paddle is imported.
os.environ.setdefault("FLAGS_use_stride_kernel", "0")

import cv2

# Paddle warns of compilers that nothing here needs.
warnings.filterwarnings("ignore", message="No ccache found", category=UserWarning)
import paddle  # noqa: E402

from bundle.errors import BundleError  # noqa: E402
from bundle.labels import read_labels  # noqa: E402
from tools.train.export import export  # noqa: E402
from tools.train.fluid_weights import WeightsError  # noqa: E402
from tools.train.images import DataError, Normalization  # noqa: E402
from tools.train.recipe import OPTIMIZERS, Recipe  # noqa: E402
from tools.train.run_record import (  # noqa: E402
    FILE,
    RunRecord,
    read_record,
    record_beside,
    tuples,
)
from tools.train.splits import classes_of, load_split  # noqa: E402
from tools.train.trainer import RunError, Trainer, evaluate  # noqa: E402
from tools.train.weights import average_weights, load_weights  # noqa: E402

# Of the flags whose names do not say it.
_MEANINGS = {
    "size": "side of training views",
    "head_factor": "times the learning rate for the last layer",
    "warm_up_epochs": "the learning rate rises for so long",
    "mixup": "probability that a batch is blended",
    "cutmix": "probability that a batch is pasted into each other",
    "balance": "0 draws images as they are, 1 classes equally often",
    "ema": "share that stays in the averaged weights, which are what is kept",
    "min_area": "smallest share of an image that a view shows",
    "aspect": "a view is stretched up to so many times; 1: not at all",
    "rotation": "degrees, either way",
    "quarter_turns": "by 0, 90, 180 or 270 degrees",
    "colour": "largest relative change of brightness, contrast, saturation",
    "erase": "probability that a part is painted over",
    "plain_epochs": "without mixup and cutmix, at the end",
    "drop_epochs": "the learning rate falls to a tenth where these begin",
    "early_stop": "end after so many epochs without a better validation; 0: never",
}
_DEFAULT_ARCH = "shufflenet_v2_x1_0"
_THREADS = "of the processor (default: OMP_NUM_THREADS, else 1); the last digits depend on it"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; return the exit code."""
    options = _parser().parse_args(arguments)
    if getattr(options, "threads", None):
        paddle.base.core.set_num_threads(options.threads)
        cv2.setNumThreads(options.threads)
    try:
        return int(options.command(options))
    except (BundleError, DataError, RunError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        at = error.filename or "a file"
        print(f"error: {at}: {error.strerror or error}; give another path", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = "; the same command with --resume goes on after the last whole epoch"
        print(f"\nstopped{again if options.command is fit else ''}", file=sys.stderr)
        return 130


def fit(options: argparse.Namespace) -> int:
    """Train, and print the report of the best epoch."""
    before = _run_before(options)
    recipe = _recipe(options, before)
    arch = options.arch or (before.arch if before else "") or _DEFAULT_ARCH
    paddle.seed(recipe.seed)
    # Before all images are read: what is wrong with the network is told at once.
    network = _network(arch, len(classes_of(options.data)))
    _require_one_output(network, arch, recipe)
    train = load_split(options.data, "train", recipe.test_resize)
    val = load_split(options.data, "val", recipe.test_resize)
    print(f"{len(train.images)} images to train on, {len(val.images)} to validate, {train.classes}")
    if options.init:
        load_weights(network, options.init, new_head=True)
    if recipe.warm_up_epochs >= recipe.epochs:
        print(
            f"note: --warm-up-epochs {recipe.warm_up_epochs:g} of --epochs {recipe.epochs}: the "
            "learning rate still rises when the run ends",
            file=sys.stderr,
        )
    trainer = Trainer(network, recipe, train, val, options.run, arch)
    if options.resume and not trainer.resume():
        print(f"nothing to resume in {options.run}; starting anew")
    print(trainer.fit().markdown())
    return 0


def evaluate_weights(options: argparse.Namespace) -> int:
    """Print the report of saved weights on the validation images."""
    record = record_beside(options.weights)
    resize, size, normalization = _as_tested(options, record)
    classes = _classes(options, record)
    network = _network(_arch(options, record), len(classes))
    load_weights(network, options.weights)
    val = load_split(options.data, "val", resize)
    print(evaluate(network, val, resize, size, normalization).markdown())
    return 0


def average(options: argparse.Namespace) -> int:
    """Average the weights of several runs that began at the same weights (a "model soup")."""
    records = [record_beside(path) for path in options.weights]
    for record, path in zip(records, options.weights, strict=True):
        if record and records[0]:
            record.require_classes(records[0].classes, path)
    average_weights(options.weights, options.output)
    if records[0]:
        records[0].save(options.output.with_suffix(".json"))
    print(f"wrote {options.output}")
    return 0


def export_weights(options: argparse.Namespace) -> int:
    """Write inference.json, inference.pdiparams and inference.yml."""
    record = record_beside(options.weights)
    resize, size, normalization = _as_tested(options, record)
    classes = _classes(options, record)
    labels = read_labels(options.labels) if options.labels else classes
    if len(labels) != len(classes):
        raise DataError(f"{options.labels} has {len(labels)} labels for {len(classes)} classes")
    arch = _arch(options, record)
    network = _network(arch, len(classes))
    load_weights(network, options.weights)
    export(network, options.output, arch, labels, resize, size, normalization)
    print(
        f"wrote {options.output}; next: python -m converter convert {options.output} "
        "--output serving_model/NAME"
    )
    return 0


def _run_before(options: argparse.Namespace) -> RunRecord | None:
    """Return the record of the run that is to be resumed."""
    if options.resume and (options.run / FILE).is_file():
        return read_record(options.run / FILE)
    if not options.resume and (options.run / "last.pdparams").exists():
        raise DataError(f"{options.run} holds a run; add --resume, or give another --run")
    return None


def _recipe(options: argparse.Namespace, before: RunRecord | None) -> Recipe:
    """Return the recipe that is asked for; a resumed run keeps its own where no flag is given."""
    recipe = before.recipe if before else Recipe()
    given = {field.name: getattr(options, field.name, None) for field in fields(Recipe)}
    recipe = replace(recipe, **tuples({k: v for k, v in given.items() if v is not None}))
    recipe.check()
    return recipe


def _arch(options: argparse.Namespace, record: RunRecord | None) -> str:
    return str(options.arch or (record.arch if record else "") or _DEFAULT_ARCH)


def _classes(options: argparse.Namespace, record: RunRecord | None) -> tuple[str, ...]:
    """Return the classes of the data, which must be those that the weights were trained on."""
    classes = classes_of(options.data)
    if record:
        record.require_classes(classes, options.weights)
    return classes


def _as_tested(
    options: argparse.Namespace, record: RunRecord | None
) -> tuple[int, int, Normalization]:
    """Return short side, side and normalisation: of the flags, else of the weights' own run."""
    flags = ("test_resize", "test_size", "mean", "std")
    given = {name: getattr(options, name, None) for name in flags}
    recipe = record.recipe if record else Recipe()
    recipe = replace(recipe, **tuples({k: v for k, v in given.items() if v is not None}))
    recipe.check()
    return recipe.test_resize, recipe.test_size, recipe.normalization


def _network(arch: str, classes: int) -> paddle.nn.Layer:
    # Lower-case names build networks; the others are their classes and modules.
    build = getattr(paddle.vision.models, arch, None)
    if not arch.islower() or arch.startswith("_") or not callable(build):
        raise WeightsError(f"paddle.vision.models has no {arch}; for example {_DEFAULT_ARCH}")
    return build(num_classes=classes)


def _require_one_output(network: paddle.nn.Layer, arch: str, recipe: Recipe) -> None:
    """Try the network on an image of nothing: in the sizes of training and of testing."""
    network.eval()
    for size in (recipe.size, recipe.test_size):
        try:
            with paddle.no_grad():
                output = network(paddle.zeros([1, 3, size, size]))
        except Exception as error:
            # Paddle raises many kinds, with a page of text each.
            raise DataError(f"{arch} cannot take images of {size} x {size}; try 224") from error
        if not isinstance(output, paddle.Tensor):
            raise WeightsError(f"{arch} has several outputs; give an --arch that has one")


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
    shown = f"default {default}" if default != () else "default: a cosine"
    help_text = f"{meaning} ({shown})" if meaning else shown
    parser.add_argument(f"--{name.replace('_', '-')}", help=help_text, **options)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


_positive.__name__ = "number from 1 on"  # argparse says "invalid number from 1 on value: '0'"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="train.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--threads", type=_positive, metavar="N", help=_THREADS)
    shared.add_argument("data", type=Path, help="folder with train/ and val/, or list files")
    of = f"of paddle.vision.models (default: the run's own, else {_DEFAULT_ARCH})"
    shared.add_argument("--arch", help=of)
    shared.add_argument("--test-resize", type=int, help="short side before the middle is cut out")
    shared.add_argument("--test-size", type=int, help="side of what is cut out and served")
    for name in ("mean", "std"):
        of = f"{name} of red, green and blue in 0..1 (default: ImageNet's)"
        shared.add_argument(f"--{name}", type=float, nargs=3, metavar=("R", "G", "B"), help=of)

    train = commands.add_parser("fit", parents=[shared], help="train")
    train.set_defaults(command=fit)
    train.add_argument("--run", type=Path, required=True, help="folder of this run")
    train.add_argument("--init", type=Path, help=".pdparams, or an old export's folder")
    train.add_argument("--resume", action="store_true", help="go on where the run stopped")
    for field in fields(Recipe):
        if not field.name.startswith("test_") and field.name not in ("mean", "std"):
            _add_recipe_flag(train, field.name, field.default)

    check = commands.add_parser("evaluate", parents=[shared], help="count right answers")
    check.set_defaults(command=evaluate_weights)
    check.add_argument("--weights", type=Path, required=True)

    soup = commands.add_parser("average", help="average the weights of several runs")
    soup.set_defaults(command=average)
    soup.add_argument("weights", type=Path, nargs="+")
    soup.add_argument("--output", type=Path, required=True)

    out = commands.add_parser("export", parents=[shared], help="write the inference model")
    out.set_defaults(command=export_weights)
    out.add_argument("--weights", type=Path, required=True)
    out.add_argument("--output", type=Path, required=True)
    out.add_argument("--labels", type=Path, help="one label a line, in class-folder order")
    return parser


if __name__ == "__main__":
    sys.exit(main())
