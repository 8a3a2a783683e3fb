"""An answer shown while a model writes it: drafts on customer.replies, a sentence longer each time, void without the final."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from services.rag_agent import composition
from services.rag_agent.ranking import Ranked
from tandem.bus.base import Bus, Outgoing
from tandem.clock import Clock
from tandem.contracts.customer import Reply, ReplyText
from tandem.contracts.tasks import AnswerQuestion
from tandem.contracts.topics import CUSTOMER_REPLIES
from tandem.contracts.values import derive_id
from tandem.errors import BusUnavailable
from tandem.packs.links import MASK, without_foreign_links
from tandem.packs.model import Pack
from tandem.rpc.ports import Models
from tandem.sending import sent_by

log = logging.getLogger(__name__)


class Drafts:
    """Where drafts go, and the models that are heard while they write."""

    def __init__(self, bus: Bus, llm: Models, clock: Clock) -> None:
        self.llm = llm
        self.bus = bus
        self.clock = clock

    def wanted(self, task: AnswerQuestion) -> bool:
        """Whether the owner lets the customer see the answer before its final."""
        return bool(task.channel) and task.drafts_after is not None

    def draft(self, task: AnswerQuestion, pack: Pack, ranked: Sequence[Ranked]) -> Draft:
        return Draft(self, task, pack, ranked)


class Draft:
    """One answer while it is written. Under one id: redelivered, the task sends the same again, and readers drop it."""

    def __init__(self, drafts: Drafts, task: AnswerQuestion, pack: Pack, ranked: Sequence[Ranked]) -> None:
        self._drafts = drafts
        self._task = task
        self._links = pack.policies.links
        self._telling = composition.telling(task, pack, ranked)
        self._seq = 0
        self._over = False

    async def hear(self, written: str) -> None:
        """All that the model has written so far. What cannot be shown now is not shown: the final tells all."""
        if self._over or not self._telling.hear(written):
            return
        self._seq += 1
        try:
            await self._drafts.bus.publish([self._outgoing(self._telling.text.rstrip())])
        except BusUnavailable:
            self._over = True
            log.warning("drafts are not shown", extra={"task": self._task.id})

    def _outgoing(self, text: str) -> Outgoing:
        task = self._task
        reply = Reply(
            id=derive_id("draft", task.id),
            tenant=task.tenant,
            channel=task.channel,
            thread=task.thread,
            conversation=task.conversation,
            ticket=task.ticket,
            turn=task.turn,
            seq=self._seq,
            state="draft",
            after=task.drafts_after,
            parts=(ReplyText(text=without_foreign_links(text, self._links, MASK)),),
            language=task.language,
        )
        id_ = derive_id(reply.id, self._seq)
        return sent_by("rag_agent", CUSTOMER_REPLIES.name, reply, id_, self._drafts.clock.now())
