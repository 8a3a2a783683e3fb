from __future__ import annotations

import pytest

from services.planner.decide.answers import CLEAR_YES_NO
from services.router.answers import find_ordinals, find_yes_no


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ("yes", "Yes please!", "ok", "OK, thanks", "go ahead", "sure", "yes, do it now")),
        *((text, True) for text in ("sounds good", "that's fine", "I agree", "no problem", "please proceed", "Yep 👍")),
        *(
            (text, True)
            for text in ("yes that works for me", "是的", "好的", "好", "可以", "没问题", "嗯，请继续", "同意")
        ),
        *((text, False) for text in ("no", "No thanks", "nope", "no, leave it as it is", "please don't", "never mind")),
        *(
            (text, False)
            for text in ("no I don't want that", "cancel it", "not now", "no thank you", "No, don't do it.")
        ),
        *((text, False) for text in ("不", "不用了", "不要", "不行", "算了", "取消", "不同意", "不是", "不，谢谢")),
    ],
)
def test_an_answer_counts(text, value):
    (found,) = find_yes_no(text)
    assert found.value is value
    assert found.confidence >= CLEAR_YES_NO


@pytest.mark.parametrize(
    "text",
    [
        "yes?",
        "yes but not now",
        "yes, if it costs nothing",
        "no, yes",
        "no, that is ok",
        "ok so how do I create a snapshot",
        "ok, which of them is mine",
        "no idea what you mean",
        "no money was refunded",
        "do I need to pay for that",
        "stop charging us",
        "it is expensive",
        "cancel my mailbox",
        "correct the address",
        "I said yes to the other offer last week",
        "yes " + "I was in the shop last week and they told me that the parcel was lost " * 2,
        "好的，怎么开放端口",
        "行李丢了",
        "不能登录",
        "是不是坏了",
        "可以，但是等等",
        "not sure",
        "",
        "y" * 500,
    ],
)
def test_anything_else_is_no_answer(text):
    assert all(found.confidence < CLEAR_YES_NO for found in find_yes_no(text))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("the second one", [2]),
        ("first", [1]),
        ("the last", [-1]),
        ("option 3 please", [3]),
        ("#2", [2]),
        ("第二个", [2]),
        ("最后一个", [-1]),
        ("选三", [3]),
        ("the first time I tried", []),
        ("it happened a second ago", []),
        ("item 3.5", []),
    ],
)
def test_ordinals(text, values):
    assert [found.value for found in find_ordinals(text)] == values
