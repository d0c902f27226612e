"""The commands of the training tool; importing this module imports Paddle."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import fields, replace

import cv2
import paddle

from bundle.labels import read_labels

from .command_line import AVERAGE, DEFAULT_ARCH, EVALUATE, EXPORT, FIT
from .errors import DataError, WeightsError
from .export import export
from .imagenet import IMAGENET, imagenet_weights
from .normalization import Normalization
from .recipe import Recipe
from .run_record import FILE, RunRecord, read_record, record_beside, tuples
from .scoring import evaluate
from .splits import classes_of, load_split
from .trainer import Trainer
from .weights import average_weights, load_imagenet, load_weights


def run(options: argparse.Namespace) -> int:
    """Run the command that `options` name; return the exit code.

    Raises:
        BundleError, DataError, RunError, WeightsError, OSError: it cannot be done.
    """
    if getattr(options, "threads", None):
        paddle.base.core.set_num_threads(options.threads)
        cv2.setNumThreads(options.threads)
    return COMMANDS[options.command](options)


def fit(options: argparse.Namespace) -> int:
    """Train, and print the report of the best epoch."""
    before = _run_before(options)
    recipe = _recipe(options, before)
    arch = options.arch or (before.arch if before else "") or DEFAULT_ARCH
    paddle.seed(recipe.seed)
    # Before all images are read, so that errors of the network are reported at once.
    network = _network(arch, len(classes_of(options.data)))
    _require_one_output(network, arch, recipe)
    _begin_at(options, network, arch)
    train = load_split(options.data, "train", recipe.test_resize)
    val = load_split(options.data, "val", recipe.test_resize)
    print(f"{len(train.images)} images to train on, {len(val.images)} to validate, {train.classes}")
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


def _begin_at(options: argparse.Namespace, network: paddle.nn.Layer, arch: str) -> None:
    """Load the weights that training begins at, and say which they are if they are no file."""
    if options.resume and (options.run / "last.pdparams").is_file():
        return  # those of the run
    if options.init is None:
        print(
            f"warning: training begins at random weights and needs many times the images; --init"
            f" {IMAGENET} begins at ImageNet's",
            file=sys.stderr,
        )
    elif str(options.init).lower() == IMAGENET:
        state, folder = imagenet_weights(_builder(arch), arch)
        load_imagenet(network, state, arch)
        print(
            f"ImageNet weights of {arch}: published by Paddle (paddle.vision.models), in {folder}"
        )
    else:
        load_weights(network, options.init, new_head=True)


def _run_before(options: argparse.Namespace) -> RunRecord | None:
    """Return the record of the run to resume."""
    if options.resume and (options.run / FILE).is_file():
        return read_record(options.run / FILE)
    if not options.resume and (options.run / "last.pdparams").exists():
        raise DataError(f"{options.run} holds a run; add --resume, or give another --run")
    return None


def _recipe(options: argparse.Namespace, before: RunRecord | None) -> Recipe:
    """Return the recipe of the flags; where there is no flag, a resumed run keeps its own."""
    recipe = before.recipe if before else Recipe()
    given = {field.name: getattr(options, field.name, None) for field in fields(Recipe)}
    recipe = replace(recipe, **tuples({k: v for k, v in given.items() if v is not None}))
    recipe.check()
    return recipe


def _arch(options: argparse.Namespace, record: RunRecord | None) -> str:
    return str(options.arch or (record.arch if record else "") or DEFAULT_ARCH)


def _classes(options: argparse.Namespace, record: RunRecord | None) -> tuple[str, ...]:
    """Return the classes of the data, which must be those that the weights were trained on."""
    classes = classes_of(options.data)
    if record:
        record.require_classes(classes, options.weights)
    return classes


def _as_tested(
    options: argparse.Namespace, record: RunRecord | None
) -> tuple[int, int, Normalization]:
    """Return short side, side and normalisation, of the flags or else of the weights' run."""
    flags = ("test_resize", "test_size", "mean", "std")
    given = {name: getattr(options, name, None) for name in flags}
    recipe = record.recipe if record else Recipe()
    recipe = replace(recipe, **tuples({k: v for k, v in given.items() if v is not None}))
    recipe.check()
    return recipe.test_resize, recipe.test_size, recipe.normalization


def _network(arch: str, classes: int) -> paddle.nn.Layer:
    return _builder(arch)(num_classes=classes)


def _builder(arch: str) -> Callable[..., paddle.nn.Layer]:
    # Lower-case names build networks; the others are their classes and modules.
    build = getattr(paddle.vision.models, arch, None)
    if not arch.islower() or arch.startswith("_") or not callable(build):
        raise WeightsError(f"paddle.vision.models has no {arch}; for example {DEFAULT_ARCH}")
    found: Callable[..., paddle.nn.Layer] = build
    return found


def _require_one_output(network: paddle.nn.Layer, arch: str, recipe: Recipe) -> None:
    """Run the network on an empty image, in the sizes of training and of testing."""
    network.eval()
    for size in (recipe.size, recipe.test_size):
        try:
            with paddle.no_grad():
                output = network(paddle.zeros([1, 3, size, size]))
        except Exception as error:
            # Paddle raises many kinds of errors, each with a page of text.
            raise DataError(f"{arch} cannot take images of {size} x {size}; try 224") from error
        if not isinstance(output, paddle.Tensor):
            raise WeightsError(f"{arch} has several outputs; give an --arch that has one")


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    FIT: fit,
    EVALUATE: evaluate_weights,
    AVERAGE: average,
    EXPORT: export_weights,
}
