"""Which operations of an API do a job: the catalogue as passages in the same vectors, found in the same way."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tandem.bench.rag.data import Operation
from tandem.rpc.ports import Llm
from tandem.vectors.base import Passage, Vectors, Window

COLLECTION = "operations"
FOUND = 5
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BOILERPLATE = re.compile(r"^(You can )?call this operation to |^Calls? this operation to ", re.IGNORECASE)


def window_of(operation: Operation) -> Window:
    """An operation by its name in words and its description."""
    name = _CAMEL.sub(" ", operation.name)
    text = f"{name}\n{_BOILERPLATE.sub('', operation.description)}"
    passage = Passage(id=operation.name, doc=operation.name, title=name, text=operation.description)
    return Window(passage=passage, number=0, text=text, fingerprint="")


async def index(operations: Sequence[Operation], tenant: str, vectors: Vectors, llm: Llm) -> None:
    found = [window_of(one) for one in operations]
    dense = await llm.embed([window.text for window in found], 600.0)
    windows = [
        Window(passage=window.passage, number=0, text=window.text, fingerprint="", dense=vector)
        for window, vector in zip(found, dense, strict=True)
    ]
    await vectors.upsert(tenant, COLLECTION, windows)


async def find(job: str, tenant: str, vectors: Vectors, llm: Llm) -> list[str]:
    """Names of operations, best first."""
    (meaning,) = await llm.embed([job], 60.0)
    return [hit.passage.id for hit in await vectors.search(tenant, COLLECTION, meaning, job, FOUND)]
