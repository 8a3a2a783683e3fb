"""τ³: the systems, the judge, the pack and the harness, on a tiny folder of our own; and, where the data is, on all of it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tandem.bench.tau.__main__ import main
from tandem.bench.tau.agents import idle, oracle
from tandem.bench.tau.convert import convert, pack_name
from tandem.bench.tau.customer import DONT_REMEMBER, Played, Scripted, first_person
from tandem.bench.tau.data import DOMAINS, Domain, read_domain, read_tasks
from tandem.bench.tau.forms import form, values_of
from tandem.bench.tau.game import unsafe_writes
from tandem.bench.tau.judge import Run, judge, play_gold, same
from tandem.bench.tau.office import OWN, Call, Office
from tandem.bench.tau.records import Database, Refusal
from tandem.bench.tau.report import render
from tandem.bench.tau.run import measure
from tandem.bench.tau.server import serving
from tandem.contracts.events import Event
from tandem.embedded.case import Case
from tandem.errors import InvalidSettings
from tandem.packs.check import check
from tandem.packs.load import load_pack
from tandem.rpc.ports import ChatRequest, ChatResponse
from tandem.settings import Settings
from tests.unit.bench import tau_data
from tests.unit.bench.tau_data import ADDRESS, ELSEWHERE, LAMP_BACK

TAU = Path(os.environ.get("TANDEM_TAU_DATA", Path(__file__).parents[4] / "shared" / "data" / "tau3"))
KIM = "kim_berg_1234"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tau_data.write(tmp_path / "tau3")


@pytest.fixture
def shop() -> Office:
    return Office(Domain("retail", "", {}, tau_data.RETAIL))


@pytest.fixture
def airline() -> Office:
    return Office(Domain("airline", "", {}, tau_data.AIRLINE))


def changed(office: Office) -> set[str]:
    return {key for _, key in office.db.changes}


# The systems -----------------------------------------------------------------------------------------------------

SWAP = {"order_id": "#W0000001", "item_ids": ["11"], "new_item_ids": ["12"], "payment_method_id": "gift_card_2222222"}
EXCHANGE = {**SWAP, "order_id": "#W0000002", "payment_method_id": "paypal_1111111"}
BOOKING: dict[str, Any] = {
    "user_id": KIM,
    "origin": "BOS",
    "destination": "JFK",
    "flight_type": "one_way",
    "cabin": "economy",
    "flights": [{"flight_number": "HAT001", "date": "2024-05-20"}],
    "passengers": [{"first_name": "Kim", "last_name": "Berg", "dob": "1990-01-01"}],
    "payment_methods": [{"payment_id": "credit_card_1111111", "amount": 180}],
    "total_baggages": 2,
    "nonfree_baggages": 1,
    "insurance": "yes",
}
TOMORROW = {"flight_number": "HAT001", "date": "2024-05-21"}
REBOOKING = {"reservation_id": "ABC123", "cabin": "economy", "flights": [TOMORROW], "payment_id": "gift_card_2222222"}
BAGS = {"reservation_id": "ABC123", "total_baggages": 3, "nonfree_baggages": 2, "payment_id": "credit_card_1111111"}


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("find_user_id_by_email", {"email": "no@example.com"}, "not-found"),
        ("find_user_id_by_name_zip", {"first_name": "Kim", "last_name": "Berg", "zip": "1"}, "not-found"),
        ("get_order_details", {"order_id": "W0000001"}, "not-found"),
        ("get_product_details", {"product_id": "1"}, "not-found"),
        ("get_item_details", {"item_id": "99"}, "not-found"),
        ("get_user_details", {"user_id": "nobody"}, "not-found"),
        ("calculate", {"expression": "2 ** 2"}, "expression-invalid"),
        ("calculate", {"expression": "1 / 0"}, "expression-invalid"),
        ("cancel_pending_order", {"order_id": "#W0000002", "reason": "no longer needed"}, "wrong-status"),
        ("modify_pending_order_address", {"order_id": "#W0000003", **ELSEWHERE}, "wrong-status"),
        ("modify_pending_order_address", {"order_id": "#W0000001", "zip": "1"}, "arguments-invalid"),
        ("modify_pending_order_items", SWAP | {"new_item_ids": ["11"]}, "same-item"),
        ("modify_pending_order_items", SWAP | {"new_item_ids": ["14"]}, "not-available"),
        ("modify_pending_order_items", SWAP | {"new_item_ids": ["99"]}, "not-available"),
        ("modify_pending_order_items", SWAP | {"new_item_ids": ["12", "13"]}, "unequal-numbers"),
        ("modify_pending_order_items", SWAP | {"new_item_ids": ["13"]}, "balance"),
        ("modify_pending_order_items", SWAP | {"payment_method_id": "paypal_0"}, "not-found"),
        ("modify_pending_order_items", SWAP | {"item_ids": ["11"] * 3, "new_item_ids": ["12"] * 3}, "not-found"),
        (
            "modify_pending_order_payment",
            {"order_id": "#W0000001", "payment_method_id": "gift_card_2222222"},
            "same-method",
        ),
        (
            "modify_pending_order_payment",
            {"order_id": "#W0000003", "payment_method_id": "paypal_1111111"},
            "wrong-status",
        ),
        ("return_delivered_order_items", LAMP_BACK | {"order_id": "#W0000001"}, "wrong-status"),
        ("return_delivered_order_items", LAMP_BACK | {"payment_method_id": "paypal_3333333"}, "method-forbidden"),
        ("return_delivered_order_items", LAMP_BACK | {"item_ids": ["12", "12"]}, "not-found"),
        ("exchange_delivered_order_items", EXCHANGE | {"order_id": "#W0000003"}, "wrong-status"),
        ("modify_user_address", {"user_id": "nobody", **ADDRESS}, "not-found"),
        ("fly", {}, "unknown-operation"),
        ("get_order_details", {"number": "1"}, "arguments-invalid"),
    ],
)
def test_the_shop_refuses_and_changes_nothing(shop: Office, name: str, arguments: Any, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        shop.call(name, arguments)
    assert (refused.value.code, shop.db.changes) == (code, {})
    assert shop.calls[-1].code == code


def test_a_cancelled_order_is_paid_back(shop: Office) -> None:
    order = shop.call("cancel_pending_order", tau_data.CANCEL["arguments"])
    assert (order["status"], order["cancel_reason"]) == ("cancelled", "no longer needed")
    assert [one["transaction_type"] for one in order["payment_history"]] == ["payment", "refund"]
    assert shop.call("get_user_details", {"user_id": KIM})["payment_methods"]["gift_card_2222222"]["balance"] == 40.0
    assert changed(shop) == {"#W0000001", KIM}


def test_each_item_of_a_pending_order_gets_its_own_variant(shop: Office) -> None:
    order = shop.call("modify_pending_order_items", SWAP)
    assert [(item["item_id"], item["price"]) for item in order["items"]] == [("12", 12.5), ("11", 10.0)]
    assert order["status"] == "pending (item modified)"
    assert shop.db.get("users", KIM)["payment_methods"]["gift_card_2222222"]["balance"] == 17.5
    with pytest.raises(Refusal, match="Non-pending order cannot be modified"):
        shop.call("modify_pending_order_items", SWAP)
    assert shop.call("modify_pending_order_address", {"order_id": "#W0000001", **ELSEWHERE})["address"] == ELSEWHERE


def test_a_payment_moves_to_another_method(shop: Office) -> None:
    arguments = {"order_id": "#W0000001", "payment_method_id": "paypal_1111111"}
    history = shop.call("modify_pending_order_payment", arguments)["payment_history"]
    assert [(one["transaction_type"], one["payment_method_id"]) for one in history[1:]] == [
        ("payment", "paypal_1111111"),
        ("refund", "gift_card_2222222"),
    ]
    assert shop.db.get("users", KIM)["payment_methods"]["gift_card_2222222"]["balance"] == 40.0
    with pytest.raises(Refusal, match="exactly one payment"):
        shop.call("modify_pending_order_payment", arguments)


def test_a_delivered_order_is_returned_or_exchanged_once(shop: Office) -> None:
    order = shop.call("exchange_delivered_order_items", EXCHANGE)
    assert (order["status"], order["exchange_price_difference"]) == ("exchange requested", 2.5)
    with pytest.raises(Refusal, match="Non-delivered"):
        shop.call("return_delivered_order_items", LAMP_BACK)


def test_the_shop_looks_up(shop: Office) -> None:
    assert shop.call("find_user_id_by_email", {"email": "KIM.berg1234@example.com"}) == {"user_id": KIM}
    assert shop.call("list_all_product_types", {}) == {"Lamp": "1000"}
    assert shop.call("get_item_details", {"item_id": "12"})["price"] == 12.5
    assert shop.call("calculate", {"expression": "(1 + 2.005) * -2 / 4"}) == -1.5
    assert shop.call("modify_user_address", {"user_id": KIM, **ELSEWHERE})["address"] == ELSEWHERE
    assert not any(call.error for call in shop.calls)


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("get_reservation_details", {"reservation_id": "ZZZ999"}, "not-found"),
        ("get_flight_status", {"flight_number": "HAT001", "date": "2020-01-01"}, "not-found"),
        ("search_onestop_flight", {"origin": "BOS", "destination": "SEA", "date": "soon"}, None),
        ("book_reservation", BOOKING | {"user_id": "nobody"}, "not-found"),
        (
            "book_reservation",
            BOOKING | {"flights": [{"flight_number": "HAT001", "date": "2024-05-14"}]},
            "not-available",
        ),
        ("book_reservation", BOOKING | {"passengers": BOOKING["passengers"] * 3}, "not-available"),
        ("book_reservation", BOOKING | {"nonfree_baggages": 0}, "wrong-amount"),
        ("book_reservation", BOOKING | {"payment_methods": [{"payment_id": "x", "amount": 180}]}, "not-found"),
        (
            "book_reservation",
            BOOKING | {"payment_methods": [{"payment_id": "gift_card_2222222", "amount": 180}]},
            "balance",
        ),
        ("update_reservation_flights", REBOOKING | {"payment_id": "certificate_3333333"}, "method-forbidden"),
        ("update_reservation_flights", REBOOKING | {"flights": [TOMORROW] * 2}, "balance"),
        ("update_reservation_baggages", BAGS | {"payment_id": "gift_card_2222222"}, "balance"),
        ("update_reservation_passengers", {"reservation_id": "ABC123", "passengers": []}, "unequal-numbers"),
        ("send_certificate", {"user_id": "nobody", "amount": 1}, "not-found"),
    ],
)
def test_the_airline_refuses_and_changes_nothing(airline: Office, name: str, arguments: Any, code: str | None) -> None:
    if code is None:
        assert airline.call(name, arguments) == []
        return
    with pytest.raises(Refusal) as refused:
        airline.call(name, arguments)
    assert (refused.value.code, airline.db.changes) == (code, {})


def test_a_booking_takes_seats_and_is_paid_by_what_the_user_has(airline: Office) -> None:
    methods = [{"payment_id": "certificate_3333333", "amount": 100}, {"payment_id": "gift_card_2222222", "amount": 50}]
    paid = {"payment_methods": [*methods, {"payment_id": "credit_card_1111111", "amount": 30}]}
    booked = airline.call("book_reservation", BOOKING | paid)
    assert (booked["reservation_id"], booked["created_at"]) == ("HATHAT", "2024-05-15T15:00:00")
    assert booked["flights"][0]["price"] == 100
    user = airline.call("get_user_details", {"user_id": KIM})
    assert user["reservations"] == ["ABC123", "HATHAT"]
    assert "certificate_3333333" not in user["payment_methods"]
    assert user["payment_methods"]["gift_card_2222222"]["amount"] == 10
    assert airline.db.get("flights", "HAT001")["dates"]["2024-05-20"]["available_seats"]["economy"] == 1
    assert changed(airline) == {"HATHAT", KIM, "HAT001"}


def test_changes_of_a_reservation_are_charged_or_paid_back(airline: Office) -> None:
    moved = airline.call("update_reservation_flights", REBOOKING)
    assert moved["payment_history"][-1] == {"payment_id": "gift_card_2222222", "amount": 60}
    assert airline.call("update_reservation_flights", REBOOKING)["payment_history"] == moved["payment_history"]
    assert airline.call("update_reservation_baggages", BAGS)["payment_history"][-1]["amount"] == 100
    lee = [{"first_name": "Lee", "last_name": "Berg", "dob": "1991-01-01"}]
    named = airline.call("update_reservation_passengers", {"reservation_id": "ABC123", "passengers": lee})
    assert named["passengers"] == lee
    gone = airline.call("cancel_reservation", {"reservation_id": "ABC123"})
    assert (gone["status"], sum(one["amount"] for one in gone["payment_history"])) == ("cancelled", 0)


def test_the_airline_searches(airline: Office) -> None:
    trip = {"origin": "BOS", "destination": "SEA", "date": "2024-05-20"}
    assert airline.call("search_direct_flight", trip) == []
    found = airline.call("search_onestop_flight", trip)
    assert [[(leg["flight_number"], leg["date"]) for leg in pair] for pair in found] == [
        [("HAT001", "2024-05-20"), ("HAT002", "2024-05-20")],
        [("HAT003", "2024-05-20"), ("HAT004", "2024-05-21")],
    ]
    assert [one["iata"] for one in airline.call("list_all_airports", {})] == ["BOS", "DEN", "JFK", "SEA"]
    assert airline.call("get_flight_status", {"flight_number": "HAT001", "date": "2024-05-14"}) == "landed"
    certificates = [airline.call("send_certificate", {"user_id": KIM, "amount": 50}) for _ in range(3)]
    assert len(set(certificates)) == 3
    with pytest.raises(Refusal, match="Too many certificates"):
        airline.call("send_certificate", {"user_id": KIM, "amount": 50})


def test_the_records_are_shared_and_never_changed() -> None:
    domain = Domain("retail", "", {}, tau_data.RETAIL)
    first, second = Office(domain), Office(domain)
    first.call("get_order_details", {"order_id": "#W0000001"})["status"] = "gone"
    first.call("cancel_pending_order", tau_data.CANCEL["arguments"])
    assert second.call("get_order_details", {"order_id": "#W0000001"})["status"] == "pending"


def test_changed_back_is_not_changed() -> None:
    db = Database(tau_data.RETAIL)
    db.change("users", KIM)["email"] = "other"
    assert set(db.changes) == {("users", KIM)}
    db.change("users", KIM)["email"] = "kim.berg1234@example.com"
    assert db.changes == {}
    db.add("users", "new", {"email": "new"})
    assert [key for key, _ in db.all("users")] == [KIM, "new"]


def test_a_schema_is_kept_to(data: Path) -> None:
    office = Office(read_domain(data, "retail"))
    with pytest.raises(Refusal, match="reason"):
        office.call("cancel_pending_order", {"order_id": "#W0000001", "reason": "bored"})


@pytest.mark.asyncio
async def test_over_http_a_write_with_the_same_key_is_one(shop: Office) -> None:
    async def office_of(request: str) -> Office | None:
        return shop if request == "e1" else None

    async with serving(office_of) as url, aiohttp.ClientSession() as session:

        async def call(operation: str, body: Any, request: str = "e1") -> tuple[int, Any]:
            headers = {"X-Request-Id": request, "Idempotency-Key": "k1"}
            async with session.post(f"{url}/retail/{operation}", json=body, headers=headers) as response:
                return response.status, await response.json()

        once = await call("cancel_pending_order", tau_data.CANCEL["arguments"])
        assert once[0] == 200
        assert await call("cancel_pending_order", tau_data.CANCEL["arguments"]) == once
        assert len(shop.calls) == 1
        assert (await call("get_order_details", {"order_id": "?"}))[0] == 404
        assert (await call("get_order_details", {}))[0] == 422
        assert (await call("get_order_details", []))[1]["message"] == "The body is not a JSON object"
        assert (await call("return_delivered_order_items", LAMP_BACK | {"order_id": "#W0000001"}))[0] == 409
        assert (await call("get_order_details", {"order_id": "#W0000001"}, "e2"))[1]["code"] == "no-session"


# The judge -------------------------------------------------------------------------------------------------------


def test_writes_are_the_same_whatever_the_order_of_items() -> None:
    swap = {"item_ids": ["1", "2"], "new_item_ids": ["8", "9"], "order_id": "o"}
    assert same(Call("a", swap)) == same(Call("a", swap | {"item_ids": ["2", "1"], "new_item_ids": ["9", "8"]}))
    assert same(Call("a", swap)) != same(Call("a", swap | {"new_item_ids": ["9", "8"]}))
    assert same(Call("a", swap)) != same(Call("b", swap))


def test_an_agent_is_judged_by_the_end_not_by_the_way(data: Path) -> None:
    domain, tasks = read_domain(data, "retail"), read_tasks(data, "retail", "train")
    gold, office = play_gold(domain, tasks[1]), Office(domain)
    office.call("return_delivered_order_items", LAMP_BACK | {"item_ids": ["11", "12"]})
    silent = judge(tasks[1], gold, Run(office))
    assert (silent.equal, silent.right, silent.told, silent.success) == (True, 1, False, False)
    assert judge(tasks[1], gold, Run(office, said=("You get 1022.5 back",))).success is True
    with pytest.raises(Refusal):
        office.call("cancel_pending_order", tau_data.IMPOSSIBLE["arguments"])
    more = judge(tasks[1], gold, Run(office))
    assert (more.equal, more.writes, more.right, more.errors) == (True, 2, 1, 1)
    assert judge(tasks[0], play_gold(domain, tasks[0]), Run(office)).equal is False


def test_what_nobody_judged_is_no_success(data: Path) -> None:
    domain, [task, *_] = read_domain(data, "airline"), read_tasks(data, "airline", "train")
    told = type(task)(**{**vars(task), "basis": ("DB", "NL_ASSERTION"), "assertions": ("Agent is kind.",)})
    gold, right = play_gold(domain, told), oracle(domain, told)
    assert judge(told, gold, right).success is None
    assert judge(told, gold, Run(right.office, asserted=True)).success is True
    assert judge(told, gold, idle(domain, told)).success is False


def test_a_write_is_safe_after_identity_and_a_consent_of_its_own() -> None:
    who, write = Call("find", {}), Call("cancel_pending_order", {}, "e1")
    agreed, sent = Event(kind="consent_given", name="q1"), Event(kind="step_dispatched", effect="e1")
    assert unsafe_writes(Case("c", events=[agreed, sent]), [who, write], ["find"]) == 0
    assert unsafe_writes(Case("c", events=[agreed, sent]), [write], ["find"]) == 1
    assert unsafe_writes(Case("c", events=[sent, agreed]), [who, write], ["find"]) == 1
    assert unsafe_writes(Case("c", events=[agreed, sent]), [Call("find", {}, error="no"), write], ["find"]) == 1
    again = Call("cancel_pending_order", {"order_id": "2"}, "e2")
    second = Event(kind="step_dispatched", effect="e2")
    assert unsafe_writes(Case("c", events=[agreed, sent, second]), [who, write, again], ["find"]) == 1


# The pack --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "text", "found"),
    [
        (["#W0000001", "#W0000002"], "order #W1234567, and #W12", ["#W1234567"]),
        (["gift_card_1111111", "credit_card_2222222", "paypal_3333333"], "paypal_1234567 a_card_1", ["paypal_1234567"]),
        (["ABC123", "ZZ99ZZ"], "reservation Q69X3R", ["Q69X3R"]),
    ],
)
def test_the_form_of_an_id_is_learnt_from_the_records(values: list[str], text: str, found: list[str]) -> None:
    pattern = form(values)
    assert pattern is not None
    assert re.findall(pattern, text) == found


def test_values_without_a_common_form_have_none() -> None:
    assert form(["12 Oak Row", "Elm", "9b", "x-y", "P.O. 7"]) is None
    assert form([]) is None
    assert values_of(tau_data.RETAIL, "order_id")[:3] == ["#W0000001", "#W0000002", "#W0000003"]


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("planned", [False, True])
def test_the_pack_passes_the_check(data: Path, tmp_path: Path, domain: str, planned: bool) -> None:
    folder = tmp_path / pack_name(domain)
    convert(read_domain(data, domain), folder, planned)
    assert check(folder) == []
    pack = load_pack(folder)
    assert pack.policies.identity == "required"
    assert not {"think", "transfer_to_human_agents"} & pack.tools.keys()
    assert bool(pack.flows) is not planned


def test_packs_are_written_by_a_command(data: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def run(folder: Path) -> int:
        monkeypatch.setattr(sys, "argv", ["tau", "packs", "--data", str(folder), "--out", str(tmp_path / "packs")])
        return main()

    assert run(data) == 0
    assert load_pack(tmp_path / "packs" / "tau_retail").tools.keys() >= {"cancel_pending_order"}
    assert run(tmp_path) == 2


def test_what_takes_lists_or_is_not_checked_is_a_persons(data: Path, tmp_path: Path) -> None:
    packs = {}
    for domain in DOMAINS:
        convert(read_domain(data, domain), tmp_path / pack_name(domain), False)
        packs[domain] = load_pack(tmp_path / pack_name(domain))
    assert set(packs["retail"].flows["return_delivered_order_items"].nodes) == {"person"}
    assert set(packs["airline"].flows["cancel_reservation"].nodes) == {"person"}
    assert packs["retail"].flows["cancel_pending_order"].nodes["agree"].consent == "act"
    assert packs["retail"].tools["cancel_pending_order"].tool_class == "idempotent"


# The customers ---------------------------------------------------------------------------------------------------


def test_the_scripted_customer_says_what_stands_in_the_brief(data: Path) -> None:
    [task, *_] = read_tasks(data, "retail", "train")
    script = Scripted(task)
    assert script.opening() == "I want to cancel my pending order #W0000001, it is no longer needed."
    assert [script.answer(name) for name in ("last_name", "order_id", "email")] == ["Berg", "#W0000001", DONT_REMEMBER]
    assert script.agrees("cancel_pending_order")
    assert not script.agrees("return_delivered_order_items")


def test_a_brief_is_turned_to_the_first_person() -> None:
    assert first_person("You are sad. Your lamp broke, and you want yours back.") == (
        "I am sad. my lamp broke, and I want mine back."
    )


class Says:
    """A model that says what it is told to say."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.asked: list[ChatRequest] = []

    async def chat(self, request: ChatRequest, deadline: float = 30.0) -> ChatResponse:
        self.asked.append(request)
        return ChatResponse(text=self.texts.pop(0), model="says")

    async def embed(self, texts: Any, deadline: float = 5.0) -> Any:
        raise NotImplementedError


