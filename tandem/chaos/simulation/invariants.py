"""The twelve things that must always be true (docs/architecture.md), each checked over the whole history of a run."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from services.planner.decide import Decision, decide
from services.planner.store import SEPARATOR, timers_of
from tandem.bus.base import Record
from tandem.chaos.simulation.history import History, Valid, body_of
from tandem.chaos.simulation.people import Story
from tandem.chaos.simulation.stage import Stage
from tandem.contracts.inbox import InboxMessage, RoutedMessage, StepCompleted, StepsCompleted
from tandem.contracts.log import Output, StateRecord
from tandem.contracts.tasks import ExecuteTool
from tandem.contracts.ticket import Status, Ticket
from tandem.contracts.topics import DEAD_LETTERS, TICKET_INBOX, TICKET_STATE
from tandem.fenced_log import Judge
from tandem.packs.model import Pack


class Violation(NamedTuple):
    """One thing that was not as it must be."""

    invariant: int
    detail: str


class Evidence(NamedTuple):
    """All that the checks look at."""

    history: History
    stage: Stage
    stories: list[Story]
    keep_closed_ms: int


def check(evidence: Evidence) -> list[Violation]:
    """Everything that is wrong, at most a few of each kind."""
    found: list[Violation] = []
    for number, (_, look) in enumerate(INVARIANTS, 1):
        for place, detail in enumerate(look(evidence)):
            if place < 3:
                found.append(Violation(number, detail))
    return found


def one_chain(e: Evidence) -> Iterator[str]:
    for partition, states in e.history.states.items():
        last: dict[str, StateRecord] = {}
        for v in states:
            before = last.get(v.state.ticket.conversation)
            if before is not None and (v.state.version != before.version + 1 or v.state.cause <= before.cause):
                now, then = f"version {v.state.version} of cause {v.state.cause}", f"{before.version} of {before.cause}"
                yield f"state {partition}@{v.record.offset}: {now} after {then}"
            if before is None and v.state.version != 1:
                yield f"state {partition}@{v.record.offset} begins with version {v.state.version}"
            last[v.state.ticket.conversation] = v.state


def _answered_anew(record: Record) -> bool:
    """Agents that ask a model, a search or their own clock may answer a task that reached them twice in two ways, and memory
    a ticket's end: the first answer counts. The executor answers from its log, always the same."""
    said = json.loads(record.value or b"null") or {}
    return said.get("service", "executor") != "executor" or "facts" in said


def outputs_are_in_valid_records(e: Evidence) -> Iterator[str]:
    promised = {(o.topic, o.id): o for vs in e.history.states.values() for v in vs for o in v.state.outputs}
    for (topic, id), copies in e.history.published.items():
        record = copies[0][1]
        if len({(r.key, r.value) for _, r in copies}) > 1 and not _answered_anew(record):
            yield f"{topic} {id} has two contents"
        if topic in (DEAD_LETTERS.name, TICKET_INBOX.name) or topic.endswith(".retry"):
            continue  # timers that are due, and what could not be handled: neither is a decision's
        output = promised.get((topic, id))
        if output is None:
            yield f"{topic} {id} was published and is in no valid record"
        elif output.body.encode() != record.value:
            yield f"{topic} {id} was published otherwise than it was committed"


def committed_is_done(e: Evidence) -> Iterator[str]:
    published = e.history.published
    for commit in e.history.broker.commits:
        if commit.group != "planner.owner":
            continue
        for v in e.history.states[commit.partition]:
            if v.state.cause >= commit.offset:
                continue
            late = any(_first(published, o) > commit.at for o in v.state.outputs)
            if v.at > commit.at or late:
                yield f"inbox {commit.partition}: {commit.offset} was committed before {v.state.cause} was done and told"


def _first(published: dict[tuple[str, str], list[tuple[int, Record]]], output: Output) -> float:
    """When it was on the bus for the first time."""
    copies = published.get((output.topic, output.id))
    return copies[0][0] if copies else math.inf


def replay_after_compaction(e: Evidence) -> Iterator[str]:
    for partition, states in e.history.states.items():
        judge = Judge()
        store = e.stage.broker
        judge.feed(r for r in store.kept(TICKET_STATE.name, partition))
        replayed: dict[str, StateRecord] = {}
        for record in judge.survey().valid:
            body = body_of(record)
            if isinstance(body, StateRecord):
                replayed[body.ticket.conversation] = body
        for name, latest in {v.state.ticket.conversation: v.state for v in states}.items():
            kept = replayed.get(name)
            if kept != latest and not (kept is None and latest.ticket.status is Status.CLOSED):
                yield f"{name}: version {latest.version} was committed, a replay gives {kept.version if kept else 'nothing'}"


