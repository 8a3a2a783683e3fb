"""What memory knows of a customer, for a model that plans: data, read with a short deadline and done without if late."""

from __future__ import annotations

import json
import logging
from typing import Any

from tandem.contracts.tasks import MakePlan, Reason
from tandem.errors import Unavailable
from tandem.rpc.ports import Memory

log = logging.getLogger(__name__)

SECONDS = 0.3
MAX_FACTS, MAX_TICKETS = 12, 3
MAX_TEXT = 400


async def recalled(task: MakePlan | Reason, memory: Memory) -> str:
    """What the customer said of themselves before, and their last matters; empty if there is nothing, or no time."""
    try:
        known = await memory.customer(task.tenant, task.conversation, SECONDS)
    except Unavailable:
        log.info("planned without memory", extra={"ticket": task.ticket})
        return ""
    earlier = [past for past in known["tickets"] if past["ticket"] != task.ticket and past["summary"]]
    told: dict[str, Any] = {}
    if known["known"]:
        told["said_before"] = {fact["name"]: str(fact["value"])[:MAX_TEXT] for fact in known["known"][:MAX_FACTS]}
    if earlier:
        told["earlier_matters"] = [past["summary"][:MAX_TEXT] for past in earlier[:MAX_TICKETS]]
    return json.dumps(told, ensure_ascii=False) if told else ""
