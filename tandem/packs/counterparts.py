"""Pages of the same content in two languages: translations keep their sections' anchors."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from tandem.vectors.base import Passage


def counterparts(sources: Iterable[Passage], targets: Iterable[Passage]) -> Mapping[str, str]:
    """Source document → the target document that shares most of its anchors; an anchor counts the more, the rarer it is."""
    there: dict[str, set[str]] = defaultdict(set)
    for passage in targets:
        there[passage.anchor].add(passage.doc)
    scores: dict[str, Counter[str]] = defaultdict(Counter)
    for doc, anchor in {(passage.doc, passage.anchor) for passage in sources if passage.anchor}:
        for target in there.get(anchor, ()):
            scores[doc][target] += 1 / math.sqrt(len(there[anchor]))  # type: ignore[assignment]  # a sum of shares
    return {doc: min(found, key=lambda target: (-found[target], target)) for doc, found in scores.items()}
