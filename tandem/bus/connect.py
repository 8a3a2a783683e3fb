"""The bus the settings ask for."""

from __future__ import annotations

from random import Random

from tandem.bus.base import Bus
from tandem.clock import Clock
from tandem.settings import Settings


def connect(settings: Settings, clock: Clock) -> Bus:
    """An adapter, not started yet."""
    if settings.bus == "local":
        from tandem.bus.local import LocalBus

        settings.home.mkdir(parents=True, exist_ok=True)
        return LocalBus(
            settings.bus_file,
            shards=settings.shards,
            work_partitions=settings.work_partitions,
            prefix=settings.prefix,
            clock=clock,
        )
    from tandem.bus.kafka import KafkaBus, KafkaOptions
    from tandem.bus.kafka_security import kafka_security

    bus = KafkaBus(
        settings.kafka_bootstrap_servers,
        shards=settings.shards,
        work_partitions=settings.work_partitions,
        prefix=settings.prefix,
        replication=settings.kafka_replication,
        options=KafkaOptions(
            session_timeout=settings.kafka_session_s,
            instance=settings.kafka_instance,
            security=kafka_security(settings),
        ),
    )
    if not settings.noise:
        return bus
    from tandem.bus.noise import NoisePlan, NoisyBus

    return NoisyBus(bus, Random(), clock, NoisePlan.read(settings.noise))
