"""`python -m converter`: an exported model becomes a bundle; look at either, verify a bundle."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeAlias

from bundle import load_bundle
from bundle.errors import BundleError
from bundle.model_config import to_prototxt
from protocol.console import as_command, print_error
from protocol.escaping import escaped, escaped_line

from .bundling.convert import ConvertOptions, convert, preview
from .checking.inspection import bundle_facts, inspect_folder
from .checking.reference import REFERENCE_TOLERANCE, compare_with_reference
from .checking.reference_report import print_comparison
from .checking.report import print_report, print_verification
from .checking.terminal import shortened
from .checking.verify import DEFAULT_TOLERANCE, verify
from .describing.forms import FORMS
from .describing.overrides import Overrides
from .describing.presets import preset, preset_names
from .errors import ConversionError
from .targets import command as target_command
from .targets import onnx_form
from .tuning import command as tune_command

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class _Terminated(KeyboardInterrupt):
    """SIGTERM: as Ctrl-C, so that half-written folders are removed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or with one line on stderr 1, or 128 + signal."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "convert" and options.output is None and not options.show_proto:
        parser.error("convert needs --output serving_model/NAME, or --show-proto to write nothing")
    if options.command == "verify" and options.reference is not None:
        if options.images is None:
            parser.error("--reference needs --images, the images that its scores are of")
        if options.export is not None:
            parser.error("--reference compares with a framework, --export with an export: give one")
    try:
        with _termination_unwinds():
            options.run(options)
    except KeyboardInterrupt as stop:
        number = signal.SIGTERM if isinstance(stop, _Terminated) else signal.SIGINT
        sys.stderr.write(f"error: interrupted by {number.name}; give the command again\n")
        return 128 + number
    except (ConversionError, BundleError) as error:
        cause = str(error)
    except OSError as error:  # of a path that the system refuses, wherever it was first touched
        cause = f"{error.filename or 'a file'}: {error.strerror or error}; give another path"
    else:
        return 0
    print_error(shortened(" ".join(cause.split())))
    return 1


