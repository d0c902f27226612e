"""The images that candidates are measured with: a user's own, or made ones."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from bundle import Bundle

from ..checking.images import drawn_images, given_images, none_readable

# Evenly chosen from all: enough for a rate, and for an agreement in percent.
_MOST = 512
_MOST_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Samples:
    """Encoded images.

    Attributes:
        source: the folder, "" for made ones.
        images: by name, in an order in which each part is like the whole.
        truths: name -> class, where the folders of all images are labels; else empty.
        unreadable: names of those that cannot be read or decoded.
        notes: what a user should know of them.
    """

    source: str
    images: Mapping[str, bytes]
    truths: Mapping[str, int]
    unreadable: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def made(self) -> bool:
        """Whether they are no images of the user's."""
        return not self.source

    def only(self, names: Sequence[str], unreadable: Sequence[str]) -> Samples:
        """Return the samples of these names; `unreadable` are left out for good.

        Raises:
            ConversionError: there are no names.
        """
        left_out = (*self.unreadable, *unreadable)
        if not names:
            raise none_readable(left_out)
        return Samples(
            self.source,
            {name: self.images[name] for name in names},
            {name: self.truths[name] for name in names if name in self.truths},
            left_out,
            self.notes,
        )


def read_samples(folder: Path | None, bundle: Bundle) -> Samples:
    """Read the images in and below `folder`; None: make some, JPEGs of ordinary sizes.

    Raises:
        ConversionError: there is no such folder, or none of its images can be read.
    """
    if folder is None:
        return Samples("", _made(), {}, (), ())
    images, unreadable = given_images([folder])
    total = len(images)
    names = sorted(images)
    random.Random(16).shuffle(names)
    chosen: dict[str, bytes] = {}
    size = 0
    for name in names[:_MOST]:
        size += len(images[name])
        if chosen and size > _MOST_BYTES:
            break
        chosen[name] = images[name]
    if not chosen:
        raise none_readable(unreadable)
    truths, notes = _truths(list(chosen), folder, bundle)
    if len(chosen) < total:
        notes.append(f"{len(chosen)} of {total} images were taken, chosen evenly")
    return Samples(str(folder), chosen, truths, tuple(unreadable), tuple(notes))


def _truths(names: Sequence[str], folder: Path, bundle: Bundle) -> tuple[dict[str, int], list[str]]:
    """Return the class of each image by the name of its folder: a label, or its number."""
    within = {name: Path(name).relative_to(folder).parts[:-1] for name in names if folder.is_dir()}
    classes = {name: parts[-1] for name, parts in within.items() if parts}
    if not classes:
        return {}, []
    labels = bundle.labels or ()
    numbers = {label: number for number, label in enumerate(labels)}
    for number in range(len(labels) or max(bundle.classes, 0)):
        numbers.setdefault(str(number), number)
    unknown = sorted(set(classes.values()) - set(numbers))
    if unknown or len(classes) < len(names):
        missing = ", ".join(unknown[:3]) or "some lie in no folder"
        return {}, [
            f"the folders of the images are no labels of the bundle ({missing}), so there is no"
            " top-1: name them as the labels, or by the numbers of the classes"
        ]
    notes = []
    if len(set(classes.values())) == 1:
        notes.append(
            f"all images are of one class, {next(iter(classes.values()))}, so top-1 shows little;"
            " give images of all classes"
        )
    return {name: numbers[label] for name, label in classes.items()}, notes


def _made() -> dict[str, bytes]:
    """Return JPEGs of what verify draws, the small ones left out: callers send photos."""
    made = {}
    for name, data in drawn_images().items():
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is not None and min(image.shape[:2]) >= 300:
            made[name] = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    return made
