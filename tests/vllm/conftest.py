"""vLLM's environment, a tiny model, two replicas of it and the pools' file that names them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vllm import environment
from tests.vllm.replicas import Replica, free_port, write_pools


@dataclass(frozen=True)
class Engines:
    pools: Path
    adapter: Path
    python: Path
    replicas: tuple[Replica, Replica]


@pytest.fixture(scope="session")
def engines_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    folder = tmp_path_factory.mktemp("vllm")
    python = environment.python()
    model, adapter = folder / "model", folder / "adapter"
    environment.make_model(python, model, adapter)
    pools = folder / "pools.yaml"
    ports = [free_port(), free_port()]
    write_pools(pools, model, adapter, ports)
    one, other = (Replica(python, pools, port, folder / f"{port}.log") for port in ports)
    try:
        yield Engines(pools, adapter, python, (one, other))
    finally:
        one.stop()
        other.stop()


@pytest.fixture
def engines(engines_once: Engines) -> Engines:
    """Both serve, also after a test that killed one."""
    for replica in engines_once.replicas:
        replica.ensure()
    for replica in engines_once.replicas:
        replica.wait()
    return engines_once
