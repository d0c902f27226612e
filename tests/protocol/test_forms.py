"""The forms of answer that programs of the tutorials read."""

from __future__ import annotations

import json

import pytest

from protocol.bodies import RawCodec, UploadCodec
from protocol.codec import Hints
from protocol.errors import InvalidRequest, UndecodableImage
from protocol.forms import check_form, reply_in_form
from protocol.key_value.received import reply_from_json
from protocol.reply import Category, ClassifyReply
from protocol.request import ClassifyRequest, encoded

CAN = (Category(23, "可回收物/易拉罐", 0.9998091), Category(1, "其他垃圾/污损塑料", 0.0001))
BAD = UndecodableImage("this looks like text")


@pytest.mark.parametrize(
    ("form", "one", "several"),
    [
        (
            "paddlex",
            '[{"category_id": 23, "category": "可回收物/易拉罐", "score": 0.9998091}, '
            '{"category_id": 1, "category": "其他垃圾/污损塑料", "score": 0.0001}]',
            '[[{"category_id": 1, "category": "x", "score": 0.5}], [], '
            '{"error": "err_no 5001: this looks like text"}]',
        ),
        (
            "result",
            '{"result": "可回收物/易拉罐"}',
            '[{"result": "x"}, {"result": null}, {"error": "err_no 5001: this looks like text"}]',
        ),
    ],
)
def test_the_forms_are_those_of_the_tutorials(form: str, one: str, several: str) -> None:
    assert reply_in_form(ClassifyReply((CAN,)), form).decode() == one
    mixed = ClassifyReply(((Category(1, "x", 0.5),), (), BAD))
    assert reply_in_form(mixed, form).decode() == several
    json.loads(several)


def test_a_stock_0_9_answer_has_no_class_id() -> None:
    stock = b'{"err_no":0,"err_msg":"","key":["label","prob"],"value":["[\'daisy\']","[0.9]"]}'
    answer = reply_in_form(reply_from_json(stock), "paddlex")
    assert json.loads(answer) == [{"category_id": -1, "category": "daisy", "score": 0.9}]


def test_an_unknown_form_is_refused() -> None:
    assert check_form("result") == "result"
    with pytest.raises(InvalidRequest, match="form must be one of paddlex, result, not 'yaml'"):
        check_form("yaml")


def test_options_of_a_raw_image_come_as_text() -> None:
    options = {"topk": "2", "threshold": "0.5", "logid": "9", "form": "result", "_": "x"}
    request = RawCodec().read(b"image", Hints("waste", "image/png", options))
    assert request == ClassifyRequest(encoded([b"image"], 2, 0.5), "waste", 9, "result")


def test_fields_of_an_upload_come_before_options_in_the_address() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="topk"\r\n\r\n2\r\n'
        b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\none\r\n--b--\r\n'
    )
    hints = Hints("waste", "multipart/form-data; boundary=b", {"topk": "1", "threshold": "0.5"})
    assert UploadCodec().read(body, hints) == ClassifyRequest(encoded([b"one"], 2, 0.5), "waste")


@pytest.mark.parametrize("address", ["logid", "log_id"])
@pytest.mark.parametrize("field", ["logid", "log_id"])
def test_the_number_in_an_upload_comes_before_the_one_in_the_address(
    address: str, field: str
) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n7\r\n'
        b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\none\r\n--b--\r\n'
    ) % field.encode()
    hints = Hints("waste", "multipart/form-data; boundary=b", {address: "9"})
    assert UploadCodec().read(body, hints).log_id == 7


@pytest.mark.parametrize("form", [None, "result"])
def test_a_reply_has_the_form_of_its_request(form: str | None) -> None:
    options = {} if form is None else {"form": form}
    request = RawCodec().read(b"image", Hints("waste", "image/png", options))
    reply = ClassifyReply(((Category(0, "cat", 0.5),),))
    written = json.loads(RawCodec().write(reply, request))
    assert written == {"result": "cat"} if form else written["err_no"] == 0
