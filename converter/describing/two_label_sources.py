"""Labels of a description, and a label file beside the model that has others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bundle.errors import BundleError
from bundle.labels import read_labels

# What transformers calls the classes of a model whose labels it was not given.
_PLACEHOLDER = "LABEL_{}"


def of_description_or_file(
    labels: tuple[str, ...], labels_file: Path, beside: Path, warn: Callable[[str], None]
) -> tuple[tuple[str, ...], Path]:
    """Return the labels that count, and the file that they stand in.

    They are those of the description, unless these are placeholders.

    Args:
        labels: of the description.
        labels_file: where they stand.
        beside: the label file beside the model.
        warn: gets one line on labels that are left out.
    """
    try:
        others = read_labels(beside, lambda _: None)
    except BundleError:
        return labels, labels_file
    if others == labels:
        return labels, labels_file
    if labels == tuple(_PLACEHOLDER.format(number) for number in range(len(labels))):
        return read_labels(beside, warn), beside
    warn(
        f"{beside}: has other labels than {labels_file}, whose labels are taken; give --labels"
        f" {beside} for the others"
    )
    return labels, labels_file