@contextmanager
def _termination_unwinds() -> Iterator[None]:
    """Let SIGTERM raise in the block; its own action ends the process where it stands."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return

    def unwind(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one must not stop the cleaning
        raise _Terminated

    before = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _convert(options: argparse.Namespace) -> None:
    if options.show_proto:
        config = preview(
            options.export_dir,
            options.model_file,
            options.params_file,
            options.feed_alias,
            options.fetch_alias,
        )
        sys.stdout.write(escaped(to_prototxt(config)))
        return
    bundle = convert(
        ConvertOptions(
            export_dir=options.export_dir,
            output=options.output,
            overrides=Overrides(
                labels=options.labels,
                preprocess=options.preprocess,
                topk=options.topk,
                softmax=options.softmax,
                multi_label=options.multi_label,
                single_label=options.single_label,
                logits=options.logits,
                threshold=options.threshold,
            ),
            feed_aliases=options.feed_alias,
            fetch_aliases=options.fetch_alias,
            model_file=options.model_file,
            params_file=options.params_file,
            force=options.force,
        )
    )
    why_not = "" if options.no_onnx else onnx_form.made_or_why_not(bundle, onnx_form.say)
    print_report(bundle_facts(load_bundle(bundle.path)))
    if why_not:
        sys.stdout.write(f"ONNX form: {escaped_line(why_not)}\n")
    named = options.preprocess is not None and preset(options.preprocess) is not None
    if named or not bundle.graph_format.paddle:
        sys.stdout.write(
            "Does the framework prepare images in this way? Compare with its own scores:\n"
            f"    python -m converter verify {options.output} --images DIR --reference scores.npz\n"
            "docs/bundle.md has code for each framework that writes scores.npz.\n"
        )


def _inspect(options: argparse.Namespace) -> None:
    facts = inspect_folder(options.folder, options.model_file, options.params_file)
    if options.json:
        # in a JSON string the escapes are JSON's own
        sys.stdout.write(escaped(json.dumps(facts, ensure_ascii=False, indent=2)) + "\n")
    else:
        print_report(facts)


def _verify(options: argparse.Namespace) -> None:
    if options.reference is not None:
        _verify_with_reference(options)
        return
    verification = verify(
        options.bundle,
        export_dir=options.export,
        images=options.images,
        tolerance=DEFAULT_TOLERANCE if options.tolerance is None else options.tolerance,
    )
    print_verification(verification)
    if not verification.passed:
        raise ConversionError(
            f"{options.bundle}: scores differ by {verification.worst:.2g}, more than"
            f" {verification.tolerance:g}; convert it again, or look into the rows above"
        )


def _verify_with_reference(options: argparse.Namespace) -> None:
    compared = compare_with_reference(
        options.bundle,
        options.reference,
        options.images,
        REFERENCE_TOLERANCE if options.tolerance is None else options.tolerance,
    )
    print_comparison(compared)
    if not compared.passed:
        raise ConversionError(
            f"{options.bundle}: does not answer as {options.reference} says; the rows above show"
            " where, and what is likely"
        )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m converter", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    files = argparse.ArgumentParser(add_help=False)
    files.add_argument("--model-file", metavar="F", help="the graph's file, if not recognised")
    files.add_argument(
        "--params-file", metavar="F", help="the file of all parameters, if not recognised"
    )

    _add_convert(commands, files)
    _add_inspect(commands, files)
    _add_verify(commands)
    onnx_form.add_parser(commands)
    tune_command.add_parser(commands)
    target_command.add_parser(commands)
    return parser


def _add_convert(commands: Commands, files: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "convert", parents=[files], help="make a bundle of an exported model"
    )
    command.set_defaults(run=_convert)
    command.add_argument("export_dir", type=Path, help="folder of the exported model")
    command.add_argument(
        "--output", type=Path, metavar="DIR", help="the new bundle: serving_model/NAME"
    )
    command.add_argument(
        "--labels", type=Path, metavar="FILE", help="one label a line, the first is class 0"
    )
    command.add_argument(
        "--preprocess",
        metavar="FILE",
        help=f"a description ({', '.join(form.title for form in FORMS)}), or a preset:"
        f" {', '.join(preset_names())}; those of frameworks take options, for"
        " example torchvision:resize=232,crop=224",
    )
    command.add_argument(
        "--topk", type=int, metavar="K", help="labels in each result; default: the description's"
    )
    _add_kinds_of_result(command)
    command.add_argument(
        "--feed-alias",
        type=_names,
        metavar="A,B",
        help="names of the inputs; default: the model's own",
    )
    command.add_argument(
        "--fetch-alias",
        type=_names,
        metavar="A,B",
        help="names of the outputs; default of the one with the scores: prediction",
    )
    command.add_argument(
        "--show-proto",
        action="store_true",
        help="print serving_server_conf.prototxt and write nothing",
    )
    command.add_argument(
        "--no-onnx",
        action="store_true",
        help="leave out serving_server/onnx, the graph as ONNX for faster runtimes",
    )
    command.add_argument("--force", action="store_true", help="replace an existing bundle")


def _add_kinds_of_result(command: argparse.ArgumentParser) -> None:
    scores = command.add_mutually_exclusive_group()
    scores.add_argument(
        "--softmax", action="store_true", help="add a softmax, where the model gives logits"
    )
    scores.add_argument(
        "--logits", action="store_true", help="return the logits that the model gives as they are"
    )
    labels = command.add_mutually_exclusive_group()
    labels.add_argument(
        "--multi-label",
        action="store_true",
        help="an image may have several labels, or none: return all that reach the threshold",
    )
    labels.add_argument(
        "--single-label",
        action="store_true",
        help="return the best labels, where a description or a sigmoid means several an image",
    )
    command.add_argument(
        "--threshold",
        type=_threshold,
        metavar="T",
        help="threshold of several labels, or of the second of two classes: a number, or a YAML"
        " file with one by class; default: the description's, else 0.5",
    )


def _threshold(text: str) -> float | Path:
    try:
        return float(text)
    except ValueError:
        return Path(text)


def _add_inspect(commands: Commands, files: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "inspect", parents=[files], help="show what an export or a bundle holds"
    )
    command.set_defaults(run=_inspect)
    command.add_argument("folder", type=Path, help="an export or a bundle")
    command.add_argument("--json", action="store_true", help="print JSON, for scripts")


def _add_verify(commands: Commands) -> None:
    command = commands.add_parser(
        "verify",
        help="compare a bundle's scores with its export's, or a framework's (--reference); exit"
        " code 1 if they differ",
    )
    command.set_defaults(run=_verify)
    command.add_argument("bundle", type=Path, help="serving_model/NAME")
    command.add_argument(
        "--export", type=Path, metavar="DIR", help="the export; default: the copy in the bundle"
    )
    command.add_argument(
        "--images", type=Path, metavar="DIR", help="images to run; default: generated ones"
    )
    command.add_argument(
        "--reference",
        type=Path,
        metavar="FILE",
        help="scores that the framework gave on --images: .csv, .npz or .npy",
    )
    command.add_argument(
        "--tolerance",
        type=target_command.tolerance,
        metavar="T",
        help="the largest difference of a score that is accepted; default:"
        f" {DEFAULT_TOLERANCE:g}, with --reference {REFERENCE_TOLERANCE:g}",
    )


if __name__ == "__main__":
    sys.exit(as_command(main))
