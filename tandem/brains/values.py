"""What the small models are asked, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

StepKind = Literal["ask", "ask_confirm", "call", "reply", "reject", "close"]
Type = Literal["choice", "choices", "text", "long_text", "integer", "boolean", "request"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing that happened: somebody said something, the agent called an API, the API answered."""

    who: Literal["customer", "agent", "call", "return"]
    text: str = ""
    step: str = ""  # of the procedure, if the agent's words are one of its steps
    api: str = ""
    params: Mapping[str, str] = field(default_factory=dict)  # of a call
    item: Mapping[str, Any] = field(default_factory=dict)  # of a return


@dataclass(frozen=True, slots=True)
class Situation:
    """A moment at which the agent has to act."""

    turns: Sequence[Turn]
    today: str = ""  # "Saturday the 6th, 11 am"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an API, as its schema says."""

    name: str
    type: Type
    categories: tuple[str, ...] = ()
    label: str = ""  # how people call it
    required: bool = False


@dataclass(frozen=True, slots=True)
class Api:
    """An operation that a procedure calls."""

    name: str
    parameters: tuple[Parameter, ...]
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """Something the agent may do under a procedure."""

    name: str
    kind: StepKind
    text: str = ""  # template of what is said
    api: str = ""  # of a call


@dataclass(frozen=True)
class Procedure:
    """A procedure: its steps in order, and what follows what. Edges may start at conditions such as `query_success` or `yes`."""

    name: str
    steps: tuple[Step, ...]
    edges: Mapping[str, str]
    api: Api
    scope: str = ""  # what it is for, in words that customers are told
    others: tuple[Api, ...] = ()  # that it calls beside its main one


@dataclass(frozen=True, slots=True)
class Decision:
    """What the agent should do next."""

    task: str
    action: StepKind
    step: str  # of the procedure; a call is the API's name
    api: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    confidence: float = 0.0
    rejection: float = 0.0  # how likely it is that the customer wants what no procedure covers


class Embed(Protocol):
    """Texts to unit vectors, one a row."""

    def __call__(self, texts: Sequence[str]) -> Vectors: ...
