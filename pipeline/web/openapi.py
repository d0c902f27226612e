"""The public HTTP address as an OpenAPI 3.1 document, for tools that generate clients and tests.

The document is openapi.yml beside this module; what depends on the service is put in here.
tests/e2e/test_openapi.py sends a real service everything that the document allows, and much that
it does not.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from protocol.errors import WIRE_CODES, MethodNotAllowed, ServingError

Json: TypeAlias = dict[str, Any]

_DOCUMENT: Json = yaml.safe_load(Path(__file__).with_name("openapi.yml").read_text("utf-8"))


def build_openapi(names: Sequence[str], version: str, *, keys: bool) -> Json:
    """Return the document, JSON-able, of the services `names`; `keys`: callers need an API key."""
    document = copy.deepcopy(_DOCUMENT)
    document["info"]["version"] = version
    operation = document["paths"]["/{service}/prediction"]["post"]
    operation["parameters"][0]["schema"]["enum"] = list(names)
    operation["responses"] |= _errors()
    if not keys:
        del operation["security"], document["components"]["securitySchemes"]
    return document


def _errors() -> Json:
    """One response for each status, with the error numbers that come with it."""
    by_status: dict[int, list[type[BaseException]]] = {}
    for kind, codes in WIRE_CODES.items():
        # A wrong method never reaches this operation.
        if issubclass(kind, ServingError) and kind is not MethodNotAllowed:
            by_status.setdefault(codes.http_status, []).append(kind)
    responses: Json = {}
    for status, kinds in sorted(by_status.items()):
        texts = {WIRE_CODES[kind].err_no: (kind.__doc__ or "").split("\n", 1)[0] for kind in kinds}
        schema = {
            "allOf": [
                {"$ref": "#/components/schemas/Error"},
                {"properties": {"err_no": {"enum": list(texts)}}},
            ]
        }
        responses[str(status)] = {
            "description": "; ".join(f"{err_no}: {texts[err_no].rstrip('.')}" for err_no in texts),
            "content": {"application/json": {"schema": schema}},
        }
        if status in (429, 503):
            seconds = {"type": "integer", "minimum": 1}
            retry = {"description": "seconds", "required": True, "schema": seconds}
            responses[str(status)]["headers"] = {"Retry-After": retry}
    return responses
