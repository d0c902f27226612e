from __future__ import annotations

import grpc
import pytest

from protocol.errors import (
    WIRE_CODES,
    InvalidRequest,
    ServingError,
    UndecodableImage,
    error_from_wire,
    wire_codes,
)


@pytest.mark.parametrize("kind", list(WIRE_CODES), ids=lambda kind: kind.__name__)
def test_every_error_has_a_real_status_on_each_wire(kind: type[BaseException]) -> None:
    codes = WIRE_CODES[kind]
    assert 400 <= codes.http_status < 600
    assert codes.grpc_status in grpc.StatusCode.__members__
    assert codes.err_no >= 3000


def test_numbers_tell_errors_apart() -> None:
    numbers = [codes.err_no for kind, codes in WIRE_CODES.items() if kind is not BaseException]
    assert len(set(numbers)) == len(numbers)


def test_an_error_that_is_not_in_the_table_is_reported_as_its_ancestor() -> None:
    class Blurred(UndecodableImage):
        pass

    assert wire_codes(Blurred("x")) == WIRE_CODES[UndecodableImage]
    assert wire_codes(ServingError("x")).err_no == 10000
    assert wire_codes(OSError("x")).http_status == 500


def test_a_client_gets_the_class_back_and_keeps_unknown_numbers() -> None:
    assert type(error_from_wire(5000, "x")) is InvalidRequest
    assert "(err_no 50)" in str(error_from_wire(50, "user's own"))
