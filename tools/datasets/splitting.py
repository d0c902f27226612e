"""Shares images out to train, val and test: class by class, and the same way every time.

Copies of one image to the byte form a group that is never divided, and so do images of one
thing where names show it (`Plan.together`): a network that has seen a fruit knows it again. The
order in which groups are shared out comes from their content and the seed, so neither renamed files
nor another machine changes it, and a new class leaves the others as they were.

A test set that is there already stays one. What cannot be decoded is left out: training would stop
there, or go on without a word.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tools.text import printable

from .duplicates import copied_classes
from .errors import DatasetError
from .images import SPLITS, TEST_NAMES, TRAIN_NAMES, Dataset, Image
from .inspection import inspect_image
from .workers import each


@dataclass(frozen=True)
class Plan:
    """How to split: by `ratios` (train, val, test), or every `every`th image to val.

    What `together` finds in an image's name, or its first group, names the thing that it shows;
    images of one thing go by `ratios` into one split.
    """

    ratios: tuple[float, float, float] = (0.7, 0.2, 0.1)
    seed: int = 0
    every: int | None = None
    together: re.Pattern[str] | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that get images."""
        if self.every:
            return SPLITS[:2]
        return tuple(name for name, ratio in zip(SPLITS, self.ratios, strict=True) if ratio > 0)


@dataclass(frozen=True)
class Division:
    """The result of a split.

    Attributes:
        images: with their splits.
        unreadable: images that were left out, and why.
        copies: how many of those that were shared out are copies of another.
        in_two_classes: how many different ones of these are in more than one class.
        in_test_too: how many of these are in the test set that was there already.
        groups: how many groups were shared out.
    """

    images: list[Image]
    unreadable: list[tuple[Image, str]]
    copies: int
    in_two_classes: int
    in_test_too: int
    groups: int


def set_aside(dataset: Dataset) -> Dataset:
    """Return `dataset` with no splits but "test", where it has a train and a test set.

    Raises:
        DatasetError: it is split into anything else.
    """
    if dataset.splits == ("",):
        return dataset
    names = set(dataset.splits)
    if len(names) != 2 or not names & set(TRAIN_NAMES) or not names & set(TEST_NAMES):
        raise DatasetError(
            f"{dataset.source} is split already ({', '.join(dataset.splits)}); give the folder "
            "that holds the classes themselves"
        )
    images = [
        image._replace(split="test" if image.split in TEST_NAMES else "")
        for image in dataset.images
    ]
    return replace(dataset, images=images, splits=("", "test"))


def divide(dataset: Dataset, plan: Plan, *, jobs: int) -> Division:
    """Give every image of `dataset` its split; those in "test" keep theirs.

    Raises:
        DatasetError: a file cannot be opened, a class has too few different images, or it has
            none that is not in another class; or `together` finds nothing in a name.
    """
    digests, unreadable = _read(dataset.images, jobs)
    same: dict[bytes, list[Image]] = defaultdict(list)
    kept: dict[bytes, list[Image]] = defaultdict(list)
    for image, digest in digests:
        (kept if image.split else same)[digest].append(image)
    _check_copied(dataset, same)
    groups = _of_one_thing(same, plan.together) if plan.together else same
    chosen: dict[bytes, str] = _by_need(groups, plan) if plan.together else {}
    for name in () if plan.together else dataset.classes:
        own = {digest: group for digest, group in groups.items() if group[0].class_name == name}
        if plan.every:
            chosen.update(_every(own, plan.every))
        else:
            taken = _copies_by_split(groups, chosen, name)
            chosen.update(_by_ratio(own, taken, plan))
    divided = [
        image._replace(split=chosen[digest]) for digest, group in groups.items() for image in group
    ]
    _check_splits(divided, dataset, plan)
    copies = len(divided) - len(same)
    divided += [image for group in kept.values() for image in group]
    divided.sort(key=lambda image: (image.class_name, image.path))
    return Division(
        divided,
        unreadable,
        copies=copies,
        in_two_classes=sum(len({p.class_name for p in group}) > 1 for group in same.values()),
        in_test_too=len(same.keys() & kept.keys()),
        groups=len(groups),
    )


def _read(
    images: Sequence[Image], jobs: int
) -> tuple[list[tuple[Image, bytes]], list[tuple[Image, str]]]:
    """Return the images with their digests, and the unreadable ones with the reason."""
    digests: list[tuple[Image, bytes]] = []
    unreadable: list[tuple[Image, str]] = []
    paths = [image.path for image in images]
    results = each(inspect_image, paths, jobs=jobs, title="reading images")
    for image, result in zip(images, results, strict=True):
        if not result.sha256:
            raise DatasetError(f"{printable(image.path)}: {result.error}; mend it or take it out")
        if result.error:
            unreadable.append((image, result.error))
        else:
            digests.append((image, result.sha256))
    return digests, unreadable


def _check_copied(dataset: Dataset, groups: dict[bytes, list[Image]]) -> None:
    copied = copied_classes({p.class_name for p in group} for group in groups.values())
    if not copied:
        return
    names = ", ".join(map(printable, copied))
    way = "" if dataset.by_number else f"give --leave-out {' '.join(map(printable, copied))}, or "
    raise DatasetError(
        f"{dataset.source}: every image of {names} is in another class too, as in folders that a "
        f"script has filled with copies: {way}keep each image in one class"
    )