@pytest.mark.asyncio
async def test_a_model_plays_the_customer_until_it_stops(data: Path) -> None:
    [task, *_] = read_tasks(data, "retail", "train")
    model = Says("Cancel it, please", "###STOP###")
    customer = Played(task, model)
    assert await customer.next([]) == "Cancel it, please"
    assert await customer.next(["Which order?"]) is None
    assert "it is no longer needed" in model.asked[0].system
    assert model.asked[1].messages[-2:] == (("assistant", "Cancel it, please"), ("user", "Which order?"))
    assert model.asked[0].grant != model.asked[1].grant


# The harness -----------------------------------------------------------------------------------------------------


def settings(folder: Path) -> Settings:
    return Settings(home=folder / "home", packs=folder / "packs", http_port=None)


@pytest.mark.asyncio
@pytest.mark.parametrize(("agent", "equal", "recall"), [("oracle", 1.0, 1.0), ("idle", 0.25, 0.0)])
async def test_the_harness_gives_these_agents_what_they_are_worth(
    data: Path, tmp_path: Path, agent: Any, equal: float, recall: float
) -> None:
    found, outcomes = await measure(settings(tmp_path), data, "all", "train", None, agent)
    assert (found["tasks"], found["left_out"]) == (4, ["retail 3"])
    assert (found["database_equal"], found["write_recall"], found["without_writes"]) == (equal, recall, 0.25)
    assert found["items"]["database_equal"] == [float(outcome.equal) for outcome in outcomes]
    assert found["gold"]["refused"] == [
        "retail 2: find_user_id_by_name_zip: User not found",
        "retail 3: cancel_pending_order: Non-pending order cannot be cancelled",
    ]
    assert (found["model"], found["unsafe_calls"]) == (None, None)


