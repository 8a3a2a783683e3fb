"""The proof before release: one broken pack per rule, each shown to be found; and the whole one to pass."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.planner.decide.texts import TEXTS
from tandem.cli.pack import app
from tandem.packs import model
from tandem.packs.check import check, fix_hashes
from tandem.packs.files import sentence_hash
from tests.unit.packs.shop import SENTENCES, Files, files, operation, write

FLOW = "procedures/change_address.flow.yaml"
STRING = {"type": "string"}


def test_the_whole_pack_passes(tmp_path: Path) -> None:
    assert check(write(tmp_path, files())) == []


def nodes(content: Files) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = content[FLOW]["nodes"]
    return found


def post(content: Files, path: str) -> dict[str, Any]:
    found: dict[str, Any] = content["tools/shop.yaml"]["paths"][path]["post"]
    return found


def set_node(name: str, **fields: Any) -> Callable[[Files], None]:
    """Changes fields of a node; None removes one."""

    def change(content: Files) -> None:
        node = nodes(content).setdefault(name, {"sentence": 4, "sentence_hash": sentence_hash(SENTENCES[3])})
        node.update(fields)
        for field in [key for key, value in node.items() if value is None]:
            del node[field]

    return change


def on_failure(*edges: Any) -> Callable[[Files], None]:
    """Where a failed change leads; `sorry` is there to be led to."""

    def change(content: Files) -> None:
        set_node("sorry", text={"en": "It cannot be changed.", "zh": "无法修改。"})(content)
        first = nodes(content)["change"]
        first["save"] = {"reference": "result"}
        first["on_failure"] = edges[0] if len(edges) == 1 else list(edges)
        if not any("sorry" in str(edge) for edge in edges):
            del content[FLOW]["nodes"]["sorry"]

    return change


def set_file(name: str, **fields: Any) -> Callable[[Files], None]:
    return lambda content: content[name].update(fields)


def both(*changes: Callable[[Files], None]) -> Callable[[Files], None]:
    def change(content: Files) -> None:
        for one in changes:
            one(content)

    return change


def require_phone(content: Files) -> None:
    body = post(content, "/address")["requestBody"]["content"]["application/json"]["schema"]
    body["properties"]["phone"] = STRING
    body["required"].append("phone")


def one_of(content: Files, *names: str) -> None:
    """`verify_identity` takes one of the names; the customer is asked for one of the order and the code."""
    post(content, "/verify")["x-tandem"]["alternatives"] = [list(names)]
    body = post(content, "/verify")["requestBody"]["content"]["application/json"]["schema"]
    body.update(required=[], properties=dict.fromkeys(names, STRING))
    nodes(content)["verify"]["args"] = {"order_id": "$order_id"}
    nodes(content)["ask_code"].update(slots=["order_id", "code"], any_of=True)


def add_lookup(content: Files, **lookup: Any) -> None:
    post(content, "/address")["x-tandem"].update({"class": "lookup", "lookup": lookup})


def drop_slot_question(content: Files) -> None:
    del content["pack.yaml"]["slots"]["code"]["ask"]


def conditional_identity(content: Files) -> None:
    nodes(content)["verify"]["next"][0]["when"] = "known(order_id)"


def forgotten_verification(content: Files) -> None:
    """The fact that says so is saved again from a tool that proves nothing, before anybody looks at it."""
    nodes(content)["verify"]["next"] = [{"to": "other"}]
    nodes(content)["other"] = {
        **nodes(content)["verify"],
        "tool": "find_order",
        "args": {},
        "next": [{"to": "ask_address", "when": "verified"}, {"to": "give_up"}],
    }
    nodes(content).pop("again")
    content["tools/shop.yaml"]["paths"]["/find"] = {"post": operation("find_order", "read", {}, [])}


def branch_around_consent(content: Files) -> None:
    nodes(content)["ask_address"]["next"] = [{"to": "change", "when": 'address == "home"'}, {"to": "consent"}]


def changed_after_consent(content: Files) -> None:
    nodes(content)["consent"]["next"] = "late"
    nodes(content)["late"] = {**nodes(content)["ask_address"], "forget": ["address"], "next": "change"}


def add_test(**expect: Any) -> Callable[[Files], None]:
    test = {"name": "one", "turns": [{"say": "hi"}], "expect": expect}
    return lambda content: content.update({"tests/one.yaml": test})


def asked_on_one_path(content: Files) -> None:
    nodes(content)["more"] = {**nodes(content)["ask_code"], "slots": ["code"]}
    nodes(content)["ask_code"].update(
        slots=["order_id"], next=[{"to": "more", "when": 'order_id == "O-1"'}, {"to": "verify"}]
    )


def verified_on_one_path(content: Files) -> None:
    words = {**nodes(content)["done"], "next": "consent"}
    nodes(content)["verify"]["next"] = [{"to": "again", "when": "code == order_id"}, {"to": "ask_address"}]
    nodes(content)["again"]["next"] = "give_up"
    nodes(content)["ask_address"]["next"] = [{"to": "right", "when": "not verified"}, {"to": "left"}]
    nodes(content).update(left=words, right=words)


RULES: list[tuple[str, Callable[[Files], None], str, str]] = [
    ("no sentence", set_node("done", sentence=9), "nodes.done.sentence", "no sentence 9"),
    ("no hash", set_node("done", sentence_hash=None), "nodes.done.sentence_hash", "--fix-hashes"),
    ("drift", set_node("done", sentence_hash="00000000"), "nodes.done.sentence_hash", "has changed"),
    (
        "unused sentence",
        set_node("give_up", sentence=1, sentence_hash=sentence_hash(SENTENCES[0])),
        "sentence 2",
        "no node",
    ),
    ("unreachable", set_node("island", text={"en": "a", "zh": "b"}), "nodes.island", "cannot be reached"),
    ("no next", set_node("ask_address", next=None), "nodes.ask_address.next", "next: end"),
    ("handover goes on", set_node("give_up", next="end"), "nodes.give_up.next", "ends the plan"),
    (
        "no default",
        set_node("ask_address", next=[{"to": "consent", "when": "code"}]),
        "ask_address.next",
        "without `when`",
    ),
    (
        "dead edge",
        set_node("ask_address", next=[{"to": "consent"}, {"to": "end"}]),
        "nodes.ask_address.next",
        "always taken",
    ),
    (
        "no certain branch",
        set_node("ask_address", next={"all": [{"to": "consent", "when": "code"}]}),
        "nodes.ask_address.next",
        "no branch is certain",
    ),
    ("endless", both(set_node("done", next="spin"), set_node("spin", text="x", next="done")), "nodes.spin", "no path"),
    ("too many visits", set_node("verify", max_visits=99), "nodes.verify.max_visits", "between 1 and"),
    (
        "visits of nothing",
        set_node("verify", next=[{"to": "end", "when": 'visits("no") > 1'}, "again"]),
        "verify",
        "'no'",
    ),
    (
        "never so often",
        set_node("verify", next=[{"to": "give_up", "when": 'visits("verify") >= 4'}, {"to": "again"}]),
        "nodes.verify",
        "never reaches 4",
    ),
    ("asks nothing twice", set_node("again", forget=None), "nodes.again.slots", "nothing is asked"),
    ("join not reached", set_node("change", needs=["island"]), "change.needs", "no node 'island'"),
    ("join not led to", set_node("change", needs=["give_up"]), "change.needs", "does not lead here"),
    ("unknown fact", set_node("done", text={"en": "{refrence}", "zh": "x"}), "nodes.done.text.en", "'refrence'"),
    ("save without result", set_node("change", save={"reference": "code"}), "change.save.reference", "`result`"),
    (
        "argument unknown",
        set_node("verify", args={"order_id": "$order_id", "code": "$address"}),
        "args.code",
        "'address'",
    ),
    ("asked on one path", asked_on_one_path, "nodes.verify.args.code", "not known on every path"),
    ("verified on one path", verified_on_one_path, "nodes.change", "identity is not certain"),
    ("argument unobtainable", require_phone, "nodes.change.args.phone", "cannot be obtained"),
    (
        "one of several",
        lambda c: one_of(c, "order_id", "token"),
        "nodes.verify.args",
        "order_id or token needs 'order_id'",
    ),
    ("consent to the unknown", set_node("change", args={"order_id": "$order_id"}), "change.args", "what is agreed to"),
    ("no identity", set_node("ask_code", next="ask_address"), "nodes.change", "identity is not certain"),
    ("identity in doubt", conditional_identity, "nodes.change", "identity is not certain"),
    ("identity from elsewhere", forgotten_verification, "nodes.change", "identity is not certain"),
    ("no authorisation", set_file("policies.yaml", authorisation="required"), "nodes.change", "authorisation is not"),
    ("no authorisation tool", set_file("policies.yaml", authorisation="required"), "authorisation_tools", "name one"),
    ("no consent", set_node("ask_address", next="change"), "nodes.change", "consent: change"),
    ("consent on one path", branch_around_consent, "nodes.change", "consent: change"),
    ("consent to something else", changed_after_consent, "nodes.change", "since its arguments were known"),
    (
        "no approval",
        set_file("policies.yaml", approvals=[{"tool": "change_address"}]),
        "nodes.change",
        "expert's approval",
    ),
    (
        "no approval anywhere",
        set_file("policies.yaml", approvals=[{"tool": "change_address", "when": 'args.address == "x"'}]),
        "nodes.change",
        "expert's approval",
    ),
    ("text in one language", set_node("done", text={"en": "Done"}), "nodes.done.text", "missing in zh"),
    ("question without words", set_node("consent", text=None), "nodes.consent.text", "write the question"),
    ("slot without question", drop_slot_question, "slots.code.ask", "is missing"),
    ("rule classifier", set_file("pack.yaml", classifier="rule"), "change_address.patterns", "classifier is `rule`"),
    ("no knowledge", lambda c: c.pop("knowledge/delivery.md"), "intents.yaml: question", "no Markdown"),
    (
        "limit per nothing",
        set_file("policies.yaml", limits=[{"tool": "change_address", "max": 1, "per": "moon"}]),
        "limits",
        "no parameter",
    ),
    (
        "lookup argument",
        lambda c: add_lookup(c, tool="verify_identity", args={"order_id": "$args.nothing"}, happened="result.verified"),
        "lookup.args",
        "'$args.nothing'",
    ),
    (
        "test of no intent",
        add_test(intent="chnge_address"),
        "tests: one.expect.intent",
        "did you mean 'change_address'",
    ),
    ("test of no tool", add_test(calls=[{"tool": "pong"}]), "tests: one.expect.calls", "no tool 'pong'"),
    ("test of no outcome", add_test(outcome="resolvd"), "tests: one.expect.outcome", "did you mean 'resolved'?"),
    (
        "test of two things at once",
        lambda c: c.update({"tests/one.yaml": {"name": "one", "turns": [{"say": "a", "press": "yes"}]}}),
        "tests/one.yaml",
        "a turn does one thing",
    ),
    ("a sentence of no use", set_file("pack.yaml", texts={"greting": {}}), "texts.greting", "no sentence 'greting'"),
    ("test of no field", add_test(outcom="x"), "tests/one.yaml", "there is no field"),
    (
        "unsafe without approval",
        lambda c: post(c, "/address")["x-tandem"].update({"class": "unsafe"}),
        "tools: change_address",
        "needs no approval",
    ),
    ("no answer is told as a no", on_failure("sorry"), "nodes.change.on_failure", "'sorry' is said whether"),
    (
        "no answer is told as another no",
        on_failure({"to": "give_up", "when": "reference.code == 'locked'"}, {"to": "sorry"}),
        "nodes.change.on_failure",
        "nobody answered",
    ),
    (
        "no answer is told as a no, the first time",
        on_failure({"to": "sorry", "when": "visits('change') < 2"}, {"to": "give_up"}),
        "nodes.change.on_failure",
        "nobody answered",
    ),
]


@pytest.mark.parametrize(("change", "place", "words"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES])
def test_each_rule_finds_its_mistake(tmp_path: Path, change: Callable[[Files], None], place: str, words: str) -> None:
    content = copy.deepcopy(files())
    change(content)
    problems = check(write(tmp_path, content))
    assert [p for p in problems if place in p.place and words in p.message], "\n".join(map(str, problems))


def approve_first(content: Files) -> None:
    set_file("policies.yaml", approvals=[{"tool": "change_address"}])(content)
    nodes(content)["consent"]["next"] = "approve"
    nodes(content)["approve"] = {
        "sentence": 3,
        "sentence_hash": nodes(content)["consent"]["sentence_hash"],
        "approve": "change",
        "next": "change",
    }


def whole_result(content: Files) -> None:
    nodes(content)["verify"]["save"] = {"identity": "result"}
    nodes(content)["verify"]["next"][0]["when"] = "identity.verified == true and known(order_id)"


def refused_first(content: Files) -> None:
    nodes(content)["verify"]["next"] = [{"to": "again", "when": "not verified"}, {"to": "ask_address"}]
    nodes(content)["again"].update(next="give_up")


def any_of_alternatives(content: Files) -> None:
    one_of(content, "order_id", "code")
    nodes(content)["verify"]["args"] = {"order_id": "$order_id", "code": "$code"}
    nodes(content)["ask_address"]["slots"] = ["address", "order_id"]
    nodes(content)["again"].update(slots=["order_id", "code"], any_of=True, forget=["order_id", "code"])


def parallel_join(content: Files) -> None:
    base = {"sentence": 3, "sentence_hash": nodes(content)["consent"]["sentence_hash"]}
    nodes(content)["ask_address"]["next"] = {"all": ["left", "right"]}
    nodes(content)["left"] = {**base, "tool": "find_order", "save": {"found": "result.id"}, "next": "consent"}
    nodes(content)["right"] = {**base, "tool": "find_order", "save": {"other": "result.id"}, "next": "consent"}
    nodes(content)["consent"]["needs"] = ["left", "right"]
    nodes(content)["change"]["args"] = {"order_id": "$found", "address": "$other"}
    content["tools/shop.yaml"]["paths"]["/find"] = {"post": operation("find_order", "read", {}, [])}


@pytest.mark.parametrize(
    "change",
    [
        approve_first,
        whole_result,
        refused_first,
        any_of_alternatives,
        parallel_join,
        on_failure("give_up"),
        on_failure("done"),  # said anyway
        on_failure({"to": "sorry", "when": "reference.code == 'locked'"}, {"to": "give_up"}),
        on_failure({"to": "give_up", "when": "reference.code != 'locked'"}, {"to": "sorry"}),
    ],
)
def test_what_can_be_proved_passes(tmp_path: Path, change: Callable[[Files], None]) -> None:
    content = files()
    change(content)
    assert check(write(tmp_path, content)) == []


def test_hashes_are_written_and_comments_kept(tmp_path: Path) -> None:
    content = files()
    content[FLOW] = (
        "# the flow\nnodes:\n  ask:\n    sentence: 1   # first\n    slots: [order_id]\n    next: lost\n"
        '  lost: {sentence: 2, sentence_hash: "00000000", handover: true, reason: x}\n'
    )
    folder = write(tmp_path, content)
    assert [path.name for path in fix_hashes(folder)] == ["change_address.flow.yaml"]
    text = (folder / FLOW).read_text()
    assert "# the flow" in text
    assert f"sentence: 1   # first\n    sentence_hash: {sentence_hash(SENTENCES[0])}\n" in text
    assert f"{{sentence: 2, sentence_hash: {sentence_hash(SENTENCES[1])}, handover" in text
    assert fix_hashes(folder) == []
    assert not [problem for problem in check(folder) if "sentence_hash" in problem.place]


def test_knowledge_that_is_no_text_is_said(tmp_path: Path) -> None:
    folder = write(tmp_path, files())
    (folder / "knowledge" / "x.md").write_bytes(b"\xff\xfe")
    assert [str(problem) for problem in check(folder)] == ["knowledge/x.md: is not UTF-8 at byte 0; save it as UTF-8"]


def test_a_pack_may_say_exactly_the_sentences_that_the_owner_says() -> None:
    assert set(TEXTS) == model.SENTENCES


def test_cli_check_says_it_in_json(tmp_path: Path) -> None:
    content = files()
    set_node("done", sentence=9)(content)
    result = CliRunner().invoke(app, ["check", str(write(tmp_path, content)), "--json"])
    said = json.loads(result.stdout)
    assert result.exit_code == 1
    assert said["ok"] is False
    assert said["pack"] == "shop"
    assert {problem["severity"] for problem in said["problems"]} == {"error", "warning"}


def test_cli_new_pack_passes_its_check(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["new", "bakery", "--root", str(tmp_path)]).exit_code == 0
    result = runner.invoke(app, ["check", str(tmp_path / "bakery")])
    assert result.exit_code == 0, result.output
    assert "0 error(s), 0 warning(s)" in result.output
    assert runner.invoke(app, ["new", "bakery", "--root", str(tmp_path)]).exit_code == 1
    assert runner.invoke(app, ["new", "../x", "--root", str(tmp_path)]).exit_code == 1


def test_cli_new_takes_tools_from_an_api(tmp_path: Path) -> None:
    api = tmp_path / "api.yaml"
    api.write_text(
        "openapi: 3.1.0\ninfo: {title: x, version: '1'}\npaths:\n  /orders/{id}:\n"
        "    get: {parameters: [{name: id, in: path, required: true, schema: {type: string}}]}\n"
        "    delete: {operationId: cancel, parameters: [{name: id, in: path, required: true, schema: {type: string}}]}\n"
    )
    result = CliRunner().invoke(app, ["new", "bakery", "--openapi", str(api), "--root", str(tmp_path)])
    assert result.exit_code == 0, result.output
    places = [problem.place for problem in check(tmp_path / "bakery")]
    assert "policies.yaml: identity_tools" in places  # the author must say who verifies before `cancel` may write
    assert "tools: cancel" in places
