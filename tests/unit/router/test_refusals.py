"""A value that the customer says they do not want is none."""

from __future__ import annotations

import pytest

from tandem.text import refused


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a hotel that is not on the west side", "west"),
        ("I do not want to take a taxi", "taxi"),
        ("anything but Italian", "Italian"),
        ("except for the Hyatt", "Hyatt"),
        ("I don’t like Friday", "Friday"),
    ],
)
def test_refused(text: str, value: str) -> None:
    assert refused(text, text.index(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on the west side", "west"),
        ("not on Monday but Tuesday", "Tuesday"),
        ("I don't mind Tuesday", "Tuesday"),
        ("I'm not sure. Tuesday?", "Tuesday"),
        ("no", "no"),
    ],
)
def test_not_refused(text: str, value: str) -> None:
    assert not refused(text, text.index(value))
