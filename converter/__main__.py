"""`python -m converter`: convert an exported model into a bundle, or look at either."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bundle.errors import BundleError

from . import export_command
from .convert import ConvertOptions, convert
from .descriptions import PRESETS
from .errors import ConversionError
from .inspection import bundle_facts, inspect_folder
from .report import print_report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 1 with one line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "convert":
            _convert(options)
        elif options.command == "export":
            export_command.run(options)
        else:
            _inspect(options)
    except (ConversionError, BundleError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 1
    return 0


def _convert(options: argparse.Namespace) -> None:
    bundle = convert(
        ConvertOptions(
            export_dir=options.export_dir,
            output=options.output,
            labels=options.labels,
            preprocess=options.preprocess,
            feed_aliases=options.feed_alias,
            fetch_aliases=options.fetch_alias,
            topk=options.topk,
            model_file=options.model_file,
            params_file=options.params_file,
            force=options.force,
        )
    )
    print_report(bundle_facts(bundle))


def _inspect(options: argparse.Namespace) -> None:
    facts = inspect_folder(options.folder, options.model_file, options.params_file)
    if options.json:
        sys.stdout.write(json.dumps(facts, ensure_ascii=False, indent=2) + "\n")
    else:
        print_report(facts)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m converter", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    files = argparse.ArgumentParser(add_help=False)
    files.add_argument("--model-file", metavar="F", help="the graph's file, if not recognised")
    files.add_argument("--params-file", metavar="F", help="the combined parameter file, likewise")

    command = commands.add_parser(
        "convert", parents=[files], help="an exported model becomes serving_model/NAME"
    )
    command.add_argument("export_dir", type=Path, help="folder of the exported model")
    command.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="serving_model/NAME"
    )
    command.add_argument(
        "--labels", type=Path, metavar="FILE", help="one label a line, the first is class 0"
    )
    command.add_argument(
        "--preprocess",
        metavar="FILE",
        help=f"an inference.yml, a transform_ops list, or a preset: {', '.join(PRESETS)}",
    )
    command.add_argument(
        "--feed-alias", type=_names, metavar="A,B", help="default: the model's input names"
    )
    command.add_argument(
        "--fetch-alias", type=_names, metavar="A,B", help="default of a single output: prediction"
    )
    command.add_argument("--topk", type=int, metavar="K", help="categories an answer holds")
    command.add_argument("--force", action="store_true", help="replace an existing bundle")

    command = commands.add_parser("inspect", parents=[files], help="look at an export or a bundle")
    command.add_argument("folder", type=Path, help="an export or a bundle")
    command.add_argument("--json", action="store_true", help="for scripts")

    export_command.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
