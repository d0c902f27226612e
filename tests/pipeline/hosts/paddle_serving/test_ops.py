"""Our ops for the official engine, without it: what they read and write is what `protocol` does."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle import Bundle
from bundle.formats import FLUID
from bundle.forms import GraphFiles
from bundle.inference_yml import InferenceDescription, TransformOp
from bundle.model_config import ModelConfig, TensorSpec
from bundle.thresholds import Thresholds
from pipeline.hosts.paddle_serving.config import ServicePlan
from pipeline.hosts.paddle_serving.ops import ClassifyOp, ImagesIn
from pipeline.hosts.paddle_serving.wire import read_request, reply_fields
from protocol.codec import Hints
from protocol.errors import InvalidRequest, ServingError, TooLarge
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.reply import reply_to_proto
from protocol.key_value.request import request_from_message
from protocol.reply import Category, ClassifyReply

ONE, TWO = base64.b64encode(b"one").decode(), base64.b64encode(b"two").decode()


@pytest.mark.parametrize(
    "fields",
    [
        {"key": ["image"], "value": [ONE]},
        {"key": ["image", "image"], "value": [ONE, TWO]},
        {"key": ["topk", "a", "threshold"], "value": ["3", ONE, "0.5"]},
        {"key": ["a", "topk", "threshold"], "value": [ONE, "", ""]},
        {"key": ["a", "pipeline.profile"], "value": [ONE, "1"]},
        {"key": ["a"], "value": ["data:image/png;base64," + ONE]},
        {"key": ["a"], "value": ["b2\r\n5l"]},
        {"key": ["a"], "value": [f" DATA:image/png;base64,{ONE}"]},
        {"key": ["a", "b"], "value": [f"b'{ONE}'", "_-8"]},
        {"key": ["a"], "value": ["https://example.com/a.jpg"]},
        {"key": ["a"], "value": ["AAAAAAAAAAAAAAAA BBBB" * 9]},
        {"key": ["a", "top_k"], "value": [ONE, "1"]},
        {"tensors": [{"name": "a", "byte_data": b"one"}, {"name": "b", "str_data": [ONE, TWO]}]},
        {"tensors": [{"name": "a", "byte_data": b"\x93NUMPY"}]},
        {"tensors": [{"name": "a", "float_data": [1.0]}]},
        {},
        {"key": ["topk"], "value": ["1"]},
        {"key": ["a", "b"], "value": [ONE]},
        {"key": ["a", "topk"], "value": [ONE, "0"]},
        {"key": ["a", "topk"], "value": [ONE, "x" * 60]},
        {"key": ["a", "threshold"], "value": [ONE, "1.5"]},
        {"key": ["a", "threshold"], "value": [ONE, "nan"]},
    ],
)
def test_requests_are_read_as_by_our_engine(fields: dict[str, Any]) -> None:
    def read(reader: Callable[[pb.Request], Any]) -> tuple[Any, ...]:
        try:
            return tuple(reader(pb.Request(**fields)))
        except InvalidRequest as error:
            return (str(error),)

    def ours(message: pb.Request) -> tuple[Any, ...]:
        images = request_from_message(message.SerializeToString(), Hints()).images
        return [image.data for image in images], *images[0][1:]

    assert read(read_request) == read(ours)


@pytest.mark.parametrize(
    "results",
    [
        [[(1, "b, c", 0.5), (0, "a", 0.25)]],
        [[(1, "可回收物/玻璃", 1.0)], []],
        [TooLarge("too large"), [(0, "a", 0.0)]],
    ],
)
def test_replies_are_written_as_by_our_engine(results: list[Any]) -> None:
    reply = ClassifyReply(
        tuple(
            result
            if isinstance(result, ServingError)
            else tuple(Category(*category) for category in result)
            for result in results
        )
    )
    expected = reply_to_proto(reply)
    assert list(reply_fields(results).items()) == list(
        zip(expected.key, expected.value, strict=True)
    )


def test_too_many_images_are_refused_before_they_are_passed_on() -> None:
    op = ImagesIn()
    op.max_images = 1
    fields, log_id, err_no, text = op.unpack_request_package(
        pb.Request(key=["a", "b"], value=[ONE, TWO], logid=7)
    )
    assert (fields, log_id, err_no) == ({}, 7, 5000)
    assert "2 images in one request; the most is 1" in text
    fields, log_id, err_no, text = op.unpack_request_package(pb.Request(key=["a"], value=[ONE]))
    assert (fields["images"], err_no, text) == ([b"one"], None, "")


class Client:
    """In the place of 0.9's LocalPredictor: the mean of an image and one minus it."""

    def __init__(self) -> None:
        self.feed_types_ = {"image_feed": 1}
        self.batches: list[tuple[int, ...]] = []

    def predict(self, feed: dict[str, np.ndarray], fetch: None, batch: bool) -> dict[str, Any]:
        ((name, array),) = feed.items()
        assert self.feed_types_[name] == 1
        assert batch
        self.batches.append(array.shape)
        if array.max() > 1:
            raise RuntimeError("pages of Paddle")
        mean = array.reshape(len(array), -1).mean(axis=1)
        return {"other": mean * 0, "softmax": np.stack([mean, 1 - mean], axis=1)}


