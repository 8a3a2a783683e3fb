"""API retrieval and selection: which of several tools serves a goal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tandem.packs.model import Tool
from tandem.text import terms

NAME_WEIGHT = 2
"""A word of a tool's name counts as often as this in its description."""


def describe(tool: Tool) -> str:
    """A tool in words: its name, what it does, what it takes."""
    named = [name.replace("_", " ") for name in tool.properties]
    return f"{tool.name.replace('_', ' ')}. {tool.description}. {', '.join(named)}"


def by_words(goal: str, tools: Sequence[Tool]) -> dict[str, float]:
    """Cosine of TF-IDF over the tools themselves, 0 to 1."""
    bags = {
        tool.name: Counter(terms(describe(tool)) + terms(tool.name.replace("_", " ")) * NAME_WEIGHT) for tool in tools
    }
    spread = Counter(term for bag in bags.values() for term in bag)
    rarity = {term: math.log(1 + len(bags) / count) for term, count in spread.items()}
    wanted = Counter(terms(goal))
    return {name: _cosine(wanted, bag, rarity) for name, bag in bags.items()}


def by_meaning(vectors: NDArray[np.float32], tools: Sequence[Tool]) -> dict[str, float]:
    """Cosine of unit vectors: the first is the goal's, the others the tools'."""
    return {tool.name: float(max(0.0, vectors[0] @ vectors[position])) for position, tool in enumerate(tools, start=1)}


def rank(*scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """Tools by their mean score, best first; ties by name."""
    names = scores[0].keys()
    mean = {name: sum(score[name] for score in scores) / len(scores) for name in names}
    return sorted(mean.items(), key=lambda item: (-item[1], item[0]))


def _cosine(a: Counter[str], b: Counter[str], rarity: Mapping[str, float]) -> float:
    def norm(bag: Counter[str]) -> float:
        return math.sqrt(sum((count * rarity.get(term, 1.0)) ** 2 for term, count in bag.items())) or 1.0

    shared = sum(count * b[term] * rarity[term] ** 2 for term, count in a.items() if term in b)
    return shared / (norm(a) * norm(b))
