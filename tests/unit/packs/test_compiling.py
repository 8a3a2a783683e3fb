"""The compiler's controlled language: each form, each mistake, and the procedures of the platform's own pack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem.packs.compiling.compile import NotInLanguage, Source, compile_words, read_compiled, read_source, vocabulary
from tandem.packs.compiling.same import difference
from tandem.packs.compiling.verdict import judge
from tandem.packs.files import parse_yaml
from tandem.packs.load import load_pack
from tandem.packs.model import Pack
from tandem.packs.scaffold import new_pack

CLOUD = Path(__file__).parents[3] / "packs" / "cloud_support"
PROCEDURES = sorted(path.stem for path in (CLOUD / "procedures").glob("*.md"))
VERIFY = "Verify the customer with `verify_identity`; if it fails three times, hand over to accounts."


@pytest.fixture(scope="module")
def pack() -> Pack:
    return vocabulary(CLOUD)


def source(*sentences: str, present: str = "") -> Source:
    return Source("new", "refund", dict(enumerate(sentences, 1)), present)


def nodes(pack: Pack, *sentences: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = parse_yaml(compile_words(pack, source(*sentences)))["nodes"]
    return found


def mistakes(pack: Pack, *sentences: str) -> list[str]:
    with pytest.raises(NotInLanguage) as caught:
        compile_words(pack, source(*sentences))
    return [str(mistake) for mistake in caught.value.mistakes]


@pytest.mark.parametrize("name", PROCEDURES)
def test_the_packs_flows_are_what_their_procedures_compile_to(pack: Pack, name: str) -> None:
    one = read_source(CLOUD, name)
    assert compile_words(pack, one) == one.present


@pytest.mark.parametrize("name", PROCEDURES)
def test_without_a_present_flow_the_compiled_one_does_the_same(pack: Pack, name: str) -> None:
    """Names, wording in other languages and the list's labels come from the present flow; what is done does not."""
    there = read_source(CLOUD, name)
    said = {number: _with_words(text) for number, text in there.sentences.items()}
    bare = Source(name, there.intent, said, "")
    compiled = read_compiled(pack, bare, compile_words(pack, bare))
    assert difference(load_pack(CLOUD).flows[name], compiled) is None


def _with_words(text: str) -> str:
    """Every "say" with something to say, every consent with a question."""
    for verb in (
        "say so",
        "say why",
        "Say that it is done",
        "say which",
        "say where the customer does it",
        "say what",
        "Say so",
    ):
        text = text.replace(verb, f'{verb} "x"')
    for whole in (
        "Say where",
        "Say when",
        "Say how",
        "say how",
        "say how far",
        "say what each",
        "Ask which order to cancel,",
    ):
        text = text.replace(whole, f'{whole.rstrip(",")} "x",' if whole.endswith(",") else f'{whole} "x"')
    return text.replace("ask consent", 'ask consent "x"').replace("Ask consent", 'Ask consent "x"')


@pytest.mark.parametrize(
    ("sentence", "node", "fields"),
    [
        ("Ask for the `order_id`.", "ask_order_id", {"slots": ["order_id"], "next": "end"}),
        ("Ask for the order number.", "ask_order_id", {"slots": ["order_id"]}),
        ("Ask for the `instance_id` or the `ip_address`.", "ask_instance_id", {"any_of": True}),
        ('Say "hello" and stop.', "tell_1", {"text": {"en": "hello"}}),
        ('Say "Wait." and hand over to billing.', "hand_over", {"text": {"en": "Wait."}}),
        ("Hand over to billing.", "hand_over", {"handover": True, "skill_group": "billing"}),
        ('Ask whether it is urgent (`urgent`): "Is it urgent?"', "ask_urgent", {"confirm": "urgent"}),
        ("Look in the knowledge.", "knowledge", {"agent": "rag_agent"}),
        (
            "Look it up with `get_order`, which gives the `order`.",
            "get_order",
            {"args": {"order_id": "$order_id"}, "save": {"order": "result"}, "repeat": True},
        ),
        (
            'Call `check_port` (`instance_id` is "i-00000001", `port` is `22`).',
            "check_port",
            {"args": {"instance_id": "i-00000001", "port": 22}},
        ),
        (
            "Add up with the program `mailbox_costs` (`email` is `account_email`).",
            "mailbox_costs",
            {"program": "mailbox_costs"},
        ),
    ],
)
def test_a_form_becomes_a_node_that_names_its_sentence(
    pack: Pack, sentence: str, node: str, fields: dict[str, Any]
) -> None:
    found = nodes(pack, sentence)[node]
    assert found.items() >= {"sentence": 1, **fields}.items()
    assert len(found["sentence_hash"]) == 8


