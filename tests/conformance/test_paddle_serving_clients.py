"""Clients of Paddle Serving 0.9, unchanged, against our service.

The HTTP one is that of PaddleClas' sample: {"key": ["image"], "value": [base64]} by `requests`.
The RPC one is `PipelineClient` of the official package.
"""

from __future__ import annotations

import ast
import base64
import json
from pathlib import Path
from typing import Any

import pytest


def encoded(shared: Path, image: str) -> str:
    return base64.b64encode((shared / "images" / image).read_bytes()).decode()


@pytest.fixture(scope="module")
def answers(single: Any, official: Any, shared: Path) -> dict[str, Any]:
    """Everything is asked in one process: importing the official package takes seconds."""
    daisy, cat = encoded(shared, "daisy.jpg"), encoded(shared, "egypt_cat.jpg")
    url = f"{single.url}/imagenet/prediction"
    fetch = ["label", "prob"]
    several = {"image_0": daisy, "image_1": cat, "topk": "2"}
    answered: dict[str, Any] = official(
        "ask",
        endpoint=single.endpoint,
        requests={
            "http": {"url": url, "data": {"key": ["image"], "value": [daisy]}},
            "http, several": {"url": url, "data": {"key": ["a", "b"], "value": [cat, daisy]}},
            "http, wrong service": {
                "url": f"{single.url}/nobody/prediction",
                "data": {"key": ["image"], "value": [daisy]},
            },
            "http, bad image": {"url": url, "data": {"key": ["image"], "value": ["aGVsbG8="]}},
            "sync": {"feed_dict": {"image": daisy}, "fetch": fetch},
            "asyn": {"feed_dict": {"image": cat}, "fetch": fetch, "asyn": True},
            "log id": {"feed_dict": {"image": daisy}, "fetch": fetch, "log_id": 10000},
            "several": {"feed_dict": several, "fetch": fetch},
            "profile": {"feed_dict": {"image": daisy}, "fetch": fetch, "profile": True},
            "as tensors": {"feed_dict": {"image": daisy}, "pack_tensor_format": True},
            "bad image": {"feed_dict": {"image": "aGVsbG8="}, "fetch": fetch},
            "right service": {"message": {"name": "imagenet", "key": ["image"], "value": [daisy]}},
            "wrong service": {"message": {"name": "nobody", "key": ["image"], "value": [daisy]}},
        },
    )
    return answered


@pytest.mark.parametrize(
    ("case", "labels"),
    [
        ("http", ["daisy"]),
        ("http, several", ["tabby, tabby cat", "daisy"]),
        ("sync", ["daisy"]),
        ("asyn", ["tabby, tabby cat"]),
        ("log id", ["daisy"]),
        ("several", ["daisy", "tabby, tabby cat"]),
        ("profile", ["daisy"]),
        ("as tensors", ["daisy"]),
        ("right service", ["daisy"]),
    ],
)
def test_their_clients_get_right_answers(
    answers: dict[str, Any], case: str, labels: list[str]
) -> None:
    answer = answers[case]
    assert (answer["err_no"], answer["err_msg"]) == (0, "")
    values = dict(zip(answer["key"], answer["value"], strict=True))
    # Tutorials read the texts with eval or ast: JSON without null is a literal of Python too.
    assert ast.literal_eval(values["label"]) == json.loads(values["label"]) == labels
    probs = ast.literal_eval(values["prob"])
    assert len(probs) == len(labels)
    assert all(0.5 < prob <= 1 for prob in probs)


def test_topk_is_an_option_and_not_an_image(answers: dict[str, Any]) -> None:
    values = dict(zip(answers["several"]["key"], answers["several"]["value"], strict=True))
    assert [len(categories) for categories in json.loads(values["topk"])] == [2, 2]


@pytest.mark.parametrize("case", ["http, wrong service", "wrong service"])
def test_a_wrong_service_is_3002_as_in_0_9(answers: dict[str, Any], case: str) -> None:
    assert answers[case]["err_no"] == 3002
    assert "nobody" in answers[case]["err_msg"]


@pytest.mark.parametrize("case", ["http, bad image", "bad image"])
def test_a_bad_image_reaches_their_clients(answers: dict[str, Any], case: str) -> None:
    assert answers[case]["err_no"] == 5001
    assert "looks like" in answers[case]["err_msg"]


def test_http_answers_hold_the_five_fields_and_a_status_that_is_true(
    answers: dict[str, Any],
) -> None:
    fields = ["err_no", "err_msg", "key", "value", "tensors"]
    assert list(answers["http"]) == ["status", *fields]
    assert answers["http"]["status"] == 200
    assert answers["http, wrong service"]["status"] == 404
    assert answers["http, bad image"]["status"] == 400
