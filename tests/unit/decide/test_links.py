"""Replies link only to hosts that the business permits."""

from __future__ import annotations

import pytest

from tandem.packs.links import without_foreign_links
from tests.unit.decide.world import PACK, World


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://help.example.com/a?b=1.", "see https://help.example.com/a?b=1."),
        ("see https://docs.help.example.com/a", "see https://docs.help.example.com/a"),
        ("see https://evil.test/x now", "see ••• now"),
        ("[here](https://evil.test/x)", "[here](•••)"),
        ("https://help.example.com@evil.test/", "•••"),
        ("https://help.example.com.evil.test/", "•••"),
        ("www.evil.test", "•••"),
        ("no link at all", "no link at all"),
    ],
)
def test_links(text: str, expected: str) -> None:
    assert without_foreign_links(text, ("help.example.com",), "•••") == expected
    assert without_foreign_links(text, (), "•••") == text


def test_an_answer_is_checked() -> None:
    policies = PACK.policies.model_copy(update={"links": ("help.example.com",)})
    world = World(PACK.model_copy(update={"policies": policies}))
    world.say("what does it cost?", "prices")
    world.answer("See https://evil.test/prices")
    assert world.last == "See •••"