def test_a_call_asks_for_what_it_needs_once(pack: Pack) -> None:
    found = nodes(pack, "Look it up with `get_order`.", "Look it up with `get_order` (`order_id` is `order_id`).")
    assert [name for name in found if name.startswith("ask")] == ["ask_order_id"]


@pytest.mark.parametrize(
    ("condition", "when"),
    [
        ("if it is active (`status` is `active`)", 'order.status == "active"'),
        ("if it is not (`order.status` is not `active`)", 'order.status != "active"'),
        ("if it can (`self_refundable` is true)", "order.self_refundable"),
        ("if it cannot (`self_refundable` is false)", "not order.self_refundable"),
        ("if there is one (`detail` is known)", "known(order.detail)"),
        ("unless there is one (`detail` is known)", "not (known(order.detail))"),
        ("if it is dear (`amount` is more than 100)", "order.amount > 100"),
        ("if both (`status` is `active` and `amount` is at least 2)", 'order.status == "active" and order.amount >= 2'),
        ("if so it is (`count(order.detail) == 0`)", "count(order.detail) == 0"),
        ("if `order.status` is `active`", 'order.status == "active"'),
    ],
)
def test_a_condition_becomes_an_expression(pack: Pack, condition: str, when: str) -> None:
    found = nodes(
        pack, f'Look it up with `get_order`, which gives the `order`; {condition}, say "so" and stop.', 'Say "on".'
    )
    assert found["get_order"]["next"] == [{"to": "tell_1", "when": when}, {"to": "tell_2"}]
    assert found["tell_1"].get("next", "end") == "end"


def test_a_loop_is_bounded_and_asks_again(pack: Pack) -> None:
    found = nodes(
        pack,
        "Look it up with `get_order`, which gives the `order`.",
        "If it fails, ask for the `order_id` again; after five times, hand over to billing.",
        'Say "found".',
    )
    assert found["get_order"]["on_failure"] == [
        {"to": "hand_over", "when": 'visits("get_order") >= 5'},
        {"to": "ask_order_id_again"},
    ]
    assert found["ask_order_id_again"].items() >= {"forget": ["order_id"], "next": "get_order", "max_visits": 5}.items()
    assert found["get_order"]["max_visits"] == 5


def test_verifying_three_times_asks_again_twice(pack: Pack) -> None:
    found = nodes(pack, VERIFY)
    assert [edge["to"] for edge in found["verify_identity"]["next"]] == ["end", "hand_over", "ask_account_email_again"]
    assert found["verify_identity"]["on_failure"] == "hand_over"


def test_consent_and_approval_are_for_the_next_call_that_writes(pack: Pack) -> None:
    found = nodes(
        pack,
        VERIFY,
        'Check with `check_authorisation` (`operation` is `cancel_order`); if not, say "no" and stop.',
        "Ask for the `order_id`.",
        'Say what happens, ask consent: "Cancel {order_id}?"; if the customer declines, hand over.',
        "An expert must approve it, then call `cancel_order`; whatever else fails, hand over to billing.",
    )
    assert (found["ask_consent"]["consent"], found["ask_approve"]["approve"]) == ("cancel_order", "cancel_order")
    assert found["ask_consent"]["on_failure"] == "hand_over_2"
    assert found["cancel_order"]["on_failure"] == found["check_authorisation"]["on_failure"] == "hand_over_3"