def make_op(fixed_batch: int | None = None) -> Any:
    description = InferenceDescription(
        "",
        (
            TransformOp("NormalizeImage", {"order": "", "mean": [0] * 3, "std": [1] * 3}),
            TransformOp("ToCHWImage", {}),
        ),
        topk=1,
    )
    fetches = (
        TensorSpec("other", "other", "float32", ()),
        TensorSpec("softmax", "score", "float32", (2,)),
    )
    bundle = Bundle(
        path=Path(),
        server_dir=Path(),
        model_config=ModelConfig((TensorSpec("x", "image_feed", "float32", (3, -1, -1)),), fetches),
        graph=GraphFiles(FLUID, Path(), None),
        description=description,
        fixed_batch=fixed_batch,
    )
    op = ClassifyOp()
    op.service = ServicePlan(
        name="it",
        bundle=bundle,
        fetch=fetches[1],
        labels=("bright", "dark"),
        topk=1,
        threshold=None,
        max_image_pixels=10_000,
        fast_decode=False,
        start_timeout_s=1.0,
    )
    op.client = Client()
    op.ready = threading.Semaphore(0)
    op.init_op()
    assert op.ready.acquire(blocking=False)
    return op


def grey(value: int, height: int = 8, width: int = 8) -> bytes:
    image = np.full((height, width, 3), value, np.uint8)
    return bytes(cv2.imencode(".png", image)[1].tobytes())


def ask(op: Any, *images: bytes, topk: int | None = None) -> Any:
    """Take the three steps as 0.9 does."""
    fields = {"read": {"images": list(images), "topk": topk, "threshold": None}}
    rows, skip, err_no, text = op.preprocess(fields, 0, 0)
    assert skip is False
    if err_no is not None:
        return err_no, text
    fetched, err_no, text = op.process([rows], 0)
    if err_no:
        return err_no, text
    answer, err_no, text = op.postprocess(fields, fetched, 0, 0)
    return answer if err_no is None else (err_no, text)


def test_images_of_one_shape_go_together_and_each_gets_its_own_row() -> None:
    op = make_op()
    answer = ask(op, grey(255), b"no image", grey(0, 4, 6), grey(0), grey(255, 4, 6))
    assert op.client.batches == [(2, 3, 8, 8), (2, 3, 4, 6)]
    assert answer["label"] == '["bright", null, "dark", "dark", "bright"]'
    assert "5001" in answer["errors"]


def test_a_graph_of_one_batch_size_is_filled_up() -> None:
    op = make_op(fixed_batch=2)
    assert ask(op, grey(255), grey(0), grey(255))["label"] == '["bright", "dark", "bright"]'
    assert op.client.batches == [(2, 3, 8, 8)] * 2


def test_all_images_bad_is_the_error_of_the_first() -> None:
    err_no, text = ask(make_op(), grey(0, 200, 200), b"no image")
    assert err_no == 5002
    assert "200 x 200" in text


def test_messages_of_paddle_stay_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    op = make_op()
    op.client.predict = None  # whatever it is that fails
    assert ask(op, grey(0)) == (10000, "the prediction failed")
    assert "the prediction failed" in caplog.text


def test_numbers_that_are_not_finite_fail_their_own_image() -> None:
    op = make_op()
    fields = {"read": {"images": [b"", b""], "topk": 2, "threshold": None, "errors": {}}}
    rows = np.empty(2, dtype=object)
    rows[0], rows[1] = np.array([np.nan, 0.5]), np.array([0.25, 0.75])
    answer, err_no, _ = op.postprocess(fields, {"scores": rows})
    assert err_no is None
    assert answer["label"] == '[null, "dark"]'
    rows[1] = rows[0]
    assert op.postprocess(fields, {"scores": rows})[1] == 10000


@pytest.mark.parametrize(
    ("kind", "asked", "expected"),
    [
        ({"positive_threshold": 0.9}, None, ["bright", "dark"]),
        ({"positive_threshold": 0.7}, None, ["dark", "bright"]),
        ({"positive_threshold": 0.9}, 0.5, ["dark"]),
        ({"multi_label": True, "thresholds": Thresholds(0.5, {0: 0.1})}, None, ["dark", "bright"]),
        ({"multi_label": True, "thresholds": Thresholds(0.5, {1: 0.9})}, None, []),
        ({"multi_label": True, "thresholds": Thresholds(0.5, {1: 0.9})}, 0.1, ["dark", "bright"]),
    ],
)
def test_the_bundle_decides_as_in_the_service(
    kind: dict[str, Any], asked: float | None, expected: list[str]
) -> None:
    op = make_op()
    description = replace(op.service.bundle.description, **kind)
    bundle = replace(op.service.bundle, description=description)
    op.service = replace(op.service, bundle=bundle)
    result = op._result(np.array([0.2, 0.8], np.float32), 2, asked)
    assert [label for _, label, _ in result] == expected
