"""What a call needs of the process it runs in."""

from __future__ import annotations

from dataclasses import dataclass

from services.executor.effects import Shards
from services.executor.ledger import Ledger
from services.executor.settings import ExecutorSettings
from services.executor.tools import Tools
from tandem.bus.base import Bus
from tandem.clock import Clock
from tandem.kill_points import Kill, go_on


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    bus: Bus
    clock: Clock
    tools: Tools
    shards: Shards
    ledger: Ledger
    settings: ExecutorSettings
    kill: Kill = go_on  # called between the numbered steps of the protocol
