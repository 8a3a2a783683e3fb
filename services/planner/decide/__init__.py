"""The functional core: what a message does to a ticket. No I/O, no clock, no randomness.

`decide` is all of the platform's judgement about one ticket: it takes the ticket as it was, one message of its mailbox,
the message's append time and the pack, and gives the ticket as it is and what to publish. The owner commits it.
"""

from __future__ import annotations

from services.planner.decide import customer, experts, notes, results, timers
from services.planner.decide.draft import Decision, Draft
from services.planner.decide.lifecycle import busy, expert_task, handover, settle
from tandem.contracts.inbox import (
    AnyInboxMessage,
    ExpertAction,
    ReceiptForwarded,
    RoutedMessage,
    StepCompleted,
    StepFailed,
    StepProgress,
    StepsCompleted,
    TaskDeadLettered,
    TicketNoted,
    TimerFired,
)
from tandem.contracts.ticket import Budget, Status, Ticket
from tandem.contracts.values import Millis, derive_id, digest
from tandem.packs.model import Pack

__all__ = ["Decision", "decide", "quarantine"]

MAX_READS = 4
"""Rounds of reading unread messages after one decision."""


def decide(
    ticket: Ticket | None, message: AnyInboxMessage | StepsCompleted, now: Millis, pack: Pack, offset: int
) -> Decision:
    """What `message` (at `offset` of the mailbox, appended at `now`; of several, the last) does to `ticket`."""
    draft = _draft(ticket, message, now, pack, offset)
    if draft is None:
        return Decision(None, ())
    notes.give_up(draft)
    if draft.quarantined:
        _queue(draft, message)
    else:
        _apply(draft, message)
        _read_on(draft)
        settle(draft)
        notes.set_aside(draft)
    return draft.seal()


def quarantine(
    ticket: Ticket | None, message: AnyInboxMessage, error: str, now: Millis, pack: Pack, offset: int
) -> Decision:
    """`decide` failed on this message: the ticket goes to a person, and later messages queue in it."""
    draft = _draft(ticket, message, now, pack, offset)
    if draft is None:
        return Decision(None, ())
    draft.quarantined = error[:500]
    draft.event("quarantined", text=error[:500])
    draft.status = Status.WORKING
    handover(draft, "quarantined", say="handover_failed")
    draft.timers = {}
    settle(draft)
    return draft.seal()


def _draft(
    ticket: Ticket | None, message: AnyInboxMessage | StepsCompleted, now: Millis, pack: Pack, offset: int
) -> Draft | None:
    if ticket is not None and ticket.status is not Status.CLOSED:
        named = getattr(message, "ticket", None)
        if named is not None and named != ticket.id:
            return None
        return Draft(ticket, pack, now, offset, message.TYPE)
    if not isinstance(message, RoutedMessage):
        return None
    seen = ticket.seen if ticket else ()
    if digest(message.id) in seen:
        return None  # said again after the ticket it belongs to was closed
    # Versions of a conversation form one chain: a closed ticket's successor counts on.
    version = ticket.version if ticket else 0
    return Draft(open_ticket(message, now, pack, seen, version), pack, now, offset, message.TYPE)


def open_ticket(routed: RoutedMessage, now: Millis, pack: Pack, seen: tuple[str, ...] = (), version: int = 0) -> Ticket:
    """A new ticket for a conversation's first message, or the first after the last ticket was closed."""
    message = routed.message
    return Ticket.made(
        id=derive_id("ticket", routed.conversation, routed.id),
        conversation=routed.conversation,
        tenant=routed.tenant,
        channel=message.channel,
        thread=message.thread,
        pack=pack.name,
        pack_hash=pack.hash,
        created_at=now,
        now=now,
        turn=0,
        seen=seen,
        version=version,
        language=routed.route.language if routed.route.language in pack.languages else pack.languages[0],
        budget=Budget.made(limit=pack.budget),
    )


def _apply(draft: Draft, message: AnyInboxMessage | StepsCompleted) -> None:
    match message:
        case RoutedMessage():
            customer.on_message(draft, message)
        case StepCompleted():
            results.on_completed(draft, message)
        case StepsCompleted():
            for result in message.results:
                results.on_completed(draft, result)
        case StepFailed():
            results.on_failed(draft, message)
        case StepProgress():
            results.on_progress(draft, message)
        case TimerFired():
            timers.on_timer(draft, message)
        case ReceiptForwarded():
            draft.event("delivered", name=message.reply)
        case TaskDeadLettered():
            results.on_dead_letter(draft, message)
        case ExpertAction():
            experts.on_expert(draft, message)
        case TicketNoted():
            notes.on_noted(draft, message)


def _read_on(draft: Draft) -> None:
    """Read what the customer wrote, once the burst is over and whenever the turn under way allows."""
    for _ in range(MAX_READS):
        pressed = any(message.action is not None for message in draft.unread)
        waiting = "burst" in draft.timers and not pressed
        if not draft.unread or waiting or draft.owner != "bot" or draft.status is Status.HANDED_OVER:
            return
        draft.disarm("burst")
        before = len(draft.unread)
        customer.read(draft)
        if len(draft.unread) == before and busy(draft):
            return


def _queue(draft: Draft, message: AnyInboxMessage | StepsCompleted) -> None:
    """A quarantined ticket only collects; a person reads it."""
    if isinstance(message, RoutedMessage) and customer.first_time(draft, message.id):
        text = message.message.text()
        draft.remember("customer", text)
        draft.event("message_received", text=text, name=message.message.id)
        draft.ask_expert(expert_task(draft, "message", draft.outcome or "the customer wrote", text))
    elif isinstance(message, ExpertAction):
        experts.on_expert(draft, message)
    elif isinstance(message, TimerFired):
        timers.on_timer(draft, message)
    if not draft.timers and draft.status is not Status.CLOSED:
        draft.arm("expert", draft.pack.timers.expert)
