"""Checks a dataset: counts, sizes and faults."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from tools.text import printable

from .duplicates import copied_classes, exact_groups, near_groups
from .finding import Finding
from .images import Dataset, Image
from .inspection import Inspection, inspect_image
from .workers import each


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest of some numbers."""

    smallest: float
    middle: float
    largest: float


@dataclass(frozen=True)
class Check:
    """The result.

    Attributes:
        source: what was checked.
        images: how many there are, readable or not.
        readable: how many could be decoded.
        others: files in class folders that are no images by their suffix.
        splits: names of the splits; ("",) if there are none.
        counts: images by class and split.
        sizes: spread of width, height (pixels) and file (bytes); empty if nothing was readable.
        findings: what is wrong; empty if all is well.
    """

    source: str
    images: int
    readable: int
    others: int
    splits: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    sizes: dict[str, Spread]
    findings: tuple[Finding, ...]

    @property
    def imbalance(self) -> float | None:
        """How many times as many images the largest class has as the smallest."""
        totals = [sum(by_split.values()) for by_split in self.counts.values()]
        smallest = min(totals, default=0)
        return max(totals) / smallest if smallest else None

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON takes it."""
        return {
            "source": printable(self.source),
            "pictures": self.images,
            "readable": self.readable,
            "other_files": self.others,
            "classes": [
                {
                    "name": printable(name),
                    "count": sum(by_split.values()),
                    "share": round(sum(by_split.values()) / max(self.images, 1), 6),
                    "splits": {printable(k): v for k, v in by_split.items() if k},
                }
                for name, by_split in self.counts.items()
            ],
            "largest_to_smallest": self.imbalance and round(self.imbalance, 3),
            "sizes": {
                name: {"min": s.smallest, "median": s.middle, "max": s.largest}
                for name, s in self.sizes.items()
            },
            "findings": [finding.as_json() for finding in self.findings],
            "clean": not self.findings,
        }


def check(dataset: Dataset, *, jobs: int) -> Check:
    """Read every image of `dataset`; return its counts, sizes and faults."""
    images = dataset.images
    paths = [image.path for image in images]
    results = list(each(inspect_image, paths, jobs=jobs, title="reading images"))
    good = [i for i, result in enumerate(results) if not result.error]
    findings = [
        *dataset.findings,
        *_missing_classes(dataset),
        *_unreadable(images, results),
        *_copied([images[i] for i in good], [results[i] for i in good], dataset.source),
        *_exact([images[i] for i in good], [results[i] for i in good]),
        *_near([images[i] for i in good], [results[i] for i in good]),
    ]
    return Check(
        source=dataset.source,
        images=len(images),
        readable=len(good),
        others=dataset.others,
        splits=dataset.splits,
        counts=_counts(dataset),
        sizes=_sizes([results[i] for i in good]),
        findings=tuple(findings),
    )


def _counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    counted = Counter((image.class_name, image.split) for image in dataset.images)
    return {
        name: {split: counted[name, split] for split in dataset.splits} for name in dataset.classes
    }


def _sizes(results: Sequence[Inspection]) -> dict[str, Spread]:
    if not results:
        return {}
    columns = {
        "width": [result.width for result in results],
        "height": [result.height for result in results],
        "bytes": [result.size_bytes for result in results],
    }
    return {
        name: Spread(min(values), float(median(values)), max(values))
        for name, values in columns.items()
    }


def _missing_classes(dataset: Dataset) -> list[Finding]:
    """Return the classes that one split has and another lacks."""
    if len(dataset.splits) < 2:
        return []
    findings = []
    for name, by_split in _counts(dataset).items():
        lacking = [split for split, count in by_split.items() if not count]
        if lacking and len(lacking) < len(dataset.splits):
            text = (
                f"the class {name} has no images in {', '.join(lacking)}; `split` shares them out"
            )
            findings.append(Finding("class missing in a split", dataset.source, text))
    return findings


def _unreadable(images: Sequence[Image], results: Sequence[Inspection]) -> list[Finding]:
    return [
        Finding("unreadable", image.path, result.error, images=(image.path,))
        for image, result in zip(images, results, strict=True)
        if result.error
    ]


def _copied(images: Sequence[Image], results: Sequence[Inspection], source: str) -> list[Finding]:
    """Return classes that hold only copies, most likely folders that a script has filled."""
    homes: dict[bytes, set[str]] = defaultdict(set)
    for image, result in zip(images, results, strict=True):
        homes[result.sha256].add(image.class_name)
    text = (
        "every image of {0} is in another class too: if a script made it, it is no class (`split "
        "--leave-out {0}`); else keep each image in one class"
    )
    return [
        Finding("class of copies", source, text.format(name))
        for name in copied_classes(homes.values())
    ]


def _exact(images: Sequence[Image], results: Sequence[Inspection]) -> list[Finding]:
    groups = exact_groups([result.sha256 for result in results])
    return [_duplicate([images[i] for i in group], "exact copies", "") for group in groups]


def _near(images: Sequence[Image], results: Sequence[Inspection]) -> list[Finding]:
    """Return near copies in different splits or classes; within one of each they do no harm."""
    across = np.array([result.across for result in results], np.uint64)
    down = np.array([result.down for result in results], np.uint64)
    findings = []
    for group in near_groups(across, down):
        places = {(images[i].class_name, images[i].split) for i in group}
        # Exact copies are findings of `_exact` already.
        if len(places) > 1 and len({results[i].sha256 for i in group}) > 1:
            members = [images[i] for i in group]
            findings.append(_duplicate(members, "near copies", "look at them: "))
    return findings


def _duplicate(members: Sequence[Image], kind: str, first: str) -> Finding:
    classes = sorted({image.class_name for image in members})
    by_split: dict[str, int] = defaultdict(int)
    for image in members:
        by_split[image.split] += 1
    if len(by_split) > 1:
        kind += " across splits"
        what = "what is trained on must not be tested on; keep them in one split"
    elif len(classes) > 1:
        kind += " across classes"
        what = "one of the classes is wrong; keep the right one"
    else:
        what = "the image counts more than once; keep one"
    if len(by_split) > 1 and len(classes) > 1:
        what += f"; the classes differ too ({', '.join(classes)})"
    paths = tuple(image.path for image in members)
    return Finding(kind, paths[0], first + what, images=paths)
