"""The document itself; tests/e2e/test_openapi.py compares a service with it."""

from __future__ import annotations

import json

from pipeline.web.openapi import build_openapi
from protocol.errors import WIRE_CODES, MethodNotAllowed, Overloaded, ServingError
from protocol.forms import FORMS


def test_the_document_has_services_version_keys_and_errors() -> None:
    open_to_all = build_openapi(["waste", "peach"], "1.2", keys=False)
    with_keys = build_openapi(["steel"], "1.3", keys=True)
    json.dumps(open_to_all)
    assert (open_to_all["info"]["version"], with_keys["info"]["version"]) == ("1.2", "1.3")
    operation = open_to_all["paths"]["/{service}/prediction"]["post"]
    assert operation["parameters"][0]["schema"]["enum"] == ["waste", "peach"]
    assert "security" not in operation
    assert "securitySchemes" not in open_to_all["components"]
    assert "security" in with_keys["paths"]["/{service}/prediction"]["post"]
    assert set(with_keys["components"]["securitySchemes"]) == {"bearer", "header"}
    too_many = operation["responses"][str(WIRE_CODES[Overloaded].http_status)]
    assert f"{WIRE_CODES[Overloaded].err_no}: " in too_many["description"]
    assert too_many["headers"]["Retry-After"]["required"]
    statuses = {
        str(codes.http_status)
        for kind, codes in WIRE_CODES.items()
        if issubclass(kind, ServingError) and kind is not MethodNotAllowed
    }
    assert set(operation["responses"]) == {"200"} | statuses


def test_the_document_names_every_form() -> None:
    parameters = build_openapi([], "", keys=False)["paths"]["/{service}/prediction"]["post"]
    form = next(each for each in parameters["parameters"] if each["name"] == "form")
    assert form["schema"]["enum"] == list(FORMS)
