"""Steps become nodes: each knows what follows, and a decision's edges stand in the order in which they are tried."""

from __future__ import annotations

from typing import Any

from tandem.packs.compiling.place import Placed
from tandem.packs.compiling.steps import Step, Way, every
from tandem.packs.compiling.text import Mistake
from tandem.packs.files import sentence_hash
from tandem.packs.model import END

Edge = dict[str, str]
MAX_VISITS = 3
"""Of a node of which nothing is said."""


def link(placed: Placed, sentences: dict[int, str]) -> dict[str, dict[str, Any]]:
    """The nodes of the flow as its file writes them, in the order of the procedure. Raises Mistake."""
    return _Linker(placed, sentences).nodes()


class _Linker:
    def __init__(self, placed: Placed, sentences: dict[int, str]) -> None:
        self._placed = placed
        self._sentences = sentences
        self._entries = {}
        for step in reversed(placed.steps):
            self._entries[step.sentence] = step.id
        self._rescue = self._entry(placed.rescue, END) if placed.rescue else None
        self._bounds: dict[str, int] = {}
        self._nodes: dict[str, dict[str, Any]] = {}

    def nodes(self) -> dict[str, dict[str, Any]]:
        self._chain(self._placed.steps, END)
        if self._placed.rescue:
            self._chain(self._placed.rescue.steps, END)
        for step in every(self._placed.steps):
            bound = self._bounds.get(step.back.id if step.back else step.id, 0)
            if bound > MAX_VISITS:
                self._nodes[step.id]["max_visits"] = bound
        return self._nodes

    def _chain(self, steps: list[Step], after: str) -> None:
        for at, step in enumerate(steps):
            following = steps[at + 1].id if at + 1 < len(steps) else after
            self._node(step, self._after(step, following))

    def _after(self, step: Step, following: str) -> str:
        if step.ends:
            return END
        if step.to is not None:
            return self._sentence(step.sentence, step.to)
        return step.back.id if step.back else following

    def _sentence(self, here: int, number: int) -> str:
        if number not in self._entries:
            raise Mistake(here, f"there is nothing to go on with in sentence {number}")
        return self._entries[number]

    def _entry(self, way: Way, after: str) -> str:
        if way.steps:
            return way.steps[0].id
        if way.ends:
            return END
        if way.to is not None:
            return self._sentence(0, way.to)
        return way.direct.id if way.direct else after

    def _node(self, step: Step, after: str) -> None:
        node: dict[str, Any] = {
            "sentence": step.sentence,
            "sentence_hash": sentence_hash(self._sentences[step.sentence]),
            **step.fields,
        }
        self._nodes[step.id] = node
        if step.verb == "hand_over":
            return
        edges, failures = self._edges(step, after)
        if edges != [{"to": END}] or step.verb != "say":
            node["next"] = edges
        if failures:
            node["on_failure"] = failures
        for way in step.branches:
            self._chain(way.steps, after)

    def _edges(self, step: Step, after: str) -> tuple[list[Edge], list[Edge]]:
        """`next` and `on_failure`."""
        edges: list[Edge] = []
        failures: list[Edge] = []
        default, bounded = after, ""
        if step.granted and step.verb == "call":
            edges.append({"to": after, "when": step.granted})
        both = [(condition, way) for way in step.branches for condition in way.conditions]
        for condition, way in both:
            target = self._entry(way, after)
            if condition.times:
                bounded = target if way.steps and way.steps[0].verb == "hand_over" else bounded
                self._bounds[step.id] = condition.times
            elif condition.fails:
                failures.append(_edge(target, condition.formal))
            elif condition.formal or condition.agreed:
                edges.append(_edge(target, condition.formal or step.granted))
            elif condition.refused and step.verb in ("consent", "approve"):
                failures.append({"to": target})
            elif condition.refused and step.verb == "confirm":
                edges.append({"to": target, "when": f"not {step.granted}"})
            elif condition.otherwise and failures and not any("when" not in edge for edge in failures):
                failures.append({"to": target})
            else:
                default = target
        if step.granted and step.verb == "call" and default == after:
            default = bounded or self._rescue or ""
            if not default:
                raise Mistake(step.sentence, f'"{step.words}": say what is done if not, as in "; if not, hand over"')
        edges.append({"to": default})
        for condition, way in both:
            if condition.times:
                self._bound(step, way, condition.times, edges, failures, after)
        rescue = bounded or self._rescue
        if rescue and step.verb in ("call", "program", "choose") and all("when" in edge for edge in failures):
            failures.append({"to": rescue})
        return _without_shadow(edges), failures

    def _bound(self, step: Step, way: Way, times: int, edges: list[Edge], failures: list[Edge], after: str) -> None:
        """The branch that ends a loop is tried right before the first edge that goes round again."""
        looping = {self._entry(other, after) for other in step.branches if other.loops}
        for listed in (edges, failures):
            for at, edge in enumerate(listed):
                if edge["to"] in looping:
                    listed.insert(at, {"to": self._entry(way, after), "when": f'visits("{step.id}") >= {times}'})
                    return
        # Nothing goes round by a branch of this step: something later leads back here.
        edges.insert(-1, {"to": self._entry(way, after), "when": f'visits("{step.id}") >= {times}'})


def _edge(target: str, when: str | None) -> Edge:
    return {"to": target, "when": when} if when else {"to": target}


def _without_shadow(edges: list[Edge]) -> list[Edge]:
    """Up to the first edge that is always taken."""
    for at, edge in enumerate(edges):
        if "when" not in edge:
            return edges[: at + 1]
    return edges