def redis_is_the_log(e: Evidence) -> Iterator[str]:
    for partition in e.history.partitions:
        fields = _hash(e, partition)
        applied = fields.pop("", None)
        if applied is None or not applied.isdigit():
            yield f"shard {partition} has no watermark after everything was quiet"
            continue
        wanted = e.history.tickets_at(partition, int(applied))
        for name, raw in fields.items():
            ticket = Ticket.model_validate_json(raw.partition(" ")[2])
            if name not in wanted or ticket != wanted[name].ticket:
                yield f"{name}: Redis at {applied} has another ticket than the log"
        missing = [n for n, s in wanted.items() if n not in fields and s.ticket.status is not Status.CLOSED]
        if missing:
            yield f"{missing[0]}: Redis at {applied} has lost the ticket"


def calls_follow_intents(e: Evidence) -> Iterator[str]:
    start = e.stage.clock.now() / 1000 - e.stage.loop.time()
    for call in e.stage.world.calls:
        if call.operation == "check":
            continue
        before = [one for one in e.history.intents.get(call.effect, []) if one[0] < call.at]
        if not before:
            yield f"{call.operation} {call.account} was called before its intent was committed"
            continue
        _, appended, intent = before[-1]
        if call.time + start > appended / 1000 + intent.call_by_ms / 1000 + 0.001:
            yield f"{call.operation} {call.account} was called {call.time + start - appended / 1000:.3f} s after its intent"
    sent = Counter(call.effect for call in e.stage.world.calls if call.operation == "charge")
    for effect, count in sent.items():
        if count > 1:
            yield f"the unsafe effect {effect} was called {count} times"


def once(e: Evidence) -> Iterator[str]:
    ids: dict[tuple[str, str, str, int], set[str]] = {}
    for v in _all(e):
        for output in v.state.outputs:
            if output.type == ExecuteTool.TYPE:
                task = ExecuteTool.model_validate_json(output.body)
                ids.setdefault((task.ticket, task.tool, task.arguments_hash, task.n), set()).add(task.effect)
    for (ticket, tool, _, _), effects in ids.items():
        if len(effects) > 1:
            yield f"ticket {ticket}: the same call of {tool} goes by {len(effects)} effect ids"
    happened = Counter((one.operation, one.account) for one in e.stage.world.effects)
    for (operation, account), count in happened.items():
        if count > 1:
            yield f"{operation} {account} happened {count} times"


def no_reply_of_an_earlier_turn(e: Evidence) -> Iterator[str]:
    for story in e.stories:
        turns = [reply.turn for reply in story.told]
        if turns != sorted(turns):
            yield f"{story.thread} was shown turns {turns}"
        ids = [reply.id for reply in story.told]
        if len(ids) != len(set(ids)):
            yield f"{story.thread} was shown a reply twice"


def within_budget(e: Evidence) -> Iterator[str]:
    for v in _all(e):
        budget = v.state.ticket.budget
        if not (budget.spent + budget.reserved).within(budget.limit):
            yield f"{v.state.ticket.conversation} version {v.state.version}: {budget}"


def timers_are_armed(e: Evidence) -> Iterator[str]:
    for v in _all(e):
        if v.state.ticket.status is not Status.CLOSED and not v.state.ticket.timers:
            yield f"{v.state.ticket.conversation} version {v.state.version} is open and has no timer"
    for partition in e.history.partitions:
        fields, timers = _hash(e, partition), _scores(e, partition)
        fields.pop("", None)
        timers.pop("", None)
        wanted: dict[str, int] = {}
        for raw in fields.values():
            wanted |= timers_of(Ticket.model_validate_json(raw.partition(" ")[2]), e.keep_closed_ms)
        if timers != wanted:
            odd = sorted(set(timers.items()) ^ set(wanted.items()))[0]
            yield f"shard {partition}: Redis's timers are not those of its tickets: {odd[0].replace(SEPARATOR, ' ')}"


def everything_is_accounted_for(e: Evidence) -> Iterator[str]:
    effects = {(one.operation, one.account) for one in e.stage.world.effects}
    for story in e.stories:
        write = {"reset": "reset", "pay": "charge", "look": "note", "tidy": "note", "order": "note"}.get(story.wish)
        if story.state in ("waiting", "lost"):
            yield f"{story.thread} ({story.wish}) waits for {story.missed or 'the end'} and nobody has the matter"
        if story.state == "done" and write is not None and (write, story.account) not in effects:
            yield f"{story.thread} was told that {write} is done, and it is not"


