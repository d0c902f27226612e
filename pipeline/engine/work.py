"""How much work images are: estimated from their headers, in seconds that the engine learns.

An image's work is a number of megapixels of plain JPEG, as `stages.work` estimates it without
decoding. What a megapixel takes is measured by each worker when it starts, and followed from batch
to batch.

    heavy      an image so large that it would keep others waiting: it runs alone, and is decoded in
               a process of its own
    typical    what a megapixel took lately: decides what is heavy, and what the queue has room for
    best       the least that it took: an image that even then is too late can never be in time
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from ..settings.engine import EngineSettings
from ..stages.formats.image_format import format_of
from ..stages.work import estimated_megapixels

# What workers report of themselves; see `building`.
FACT = "decode_s_per_megapixel"
EACH_FACT = "decode_s_per_image"  # beside its pixels: resizing it to the model's size, own steps
# An image costs at least this part of a megapixel beside its pixels, so that icons teach no pace.
OVERHEAD_MEGAPIXELS = 0.1

_PNG = 3.0  # a PNG is the work of about so many JPEGs of its size
_UNMEASURED_S = 0.01  # on a slow core
_HEAVY_S = 0.25
_HEAVY_MEGAPIXELS = 60.0  # whatever the pace: above phone photos
_LIGHT_BATCH = 4  # as much as so many images that are nearly heavy
_MEMORY_MEGAPIXELS = 250.0  # the pace follows about so many
_USUAL_IMAGES = 64.0  # the usual size of images follows about so many
# Neither a few crafted images nor a busy minute move the pace further from what was measured.
_LEAST, _MOST = 0.25, 16.0
_LARGEST_STEP = 4.0
# An image may take so many times its estimate, and this long at least: a busy machine, a swap.
_BUDGET_FACTOR = 8.0
_LEAST_BUDGET_S = 2.0


def misfit(facts: Mapping[str, Any], settings: EngineSettings, workers: int) -> str | None:
    """Return why a full batch of the largest images does not fit the timeout; None if it does.

    `facts` are those of a worker; the images of such a request are shared by `workers`.
    """
    pace_s = facts.get(FACT)
    if not isinstance(pace_s, float):
        return None
    largest = settings.max_image_megapixels
    each_s = largest * _PNG * pace_s + facts.get(EACH_FACT, 0.0)
    seconds = each_s * settings.batch_size / workers
    if seconds <= settings.timeout_s:
        return None
    return (
        f"{settings.batch_size} PNGs of {largest:.4g} megapixels take about {seconds:.2g} s on "
        f"{workers} worker{'s' if workers != 1 else ''}, and timeout is {settings.timeout_s:g} s: "
        "such a request fails; set timeout higher, or max_image_pixels or batch_size lower"
    )


def light_budget_s(each_s: float) -> float:
    """Return how long an image that is not heavy may be decoded before it is given up.

    Its megapixels take a quarter of a second at most; `each_s` is what else it takes.
    """
    return _LEAST_BUDGET_S + _BUDGET_FACTOR * each_s


def work_of(image: bytes, max_megapixels: float, known: float | None = None) -> float:
    """Return the estimated megapixels of one encoded image, `known` if that is known already.

    It is 0 for what is no image, and for one of more than `max_megapixels`: the worker refuses both
    by their header.
    """
    megapixels = estimated_megapixels(image) if known is None else known
    if megapixels > max_megapixels and stored_megapixels(image) > max_megapixels:
        return 0.0
    return megapixels


def stored_megapixels(image: bytes) -> float:
    """Return the width x height of an encoded image, 0 for what is none."""
    known = format_of(image)
    try:
        size = known.size(image) if known is not None else None
    except (struct.error, IndexError):
        size = None
    return size[0] * size[1] / 1e6 if size is not None else 0.0


class Pace:
    """Seconds that a worker takes for a megapixel.

    Attributes:
        each_s: what an image takes beside its megapixels.
        typical_s: what a megapixel took lately, decoded and preprocessed.
        best_s: the least of it.
        predict_s: what the model took lately for an image.
        light_batch_s: the most work of a batch of images that are not heavy, in seconds.
    """

    def __init__(self, timeout_s: float) -> None:
        """Begin with a slow pace, for a service that replies within `timeout_s`."""
        self.each_s = 0.0
        self.predict_s = 0.0
        self._usual_weight = 0.0  # of an image of the last light batches
        self._heavy_s = min(_HEAVY_S, timeout_s / 8)
        self.light_batch_s = _LIGHT_BATCH * self._heavy_s
        self._measured_s = _UNMEASURED_S
        self.typical_s = _UNMEASURED_S
        self.best_s = _UNMEASURED_S / 2
        self._is_measured = False

    def measured(self, facts: Mapping[str, Any]) -> None:
        """Take over what a worker measured when it started; the quickest one counts."""
        seconds = facts.get(FACT)
        if not isinstance(seconds, float) or not seconds > 0:
            return
        if not self._is_measured:
            self.typical_s = seconds
        elif seconds >= self._measured_s:
            return
        self._is_measured = True
        self._measured_s = seconds
        self.best_s = seconds / 2  # the machine starts other workers at the same time
        each_s = facts.get(EACH_FACT)
        self.each_s = each_s if isinstance(each_s, float) else 0.0

    def learn(self, images: int, megapixels: float, stages_s: Mapping[str, float]) -> None:
        """Follow a batch whose images were all decoded; `megapixels` is their sum."""
        weight = self._weight(images, megapixels)
        decode_s = stages_s.get("decode")
        if decode_s is not None:
            seen_s = min(decode_s / weight, _LARGEST_STEP * self.typical_s)
            share = weight / (weight + _MEMORY_MEGAPIXELS)
            typical_s = self.typical_s + share * (seen_s - self.typical_s)
            least_s, most_s = _LEAST * self._measured_s, _MOST * self._measured_s
            self.typical_s = min(max(typical_s, least_s), most_s)
            self.best_s = min(self.best_s, self.typical_s)
        predict_s = stages_s.get("predict")
        if predict_s:
            self.predict_s += (predict_s / images - self.predict_s) / 8

    def usual_each_s(
        self, images: int, megapixels: float, run_s: float, stages_s: Mapping[str, float]
    ) -> float:
        """Return the seconds an image of a run, as if its images were as large as others lately.

        So runs of large and of small images can be compared.
        """
        each = self._weight(images, megapixels) / images
        before = self._usual_weight or each
        self._usual_weight = before + (each - before) * images / (images + _USUAL_IMAGES)
        more = self._usual_weight / each - 1
        return max(0.0, run_s + more * stages_s.get("decode", 0.0)) / images

    def decode_s(self, megapixels: float) -> float:
        """Return how long so many megapixels are likely to take."""
        return megapixels * self.typical_s

    def run_s(self, images: int, megapixels: float) -> float:
        """Return how long a batch is likely to take, with the model."""
        return self._weight(images, megapixels) * self.typical_s + images * self.predict_s

    def _weight(self, images: int, megapixels: float) -> float:
        return megapixels + images * max(OVERHEAD_MEGAPIXELS, self.each_s / self._measured_s)

    def is_heavy(self, megapixels: float) -> bool:
        """Whether an image of so many megapixels is to run alone."""
        return megapixels > _HEAVY_MEGAPIXELS or self.decode_s(megapixels) > self._heavy_s

    def light_batch_megapixels(self) -> float:
        """Return how many megapixels a batch of images that are not heavy has at most."""
        return self.light_batch_s / self.typical_s

    def budget_s(self, megapixels: float) -> float:
        """Return how long an image may be decoded before it is given up."""
        return max(light_budget_s(self.each_s), _BUDGET_FACTOR * self.decode_s(megapixels))
