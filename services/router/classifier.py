"""Which intent a message has: rules first, then a small model, each with a calibrated confidence.

Rungs: `rule` (an intent's example, word for word; its pattern; nothing but values), `small` (the pack's trained intents, or
nearest examples by sentence embedding and by words; by words alone for Chinese, whose embeddings the encoder does not know,
and while no encoder serves). A pack with `classifier: rule` never asks the encoder.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from services.router.extraction import Extraction
from services.router.similarity import piece_features, word_features
from services.router.trained import intents_of, verdict
from services.router.views import OFF_TOPIC, VAGUE, Example, Matrix, Verdict, View
from tandem.brains.background import OFF_TOPIC as OFF_TOPIC_SENTENCES
from tandem.brains.background import VAGUE as VAGUE_SENTENCES
from tandem.brains.background import VAGUE_WORDS, VAGUE_ZH
from tandem.clock import Clock
from tandem.contracts.ticket import Candidate, Route
from tandem.errors import Unavailable
from tandem.packs.model import Intent, Pack
from tandem.rpc.ports import Llm
from tandem.text import STOP_WORDS, is_cjk, words

logger = logging.getLogger(__name__)

BY_EXAMPLE = 0.99
BY_PATTERN = 0.97
AMBIGUOUS_PATTERN = 0.5
VAGUE_CAP = 0.3
"""A message of words that say nothing is never surer than this."""

_CLAUSE = re.compile(r"[,;!?\n，。；！？]+|\.(?=\s)")

MAX_CANDIDATES = 5
PREPARE_DEADLINE_S = 60.0
AT_ONCE = 512
"""Examples embedded in one call."""

EMBED_DEADLINE_S = 1.5
PATIENCE_S = 4.0
"""How long a message waits for the encoder, the first one's preparation included."""

RETRY_S = 5.0
"""After the encoder failed, words alone decide for this long."""

HEAD_EXAMPLES = 4
"""An intent with so many examples, or a procedure, is one that customers come with often."""


