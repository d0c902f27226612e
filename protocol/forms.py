"""Short forms of the reply to a raw image or an upload.

    paddlex   PaddleX' `model.predict`: [{"category_id": 3, "category": "Glass", "score": 0.98}]
    result    the waste contest's service: {"result": "可回收物/易拉罐"}

A request of one image is answered in the bare form, one of several with a list of them. Without a
form the reply is the key/value envelope, and so is an error of the request as a whole.
"""

from __future__ import annotations

import json
from typing import Any

from .errors import InvalidRequest, ServingError, public_message, wire_codes
from .reply import ClassifyReply, ImageResult

FORMS = ("paddlex", "result")


def check_form(form: str) -> str:
    """Return `form` if it is one of `FORMS`.

    Raises:
        InvalidRequest: it is not.
    """
    if form not in FORMS:
        raise InvalidRequest(f"form must be one of {', '.join(FORMS)}, not {form[:40]!r}")
    return form


def in_form(result: ImageResult, form: str) -> Any:  # noqa: ANN401 - JSON
    """Return one image's result as JSON takes it; an error is {"error": "err_no N: message"}.

    If no category reaches the threshold, the list is empty or the result null.
    """
    if isinstance(result, ServingError):
        return {"error": f"err_no {wire_codes(result).err_no}: {public_message(result)}"}
    if form == "result":
        return {"result": result[0].label if result else None}
    return [{"category_id": c.class_id, "category": c.label, "score": c.score} for c in result]


def reply_in_form(reply: ClassifyReply, form: str) -> bytes:
    """Write the reply to a request as JSON."""
    results = [in_form(result, form) for result in reply.results]
    body = results[0] if len(results) == 1 else results
    return json.dumps(body, ensure_ascii=False).encode()
