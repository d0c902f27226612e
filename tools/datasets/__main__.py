"""`python -m tools.datasets`: split, check, measure and regroup images in class folders.

In place of class folders, a text file beside each image may hold its class: `img_1.jpg, 3`.

    python -m tools.datasets split DATA --output DIR --form paddleclas
    python -m tools.datasets check DIR
    python -m tools.datasets check DIR/train_list.txt DIR/val_list.txt
    python -m tools.datasets statistics DIR
    python -m tools.datasets map DATA --rules RULES.yml --output DIR

Exit code: 0, 1 if `check` has findings, 2 with one line on stderr if something cannot be done.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from protocol.console import as_command
from tools.text import printable, ranges

from .checking import check
from .command_line import command_line
from .errors import DatasetError
from .images import Dataset, Image, split_order
from .list_files import check_names, lists_in, write_lists
from .lists import find_labels, read_label_file
from .output import check_output, place, staged, write_record
from .pixel_statistics import measure
from .regrouping import read_rules, regroup
from .report import print_check, print_counts, print_statistics
from .sources import (
    for_training,
    named_by_number,
    read_labels_of_classes,
    read_measurable,
    read_sources,
    read_usable_folder,
)
from .splitting import Division, Plan, divide, set_aside

_RATIOS = (0.7, 0.2, 0.1)
_RATIOS_BESIDE_TEST = (0.8, 0.2)
_SHOWN = 3
# With these findings images are left out, and the measured mean would not be the dataset's.
_LEFT_OUT = frozenset(
    {"folder in a class", "missing file", "no class number", "class number out of range"}
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    options = command_line(__doc__).parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except DatasetError as error:
        sys.stderr.write(f"error: {printable(' '.join(str(error).split()))}\n")
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted; nothing was written\n")
        return 130
    return 2


def split_command(options: argparse.Namespace) -> int:
    """Write train/, val/ and test/ folders and their lists."""
    check_output(options.data, options.output, force=options.force)
    labels = options.labels
    dataset = set_aside(read_usable_folder(options.data, labels, options.leave_out))
    plan = _plan(options, beside_test="test" in dataset.splits)
    if labels and not dataset.by_number:
        names = read_labels_of_classes(labels)
        dataset = named_by_number(dataset, names) or dataset
    classes = dataset.classes
    if labels and not dataset.by_number:
        classes = _classes_in_order(set(classes), labels, "leave the folder out with --leave-out")
    check_names(dataset.images, options.form, by_number=dataset.by_number)
    division = divide(dataset, plan, jobs=options.jobs)
    # A label such as 可回收物/易拉罐 cannot be a folder; its number can.
    folders = {n: str(i) if dataset.by_number else n for i, n in enumerate(classes)}
    files = [(p, f"{p.split}/{folders[p.class_name]}/{p.name}") for p in division.images]
    facts: dict[str, Any] = {
        "command": "split",
        "form": options.form,
        **({"every": plan.every} if plan.every else {"ratios": plan.ratios, "seed": plan.seed}),
        **(_together(plan.together, division) if plan.together else {}),
        "copies": division.copies,
        "copies_in_two_classes": division.in_two_classes,
        "unreadable": [
            printable(os.path.relpath(image.path, options.data)) for image, _ in division.unreadable
        ],
    }
    notes = [*_notes_of(division, options.data), *_notes_on(dataset, classes, options)]
    _write(options, files, classes, facts, notes)
    return 0


def _together(pattern: re.Pattern[str], division: Division) -> dict[str, Any]:
    return {"together": pattern.pattern, "groups": division.groups}


def _notes_of(division: Division, data: Path) -> list[str]:
    """Return notes on the images."""
    notes = []
    if division.unreadable:
        shown = "; ".join(f"{p.path}: {error}" for p, error in division.unreadable[:_SHOWN])
        more = len(division.unreadable) - _SHOWN
        shown += f"; and {more} more, which `check {data}` lists" if more > 0 else ""
        notes.append(f"left out, because they cannot be read: {len(division.unreadable)}; {shown}")
    if division.in_two_classes:
        notes.append(
            f"{division.in_two_classes} images are in more than one class; "
            f"`check {data}` lists them"
        )
    if division.in_test_too:
        notes.append(
            f"{division.in_test_too} images of the test set are in the other folder too, so that "
            f"it tests nothing with them; `check {data}` lists them"
        )
    return notes


def _notes_on(dataset: Dataset, classes: Sequence[str], options: argparse.Namespace) -> list[str]:
    """Return notes on classes without images, and on lists that exist already."""
    notes = []
    used = {image.class_name for image in dataset.images}
    empty = [name for name in classes if name not in used]
    if empty:
        more = f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
        notes.append(f"no images of {', '.join(empty[:_SHOWN])}{more}: these keep their numbers")
    lists = lists_in(options.data) if not dataset.by_number else []
    if lists:
        notes.append(
            f"{options.data} has lists already ({', '.join(lists)}), of another split than this "
            "one: do not test with either what was trained with the other"
        )
    label_file = find_labels(options.data / "train_list.txt", None)
    if label_file and not options.labels and not dataset.by_number:
        theirs, _ = read_label_file(label_file)
        if theirs and theirs != tuple(classes):
            notes.append(
                f"the classes are numbered {', '.join(classes)} here, and {', '.join(theirs)} in "
                f"{label_file}; give --labels {label_file} to keep that order"
            )
    return notes


def check_command(options: argparse.Namespace) -> int:
    """Print the contents and the faults of a dataset."""
    result = check(read_sources(options.data, options.root, options.labels), jobs=options.jobs)
    if options.json:
        _print_json(result.as_json())
    else:
        print_check(result)
    return 1 if result.findings else 0


def statistics_command(options: argparse.Namespace) -> int:
    """Print mean and standard deviation of every channel."""
    dataset = read_measurable(options.data, options.root)
    for finding in dataset.findings:
        if finding.kind in _LEFT_OUT:
            line = f" line {ranges(finding.lines)}" if finding.lines else ""
            raise DatasetError(f"{finding.where}{line}: {finding.text}")
    source, images = for_training(dataset)
    result = measure(source, images, options.size, jobs=options.jobs)
    if options.json:
        _print_json(
            {
                "source": printable(result.source),
                "pictures": result.images,
                "pixels": result.pixels,
                "size": options.size,
                "mean": result.mean,
                "std": result.std,
                "NormalizeImage": result.normalize_image(),
            }
        )
    else:
        print_statistics(result)
    return 0


def map_command(options: argparse.Namespace) -> int:
    """Write a dataset of other classes."""
    rules = read_rules(options.rules)
    check_output(options.data, options.output, force=options.force)
    dataset = read_usable_folder(options.data)
    files = regroup(dataset, rules, options.rules)
    check_names([image for image, _ in files], options.form)
    classes = tuple(sorted({image.class_name for image, _ in files}))
    if options.labels:
        classes = _classes_in_order(set(classes), options.labels, "change a rule")
    facts = {"command": "map", "form": options.form, "rules": rules}
    _write(options, files, classes, facts, [])
    return 0


def _classes_in_order(found: set[str], labels: Path, otherwise: str) -> tuple[str, ...]:
    """Return the classes in the order of the label file, which may have more than `found`."""
    classes = read_labels_of_classes(labels)
    unknown = sorted(found - set(classes))
    if unknown:
        raise DatasetError(f"{labels} has no label {', '.join(unknown)}; add it, or {otherwise}")
    return classes


def _write(
    options: argparse.Namespace,
    files: Sequence[tuple[Image, str]],
    classes: Sequence[str],
    facts: Mapping[str, Any],
    notes: Sequence[str],
) -> None:
    """Write the folder of `split` or `map`, and print what is in it."""
    splits = split_order({image.split for image, _ in files})
    counted = Counter((image.class_name, image.split) for image, _ in files)
    counts = {name: {split: counted[name, split] for split in splits} for name in classes}
    with staged(options.output) as staging:
        place(staging, files, options.how)
        lists = write_lists(staging, files, classes, getattr(options, "form", "folders"))
        write_record(staging, {**facts, "classes": classes, "counts": counts})
    summary = {"output": printable(str(options.output)), **facts, "lists": lists, "counts": counts}
    if options.json:
        _print_json(summary)
    else:
        print_counts(counts, splits)
        sys.stdout.write(f"wrote {summary['output']}, {options.how} each\n")
    for note in notes:
        sys.stderr.write(f"note: {note}\n")


def _print_json(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    sys.stdout.flush()


def _plan(options: argparse.Namespace, *, beside_test: bool) -> Plan:
    if options.every is not None:
        if (options.ratios, options.seed, options.together) != (None, None, None):
            raise DatasetError(
                "--every goes by the order of names; leave out --ratios, --seed and --together"
            )
        if options.every < 2:
            raise DatasetError(
                f"--every {options.every} leaves nothing to train on; give 2 or more"
            )
        return Plan(every=options.every)
    ratios = tuple(options.ratios or (_RATIOS_BESIDE_TEST if beside_test else _RATIOS))
    if beside_test and len(ratios) > 2:
        raise DatasetError(
            f"{options.data} has a test folder, which stays as it is; give --ratios for train and "
            "val alone, for example 0.8 0.2"
        )
    if len(ratios) not in (2, 3):
        raise DatasetError("--ratios takes two or three numbers: of train, val and test")
    whole = (*ratios, 0.0)[:3]
    sound = all(math.isfinite(r) and r >= 0 for r in whole) and math.isclose(sum(whole), 1)
    if not sound or not whole[0] or not whole[1]:
        raise DatasetError(
            "--ratios must add up to 1, with a part for train and val; for example 0.7 0.2 0.1"
        )
    return Plan((whole[0], whole[1], whole[2]), options.seed or 0, together=options.together)


COMMANDS = {
    "split": split_command,
    "check": check_command,
    "statistics": statistics_command,
    "map": map_command,
}


if __name__ == "__main__":
    sys.exit(as_command(main))