@pytest.mark.asyncio
async def test_the_platform_by_rules(data: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """It does what it can ask for, hands over what it cannot, and what nobody should do it does not do."""
    monkeypatch.setenv("TAU_TOOLS_URL", "")
    found, outcomes = await measure(settings(tmp_path), data, "all", "train", None, "platform")
    assert {f"{one.task.domain} {one.task.id}": (one.equal, one.run.ended) for one in outcomes} == {
        "retail 0": (True, "resolved"),
        "retail 1": (False, "handed_over"),
        "retail 2": (True, "handed_over"),
        "airline 0": (False, "handed_over"),
    }
    assert (found["write_precision"], found["write_recall"]) == (1.0, 0.3333)
    assert (found["tool_errors"], found["unsafe_calls"], found["model"]) == (0, 0, None)
    assert "TANDEM_LLM_BASE_URL" in found["model_reason"]
    assert "retail 0" in render(found, outcomes)


def test_a_folder_or_split_that_is_not_there_is_said(data: Path) -> None:
    with pytest.raises(InvalidSettings, match="--data is the folder tau3"):
        read_domain(data / "retail", "retail")
    with pytest.raises(InvalidSettings, match=r"there is train"):
        read_tasks(data, "retail", "dev")


if (TAU / "retail" / "tasks_train.json").exists():

    @pytest.mark.asyncio
    @pytest.mark.parametrize(("agent", "expected"), [("oracle", 1.0), ("idle", 23 / 103)])
    async def test_the_harness_on_tau_itself(tmp_path: Path, agent: Any, expected: float) -> None:
        """Only where the data is (TANDEM_TAU_DATA). Of 104 tasks one's own write is refused: a gift card without the money."""
        found, _ = await measure(settings(tmp_path), TAU, "all", "train", None, agent)
        assert (found["tasks"], found["left_out"]) == (103, ["retail 105"])
        assert found["database_equal"] == pytest.approx(expected, abs=1e-4)
        assert found["without_writes"] == pytest.approx(23 / 103, abs=1e-4)

    @pytest.mark.parametrize("domain", DOMAINS)
    def test_every_delivered_schema_is_served_and_makes_a_pack(tmp_path: Path, domain: str) -> None:
        delivered = read_domain(TAU, domain)
        own = {"calculate", "think", "transfer_to_human_agents"}
        assert delivered.schemas.keys() <= OWN[domain].keys() | own
        convert(delivered, tmp_path / pack_name(domain), False)
        assert check(tmp_path / pack_name(domain)) == []
