"""The reply to a classification, to and from the key/value envelope of Paddle Serving 0.9.

    ClassifyReply or ServingError   ->  JSON body or protobuf Response
    JSON body or protobuf Response  ->  ClassifyReply     (or the ServingError it reports)

The keys `label` and `prob` have the best category of each image, `topk` all that were requested,
and `errors`, present only when an image failed, the reason in each failed image's place. Values are
JSON text.
"""

from __future__ import annotations

import ast
import json
from typing import Any

from ..errors import OK, ServingError, UnreadableReply, error_from_wire, public_message, wire_codes
from ..reply import Category, ClassifyReply, ImageResult
from . import pipeline_service_pb2 as pb

TOPK = "topk"
# What json and literal_eval may raise, and access to what they read.
_UNREADABLE = (ValueError, LookupError, TypeError, SyntaxError, RecursionError, MemoryError)


def reply_to_json(reply: ClassifyReply) -> bytes:
    """Write the five-field JSON reply."""
    keys, values = _reply_fields(reply)
    return _json_body(OK.err_no, "", keys, values)


def reply_to_proto(reply: ClassifyReply) -> pb.Response:
    """Write the Response message."""
    keys, values = _reply_fields(reply)
    return pb.Response(err_no=OK.err_no, err_msg="", key=keys, value=values)


def error_to_json(error: BaseException) -> bytes:
    """Write the five-field JSON reply to a request that failed as a whole."""
    return _json_body(wire_codes(error).err_no, public_message(error), [], [])


def error_to_proto(error: BaseException) -> pb.Response:
    """Write the Response of a request that failed as a whole."""
    return pb.Response(err_no=wire_codes(error).err_no, err_msg=public_message(error))


def reply_from_json(body: bytes) -> ClassifyReply:
    """Read a five-field JSON reply, ours or a 0.9 server's.

    Raises:
        ServingError: the one that the reply reports, or UnreadableReply if it is not the envelope.
    """
    try:
        fields = json.loads(body)
        err_no, message = int(fields["err_no"]), str(fields["err_msg"])
        pairs = dict(zip(fields["key"], fields["value"], strict=True))
    except _UNREADABLE as error:
        shown = body[:80].decode(errors="replace")
        raise UnreadableReply(
            f"the server's answer is not the serving envelope: {shown!r}"
        ) from error
    return _reply(err_no, message, pairs)


def reply_from_proto(message: pb.Response) -> ClassifyReply:
    """Read a Response; raises as `reply_from_json`."""
    pairs = dict(zip(message.key, message.value, strict=False))
    return _reply(message.err_no, message.err_msg, pairs)


def _json_body(err_no: int, err_msg: str, keys: list[str], values: list[str]) -> bytes:
    fields = {"err_no": err_no, "err_msg": err_msg, "key": keys, "value": values, "tensors": []}
    return json.dumps(fields, ensure_ascii=False).encode()


def _reply_fields(reply: ClassifyReply) -> tuple[list[str], list[str]]:
    labels: list[str | None] = []
    probs: list[float | None] = []
    topk: list[list[dict[str, Any]] | None] = []
    errors: list[dict[str, Any] | None] = []
    for result in reply.results:
        if isinstance(result, ServingError):
            labels.append(None)
            probs.append(None)
            topk.append(None)
            codes = wire_codes(result)
            errors.append({"err_no": codes.err_no, "err_msg": public_message(result)})
            continue
        # No category may reach the threshold: the best is then null, topk empty.
        labels.append(result[0].label if result else None)
        probs.append(result[0].score if result else None)
        topk.append([{"class_id": c.class_id, "label": c.label, "score": c.score} for c in result])
        errors.append(None)
    fields: dict[str, Any] = {"label": labels, "prob": probs, "topk": topk}
    if any(errors):
        fields["errors"] = errors
    return list(fields), [json.dumps(value, ensure_ascii=False) for value in fields.values()]


def _reply(err_no: int, message: str, pairs: dict[str, str]) -> ClassifyReply:
    if err_no != OK.err_no:
        raise error_from_wire(err_no, message)
    try:
        if TOPK in pairs:
            return _reply_of_topk(json.loads(pairs[TOPK]), json.loads(pairs.get("errors", "null")))
        return _reply_of_0_9(pairs["label"], pairs["prob"])
    except _UNREADABLE as error:
        raise UnreadableReply(
            f"the server's answer has no labels we can read: {pairs!r}"
        ) from error


def _reply_of_topk(topk: list[Any], errors: list[Any] | None) -> ClassifyReply:
    results: list[ImageResult] = []
    for position, categories in enumerate(topk):
        if categories is None:
            error = (errors or [])[position]
            results.append(error_from_wire(int(error["err_no"]), str(error["err_msg"])))
        else:
            results.append(
                tuple(Category(int(c["class_id"]), c["label"], c["score"]) for c in categories)
            )
    return ClassifyReply(tuple(results))


def _reply_of_0_9(labels: str, probs: str) -> ClassifyReply:
    # A stock 0.9 service answers with Python reprs and no class ids; -1 says that there is none.
    names = ast.literal_eval(labels)
    scores = ast.literal_eval(probs)
    return ClassifyReply(
        tuple(
            (Category(-1, str(name), float(score)),)
            for name, score in zip(names, scores, strict=True)
        )
    )
