"""The public HTTP address as an OpenAPI 3.1 document, for tools that generate clients and tests.

Error numbers and statuses come from the one table, `protocol.errors`; names and security from what
is served. tests/e2e/test_openapi.py asks a real service everything that the document allows, and
much that it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from protocol.errors import WIRE_CODES, MethodNotAllowed, ServingError
from protocol.forms import FORMS

Json: TypeAlias = dict[str, Any]

_BYTES: Json = {"type": "string", "format": "binary"}
_TEXTS: Json = {"type": "array", "items": {"type": "string"}}
# A PNG of 8 x 8 pixels, so that the example is a request that works.
_EXAMPLE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAJUlEQVQI12O0WRDFgA0wMeAALBCqp+McXKikwgifDtIl"
    "GEl2FQDOYAV9Ity8vgAAAABJRU5ErkJggg=="
)
_PHASES = ["starting", "ready", "not ready", "stopping"]


def build_openapi(names: Sequence[str], version: str, *, keys: bool) -> Json:
    """Return the document, JSON-able, of the services `names`; `keys`: callers need an API key."""
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "paddle-serving-kit",
            "version": version,
            "description": "Image classification; the key/value envelope of Paddle Serving 0.9, "
            "raw pictures and uploads.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/{service}/prediction": {"post": _prediction(names, keys=keys)},
            "/health/live": {"get": _live()},
            "/health/ready": {"get": _ready()},
            "/": {"get": _index()},
            "/openapi.json": {"get": _document()},
        },
        "components": {"schemas": _schemas()},
    }
    if keys:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    return document


def _prediction(names: Sequence[str], *, keys: bool) -> Json:
    operation: Json = {
        "operationId": "classify",
        "summary": "Classify one picture or several",
        "description": "Any other word in the place of `prediction` is answered too, as 0.9 does.",
        "parameters": [
            _parameter("service", "path", {"type": "string", "enum": list(names)}),
            _parameter("topk", "query", {"type": "integer", "minimum": 1}, "categories a picture"),
            _parameter(
                "threshold",
                "query",
                {"type": "number", "minimum": 0, "maximum": 1},
                "no category below this score",
            ),
            _parameter(
                "logid",
                "query",
                {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1},
                "the caller's own number, for logs",
            ),
            _parameter(
                "form",
                "query",
                {"type": "string", "enum": list(FORMS)},
                "answer a picture or an upload in this form",
            ),
            _parameter(
                "X-Request-Timeout",
                "header",
                {"type": "number", "exclusiveMinimum": 0},
                "seconds within which the caller wants its answer",
            ),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Request"}},
                "image/*": {"schema": _BYTES},
                "application/octet-stream": {"schema": _BYTES},
                "multipart/form-data": {"schema": {"$ref": "#/components/schemas/Upload"}},
            },
        },
        "responses": {"200": _answered(), **_errors()},
    }
    if keys:
        operation["security"] = [{"bearer": []}, {"header": []}]
    return operation


def _parameter(name: str, place: str, schema: Json, description: str = "") -> Json:
    parameter = {"name": name, "in": place, "schema": schema, "required": place == "path"}
    return {**parameter, "description": description} if description else parameter


def _answered() -> Json:
    forms = ["Reply", "PaddlexPicture", "PaddlexPictures", "ResultPicture", "ResultPictures"]
    schemas = [{"$ref": f"#/components/schemas/{form}"} for form in forms]
    return _response("the best categories, in the envelope or in the `form` asked for",
                     {"anyOf": schemas})  # fmt: skip


def _errors() -> Json:
    """One response a status, with the error numbers that come with it."""
    by_status: dict[int, list[type[BaseException]]] = {}
    for kind, codes in WIRE_CODES.items():
        # A wrong method never reaches this operation.
        if issubclass(kind, ServingError) and kind is not MethodNotAllowed:
            by_status.setdefault(codes.http_status, []).append(kind)
    responses: Json = {}
    for status, kinds in sorted(by_status.items()):
        told = {WIRE_CODES[kind].err_no: (kind.__doc__ or "").split("\n", 1)[0] for kind in kinds}
        description = "; ".join(f"{err_no}: {text.rstrip('.')}" for err_no, text in told.items())
        schema = {
            "allOf": [
                {"$ref": "#/components/schemas/Error"},
                {"properties": {"err_no": {"enum": list(told)}}},
            ]
        }
        response = _response(description, schema)
        if status in (429, 503):
            response["headers"] = {
                "Retry-After": {
                    "description": "seconds",
                    "required": True,
                    "schema": {"type": "integer", "minimum": 1},
                }
            }
        responses[str(status)] = response
    return responses


def _live() -> Json:
    schema = {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"const": "alive"}},
    }
    return _get("live", "Whether the process answers", {"200": _response("it does", schema)})


def _ready() -> Json:
    schema = {
        "type": "object",
        "required": ["status", "services"],
        "properties": {
            "status": {"enum": _PHASES},
            "services": {"type": "object", "additionalProperties": {"enum": _PHASES}},
        },
    }
    responses = {
        "200": _response("every service has a worker that can answer", schema),
        "503": _response("starting, stopping, or a service has none", schema),
    }
    return _get("ready", "Whether every service can answer", responses)


def _index() -> Json:
    service = {
        "type": "object",
        "required": ["service", "post", "state"],
        "properties": {
            "service": {"type": "string"},
            "post": {"type": "string"},
            "state": {"enum": _PHASES},
        },
    }
    schema = {
        "type": "object",
        "required": ["services"],
        "properties": {"services": {"type": "array", "items": service}},
    }
    return _get("index", "What is served here", {"200": _response("the services", schema)})


def _document() -> Json:
    responses = {"200": _response("OpenAPI 3.1", {"type": "object"})}
    return _get("document", "This document", responses)


def _get(operation: str, summary: str, responses: Json) -> Json:
    return {"operationId": operation, "summary": summary, "responses": responses}


def _response(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _schemas() -> Json:
    failed = {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
        "additionalProperties": False,
    }
    category = {
        "type": "object",
        "required": ["category_id", "category", "score"],
        "properties": {
            "category_id": {"type": "integer", "minimum": 0},
            "category": {"type": "string"},
            "score": {"type": "number"},
        },
    }
    result = {
        "type": "object",
        "required": ["result"],
        "properties": {"result": {"type": ["string", "null"]}},
        "additionalProperties": False,
    }
    return {
        "Request": {
            "type": "object",
            "description": "Each key has its value; every key but `topk` and `threshold` is a "
            "picture, in base64.",
            "required": ["key", "value"],
            "properties": {
                "key": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                "value": {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1},
                "logid": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": -(2**63),
                    "maximum": 2**63 - 1,
                },
            },
            "example": {"key": ["image", "topk"], "value": [_EXAMPLE, "3"]},
        },
        "Upload": {
            "type": "object",
            "description": "Every file is a picture; `topk`, `threshold`, `logid` and `form` may "
            "be fields.",
            "properties": {"image": _BYTES},
            "required": ["image"],
        },
        "Reply": {
            "type": "object",
            "description": "`label` and `prob`: the best category of each picture; `topk`: all "
            "asked for; `errors`: why a picture among several failed. Values are JSON text.",
            "required": ["err_no", "err_msg", "key", "value", "tensors"],
            "properties": {
                "err_no": {"const": 0},
                "err_msg": {"const": ""},
                "key": {
                    "type": "array",
                    "items": {"enum": ["label", "prob", "topk", "errors"]},
                    "minItems": 3,
                },
                "value": {**_TEXTS, "minItems": 3},
                "tensors": {"type": "array", "maxItems": 0},
            },
            "additionalProperties": False,
        },
        "Error": {
            "type": "object",
            "required": ["err_no", "err_msg", "key", "value", "tensors"],
            "properties": {
                "err_no": {"type": "integer", "minimum": 1},
                "err_msg": {"type": "string", "minLength": 1},
                "key": {"type": "array", "maxItems": 0},
                "value": {"type": "array", "maxItems": 0},
                "tensors": {"type": "array", "maxItems": 0},
            },
        },
        "PaddlexPicture": {"type": "array", "items": category},
        "PaddlexPictures": {
            "type": "array",
            "items": {"anyOf": [{"$ref": "#/components/schemas/PaddlexPicture"}, failed]},
        },
        "ResultPicture": result,
        "ResultPictures": {"type": "array", "items": {"anyOf": [result, failed]}},
    }