def decide_is_repeatable(e: Evidence) -> Iterator[str]:
    """The recorded mailbox, decided again: the same records, and none where there was none."""
    pack = e.stage.packs.get("simulated")
    for partition, states in e.history.states.items():
        mailbox = Mailbox({v.state.cause: v for v in states}, pack)
        for one in e.stage.broker.of(TICKET_INBOX.name, partition):
            message = body_of(one.record)
            if isinstance(message, InboxMessage):
                yield from mailbox.decided(message, one.record.offset, one.record.timestamp)
        yield from mailbox.left()


class Mailbox:
    """One partition's, decided again in its order. A result without a record of its own is in that of the next result."""

    def __init__(self, recorded: dict[int, Valid], pack: Pack) -> None:
        self._recorded = recorded
        self._pack = pack
        self._tickets: dict[str, Ticket] = {}
        self._results: dict[str, list[StepCompleted]] = {}

    def decided(self, message: InboxMessage, offset: int, time: int) -> Iterator[str]:
        name = message.conversation
        ticket, kept = self._tickets.get(name), self._recorded.get(offset)
        if ticket is None and not isinstance(message, RoutedMessage):
            return
        now = time if ticket is None else max(ticket.now, time)
        made = decide(ticket, self._with_results(message, kept), now, self._pack, offset)  # type: ignore[arg-type]
        if made.ticket is None:
            if kept is not None:
                yield f"inbox {offset} was decided, and is not when it is decided again"
        elif kept is None and isinstance(message, StepCompleted):
            self._results.setdefault(name, []).append(message)
        elif kept is None:
            yield f"inbox {offset} ({type(message).__name__}) was never decided"
        elif not _same(made, kept):
            yield f"inbox {offset} ({type(message).__name__}) is decided otherwise the second time"
        else:
            self._tickets[name] = kept.state.ticket

    def _with_results(self, message: InboxMessage, kept: Valid | None) -> InboxMessage | StepsCompleted:
        if kept is None or not isinstance(message, StepCompleted):
            return message
        results = self._results.pop(message.conversation, [])
        return StepsCompleted((*results, message)) if results else message

    def left(self) -> Iterator[str]:
        for name in self._results:
            yield f"{name}: a result was never decided"


def _same(made: Decision, kept: Valid) -> bool:
    again, before = made.ticket and made.ticket.changed(traceparent=None), kept.state.ticket.changed(traceparent=None)
    return (again, made.outputs) == (before, kept.state.outputs)


def _all(e: Evidence) -> Iterator[Valid]:
    for states in e.history.states.values():
        yield from states


def _hash(e: Evidence, partition: int) -> dict[str, str]:
    flat = e.stage.store.do(("HGETALL", f"tandem:{{p{partition:02d}}}:tickets"))
    return {k.decode(): v.decode() for k, v in zip(flat[::2], flat[1::2], strict=True)}


def _scores(e: Evidence, partition: int) -> dict[str, int]:
    reply = e.stage.store.do(("ZRANGE", f"tandem:{{p{partition:02d}}}:timers", 0, -1, "WITHSCORES"))
    flat = [
        part for one in reply for part in (one if isinstance(one, list | tuple) else (one,))
    ]  # by fakeredis's version
    return {k.decode(): int(float(v)) for k, v in zip(flat[::2], flat[1::2], strict=True)}


INVARIANTS: tuple[tuple[str, Callable[[Evidence], Iterator[str]]], ...] = (
    ("Valid state records of a conversation form one chain, each cause once, in inbox order.", one_chain),
    ("Every published output is in a valid record; one id, one content.", outputs_are_in_valid_records),
    ("What is committed is done, and its outputs are on the bus.", committed_is_done),
    ("Replay after any compaction equals the highest valid record.", replay_after_compaction),
    ("Redis at its watermark equals the replay to it.", redis_is_the_log),
    ("Unsafe calls at most once; every call after its valid intent and before call_by.", calls_follow_intents),
    ("At most one effect per ticket, tool and arguments.", once),
    ("No reader shows a turn below the current one, nor anything twice.", no_reply_of_an_earlier_turn),
    ("Spent and reserved stay within the limit.", within_budget),
    ("An open ticket has an armed timer, and Redis's timers are the tickets'.", timers_are_armed),
    ("In = done + waiting + dead letters.", everything_is_accounted_for),
    ("The recorded mailbox decided again gives the same records.", decide_is_repeatable),
)
