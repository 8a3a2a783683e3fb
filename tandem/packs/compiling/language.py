"""The controlled language: what each clause of a numbered sentence asks for. It knows the pack's names and no model."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from tandem.packs.compiling import text as words_of
from tandem.packs.compiling.text import Mistake
from tandem.packs.model import Pack

Verb: TypeAlias = Literal[
    "ask", "choose", "confirm", "call", "program", "consent", "approve", "say", "knowledge", "hand_over", "stop",
    "go_on", "retry",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing to do. Which fields matter follows from the verb."""

    verb: Verb
    sentence: int
    words: str
    said: str | None = None  # in quotes
    name: str = ""  # tool, program, skill group
    slots: tuple[str, ...] = ()
    any_of: bool = False
    again: bool = False
    gives: str | None = None
    items: tuple[str, str] = ("", "")  # choose: the list, and the field that tells one from another
    to: int | None = None  # go_on: a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """When a branch is taken. With `fails` the call said no or failed; `formal` is in the language of conditions."""

    formal: str | None = None
    fails: bool = False
    refused: bool = False  # "if not"
    agreed: bool = False  # "if so"
    times: int | None = None
    otherwise: bool = False
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    sentence: int
    words: str
    conditions: tuple[Condition, ...]
    actions: tuple[Action, ...]
    whatever: bool = False  # of the whole procedure: what fails and is not provided for


Part: TypeAlias = Action | Branch

_N = r"(\d+|once|one|first|twice|two|second|three|third|four|fourth|five|fifth|six|sixth)"
_VERB = re.compile(
    r"^(ask|say|tell|inform|explain|hand over|stop|end here|go on|continue|try again|look in the knowledge)\b", re.I
)
_APPROVE = re.compile(r"^(an? |the )?(expert|colleague|person)s? (must|has to|have to) approve\b", re.I)
_CONSENT = re.compile(r"^ask (for )?(the |their |the customer's )?(consent|agreement)\b", re.I)
_OPENS = re.compile(r"^(if|unless|otherwise|whatever|after|the)\b", re.I)
_AFTER = re.compile(
    rf"^after (?:the )?{_N}(?: (?:times?|diagnos[ei]s|calls?|attempts?|tries|visits?|failures?))?,? ", re.I
)
_NTH = re.compile(rf"^the {_N} time,? ", re.I)
_TIMES = re.compile(rf"\b(?:fails?|failed) (?:for )?(?:the )?{_N}(?: times?)?$", re.I)
_FAILS = re.compile(r"^[\w' -]*\b(fails|failed|cannot be \w+( \w+)*|does not work)( otherwise| too)?$", re.I)
_DECLINED = re.compile(
    r"^(it is not approved|it is rejected|(the customer|they) (declines?|refuses?|says? no|does not agree|do not agree)|"
    r"there (is|are) none)$",
    re.I,
)
_FIELDS = re.compile(r"\bof `([^`]+)` by `([^`]+)`", re.I)
_GIVES = re.compile(r",? which gives (?:the |an? )?`(\w+)`", re.I)