class Classifier:
    """Classifies messages of one version of a pack. Prepared at the first message that needs it."""

    def __init__(self, pack: Pack, llm: Callable[[], Llm], clock: Clock, neutral: Callable[[str], str]) -> None:
        """`neutral` takes ids, numbers and addresses out of an example, as it was done with the message."""
        self._pack = pack
        self._llm = llm
        self._clock = clock
        self._patterns = [
            (intent.name, re.compile(pattern, re.IGNORECASE))
            for intent in pack.intents.values()
            for pattern in intent.patterns
        ]
        own = [
            Example(neutral(text), intent.name)
            for intent in pack.intents.values()
            for text in (*chain.from_iterable(intent.examples.values()), *intent.label.values())
        ]
        self._wordings = _wordings(own)
        features = word_features if pack.classifier == "rule" else piece_features
        self._latin = [e for e in own if not is_cjk(e.text)] + _background("en")
        self._lexical = {
            "latin": View(self._latin, features),
            "cjk": View([e for e in own if is_cjk(e.text)] + _background("zh"), features),
        }
        self._trained = intents_of(pack) if pack.classifier == "embedding" else None
        self._preparing: asyncio.Task[View] | None = None
        self._dense_after = 0.0

    async def warm(self) -> None:
        """Embed the examples, if the pack wants that. Raises Unavailable."""
        if self._by_embedding and self._trained is None:
            await self._prepared()

    @property
    def _by_embedding(self) -> bool:
        return self._pack.classifier == "embedding" and self._lexical["latin"].has_intents

    async def classify(self, message: Extraction) -> Route:
        """The intent part of a route."""
        said = telling(message.gist)
        ruled = self._by_rule(message, said)
        if ruled is not None:
            return ruled
        if is_cjk(said):
            verdict = self._lexical["cjk"].classify(said)
        else:
            verdict = await self._similar(said)
        return self._route(verdict, capped=says_nothing(said))

    def _by_rule(self, message: Extraction, said: str) -> Route | None:
        own_words, text = bool(words(message.rest)), message.masked
        exactly = self._wordings.get(_normal(message.gist)) or self._wordings.get(_normal(said))
        if exactly and own_words:
            return self._as_route(((exactly, BY_EXAMPLE),), 0.0, "rule")
        matched = {name: match.end() - match.start() for name, p in self._patterns if (match := p.search(text))}
        if matched:
            names = sorted(matched, key=lambda name: -matched[name])[:MAX_CANDIDATES]
            share = BY_PATTERN if len(names) == 1 else AMBIGUOUS_PATTERN
            candidates = [
                (name, share if i == 0 else (BY_PATTERN - share) / len(names)) for i, name in enumerate(names)
            ]
            return self._as_route(tuple(candidates), 0.0, "rule")
        return None if own_words else Route(rung="rule")

    async def _similar(self, said: str) -> Verdict:
        if self._by_embedding and self._clock.boot() >= self._dense_after:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    return await self._by_meaning(said)
            except TimeoutError:
                logger.info("the examples are not embedded yet, words alone decide", extra={"pack": self._pack.name})
            except Unavailable as error:
                logger.warning("no encoder, words alone decide", extra={"pack": self._pack.name, "error": str(error)})
                self._dense_after = self._clock.boot() + RETRY_S
        return self._lexical["latin"].classify(said)

    async def _by_meaning(self, said: str) -> Verdict:
        if self._trained is not None:
            return verdict(self._trained, said, await self._vector(said))
        view = await self._prepared()
        return view.classify(said, await self._vector(said))

    async def _vector(self, said: str) -> Matrix:
        vector: Matrix = (await self._llm().embed([said], EMBED_DEADLINE_S))[0]
        return vector

    async def _prepared(self) -> View:
        """The view with the examples' embeddings, made once: whoever waits may give up, the work goes on."""
        task = self._preparing
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._preparing = asyncio.create_task(self._prepare(), name=f"router:prepare:{self._pack.name}")
        return await asyncio.shield(task)

    async def _prepare(self) -> View:
        texts = [e.text for e in self._latin]
        parts = [
            await self._llm().embed(texts[at : at + AT_ONCE], PREPARE_DEADLINE_S)
            for at in range(0, len(texts), AT_ONCE)
        ]
        return await asyncio.to_thread(View, self._latin, piece_features, np.concatenate(parts, dtype=np.float32))

    def _route(self, verdict: Verdict, capped: bool) -> Route:
        candidates, out_of_scope = verdict.candidates[:MAX_CANDIDATES], verdict.out_of_scope
        if capped and candidates:
            best = max(candidates[0][1], 1e-6)
            shrink = min(1.0, VAGUE_CAP / best)
            candidates = tuple((name, p * shrink) for name, p in candidates)
            out_of_scope = min(out_of_scope, VAGUE_CAP)
        return self._as_route(candidates if verdict.nearest > 0 else (), out_of_scope, "small")

    def _as_route(self, candidates: tuple[tuple[str, float], ...], out_of_scope: float, rung: str) -> Route:
        name, confidence = candidates[0] if candidates else (None, 0.0)
        intent = self._pack.intents.get(name) if name else None
        if intent is None or out_of_scope > confidence:
            intent = None
        return Route.made(
            intent=intent.name if intent else None,
            confidence=round(confidence, 4),
            candidates=tuple(Candidate.made(intent=name, confidence=round(p, 4)) for name, p in candidates),
            scenario=intent.scenario if intent else "consult",
            out_of_scope=round(out_of_scope, 4),
            frequency="head" if intent and is_head(intent) else "tail",
            rung=rung,
        )


def telling(text: str) -> str:
    """The message without the clauses that say nothing ("hello, …"); the whole of it if no other is there."""
    clauses = [clause for clause in _CLAUSE.split(text) if words(clause)]
    kept = [clause.strip() for clause in clauses if not says_nothing(clause)]
    return text if not kept or len(kept) == len(clauses) else ", ".join(kept)


def says_nothing(text: str) -> bool:
    """True if every word of the message could be said of anything."""
    if is_cjk(text):
        return all(char in VAGUE_ZH for char in "".join(words(text)))
    content = [word for word in words(text) if word not in STOP_WORDS]
    return all(word in VAGUE_WORDS for word in content)


def is_head(intent: Intent) -> bool:
    """Whether customers come with this intent often."""
    return intent.procedure is not None or sum(map(len, intent.examples.values())) >= HEAD_EXAMPLES


def _wordings(examples: Sequence[Example]) -> dict[str, str]:
    """What is an example of one intent and of no other, and of which."""
    labels: dict[str, set[str]] = {}
    for example in examples:
        labels.setdefault(_normal(example.text), set()).add(example.label)
    return {wording: label for wording, (label, *others) in labels.items() if wording and not others}


def _normal(text: str) -> str:
    return " ".join(words(text))


def _background(language: str) -> list[Example]:
    vague = [Example(text, VAGUE) for text in VAGUE_SENTENCES[language]]
    return vague + [Example(text, OFF_TOPIC) for text in OFF_TOPIC_SENTENCES[language]]
