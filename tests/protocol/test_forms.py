"""The forms of answer that programs of the tutorials read."""

from __future__ import annotations

import json

import pytest

from protocol.errors import InvalidRequest, UndecodableImage
from protocol.forms import check_form, reply_in_form
from protocol.key_value.reply import reply_from_json
from protocol.reply import Category, ClassifyReply

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


def test_another_form_is_told() -> None:
    assert check_form("result") == "result"
    with pytest.raises(InvalidRequest, match="form must be one of paddlex, result, not 'yaml'"):
        check_form("yaml")
