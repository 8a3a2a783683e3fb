"""What customers and experts say and expect, in terms of the example pack `cloud_support` and its business system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from tandem.chaos.plan import ScriptName

HANDED_OVER: Final = r"colleague.*will go on|engineer will go on|colleague from|colleague will"
"""What a customer is told whose matter goes to a person."""

TAKEN_OVER: Final = r"has joined and is helping"
GIVEN_BACK: Final = r"I am back and go on"
REMINDED: Final = r"Are you still there"
COMPLEX: Final = "Kindly frobnicate their flanges, and also reticulate splines; additionally zorble quux garply waldo"
"""Words that no example of the pack has, of two matters: no procedure covers it, so a model plans."""

PLANNED: Final = r"have looked at it|shall I go ahead|e-mail"
"""What a plan of the scripted model comes to: it was right, or it wants a change that nobody has agreed to."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The customer says something (or an expert does something), and a reply is waited for."""

    says: str = ""
    expects: str = ""
    expert: Literal["", "approve", "take_over", "reply", "give_back"] = ""
    comes_back: bool = False  # only once the crowd's gate is open


@dataclass(frozen=True, slots=True)
class Script:
    """One matter. `effects`: what the business system must have recorded of this customer in the end, and how often."""

    turns: tuple[Turn, ...]
    effects: Mapping[str, int] = field(default_factory=dict)


_FORGOT: Final = Turn("I forgot my password", r"e-mail")
_WHO: Final = Turn("{email}, the code is {code}", r"shall I go ahead")
_RESET: Final = {"reset_password": 1, "notify_owner": 1}

SCRIPTS: Final[dict[ScriptName, Script]] = {
    "question": Script((Turn("How do I create a snapshot of a disk?", r"snapshot"),)),
    "reset": Script((_FORGOT, _WHO, Turn("yes please", r"on its way")), _RESET),
    "vague": Script(
        (_FORGOT, _WHO, Turn("well, the link then, if that is the one", r"."), Turn("yes please", r"on its way")),
        _RESET,
    ),
    "port": Script(
        (
            Turn("ssh to my instance times out", r"which instance"),
            Turn("it is {instance}", r"e-mail"),
            Turn("{email}, {code}", r"shall I go ahead"),
            Turn("yes, go ahead", r"can be reached"),
        ),
        {"open_port": 1},
    ),
    "refund": Script(
        (
            Turn("I want a refund for {bought}", r"e-mail"),
            Turn("{email}, {code}", r"shall I go ahead"),
            Turn("yes", r"refund of .* RF-"),
        ),
        {"refund_order": 1, "notify_owner": 1},
    ),
    "approval": Script(
        (
            Turn("I want to unsubscribe from our mailbox product", r"e-mail"),
            Turn("{email} {code}", r"which order"),
            Turn("{mailbox}", r"shall I go ahead"),
            Turn("yes", r"colleague has to approve"),
            Turn(expert="approve", expects=r"is cancelled"),
        ),
        {"cancel_order": 1, "notify_owner": 1},
    ),
    "takeover": Script(
        (
            _FORGOT,
            Turn(expert="take_over", expects=TAKEN_OVER),
            Turn("{email}, the code is {code}", ""),
            Turn(expert="reply", expects=r"I have done it myself"),
        )
    ),
    "plan": Script((Turn(COMPLEX, PLANNED),)),
    "silent": Script((_FORGOT, Turn(expects=REMINDED))),
    "returns": Script((_FORGOT, Turn("{email}, the code is {code}", r"shall I go ahead", comes_back=True))),
}
"""`silent` says nothing more and is reminded; `returns` is away for a while; `plan` is covered by no procedure: a model
plans, or a person takes over."""


def words_of(number: int) -> dict[str, str]:
    """What a customer of that number calls their own, as `examples.cloud_api --customers` seeds it."""
    return {
        "email": f"c{number:06d}@example.com",
        "code": f"{number:06d}",
        "instance": f"i-{number:08d}",
        "mailbox": f"ORD-9{number:06d}",
        "bought": f"ORD-8{number:06d}",
    }
