"""The two ops of ours that run inside the official Paddle Serving 0.9.

    request -> ImagesIn -> ClassifyOp: preprocess   -> process        -> postprocess -> reply
               images      decode, prepare             LocalPredictor    top-k, labels

Both are mixed into 0.9's RequestOp and Op by `service`, so that nothing of 0.9 is imported
here. Kept clean for Python 3.8.
"""

from __future__ import annotations

import logging
from typing import Any, Mapping, Sequence

import cv2
import numpy as np

from pipeline.predictors.feed import as_feed
from pipeline.stages.activation import activate
from pipeline.stages.decode import DecodeLimits, decode_image
from pipeline.stages.preprocess import build_preprocess
from pipeline.stages.topk import of_two, top_k
from protocol.errors import (
    InvalidRequest,
    PredictionFailed,
    ServingError,
    public_message,
    wire_codes,
)

from .config import ServicePlan
from .wire import Result, read_request, reply_fields

logger = logging.getLogger(__name__)


class ImagesIn:
    """Mixed into 0.9's RequestOp: every key is one image, in order, also where keys repeat.

    0.9's own RequestOp puts keys into a dict, so that a repeated one is lost, and unpickles byte
    tensors.
    """

    max_images: int

    def unpack_request_package(
        self,
        request: Any,  # noqa: ANN401 - the official engine's Request
    ) -> tuple[dict[str, Any], int, int | None, str]:
        """Return images and options, the log id, and err_no with its text for a refused request."""
        try:
            fields = read_request(request)
            if len(fields.images) > self.max_images:
                raise InvalidRequest(
                    "{} images in one request; the most is {}".format(
                        len(fields.images), self.max_images
                    )
                )
        except ServingError as error:
            return {}, request.logid, wire_codes(error).err_no, public_message(error)
        return fields._asdict(), request.logid, None, ""


class ClassifyOp:
    """Mixed into 0.9's Op: its three steps, which 0.9 calls in a process of its own.

    Between the steps 0.9 joins the rows of several requests and takes them apart again. The rows
    are objects, so that images of different shapes can be joined; `process` sorts them.
    """

    service: ServicePlan
    ready: Any  # a multiprocessing.Semaphore: one up for each process that can answer
    client: Any  # 0.9's LocalPredictor

    def init_op(self) -> None:
        """Prepare one process; 0.9 swallows errors raised here, so `ready` reports success."""
        cv2.setNumThreads(1)
        bundle = self.service.bundle
        for feed in bundle.model_config.feeds:
            # 0.9 looks types up by alias and inputs up by name, and fails where the two differ.
            self.client.feed_types_.setdefault(feed.name, self.client.feed_types_[feed.alias])
        self._feed = bundle.model_config.feeds[0].name
        self._preprocess = build_preprocess(bundle.description.transform_ops)
        reduce_to = self._preprocess.short_side if self.service.fast_decode else None
        self._limits = DecodeLimits(self.service.max_image_pixels, reduce_to)
        self.ready.release()

    def preprocess(
        self,
        input_dicts: Mapping[str, dict[str, Any]],
        data_id: int = 0,  # noqa: ARG002 - 0.9 gives it
        log_id: int = 0,  # noqa: ARG002 - 0.9 gives it
    ) -> tuple[dict[str, np.ndarray] | None, bool, int | None, str]:
        """Decode and prepare; the error of a bad image waits for `postprocess`."""
        ((_, fields),) = input_dicts.items()
        errors: dict[int, ServingError] = {}
        arrays = []
        for position, image in enumerate(fields["images"]):
            try:
                arrays.append(self._preprocess(decode_image(image, self._limits)))
            except ServingError as error:
                errors[position] = error
        fields["errors"] = errors
        if not arrays:
            first = errors[0]
            return None, False, wire_codes(first).err_no, public_message(first)
        return {self._feed: _rows(arrays)}, False, None, ""

    def process(
        self,
        feed_batch: Sequence[Mapping[str, np.ndarray]],
        typical_logid: int = 0,  # noqa: ARG002 - 0.9 gives it
    ) -> tuple[dict[str, np.ndarray] | None, int, str]:
        """Predict; images of one shape go through the model together."""
        arrays = feed_batch[0][self._feed]
        scores = np.empty(len(arrays), dtype=object)
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for position, array in enumerate(arrays):
            by_shape.setdefault(array.shape, []).append(position)
        try:
            for positions in by_shape.values():
                size = self.service.bundle.fixed_batch or len(positions)
                for begin in range(0, len(positions), size):
                    chosen = positions[begin : begin + size]
                    for position, row in zip(chosen, self._predict(arrays[chosen], size)):
                        scores[position] = row
        except Exception as error:
            # Paddle's message is pages of its own code; it belongs in the log.
            logger.error("the prediction failed", exc_info=error)
            failed = PredictionFailed("the prediction failed")
            return None, wire_codes(failed).err_no, str(failed)
        return {"scores": scores}, 0, ""

    def _predict(self, arrays: np.ndarray, size: int) -> np.ndarray:
        """Return a row of scores for each of `arrays`; `size` rows go in, the last one repeated."""
        batch = np.stack([arrays[min(i, len(arrays) - 1)] for i in range(size)])
        batch = as_feed(batch, self.service.bundle.model_config.feeds[0])
        outputs = self.client.predict(feed={self._feed: batch}, fetch=None, batch=True)
        fetches = self.service.bundle.model_config.fetches
        # Paddle names outputs anew in some exports; their order stays.
        by_order = list(outputs.values())[fetches.index(self.service.fetch)]
        scores = outputs.get(self.service.fetch.name, by_order)
        rows = np.asarray(scores, np.float32).reshape(size, -1)[: len(arrays)]
        return activate(rows, self.service.bundle.description.activation)

    def postprocess(
        self,
        input_dicts: Mapping[str, dict[str, Any]],
        fetch_data: Mapping[str, np.ndarray],
        data_id: int = 0,  # noqa: ARG002 - 0.9 gives it
        log_id: int = 0,  # noqa: ARG002 - 0.9 gives it
    ) -> tuple[Mapping[str, str], int | None, str]:
        """Return label, prob, topk and errors of the request, in the order of its images."""
        ((_, fields),) = input_dicts.items()
        rows = iter(fetch_data["scores"])
        results: list[Result] = [
            fields["errors"][position]
            if position in fields["errors"]
            else self._result(next(rows), fields["topk"], fields["threshold"])
            for position in range(len(fields["images"]))
        ]
        failed = [result for result in results if isinstance(result, ServingError)]
        if len(failed) == len(results):
            return {}, wire_codes(failed[0]).err_no, public_message(failed[0])
        return reply_fields(results), None, ""

    def _result(self, row: np.ndarray, topk: int | None, threshold: float | None) -> Result:
        if not np.isfinite(row).all():
            return PredictionFailed("the model answered with numbers that are not finite")
        labels = self.service.labels or tuple(map(str, range(len(row))))
        wanted = self.service.threshold if threshold is None else threshold
        count = topk or self.service.topk or len(row)
        description = self.service.bundle.description
        if description.positive_threshold is not None:
            return of_two(row, labels, count, description.positive_threshold, wanted)
        if wanted is None and description.thresholds is not None:
            return top_k(row, labels, count, description.thresholds.of_classes(len(row)))
        return top_k(row, labels, count, wanted)


def _rows(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return an array of objects; 0.9 joins and cuts arrays, never lists."""
    rows = np.empty(len(arrays), dtype=object)
    for position, array in enumerate(arrays):
        rows[position] = array
    return rows
