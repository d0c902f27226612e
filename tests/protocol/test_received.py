"""Replies of a server that may be anything: few bytes stay few objects, and errors are typed."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from protocol.codec import MOST_PARTS
from protocol.errors import InvalidRequest, ServingError, UndecodableImage, UnreadableReply
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.received import (
    LONGEST_KEYS,
    MOST_FIELDS,
    reply_from_json,
    reply_from_message,
)
from protocol.key_value.reply import reply_to_json
from protocol.reply import Category, ClassifyReply

GOOD = {"class_id": 1, "label": "cat", "score": 0.5}
SIZE = 2 << 20


def body(key: Any = (), value: Any = (), **fields: Any) -> bytes:
    return json.dumps({"err_no": 0, "err_msg": "", "key": key, "value": value, **fields}).encode()


def topk(*results: Any, errors: Any = None) -> bytes:
    return body(["topk", "errors"], [json.dumps(results), json.dumps(errors)])


@pytest.mark.parametrize(
    "sent",
    [
        body(err_no=float("inf")),
        body(err_no=float("nan")),
        body(err_no="0"),
        body(err_no=2**40),
        body(err_no=True),
        body(err_msg=["a"]),
        body().replace(b'"err_no": 0', b'"err_no": 1e999'),
        body().replace(b'"err_no": 0', b'"err_no": ' + b"9" * 5000),
        body(["label", "prob"], ["['a']"]),
        body(["label", "prob"], ["['a']", "[0.5]", "[0.5]"]),
        body(["label", "label", "prob"], ["['a']", "['b']", "[0.5]"]),
        body(["label", "prob"], ["['a']", [0.5]]),
        body(["label", 5], ["['a']", "[0.5]"]),
        body({"label": 1}, ["['a']"]),
        body(["label"], ["['a']"]),
        body(["k"] * 65, [""] * 65),
        body(["k" * LONGEST_KEYS], [""]),
        body(["label", "prob"], ["['a', 'b']", "[0.5]"]),
        body(["label", "prob"], ["['a']", "['half']"]),
        body(["label", "prob"], ["['a']", "[1e999]"]),
        body(["label", "prob"], ["['a']", "[nan]"]),
        body(["label", "prob"], ["['a']", "['nan']"]),
        body(["label", "prob"], ["['a']", "['1e999']"]),
        body(["label", "prob"], ["['a']", f"['{'9' * 400}']"]),
        body(["label", "prob"], ["['a']", "0.5"]),
        body(["label", "prob"], ["['a']", "[null]"]),
        body(["label", "prob"], ["[{}]", "[0.5]"]),
        topk([{**GOOD, "class_id": 10**30}]),
        topk([{**GOOD, "class_id": "1"}]),
        topk([{**GOOD, "label": {}}]),
        topk([{**GOOD, "label": None}]),
        topk([{**GOOD, "score": "0.5"}]),
        topk([{**GOOD, "score": float("inf")}]),
        topk([{"class_id": 1, "label": "cat"}]),
        topk([[]]),
        topk(None),
        topk(None, errors=[None]),
        topk(None, errors=[{"err_no": 1e300, "err_msg": ""}]),
        topk(None, errors=[{"err_no": 5001, "err_msg": 7}]),
        body(["topk"], ["[" * 100_000]),
        body()[:-1] + b', "x": ' + b"[" * 1_000_000,
        b"[" * 1_000_000,
        b"\xff" * 100,
        b"",
    ],
)
def test_a_malformed_reply_is_unreadable_and_says_briefly_what_was_sent(sent: bytes) -> None:
    with pytest.raises(UnreadableReply, match="the server's reply") as caught:
        reply_from_json(sent)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_a_hostile_text_in_an_error_is_shown_escaped() -> None:
    with pytest.raises(UnreadableReply, match=r"\\u001b\[31m.*\\u202e") as caught:
        reply_from_json("\x1b[31m\u202e".encode())
    assert str(caught.value).isprintable()


def test_an_error_of_the_service_keeps_its_class_and_a_bounded_text() -> None:
    with pytest.raises(InvalidRequest) as caught:
        reply_from_json(body(err_no=5000, err_msg="x" * SIZE))
    assert len(str(caught.value)) == 1000
    failed = reply_from_json(
        topk(None, [GOOD], errors=[{"err_no": 5001, "err_msg": "y" * SIZE}, None])
    )
    assert isinstance(failed.results[0], UndecodableImage)
    assert len(str(failed.results[0])) == 1000
    assert failed.results[1] == (Category(1, "cat", 0.5),)


@pytest.mark.parametrize("probability", ["0.92", " 9.2e-1 "])
def test_a_probability_that_a_service_of_0_9_formatted_is_read(probability: str) -> None:
    sent = body(["label", "prob"], ["['cat']", str([probability])])
    assert reply_from_json(sent).results == ((Category(-1, "cat", 0.92),),)


def test_lists_in_json_without_topk_are_read_with_their_errors() -> None:
    errors = json.dumps([None, {"err_no": 5001, "err_msg": "cut off"}])
    sent = body(["label", "prob", "errors"], ['["猫", null]', "[0.5, null]", errors])
    read = reply_from_json(sent).results
    assert read[0] == (Category(-1, "猫", 0.5),)
    assert isinstance(read[1], UndecodableImage)


@pytest.mark.parametrize(
    "results", ["null," * MOST_PARTS + "null", "[]," * MOST_PARTS + "[]"], ids=["null", "empty"]
)
def test_more_results_than_a_request_has_images_are_refused(results: str) -> None:
    errors = json.dumps([{"err_no": 5001, "err_msg": ""}] * (MOST_PARTS + 1))
    with pytest.raises(UnreadableReply, match=f"more than {MOST_PARTS} results"):
        reply_from_json(body(["topk", "errors"], [f"[{results}]", errors]))


def peak(sent: bytes) -> int:
    """Return the bytes that reading takes at most, whether it is read or refused."""
    tracemalloc.start()
    try:
        reply_from_json(sent)
    except ServingError:
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


def lists(label: str) -> bytes:
    return body(["label", "prob"], [label, "[0.5]"])


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(lists("[" + "[]," * (SIZE // 3) + "]"), id="python-lists"),
        pytest.param(lists("[" + "1," * (SIZE // 2) + "]"), id="python-numbers"),
        pytest.param(lists("[" + "''," * (SIZE // 3) + "]"), id="python-strings"),
        pytest.param(lists("-" * SIZE + "1"), id="python-signs"),
        pytest.param(lists("['" + r"\n" * (SIZE // 3) + "']"), id="python-escapes"),
        pytest.param(body(["topk"], ["[" + "[]," * (SIZE // 3) + "[]]"]), id="topk-lists"),
        pytest.param(body(["topk"], ["[" + "{}," * (SIZE // 3) + "{}]"]), id="topk-objects"),
        pytest.param(body(["topk"], ["[[" + "{}," * (SIZE // 3) + "{}]]"]), id="topk-categories"),
        pytest.param(b"[" + b"[]," * (SIZE // 3) + b"[]]", id="json-lists"),
        pytest.param(body([""] * (SIZE // 4), []), id="keys"),
        pytest.param(body(["label"], [""] * (SIZE // 4)), id="values"),
        pytest.param(body([], [], x=[{}] * (SIZE // 4)), id="unknown-field"),
    ],
)
def test_the_memory_of_a_hostile_reply_is_near_that_of_an_ordinary_one(sent: bytes) -> None:
    """Of the same size. `literal_eval` took 200 times as much as the bytes, json.loads 25 times."""
    category = Category(1, "label of ordinary length", 0.5)
    ordinary = reply_to_json(ClassifyReply(((category,) * (SIZE // 90),)))
    assert len(sent) < 1.5 * len(ordinary)
    assert peak(sent) < 3 * peak(ordinary)


def test_a_message_is_read_as_json_is() -> None:
    message = pb.Response(key=["label", "prob"], value=["['cat']", "[0.5]"])
    message.tensors.add(name="x", float_data=[1.0])
    assert reply_from_message(message.SerializeToString()).results[0] == (Category(-1, "cat", 0.5),)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x1a\x00" * 10**6,
        b"\x22\x00" * 10**6,
        b"\x2a\x00" * 10**6,
        b"\x78\x00" * 10**6,
    ],
    ids=["keys", "values", "tensors", "unknown"],
)
def test_a_message_of_many_fields_is_refused_before_protobuf_reads_it(sent: bytes) -> None:
    with pytest.raises(UnreadableReply, match=f"more than {MOST_FIELDS} fields"):
        reply_from_message(sent)


def test_what_is_in_a_tensor_of_a_reply_is_not_even_parsed() -> None:
    field = pb.Response(tensors=[pb.Tensor(str_data=[""] * 10)]).SerializeToString()
    broken = field[:-1] + b"\xff"  # protobuf would refuse it
    good = pb.Response(key=["label", "prob"], value=["['cat']", "[0.5]"]).SerializeToString()
    assert reply_from_message(broken + good).results


@pytest.mark.parametrize(
    "sent",
    [b"\xff" * 20, b"\x1a\x05ab", b"\x12\x01\xff", b"\x1a\x01k", b"<html>502</html>"],
)
def test_bytes_that_are_no_response_are_unreadable(sent: bytes) -> None:
    with pytest.raises(UnreadableReply, match="the server's reply"):
        reply_from_message(sent)
