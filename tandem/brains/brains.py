"""The small models of one pack, together: what to do next, with which values, and what to say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tandem.brains.compiled import name_words
from tandem.brains.extraction import Extractor
from tandem.brains.policy import Policy, Ranked, chance
from tandem.brains.rank_features import Seen
from tandem.brains.rejection import OUT_OF_SCOPE, Rejector
from tandem.brains.state import State, plain
from tandem.brains.values import Api, Decision, Situation

_PLACEHOLDER = re.compile(r"\{(\w+)(?::[^}]*)?\}")


@dataclass(frozen=True)
class Brains:
    """Loaded once, used by router, function agent and planner's worker; blocking."""

    policy: Policy
    extractor: Extractor
    rejector: Rejector | None = None  # None: nobody is told that something is out of scope
    facts: Mapping[str, Any] = field(default_factory=dict)  # data hash, date, figures, procedures trained on

    def decide(self, situation: Situation) -> Decision:
        """The next step."""
        seen = self.policy.see(situation)
        ranked = self.policy.rank(seen)
        rejecting = self.rejector.chance(seen, self.policy.procedures) if self.rejector else 0.0
        best = choose(ranked, self.rejector is not None and rejecting > self.rejector.threshold)
        step = best.step
        api = self._api(step.api) if step.kind == "call" else None
        params = self.extractor.fill(situation, api) if api else {}
        text = "" if api else render(step.text, seen.state)
        return Decision(best.procedure, step.kind, step.name, step.api, params, text, chance(best.score), rejecting)

    def route(self, situation: Situation) -> list[tuple[str, float]]:
        """Procedures, the likeliest first, with how likely they are."""
        return self.policy.route(self.policy.see(situation))

    def look(self, situation: Situation) -> Seen:
        return self.policy.see(situation)

    def _api(self, name: str) -> Api:
        procedures = [one.procedure for one in self.policy.procedures]
        return next(api for one in procedures for api in (one.api, *one.others) if api.name == name)


def is_rejection(ranked: Ranked) -> bool:
    """Whether a step says that the request is out of scope; a refusal for lack of proof of identity is none."""
    return ranked.step.kind == "reject" and ranked.step.name == OUT_OF_SCOPE


def choose(ranked: Sequence[Ranked], reject: bool) -> Ranked:
    """The best step that is a rejection, or that is none."""
    return next((one for one in ranked if is_rejection(one) == reject), ranked[0])


def render(template: str, state: State) -> str:
    """The template, with its placeholders filled from what the last call returned and was made with."""
    turns = reversed(state.situation.turns)
    called = next((turn.params for turn in turns if turn.who == "call"), {})
    values = {name: plain(value) for name, value in (*called.items(), *state.returned.items())}

    def filled(match: re.Match[str]) -> str:
        wanted = name_words(match.group(1))
        best = max(values, key=lambda name: (len(wanted & name_words(name)), -len(name)), default="")
        return values[best] if best and wanted & name_words(best) else ""

    return _PLACEHOLDER.sub(filled, template)