@dataclass(frozen=True, slots=True)
class Language:
    """The forms, over the names of one pack."""

    pack: Pack
    labels: dict[str, str] = field(default_factory=dict)  # a slot's label in the first language → the slot

    @classmethod
    def of(cls, pack: Pack) -> Language:
        first = pack.languages[0]
        labels = {slot.label[first].lower(): name for name, slot in pack.slots.items() if slot.label.get(first)}
        return cls(pack, dict(sorted(labels.items(), key=lambda item: -len(item[0]))))

    def parts(self, sentence: int, text: str) -> list[Part]:
        """The sentence's actions and branches, in order. Raises Mistake."""
        found: list[Part] = []
        for clause in words_of.clauses(text):
            if _OPENS.match(clause):
                found.append(self._branch(sentence, clause))
            else:
                found += self.actions(sentence, clause)
        return found

    def actions(self, sentence: int, clause: str) -> list[Action]:
        """What a clause without a condition asks for. Raises Mistake."""
        found = [self._action(sentence, piece) for piece in words_of.actions(clause, self._begins)]
        return [_with_said(found, at) for at, action in enumerate(found) if not _said_in_next(found, at)]

    def _begins(self, piece: str) -> bool:
        by_means = re.match(r"^(with|by|using)\b", piece)
        return bool(_VERB.match(piece) or _APPROVE.match(piece) or (self._called(piece) and not by_means))

    def _explained(self, rest: str) -> str:
        """Without an explanation before a colon: "otherwise the code is wrong: ask …"."""
        before, colon, after = rest.partition(": ")
        explains = (
            colon and "`" not in before and '"' not in before and not self._begins(before) and self._begins(after)
        )
        return after if explains else rest

    def _called(self, piece: str) -> list[str]:
        return [name for name in words_of.names(piece) if name in self.pack.tools or name in self.pack.programs]

    def _branch(self, sentence: int, clause: str) -> Branch:
        times = _AFTER.match(clause) or _NTH.match(clause)
        condition: tuple[Condition, ...]
        if times:
            condition, rest = (Condition(times=words_of.number(times.group(1))),), clause[times.end() :]
        elif clause.lower().startswith("otherwise"):
            condition, rest = (Condition(otherwise=True),), clause[len("otherwise") :].lstrip(", ")
        else:
            opening, rest = words_of.head(clause)
            condition = self._conditions(sentence, opening)
        if not rest:
            raise Mistake(sentence, f'"{clause}" has no action: write a comma and what is to be done')
        return Branch(
            sentence=sentence,
            words=clause,
            conditions=condition,
            actions=tuple(self.actions(sentence, self._explained(rest))),
            whatever=clause.lower().startswith("whatever"),
        )

    def _conditions(self, sentence: int, opening: str) -> tuple[Condition, ...]:
        if opening.lower().startswith("whatever"):
            return (Condition(fails=True),)
        negated = opening.lower().startswith("unless")
        bare = re.sub(r"^(if|unless) ", "", opening, flags=re.I)
        pieces = re.split(r",? or (?:if )?(?=it |that )|,? or if ", bare)
        return tuple(self._condition(sentence, piece.strip(), negated) for piece in pieces)

    def _condition(self, sentence: int, words: str, negated: bool) -> Condition:
        inside = words_of.formal(words)
        plain = re.sub(r"\s*\([^()]*(\([^()]*\)[^()]*)*\)", "", words).strip() if inside else words
        times = _TIMES.search(plain)
        said_so = "fails" in plain.split() if inside else bool(_FAILS.match(plain))
        fails = said_so or (inside or "").startswith("it fails")
        if times:
            return Condition(times=words_of.number(times.group(1)))
        if inside is not None:
            inside = re.sub(r"^it fails(,| and)?\s*", "", inside) or None
            return Condition(formal=inside, fails=fails, negated=negated)
        if fails or _DECLINED.match(plain):
            return Condition(fails=True)
        if plain.lower() in ("not", "no"):
            return Condition(refused=True)
        if plain.lower() in ("so", "yes"):
            return Condition(agreed=True)
        if "`" in words:
            return Condition(formal=words, negated=negated)
        raise Mistake(
            sentence, f'"if {words}": say in parentheses what decides, as in "if {words} (`field` is `value`)"'
        )

    def _action(self, sentence: int, piece: str) -> Action:
        said = words_of.quoted(piece)
        make = _maker(sentence, piece, said)
        lower = piece.lower()
        called = self._called(piece)
        if _CONSENT.match(piece):
            return make("consent")
        if _APPROVE.match(piece):
            return make("approve")
        if called:
            return self._call(sentence, piece, called, make)
        if lower.startswith("ask"):
            return self._ask(sentence, piece, make)
        if lower.startswith(("say", "tell", "inform", "explain")):
            return make("say")
        if lower.startswith("hand over"):
            return make("hand_over", name=self._group(piece))
        if lower.startswith(("stop", "end here")):
            return make("stop")
        if lower.startswith(("go on", "continue")):
            to = re.search(r"\bsentence (\d+)$", piece)
            return make("go_on", to=int(to.group(1)) if to else None)
        if lower.startswith("try again"):
            return make("retry")
        if lower.startswith("look in the knowledge"):
            return make("knowledge")
        unnamed = [name for name in words_of.names(piece) if name not in self.pack.slots]
        hint = (
            f"; there is no tool {unnamed[0]!r}, the pack has {', '.join(sorted(self.pack.tools))}" if unnamed else ""
        )
        raise Mistake(sentence, f'"{piece}" is no action{hint}')

    def _call(self, sentence: int, piece: str, called: list[str], make: Callable[..., Action]) -> Action:
        if len(called) > 1:
            raise Mistake(sentence, f'"{piece}" calls {" and ".join(called)}: write an action for each')
        gives = _GIVES.search(piece)
        verb: Verb = "call" if called[0] in self.pack.tools else "program"
        return make(verb, name=called[0], gives=gives.group(1) if gives else None)

    def _ask(self, sentence: int, piece: str, make: Callable[..., Action]) -> Action:
        fields, gives = _FIELDS.search(piece), _GIVES.search(piece)
        if fields:
            if gives is None:
                raise Mistake(sentence, f'"{piece}": say what the chosen one is called: "…, which gives the `chosen`"')
            return make("choose", items=fields.groups(), gives=gives.group(1))
        if re.match(r"^ask (whether|if)\b", piece, re.I):
            facts = [text.strip("`") for text in words_of.parenthesised(piece) if re.fullmatch(r"`\w+`", text)]
            if not facts:
                raise Mistake(
                    sentence, f'"{piece}": name the fact that the answer becomes, as in "ask whether … (`fact`)"'
                )
            return make("confirm", gives=facts[0])
        again = bool(re.search(r"\bagain\b", piece, re.I))
        slots = tuple(name for name in words_of.names(piece) if name in self.pack.slots) or self._labelled(piece)
        if not slots and not again:
            known = ", ".join(f"`{name}`" for name in sorted(self.pack.slots))
            raise Mistake(sentence, f'"{piece}" names nothing to ask for; the pack knows {known}')
        return make("ask", slots=slots, any_of=bool(re.search(r"` or (the |its )?`", piece)), again=again)

    def _labelled(self, piece: str) -> tuple[str, ...]:
        lower = piece.lower()
        found = {lower.find(label): slot for label, slot in self.labels.items() if label in lower}
        return tuple(found[at] for at in sorted(found))

    def _group(self, piece: str) -> str:
        bare = words_of.names(piece) + re.findall(r"\w+", re.sub(r'"[^"]*"', "", piece).lower())
        return next((word for word in bare if word in self.pack.skill_groups), "")


def _maker(sentence: int, words: str, said: str | None) -> Callable[..., Action]:
    def make(verb: Verb, **more: object) -> Action:
        return Action(verb=verb, sentence=sentence, words=words, said=said, **more)  # type: ignore[arg-type]

    return make


def _said_in_next(found: list[Action], at: int) -> bool:
    """What is said right before consent is asked, or a person takes over, is said in that very message."""
    if found[at].verb != "say" or at + 1 >= len(found) or found[at + 1].verb not in ("consent", "hand_over"):
        return False
    return found[at].said is None or found[at + 1].said is None


def _with_said(found: list[Action], at: int) -> Action:
    action = found[at]
    if action.said is not None or at == 0 or not _said_in_next(found, at - 1):
        return action
    return replace(action, said=found[at - 1].said)
