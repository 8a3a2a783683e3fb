"""A recorded dialogue's own customer: says only what the real one said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tandem.bench.star.data import Dialogue, normalise
from tandem.bench.star.learn import forms, mentioned

DONT_REMEMBER = "I don't remember"


class Script:
    """What the customer of one dialogue says next."""

    def __init__(self, dialogue: Dialogue, parameters: Mapping[str, str], books: bool) -> None:
        """`parameters`: question's label → the parameter it asks for. `books`: the dialogue makes the write."""
        self._dialogue = dialogue
        self._parameters = parameters
        self._books = books
        self._openings = list(dialogue.openings or dialogue.said[:1])
        self._given: dict[str, int] = {}  # label → answers given
        self._spoken: set[str] = set()

    def opening(self) -> str | None:
        """The next of the real customer's opening messages."""
        return self._say(self._openings.pop(0)) if self._openings else None

    def more(self) -> str:
        """Asked what is meant: an opening, or else the next thing the real customer said."""
        unsaid = (text for text in self._dialogue.said if text not in self._spoken)
        return self.opening() or self._say(next(unsaid, DONT_REMEMBER))

    def answer(self, label: str, parameter: str = "") -> str:
        """To a question whose step the real customer answered, that answer; asked again, the next one; else a message that says
        the value; else none. `parameter`: the one asked for, if not by a step of its own."""
        known = self._dialogue.answers.get(label, ())
        given = self._given.get(label, 0)
        self._given[label] = given + 1
        if given < len(known):
            return self._say(known[given].text)
        return self._say(self._that_says(self._parameters.get(label, parameter)) or DONT_REMEMBER)

    def reply(self, label: str) -> str | None:
        """What the real customer said when told something, if that led to another call."""
        known = self._dialogue.answers.get(label, ())
        given = self._given.get(label, 0)
        self._given[label] = given + 1
        return self._say(known[given].text) if given < len(known) and known[given].then_called else None

    def more_of(self, label: str) -> str:
        """Asked whether to go on with another request: what the real customer said to it if that led to a call, else no."""
        return self.reply(label) or "no"

    def confirm(self) -> str:
        return "yes" if self._books else "no"

    def _that_says(self, name: str) -> str | None:
        """A message that says the parameter's value, of its values over the calls the next in turn; if it is no parameter, one
        not said yet that says any value of the last call."""
        calls = self._dialogue.returns
        wanted = list(dict.fromkeys(call.params[name] for call in calls if name in call.params))
        if wanted:
            turn = self._given.get(f"value of {name}", 0)
            self._given[f"value of {name}"] = turn + 1
            return self._with([wanted[min(turn, len(wanted) - 1)]], self._dialogue.said)
        if name in self._parameters.values() or not calls:
            return None
        return self._with(calls[-1].params.values(), [text for text in self._dialogue.said if text not in self._spoken])

    def _with(self, values: Iterable[str], texts: Iterable[str]) -> str | None:
        wanted = list(values)
        return next((text for text in texts if any(says(text, value) for value in wanted)), None)

    def _say(self, text: str) -> str:
        self._spoken.add(text)
        return text


def says(text: str, value: str) -> bool:
    """Whether a message says a value: in one of its forms, or, of a longer one that the agent put in own words, most of them."""
    said = normalise(text)
    if any(mentioned(form, said) or mentioned(form, text.lower()) for form in forms(value)):
        return True
    words = set(re.findall(r"\w{4,}", value))
    return len(words) > 1 and 2 * sum(mentioned(word, said) for word in words) > len(words)
