"""Codes, passwords and keys are taken out of what is remembered; what is none stays."""

from __future__ import annotations

import pytest

from services.memory.redaction import redacted
from tandem.packs.links import MASK

KEY = "sk-" + "abcDEF1234567890abcdefgh99"


@pytest.mark.parametrize(
    ("texts", "hidden"),
    [
        (("My code is 482913",), "482913"),
        (("What is the code?", "it's 482913, thanks"), "482913"),
        (("482 913",), "482 913"),
        (("my password is hunter2!",), "hunter2"),
        (("my passcode: qwertyuiop",), "qwertyuiop"),
        (("it takes the token abc1234x",), "abc1234x"),
        ((f"I use {KEY} there",), KEY),
        (("pay with 4111 1111 1111 1111 please",), "4111"),
        (("验证码 123456",), "123456"),
        (("密码是abcdef",), "abcdef"),
        ((f"-----BEGIN {'PRIVATE'} KEY-----\nMIIabc\n-----END {'PRIVATE'} KEY----- here",), "MIIabc"),
    ],
)
def test_what_is_secret_is_hidden(texts: tuple[str, ...], hidden: str) -> None:
    found = redacted(texts)
    assert hidden not in "\n".join(found)
    assert MASK in "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "My order ORD-1001 is late and I paid 1200 euro",
        "my servers are in Frankfurt, 12 of them",
        "write to ana12@example.com about the code",
        "i-7f3a9c21 does not answer since 2026-11-20",
    ],
)
def test_what_is_not_stays(text: str) -> None:
    assert redacted([text]) == [text]


def test_a_question_for_a_code_is_over_after_the_next_line() -> None:
    assert redacted(["the code?", "later", "room 4711 please"])[2] == "room 4711 please"
