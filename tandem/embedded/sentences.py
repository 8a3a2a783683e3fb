"""Sentence vectors in this process, for training and for benchmarks: the encoder of llm_gateway, with a memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from services.llm_gateway.encoder import Encoder
from services.llm_gateway.settings import LlmGatewaySettings
from tandem.brains.values import Vectors

REMEMBERED = 100_000
"""Vectors, 1.5 KB each."""


class Sentences:
    """Texts to unit vectors; what was embedded is remembered."""

    def __init__(self, cache: Path | None = None) -> None:
        self._encoder = Encoder(cache or LlmGatewaySettings().model_cache)
        self._memory: OrderedDict[str, Vectors] = OrderedDict()

    def __call__(self, texts: Sequence[str]) -> Vectors:
        missing = [text for text in dict.fromkeys(texts) if text not in self._memory]
        found = dict(zip(missing, self._encoder.embed(missing), strict=True)) if missing else {}
        vectors = np.stack([found[text] if text in found else self._memory[text] for text in texts])
        self._memory |= found
        while len(self._memory) > REMEMBERED:
            self._memory.popitem(last=False)
        return vectors
