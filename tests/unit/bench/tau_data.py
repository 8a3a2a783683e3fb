"""A tiny folder in τ³'s format, of our own text and records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ADDRESS = {"address1": "1 Oak Row", "address2": "", "city": "Oslo", "state": "OS", "country": "NO", "zip": "10101"}
ELSEWHERE = {**ADDRESS, "address1": "9 Elm Row", "zip": "20202"}


def _order(number: str, status: str, method: str, *items: tuple[str, float]) -> dict[str, Any]:
    lines = [
        {"name": "Lamp", "product_id": "1000", "item_id": id, "price": price, "options": {}} for id, price in items
    ]
    paid = {"transaction_type": "payment", "amount": sum(p for _, p in items), "payment_method_id": method}
    return {
        "order_id": number,
        "user_id": "kim_berg_1234",
        "address": ADDRESS,
        "items": lines,
        "status": status,
        "fulfillments": [],
        "payment_history": [paid],
    }


RETAIL: dict[str, Any] = {
    "products": {
        "1000": {
            "name": "Lamp",
            "product_id": "1000",
            "variants": {
                "11": {"item_id": "11", "options": {"color": "red"}, "available": True, "price": 10.0},
                "12": {"item_id": "12", "options": {"color": "blue"}, "available": True, "price": 12.5},
                "13": {"item_id": "13", "options": {"color": "gold"}, "available": True, "price": 99.0},
                "14": {"item_id": "14", "options": {"color": "grey"}, "available": False, "price": 9.0},
            },
        }
    },
    "users": {
        "kim_berg_1234": {
            "user_id": "kim_berg_1234",
            "name": {"first_name": "Kim", "last_name": "Berg"},
            "address": ADDRESS,
            "email": "kim.berg1234@example.com",
            "payment_methods": {
                "paypal_1111111": {"source": "paypal", "id": "paypal_1111111"},
                "paypal_3333333": {"source": "paypal", "id": "paypal_3333333"},
                "gift_card_2222222": {"source": "gift_card", "id": "gift_card_2222222", "balance": 20.0},
            },
            "orders": ["#W0000001", "#W0000002", "#W0000003"],
        }
    },
    "orders": {
        "#W0000001": _order("#W0000001", "pending", "gift_card_2222222", ("11", 10.0), ("11", 10.0)),
        "#W0000002": _order("#W0000002", "delivered", "paypal_1111111", ("11", 10.0), ("12", 12.5)),
        "#W0000003": _order("#W0000003", "processed", "paypal_1111111", ("11", 10.0)),
    },
}


def _day(status: str, seats: int, price: int) -> dict[str, Any]:
    if status != "available":
        return {"status": status}
    cabins = ("basic_economy", "economy", "business")
    return {"status": status, "available_seats": dict.fromkeys(cabins, seats), "prices": dict.fromkeys(cabins, price)}


def _flight(number: str, origin: str, destination: str, leaves: str, arrives: str) -> dict[str, Any]:
    return {
        "flight_number": number,
        "origin": origin,
        "destination": destination,
        "scheduled_departure_time_est": leaves,
        "scheduled_arrival_time_est": arrives,
        "dates": {
            "2024-05-14": _day("landed", 0, 0),
            "2024-05-20": _day("available", 2, 100),
            "2024-05-21": _day("available", 2, 150),
        },
    }


AIRLINE: dict[str, Any] = {
    "flights": {
        "HAT001": _flight("HAT001", "BOS", "JFK", "06:00:00", "07:00:00"),
        "HAT002": _flight("HAT002", "JFK", "SEA", "08:00:00", "11:00:00"),
        "HAT003": _flight("HAT003", "BOS", "DEN", "22:00:00", "01:00:00+1"),
        "HAT004": _flight("HAT004", "DEN", "SEA", "02:00:00", "05:00:00"),
    },
    "users": {
        "kim_berg_1234": {
            "name": {"first_name": "Kim", "last_name": "Berg"},
            "membership": "gold",
            "payment_methods": {
                "credit_card_1111111": {"source": "credit_card", "id": "credit_card_1111111"},
                "gift_card_2222222": {"source": "gift_card", "id": "gift_card_2222222", "amount": 60},
                "certificate_3333333": {"source": "certificate", "id": "certificate_3333333", "amount": 100},
            },
            "reservations": ["ABC123"],
        }
    },
    "reservations": {
        "ABC123": {
            "reservation_id": "ABC123",
            "user_id": "kim_berg_1234",
            "origin": "BOS",
            "destination": "JFK",
            "flight_type": "one_way",
            "cabin": "economy",
            "flights": [
                {"origin": "BOS", "destination": "JFK", "flight_number": "HAT001", "date": "2024-05-20", "price": 90}
            ],
            "passengers": [{"first_name": "Kim", "last_name": "Berg", "dob": "1990-01-01"}],
            "payment_history": [{"payment_id": "credit_card_1111111", "amount": 90}],
            "created_at": "2024-05-01T00:00:00",
            "total_baggages": 1,
            "nonfree_baggages": 0,
            "insurance": "no",
        }
    },
}

TEXT: dict[str, Any] = {"type": "string"}


def tool(name: str, description: str, **properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


REASON = {"type": "string", "enum": ["no longer needed", "ordered by mistake"]}
RETAIL_TOOLS = [
    tool("find_user_id_by_email", "Find user id by email.", email=TEXT),
    tool("find_user_id_by_name_zip", "Find user id by name and zip.", first_name=TEXT, last_name=TEXT, zip=TEXT),
    tool("get_order_details", "Get the status and details of an order.", order_id=TEXT),
    tool("cancel_pending_order", "Cancel a pending order. It is refunded.", order_id=TEXT, reason=REASON),
    tool(
        "return_delivered_order_items",
        "Return some items of a delivered order.",
        order_id=TEXT,
        item_ids={"type": "array", "items": TEXT},
        payment_method_id=TEXT,
    ),
    tool("transfer_to_human_agents", "Transfer the user to a person.", summary=TEXT),
]
AIRLINE_TOOLS = [
    tool("get_user_details", "Get the details of a user.", user_id=TEXT),
    tool("cancel_reservation", "Cancel the whole reservation.", reservation_id=TEXT),
    tool("think", "Think.", thought=TEXT),
]

WHO = {"name": "find_user_id_by_name_zip", "arguments": {"first_name": "Kim", "last_name": "Berg", "zip": "10101"}}
CANCEL = {"name": "cancel_pending_order", "arguments": {"order_id": "#W0000001", "reason": "no longer needed"}}
LAMP_BACK = {"order_id": "#W0000002", "item_ids": ["12", "11"], "payment_method_id": "paypal_1111111"}
GIVE_BACK = {"name": "return_delivered_order_items", "arguments": LAMP_BACK}
IMPOSSIBLE = {"name": "cancel_pending_order", "arguments": {"order_id": "#W0000003", "reason": "no longer needed"}}


def task(number: str, reason: str, known: str, *actions: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    told = {"task_instructions": ".", "reason_for_call": reason, "known_info": known, "unknown_info": None}
    basis = {"reward_basis": ["DB", "COMMUNICATE"], "communicate_info": [], "nl_assertions": None}
    return {
        "id": number,
        "user_scenario": {"persona": None, "instructions": told},
        "evaluation_criteria": {"actions": list(actions), **basis, **wanted},
    }


KIM = "You are Kim Berg in zip code 10101."
RETAIL_TASKS = [
    task("0", "You want to cancel your pending order #W0000001, it is no longer needed.", KIM, WHO, CANCEL),
    task("1", "You want to return both lamps of #W0000002.", KIM, WHO, GIVE_BACK, communicate_info=["1,022.5"]),
    task("2", "You want to cancel order #W0000003.", KIM, WHO, {**WHO, "arguments": {**WHO["arguments"], "zip": "1"}}),
    task("3", "You want to cancel order #W0000003, no longer needed.", KIM, IMPOSSIBLE),
]
AIRLINE_TASKS = [
    task(
        "0",
        "You want to cancel reservation ABC123.",
        "Your user id is kim_berg_1234.",
        {"name": "cancel_reservation", "arguments": {"reservation_id": "ABC123"}},
    )
]


def write(folder: Path) -> Path:
    """The folder tau3."""
    shop, airline = folder / "retail", folder / "airline"
    for place in (shop, airline):
        place.mkdir(parents=True)
    dump(shop / "db.json", RETAIL)
    for name, table in AIRLINE.items():
        dump(airline / f"db_{name}.json", table)
    (shop / "policy.md").write_text("# Policy\n\nAsk before you change anything.\n", encoding="utf-8")
    (airline / "policy.md").write_text("# Policy\n\nThe API does not check that rules are met.\n", encoding="utf-8")
    dump(shop / "tools_schema.json", RETAIL_TOOLS)
    dump(airline / "tools_schema.json", AIRLINE_TOOLS)
    dump(shop / "tasks_train.json", RETAIL_TASKS)
    dump(airline / "tasks_train.json", AIRLINE_TASKS)
    return folder


def dump(path: Path, body: Any) -> None:
    path.write_text(json.dumps(body), encoding="utf-8")
