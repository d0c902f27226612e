"""A target beside its bundle, on the same prepared images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bundle import Bundle
from bundle.forms import EXPORT
from pipeline.predictors import PredictorError, PredictorOptions, create_predictor
from pipeline.predictors.feed import as_feed
from pipeline.stages.decode import decode_image
from pipeline.stages.errors import PreprocessError
from pipeline.stages.preprocess import build_preprocess
from protocol.errors import ServingError

from ..errors import ConversionError
from .images import drawn_images, given_images, none_readable

# Batches of prepared images -> scores [N, classes] of each.
Run = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True)
class Agreement:
    """How near the target's scores are to the bundle's.

    Attributes:
        runtime: what ran the target.
        reference: what ran the bundle.
        images: how many were compared.
        difference: the largest of all scores, relative to the largest score.
        same_best: in how many images both find the same class best.
        distinguishes: the bundle gives different images different scores.
        unreadable: images that were left out because a service does not take them.
    """

    runtime: str
    reference: str
    images: int
    difference: float
    same_best: int
    distinguishes: bool
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trial:
    """Prepared images in batches, and the bundle's own scores of them.

    Where the model takes any batch size, the first batch is one image and another holds several:
    an image may stand in two. `owners` says of every row which image it is. `unreadable` are
    those that were left out.
    """

    batches: tuple[np.ndarray, ...]
    owners: tuple[int, ...]
    scores: tuple[np.ndarray, ...]
    reference: str
    unreadable: tuple[str, ...] = ()

    def compare(self, runtime: str, run: Run, tolerance: float) -> Agreement:
        """Run the same images through the target.

        Raises:
            ConversionError: its scores differ from those of the bundle.
        """
        scores = run(self.batches)
        for ours, theirs in zip(self.scores, scores, strict=True):
            if ours.shape != theirs.shape:
                raise ConversionError(
                    f"the exported model gives scores of the shape {list(theirs.shape)} and the"
                    f" bundle {list(ours.shape)}; nothing was written"
                )
        ours, theirs = np.concatenate(self.scores), np.concatenate(scores)
        # relative: the 1000 scores of an undecided model are all near 0.001
        largest = float(np.abs(ours).max()) or 1.0
        difference = float(np.abs(ours - theirs).max()) / largest
        if not difference <= tolerance:  # a nan is no agreement either
            raise ConversionError(
                f"the exported model differs from the bundle by {difference:.2g} ({runtime} beside"
                f" {self.reference}), more than the tolerance {tolerance:g}; nothing was written"
            )
        images = set(self.owners)
        same = ours.argmax(axis=1) == theirs.argmax(axis=1)
        differing = {owner for owner, equal in zip(self.owners, same, strict=True) if not equal}
        return Agreement(
            runtime=runtime,
            reference=self.reference,
            images=len(images),
            difference=difference,
            same_best=len(images - differing),
            distinguishes=float(np.ptp(ours, axis=0).max()) / largest > 10 * tolerance,
            unreadable=self.unreadable,
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """Images as the model takes them.

    Attributes:
        arrays: one each, (C, H, W); their sizes may differ.
        unreadable: the names of those that a service does not take.
    """

    arrays: tuple[np.ndarray, ...]
    unreadable: tuple[str, ...]


def prepare(bundle: Bundle, paths: Sequence[Path]) -> Prepared:
    """Read images, or those in folders, for `open_trial`; where none are given, draw some.

    Raises:
        ConversionError: a path is not there, no image can be read, or the bundle's preprocessing
            is not one of ours.
    """
    try:
        preprocess = build_preprocess(bundle.description.transform_ops)
    except PreprocessError as error:
        raise ConversionError(f"preprocessing: {error}") from error
    arrays = []
    images, unreadable = given_images(paths) if paths else (drawn_images(), [])
    for name, data in images.items():
        try:
            arrays.append(preprocess(decode_image(data)))
        except ServingError:
            unreadable.append(name)
    if not arrays:
        raise none_readable(unreadable)
    return Prepared(tuple(arrays), tuple(unreadable))


def open_trial(bundle: Bundle, prepared: Prepared, fixed_batch: int | None) -> Trial:
    """Compute the scores of the bundle's export.

    Args:
        bundle: the bundle.
        prepared: the images.
        fixed_batch: the only batch size that the model takes; None if it takes any.

    Raises:
        ConversionError: the bundle does not run.
    """
    groups = _groups(prepared.arrays, fixed_batch)
    # a predictor turns what preprocessing gives into what the feed takes; the target gets the same
    feed = bundle.model_config.feeds[0]
    stacked = (np.stack([prepared.arrays[i] for i in group]) for group in groups)
    batches = tuple(as_feed(batch, feed) for batch in stacked)
    try:
        predictor = create_predictor(bundle, options=PredictorOptions(form=EXPORT))
        scores = tuple(predictor.predict(batch) for batch in batches)
    except PredictorError as error:
        raise ConversionError(f"{bundle.path}: does not run: {error}") from error
    owners = tuple(i for group in groups for i in group)
    return Trial(batches, owners, scores, predictor.name, prepared.unreadable)


def _groups(arrays: Sequence[np.ndarray], fixed_batch: int | None) -> list[list[int]]:
    """Which images make a batch: those of one shape, as many as the model takes."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for position, array in enumerate(arrays):
        by_shape.setdefault(array.shape, []).append(position)
    groups = []
    for same in by_shape.values():
        if fixed_batch is None:
            # alone, and then all: a target that lost its dynamic batch fails at one of them
            groups += [same[:1], same if len(same) > 1 else same * 2]
        else:
            runs = range(0, len(same), fixed_batch)
            filled = same + same[-1:] * fixed_batch
            groups += [filled[begin : begin + fixed_batch] for begin in runs]
    return groups
