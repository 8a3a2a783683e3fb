"""A procedure's sentences → its flow's file. The proof of the pack decides whether it may be released."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tandem.errors import InvalidError
from tandem.packs.compiling.keep import keep
from tandem.packs.compiling.link import link
from tandem.packs.compiling.place import Placer
from tandem.packs.compiling.text import FORMS, Mistake
from tandem.packs.compiling.write import flow_text
from tandem.packs.files import parse_yaml, read_procedure
from tandem.packs.flows import read_flow
from tandem.packs.load import read_pack, texts_in_nodes
from tandem.packs.model import Flow, Pack
from tandem.packs.problems import Problems


class NotInLanguage(InvalidError):
    """Sentences that the controlled language does not cover: each with its number and why."""

    def __init__(self, procedure: str, mistakes: list[Mistake]) -> None:
        listed = "\n".join(f"  {mistake}" for mistake in mistakes)
        super().__init__(f"{procedure}: not in the controlled language\n{listed}\n{FORMS}")
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Source:
    """A procedure to compile: its words, and the flow's file as it is (empty if there is none)."""

    name: str
    intent: str
    sentences: dict[int, str]
    present: str

    @property
    def nodes(self) -> dict[str, dict[str, Any]]:
        """The present nodes as they are written."""
        data = parse_yaml(self.present) if self.present else None
        nodes = data.get("nodes") if isinstance(data, dict) else None
        return {str(k): v for k, v in nodes.items() if isinstance(v, dict)} if isinstance(nodes, dict) else {}


def read_source(folder: Path, name: str) -> Source:
    """Raises InvalidError when there is no such procedure, or it cannot be read."""
    path = folder / "procedures" / f"{name}.md"
    if not path.is_file():
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.md"))) or "none"
        raise InvalidError(f"{path} does not exist; procedures of this pack: {known}")
    problems = Problems()
    front, sentences = read_procedure(folder, path, problems)
    if problems.errors:
        raise InvalidError("\n".join(map(str, problems.errors)))
    flow = path.with_name(f"{name}.flow.yaml")
    return Source(name, str(front["intent"]), sentences, flow.read_text("utf-8") if flow.is_file() else "")


def vocabulary(folder: Path) -> Pack:
    """The pack's tools, slots, groups and policies, whatever is wrong with its flows. Raises InvalidError without any."""
    problems = Problems()
    pack = read_pack(folder, problems)
    elsewhere = [
        problem for problem in problems.errors if not problem.place.startswith(("procedures/", "intents.yaml"))
    ]
    if pack is None or elsewhere:
        raise InvalidError("\n".join(map(str, elsewhere)) or f"{folder} is no pack")
    return pack


def compile_words(pack: Pack, source: Source) -> str:
    """The flow's file from the controlled language. Raises NotInLanguage with every mistake."""
    placer = Placer(pack)
    mistakes: list[Mistake] = []
    for number, text in source.sentences.items():
        try:
            placer.sentence(number, text)
        except Mistake as mistake:
            mistakes.append(mistake)
    if not mistakes:
        try:
            return _written(pack, source, placer)
        except Mistake as mistake:
            mistakes.append(mistake)
    raise NotInLanguage(source.name, mistakes)


def _written(pack: Pack, source: Source, placer: Placer) -> str:
    placed = placer.done()
    nodes = link(placed, source.sentences)
    if not placed.steps:
        raise Mistake(1, "the procedure does nothing")
    kept, start = keep(nodes, placed.steps[0].id, source.nodes)
    for node in kept.values():
        _must_speak(pack, node)
    return flow_text(source.name, source.intent, start, kept)


def _must_speak(pack: Pack, node: dict[str, Any]) -> None:
    """Raises Mistake: a node that speaks has words, in the procedure or in the present flow."""
    silent = ("tool", "program", "agent", "approve", "slots", "handover")
    if not node.get("text") and not any(node.get(key) for key in silent):
        others = f"; in {', '.join(pack.languages[1:])} they stand in the flow's file" if pack.languages[1:] else ""
        raise Mistake(
            int(node["sentence"]),
            f'the customer is told or asked something here: add the words in quotes, as in: "…"{others}',
        )


def read_compiled(pack: Pack, source: Source, text: str) -> Flow:
    """The file's text as a flow. Raises InvalidError with what is wrong."""
    problems = Problems()
    default = {"procedure": source.name, "intent": source.intent, "sentences": source.sentences}
    data = texts_in_nodes(parse_yaml(text), pack.languages[0])
    flow = read_flow(data, f"procedures/{source.name}.flow.yaml", default, problems)
    if flow is None:
        raise InvalidError("\n".join(map(str, problems.errors)))
    return flow
