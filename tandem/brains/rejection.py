"""Whether the customer wants, or merely says, what no procedure covers: judged apart from the steps, since it is rare."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tandem.brains.compiled import Compiled, Floats
from tandem.brains.policy import chance
from tandem.brains.rank_features import NAN, Seen
from tandem.brains.state import GREETING, NO, THANKS, YES, State, words
from tandem.brains.trees import Trees
from tandem.brains.values import Vectors

OUT_OF_SCOPE = "out_of_scope"
NEAR = 5
REMEMBERED = 4_096
"""Messages whose oddness is kept: those of a conversation are read at each of its decisions."""

_SENTENCE = re.compile(r"(?<=[.?!])\s+")


@dataclass(frozen=True)
class Lexicon:
    """What words say of a rejection."""

    telling: Mapping[str, float]  # words and pairs of words → log odds of a rejection
    rarity: Mapping[str, float]  # words → how rare they are in what is not rejected

    @cached_property
    def rarest(self) -> float:
        return max(self.rarity.values(), default=0.0)

    @cached_property
    def oddness(self) -> Callable[[str], list[float]]:
        """Of each sentence how much its words are those of rejected messages."""
        return lru_cache(REMEMBERED)(self._oddness)

    def _oddness(self, text: str) -> list[float]:
        return [
            sum(self.telling.get(gram, 0.0) for gram in grams(one)) / max(3, len(grams(one))) for one in sentences(text)
        ]


@dataclass(frozen=True)
class Rejector:
    """Says how likely it is that a message is to be answered with "out of scope"."""

    lexicon: Lexicon
    direction: Vectors  # from other messages to rejected ones
    rejected: Vectors  # messages that were rejected
    others: Vectors  # and some that were not
    trees: Trees
    threshold: float  # chance from which a message is rejected

    def chance(self, seen: Seen, procedures: Sequence[Compiled]) -> float:
        """0 where the customer did not speak last."""
        if seen.state.last != "customer":
            return 0.0
        nearest = nearness(seen.latest @ self.rejected.T, seen.latest @ self.others.T)
        along = float(self.direction @ seen.latest)
        row = [*signs(seen, procedures), *wording(seen.state, self.lexicon), along, *nearest]
        return chance(float(self.trees.predict(np.array([row], np.float32))[0]))


def signs(seen: Seen, procedures: Sequence[Compiled]) -> list[float]:
    """What the state and the linear model say."""
    state, latest = seen.state, seen.state.latest
    own = seen.labels.get(OUT_OF_SCOPE, NAN)
    rest = sorted((score for label, score in seen.labels.items() if label != OUT_OF_SCOPE), reverse=True)
    tasks = sorted(seen.tasks.values(), reverse=True)
    first, second = [*rest, NAN, NAN][:2]
    names = [act.name for act in state.steps]
    owner = next((one for one in procedures if names and names[-1] in one.index), None)
    last = owner.index[names[-1]] if owner else 0
    likeliest = max(procedures, key=lambda one: seen.tasks.get(one.name, NAN))
    foreign = [word for word in seen.words if word not in likeliest.own_words]
    return [
        own,
        first,
        second,
        own - first,
        *[*tasks, NAN, NAN][:2],
        max(float(one.scope[0] @ seen.latest) for one in procedures),
        max(float((one.texts @ seen.latest).max()) for one in procedures),
        *(float(pattern.search(latest) is not None) for pattern in (YES, NO, THANKS, GREETING)),
        float("?" in latest),
        float(len(seen.words)),
        float(len(state.said)),
        float(len(names)),
        float(names.count(OUT_OF_SCOPE)),
        float(names[-1:] == [OUT_OF_SCOPE]),
        float(owner.kinds[last]) if owner else NAN,
        float(owner.texts[last] @ seen.latest) if owner else NAN,
        len(foreign) / max(1, len(seen.words)),
        float(max((len(one.mentions.named(latest)[1]) for one in procedures), default=0)),
        float(len(state.returned)),
        float(bool(state.free)),
        *(counts.get(OUT_OF_SCOPE, 0) / (sum(counts.values()) + 1) for counts in seen.usual),
    ]


def nearness(rejected: Floats, others: Floats) -> list[float]:
    """Of a message's similarities to rejected and to other messages."""
    bad, good = np.sort(rejected)[::-1][:NEAR], np.sort(others)[::-1][:NEAR]
    if not len(bad) or not len(good):
        return [NAN] * 5
    return [float(bad[0]), float(bad.mean()), float(good[0]), float(good.mean()), float(bad.mean() - good.mean())]


def wording(state: State, lexicon: Lexicon) -> list[float]:
    """How much the customer's words are those of rejected messages, and how rare they are; of its sentences the worst; and
    whether messages before it were rejected, or let pass."""
    text = state.latest
    weights = sorted((lexicon.telling.get(gram, 0.0) for gram in grams(text)), reverse=True)
    odd = lexicon.oddness(text)
    rare = [[lexicon.rarity.get(word, lexicon.rarest) for word in words(one)] or [0.0] for one in sentences(text)]
    before = [(max(lexicon.oddness(message)), answer) for message, answer in answered(state)]
    passed = max((own for own, answer in before if answer != OUT_OF_SCOPE), default=NAN)
    return [
        sum(weights),
        sum(weights) / max(4, len(weights)),
        sum(weights[:3]),
        max(odd),
        odd[-1],
        max(max(one) for one in rare),
        max(sum(one) / len(one) for one in rare),
        float(len(rare)),
        passed,
        max(odd) - passed,
        max((own for own, answer in before if answer == OUT_OF_SCOPE), default=NAN),
    ]


def answered(state: State) -> list[tuple[str, str]]:
    """The customer's messages before the last, each with the step that followed it."""
    found: list[tuple[str, str]] = []
    text = ""
    for turn in state.situation.turns:
        if turn.who == "customer":
            text = turn.text
        elif text and turn.who in ("agent", "call"):
            found.append((text, turn.step or turn.api))
            text = ""
    return found


def sentences(text: str) -> list[str]:
    return [one for one in _SENTENCE.split(text) if one.strip()] or [text]


def grams(text: str) -> frozenset[str]:
    """Words and pairs of words."""
    found = words(text)
    return frozenset((*found, *(f"{a} {b}" for a, b in pairwise(["^", *found, "$"]))))


def arrays(rejector: Rejector) -> dict[str, NDArray[np.float16]]:
    """For saving, beside the trees."""
    return {
        "rejected": rejector.rejected.astype(np.float16),
        "accepted": rejector.others.astype(np.float16),
        "direction": rejector.direction.astype(np.float16),
    }
