"""A recorded dialogue's own customer: says only what the real one said."""

from __future__ import annotations

from tandem.bench.star.data import Dialogue

DONT_REMEMBER = "I don't remember"


class Script:
    """What the customer of one dialogue says next."""

    def __init__(self, dialogue: Dialogue, parameters: dict[str, str], books: bool) -> None:
        """`parameters`: question's label → the parameter it asks for. `books`: the dialogue makes the write."""
        self._dialogue = dialogue
        self._parameters = parameters
        self._books = books
        self._openings = list(dialogue.openings or dialogue.said[:1])

    def opening(self) -> str | None:
        """The next of the real customer's opening messages."""
        return self._openings.pop(0) if self._openings else None

    def answer(self, label: str) -> str:
        """To a question whose step the real customer answered, that answer; else where it says the value; else neither."""
        known = self._dialogue.answers.get(label)
        if known is not None:
            return known
        called = self._dialogue.queries[-1].params if self._dialogue.queries else {}
        value = called.get(self._parameters.get(label, ""), "")
        return next((text for text in self._dialogue.said if value and value in text.lower()), DONT_REMEMBER)

    def confirm(self) -> str:
        return "yes" if self._books else "no"
