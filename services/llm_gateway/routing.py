"""Which replica takes a call: where its beginning is cached, unless that one has more than its part."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from random import Random

from services.llm_gateway.replica import Replica

BOUND = 1.25
"""Times the mean that a replica may have."""

SLACK = 2.0
"""Calls above the bound that do not matter: with few calls, every one is far from the mean."""


class Router:
    """Rendezvous hashing with bounded load: every gateway process sends the same ticket to the same replica, and to the
    same second one when that has too much. Calls without a key go to the less loaded of two drawn at random."""

    def __init__(self, replicas: Sequence[Replica], random: Random) -> None:
        self._replicas = replicas
        self._random = random

    def choose(self, key: bytes, without: Collection[Replica] = ()) -> Replica | None:
        """None when no replica can serve now."""
        usable = [replica for replica in self._replicas if replica.usable and replica not in without]
        if len(usable) < 2:
            return usable[0] if usable else None
        if not key:
            return min(self._random.sample(usable, 2), key=lambda replica: replica.load)
        total = sum(replica.work() for replica in usable) + 1.0
        most = BOUND * total / len(usable)
        running = sum(replica.in_flight for replica in usable) + 1
        most_running = BOUND * running / len(usable) + SLACK
        for replica in sorted(usable, key=lambda replica: _weight(key, replica), reverse=True):
            if replica.work() < max(most, SLACK) and replica.in_flight < most_running and not replica.pressed:
                return replica
        return min(self._random.sample(usable, 2), key=lambda replica: replica.load)


def affinity(tenant: str, system: str, ticket: str) -> bytes:
    """The key of calls whose beginnings are alike; empty when nothing says so."""
    if not system and not ticket:
        return b""
    return hashlib.blake2b("\0".join((tenant, ticket, "" if ticket else system)).encode(), digest_size=8).digest()


def _weight(key: bytes, replica: Replica) -> bytes:
    return hashlib.blake2b(replica.base.encode(), key=key, digest_size=8).digest()