def _of_one_thing(
    same: dict[bytes, list[Image]], pattern: re.Pattern[str]
) -> dict[bytes, list[Image]]:
    """Merge groups of copies that show the same thing; a copy with two names joins two groups."""
    joined: dict[str, str] = {}  # thing -> another of the same group, or itself

    def first(thing: str) -> str:
        while joined.setdefault(thing, thing) != thing:
            joined[thing] = thing = joined[joined[thing]]
        return thing

    for group in same.values():
        things = [_thing(image, pattern) for image in group]
        for thing in things:
            joined[first(thing)] = first(things[0])
    merged: dict[str, list[bytes]] = defaultdict(list)
    for digest, group in same.items():
        merged[first(_thing(group[0], pattern))].append(digest)
    # By a digest, so that no name of a file or thing decides the split.
    return {
        min(digests): [image for digest in digests for image in same[digest]]
        for digests in merged.values()
    }


def _thing(image: Image, pattern: re.Pattern[str]) -> str:
    match = pattern.search(image.name)
    thing: str | None = match[min(1, pattern.groups)] if match else None
    if thing is None:
        raise DatasetError(
            f"{printable(image.path)}: --together {pattern.pattern!r} finds nothing in its name; "
            "give a pattern that fits every image"
        )
    return thing


def _every(groups: dict[bytes, list[Image]], every: int) -> dict[bytes, str]:
    """Give val the first of every `every` different images in order of name, train the rest."""
    return {
        digest: "train" if position % every else "val" for position, digest in enumerate(groups)
    }


def _copies_by_split(
    groups: dict[bytes, list[Image]], chosen: dict[bytes, str], class_name: str
) -> dict[str, int]:
    """Count the images of a class that are in a split already, as copies of an earlier class."""
    taken: dict[str, int] = defaultdict(int)
    for digest, split in chosen.items():
        if len(groups[digest]) > 1:
            taken[split] += sum(image.class_name == class_name for image in groups[digest])
    return taken


def _by_ratio(
    groups: dict[bytes, list[Image]], taken: dict[str, int], plan: Plan
) -> dict[bytes, str]:
    """Give each group to the split that lacks most; a split with nothing comes before that."""
    total = sum(len(group) for group in groups.values()) + sum(taken.values())
    lacking = {split: count - taken[split] for split, count in _shares(total, plan).items()}
    empty = [split for split in plan.splits if not taken[split]]
    # The largest first, because they are hardest to fit.
    order = sorted(groups, key=lambda digest: (-len(groups[digest]), _draw(digest, plan.seed)))
    chosen = {}
    for position, digest in enumerate(order):
        candidates = empty if len(order) - position <= len(empty) else plan.splits
        split = max(candidates, key=lambda name: lacking[name])
        chosen[digest] = split
        lacking[split] -= len(groups[digest])
        empty = [name for name in empty if name != split]
    return chosen


def _by_need(groups: dict[bytes, list[Image]], plan: Plan) -> dict[bytes, str]:
    """Give each group to the split that lacks most of the classes in it, for its share of them."""
    sizes = {digest: Counter(p.class_name for p in group) for digest, group in groups.items()}
    totals = sum(sizes.values(), Counter[str]())
    shares = {name: _shares(total, plan) for name, total in totals.items()}
    lacking = {name: dict(parts) for name, parts in shares.items()}

    def need(split: str, size: Counter[str]) -> float:
        return sum(
            count * lacking[name][split] / max(1, shares[name][split])
            for name, count in size.items()
        )

    chosen = {}
    order = sorted(groups, key=lambda digest: (-len(groups[digest]), _draw(digest, plan.seed)))
    for digest in order:
        split = max(plan.splits, key=lambda split: need(split, sizes[digest]))
        chosen[digest] = split
        for name, count in sizes[digest].items():
            lacking[name][split] -= count
    return chosen


def _shares(total: int, plan: Plan) -> dict[str, int]:
    """Return how many images each split gets: whole numbers by largest remainder, none empty."""
    exact = {
        split: ratio * total for split, ratio in zip(SPLITS, plan.ratios, strict=True) if ratio > 0
    }
    shares = {split: max(1, int(share + 1e-9)) for split, share in exact.items()}
    by_remainder = sorted(exact, key=lambda split: shares[split] - exact[split])
    for split in by_remainder[: max(0, total - sum(shares.values()))]:
        shares[split] += 1
    # More than there are only if a small split was raised to one: the largest gives it.
    shares[max(shares, key=lambda split: shares[split])] -= max(0, sum(shares.values()) - total)
    return shares


def _draw(digest: bytes, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:".encode() + digest).digest()


def _check_splits(images: Sequence[Image], dataset: Dataset, plan: Plan) -> None:
    found = {(image.class_name, image.split) for image in images}
    whole = "images of one thing" if plan.together else "copies"
    # A class with a number and no images needs none.
    used = {image.class_name for image in dataset.images}
    for name in (name for name in dataset.classes if name in used):
        if any((name, split) not in found for split in plan.splits):
            needing = ", ".join(plan.splits)
            raise DatasetError(
                f"the class {printable(name)} has too few images of its own: {needing} need one "
                f"each, and {whole} stay together; add images, or "
                "take the class out"
            )
