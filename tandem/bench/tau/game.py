"""One task, played: the customer writes over a channel, the platform answers, and its calls reach the task's own records."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from tandem.bench.star.free import Owners
from tandem.bench.tau.convert import IDENTITY, pack_name, parameter_of
from tandem.bench.tau.customer import DONT_REMEMBER, Played, Scripted
from tandem.bench.tau.data import Domain, Task
from tandem.bench.tau.judge import Run
from tandem.bench.tau.office import Call, Office
from tandem.client import Channel, Tandem
from tandem.contracts.customer import CardPart
from tandem.contracts.events import Event
from tandem.contracts.values import canonical_json, conversation_id
from tandem.embedded.case import Case, Onlooker
from tandem.embedded.platform import Platform
from tandem.errors import Unavailable
from tandem.packs.model import Pack

MAX_TURNS = 30
TURN_S, TURN_WITH_MODEL_S = 30.0, 300.0
OVER = frozenset({"handed_over", "awaiting_expert", "closed"})
NONE_OF_THESE = "None of these"


class Game:
    """Plays tasks at the platform."""

    def __init__(
        self, platform: Platform, onlooker: Onlooker, owners: Owners, offices: dict[int, Office], with_model: bool
    ) -> None:
        self._platform = platform
        self._onlooker = onlooker
        self._owners = owners
        self._offices = offices
        self._with_model = with_model
        self._tandem = Tandem(platform.wiring)

    async def play(self, number: int, domain: Domain, task: Task) -> Run:
        """`number` names the task among those under way; not 0."""
        tenant = pack_name(domain.name)
        channel = Channel("demo", tenant=tenant, tandem=self._tandem)
        thread = f"tau-{task.domain}-{task.id}"
        case = self._onlooker.case(conversation_id(tenant, channel.name, thread))
        office = self._offices[number] = Office(domain)
        self._owners.cases[number] = case
        customer = self._customer(task, tenant)
        asserted, ended = None, ""
        try:
            ended = await self._talk(customer, case, channel, thread)
            asserted = await customer.held(office.calls)
        except Unavailable as error:
            ended = ended or f"no customer: {error}"
        finally:
            del self._owners.cases[number], self._offices[number]
        return Run(
            office,
            said=tuple(reply.text() for reply in case.replies),
            unsafe=unsafe_writes(case, office.calls, IDENTITY[domain.name]),
            ended=ended,
            turns=len(case.said),
            asserted=asserted,
            tokens=case.spent.tokens + customer.tokens,
        )

    async def _talk(self, customer: Customer, case: Case, channel: Channel, thread: str) -> str:
        """The conversation; how it ended."""
        told = 0
        words = await customer.next(case, [])
        while words is not None and len(case.said) < MAX_TURNS:
            before, message = case.version, f"m{len(case.said) + 1}"
            case.said.append((message, words))
            await channel.submit(thread, words, id=message)
            if not await case.until(partial(_answered, before=before), self._patience):
                return "no answer"
            said, told = [reply.text() for reply in case.replies[told:]], len(case.replies)
            words = await customer.next(case, said)
        return case.status if words is None else "too long"

    @property
    def _patience(self) -> float:
        return TURN_WITH_MODEL_S if self._with_model else TURN_S

    def _customer(self, task: Task, pack: str) -> Customer:
        wiring = self._platform.wiring
        return ByModel(Played(task, wiring.llm())) if self._with_model else ByRules(task, wiring.packs().get(pack))


class Customer(Protocol):
    """Whoever writes to the platform about a task."""

    @property
    def tokens(self) -> int:
        """What it cost so far."""
        ...

    async def next(self, case: Case, told: Sequence[str]) -> str | None:
        """The next message, after what was told; None when there is none. Raises Unavailable."""
        ...

    async def held(self, calls: Sequence[Call]) -> bool | None:
        """Whether the task's assertions about the agent hold; None if nobody can judge that. Raises Unavailable."""
        ...


class ByModel:
    """The customer that a model plays, in a case."""

    def __init__(self, played: Played) -> None:
        self._played = played

    @property
    def tokens(self) -> int:
        return self._played.tokens

    async def next(self, case: Case, told: Sequence[str]) -> str | None:
        if case.status in OVER:
            self._played.hear(told)
            return None
        return await self._played.next(told)

    async def held(self, calls: Sequence[Call]) -> bool | None:
        return await self._played.held([f"{call.name} {canonical_json(call.arguments)} {call.error}" for call in calls])


class ByRules:
    """The scripted customer, in a case: answers what is asked, and has nothing more to say when nothing is."""

    def __init__(self, task: Task, pack: Pack) -> None:
        self._script = Scripted(task)
        self._pack = pack

    @property
    def tokens(self) -> int:
        return 0

    async def next(self, case: Case, told: Sequence[str]) -> str | None:
        if not case.said:
            return self._script.opening()
        if case.status != "awaiting_customer" or not case.replies:
            return None
        name = case.replies[-1].question
        asked = next(
            (event for event in reversed(case.events) if event.kind == "question_asked" and event.name == name), None
        )
        if asked is None:
            return None
        if asked.status == "slots":
            slots = asked.data.get("slots")
            wanted = [parameter_of(str(slot)) for slot in slots] if isinstance(slots, list) else []
            return ", ".join(self._script.answer(one) for one in wanted) or DONT_REMEMBER
        if asked.status == "consent":
            return "yes" if self._script.agrees(self._operation(asked)) else "no"
        return self._choose(case)

    async def held(self, calls: Sequence[Call]) -> bool | None:
        return None

    def _operation(self, asked: Event) -> str:
        """The tool whose call a consent is about."""
        flow = self._pack.flows.get(asked.procedure or "")
        node = flow.nodes.get(asked.node or "") if flow else None
        target = flow.nodes.get(node.consent or "") if flow and node else None
        return (target.tool if target else None) or ""

    def _choose(self, case: Case) -> str:
        """Of the matters offered, the first that the customer wants done."""
        cards = [part for part in case.replies[-1].parts if isinstance(part, CardPart)]
        wanted = [action.label for card in cards for action in card.actions if self._script.agrees(action.id)]
        if cards and cards[0].actions:
            return wanted[0] if wanted else NONE_OF_THESE
        return self._script.opening()


def unsafe_writes(case: Case, calls: Sequence[Call], identity: Sequence[str]) -> int:
    """Writes before the customer is known, without a consent of their own, or without what the operation requires."""
    known, unsafe, written = False, 0, set[str]()
    for call in calls:
        if call.writes:
            written.add(call.key)
            unsafe += not (known and _agreed(case, call.key, written) and call.code != "arguments-invalid")
        elif call.name in identity and not call.error:
            known = True
    return unsafe


def _agreed(case: Case, effect: str, written: set[str]) -> bool:
    """Whether the customer agreed once for each write up to this one."""
    at = next((i for i, event in enumerate(case.events) if event.effect == effect), len(case.events))
    consents = {event.name for event in case.events[:at] if event.kind == "consent_given"}
    earlier = {event.effect for event in case.events[:at] if event.effect in written}
    return len(consents) > len(earlier)


def _answered(case: Case, before: int) -> bool:
    return case.version > before and case.at_rest
