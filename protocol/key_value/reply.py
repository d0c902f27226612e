"""The reply to a classification, written in the key/value envelope of Paddle Serving 0.9.

    ClassifyReply or ServingError   ->  JSON body or protobuf Response      (here)
    JSON body or protobuf Response  ->  ClassifyReply, or the ServingError that it reports
                                                                            (received.py)

The keys `label` and `prob` have the best category of each image, `topk` all that were requested,
and `errors`, present only when an image failed, the reason in each failed image's place. Values are
JSON text.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import OK, ServingError, public_message, wire_codes
from ..reply import ClassifyReply
from . import pipeline_service_pb2 as pb


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