@pytest.mark.parametrize(
    ("sentences", "says"),
    [
        (("Frobnicate the order.",), 'sentence 1: "Frobnicate the order" is no action'),
        (("Call `get_ordr`.",), "there is no tool 'get_ordr'"),
        (("Ask for the colour.",), "names nothing to ask for; the pack knows `account_email`"),
        (("Ask for the `order_id`, then dance.",), '"dance" is no action'),
        (("If it rains, stop.",), "say in parentheses what decides"),
        (("If it fails, stop.",), "nothing was done before"),
        (("Ask for the `order_id`.", "If it fails, stop."), '"Ask for the `order_id`" before it cannot fail'),
        (('Say "x".', "If not, stop."), "what is not?"),
        (("Look it up with `get_order`; if `colour` is `red`, stop.",), "nothing gives `colour`"),
        (("Look it up with `get_order` (`colour` is `red`).",), "there is no parameter of `get_order`, 'colour'"),
        (("Call `get_order` or `check_port`.",), "write an action for each"),
        (('Ask consent: "?"',), "no call of a tool that writes follows"),
        (("Say hello.",), "add the words"),
        (("Cancel with `cancel_order`; if it fails",), "has no action"),
        (("Look it up with `check_authorisation`.",), "`check_authorisation` needs `operation`"),
        (("Ask for the `order_id`; go on with sentence 7.",), "nothing to go on with in sentence 7"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_sentence_and_what_is_possible(pack: Pack, sentences: tuple[str, ...], says: str) -> None:
    assert any(says in mistake for mistake in mistakes(pack, *sentences)), mistakes(pack, *sentences)


def test_every_mistake_is_found_and_the_forms_are_shown(pack: Pack) -> None:
    with pytest.raises(NotInLanguage, match="Forms of an action") as caught:
        compile_words(pack, source("Dance.", "Ask for the `order_id`.", "Sing."))
    assert [mistake.sentence for mistake in caught.value.mistakes] == [1, 3]


def test_the_proof_speaks_about_the_compiled_flow(pack: Pack) -> None:
    text = compile_words(pack, source("Ask for the `order_id`.", "Pay back with `refund_order`."))
    verdict = judge(pack, source("Ask for the `order_id`.", "Pay back with `refund_order`."), text, "words")
    assert not verdict.ok
    assert any("identity is not certain" in problem.message for problem in verdict.problems)


def test_wording_is_kept_where_the_procedure_puts_nothing_in_quotes(pack: Pack) -> None:
    first = compile_words(pack, source("Ask for the `order_id`."))
    worded = first.replace("next: end", "text: {en: 'Which?', zh: 哪个？}\n    next: end").replace(
        "ask_order_id", "which"
    )
    again = parse_yaml(compile_words(pack, source("Ask for the `order_id`.", 'Say "thanks".', present=worded)))
    assert again["start"] == "which"
    assert again["nodes"]["which"]["text"] == {"en": "Which?", "zh": "哪个？"}
    said = parse_yaml(compile_words(pack, source('Ask for the `order_id`: "Number?"', present=worded)))
    assert said["nodes"]["which"]["text"] == {"en": "Number?", "zh": "哪个？"}


def test_wording_stays_with_its_case(pack: Pack) -> None:
    """Two hand-overs of one sentence are told apart by when they are come to, whatever their order in the file."""
    one = read_source(CLOUD, "filing_progress")
    flow = parse_yaml(one.present)
    turned = flow["nodes"].pop("not_looked_up")
    other = Source(
        one.name,
        one.intent,
        one.sentences,
        yaml.safe_dump({**flow, "nodes": {**flow["nodes"], "not_looked_up": turned}}),
    )
    again = parse_yaml(compile_words(pack, other))["nodes"]
    assert {name: again[name]["text"] for name in ("not_found", "not_looked_up")} == {
        name: parse_yaml(one.present)["nodes"][name]["text"] for name in ("not_found", "not_looked_up")
    }
    assert again["look_up"]["on_failure"][0]["to"] == "not_looked_up"


def test_wording_is_not_given_to_another_case(pack: Pack) -> None:
    """A hand-over of a new sentence takes no words from one of two that stood elsewhere."""
    one = read_source(CLOUD, "cannot_connect")
    sentences = dict(one.sentences) | {len(one.sentences) + 1: "Hand over to engineers."}
    before = parse_yaml(one.present)["nodes"]
    after = parse_yaml(compile_words(pack, Source(one.name, one.intent, sentences, one.present)))["nodes"]
    assert {name: node.get("text") for name, node in after.items() if name in before} == {
        name: node.get("text") for name, node in before.items()
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('visits("verify") >= 3', 'visits("verify") >= 2'), "(ask) against 'give_up' (handover)"),
        (("skill_group: accounts", "skill_group: billing"), 'skill_group "accounts" against "billing"'),
        (("next: reset", "next: notify"), "'reset' against 'notify': "),
        (("operation: reset_password", "operation: open_port"), '"operation": "open_port"'),
    ],
)
def test_a_change_of_behaviour_is_told(pack: Pack, change: tuple[str, str], says: str) -> None:
    one = read_source(CLOUD, "password_reset")
    assert change[0] in one.present
    changed = read_compiled(pack, one, one.present.replace(*change))
    assert says in str(difference(read_compiled(pack, one, one.present), changed))


def test_a_new_packs_procedure_is_in_the_language(tmp_path: Path) -> None:
    folder = new_pack(tmp_path, "shop")
    one = read_source(folder, "callback")
    compiled = compile_words(vocabulary(folder), one)
    assert parse_yaml(compiled)["nodes"] == parse_yaml(one.present)["nodes"]


def test_nodes_that_do_the_same_keep_their_own_words(pack: Pack) -> None:
    """Two handovers of one sentence are told apart by how they are reached, in whatever order the file has them."""
    one = read_source(CLOUD, "filing_progress")
    data = parse_yaml(one.present)
    turned = {name: data["nodes"][name] for name in reversed(data["nodes"])}
    present = yaml.safe_dump({**data, "nodes": turned}, allow_unicode=True)
    again = parse_yaml(compile_words(pack, Source(one.name, one.intent, one.sentences, present)))
    assert again["nodes"] == data["nodes"]
