"""The shop's operations: users, orders, products."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tandem.bench.tau.records import Database, Refusal, Row

ADDRESS = ("address1", "address2", "city", "state", "country", "zip")


# Looking up ------------------------------------------------------------------------------------------------------


def find_user_id_by_email(db: Database, email: str) -> Row:
    return _found(db, lambda user: user["email"].lower() == email.strip().lower())


def find_user_id_by_name_zip(db: Database, first_name: str, last_name: str, zip: str) -> Row:
    wanted = (first_name.strip().lower(), last_name.strip().lower())

    def fits(user: Row) -> bool:
        name = user["name"]
        return (name["first_name"].lower(), name["last_name"].lower()) == wanted and user["address"]["zip"] == zip

    return _found(db, fits)


def get_user_details(db: Database, user_id: str) -> Row:
    return db.get("users", user_id)


def get_order_details(db: Database, order_id: str) -> Row:
    return db.get("orders", order_id)


def get_product_details(db: Database, product_id: str) -> Row:
    return db.get("products", product_id)


def get_item_details(db: Database, item_id: str) -> Row:
    for _, product in db.all("products"):
        if item_id in product["variants"]:
            return {"name": product["name"], "product_id": product["product_id"], **product["variants"][item_id]}
    raise Refusal("not-found", f"Item {item_id} not found")


def list_all_product_types(db: Database) -> dict[str, str]:
    return dict(sorted((product["name"], key) for key, product in db.all("products")))


def _found(db: Database, fits: Callable[[Row], bool]) -> Row:
    key = next((key for key, user in db.all("users") if fits(user)), None)
    if key is None:
        raise Refusal("not-found", "User not found")
    return {"user_id": key}


# Pending orders --------------------------------------------------------------------------------------------------


def cancel_pending_order(db: Database, order_id: str, reason: str) -> Row:
    order = _order(db, order_id, "pending", "Non-pending order cannot be cancelled")
    paid = list(order["payment_history"])
    for payment in paid:
        _move(db, order["user_id"], payment["payment_method_id"], payment["amount"])
        order["payment_history"].append({**payment, "transaction_type": "refund"})
    return _with(order, status="cancelled", cancel_reason=reason)


def modify_pending_order_address(db: Database, order_id: str, **address: str) -> Row:
    return _with(_modifiable(db, order_id), address=_address(address))


def modify_pending_order_items(
    db: Database, order_id: str, item_ids: Sequence[str], new_item_ids: Sequence[str], payment_method_id: str
) -> Row:
    order = _order(db, order_id, "pending", "Non-pending order cannot be modified")
    if any(old == new for old, new in zip(item_ids, new_item_ids, strict=False)):
        raise Refusal("same-item", "The new item id should be different from the old item id")
    pairs = _exchanged(db, order, item_ids, new_item_ids)
    difference = _difference(pairs)
    _can_pay(db, order["user_id"], payment_method_id, difference)
    _move(db, order["user_id"], payment_method_id, -difference)
    kind = "payment" if difference > 0 else "refund"
    order["payment_history"].append(_payment(kind, abs(difference), payment_method_id))
    for item, variant in pairs:
        item.update(item_id=variant["item_id"], price=variant["price"], options=dict(variant["options"]))
    return _with(order, status="pending (item modified)")


def modify_pending_order_payment(db: Database, order_id: str, payment_method_id: str) -> Row:
    order = _modifiable(db, order_id)
    history = order["payment_history"]
    _method(db, order["user_id"], payment_method_id)
    if len(history) != 1 or history[0]["transaction_type"] != "payment":
        raise Refusal("several-payments", "There should be exactly one payment for a pending order")
    before, amount = history[0]["payment_method_id"], history[0]["amount"]
    if before == payment_method_id:
        raise Refusal("same-method", "The new payment method should be different from the current one")
    _can_pay(db, order["user_id"], payment_method_id, amount)
    _move(db, order["user_id"], payment_method_id, -amount)
    _move(db, order["user_id"], before, amount)
    history += [_payment("payment", amount, payment_method_id), _payment("refund", amount, before)]
    return order


# Delivered orders ------------------------------------------------------------------------------------------------


def return_delivered_order_items(db: Database, order_id: str, item_ids: Sequence[str], payment_method_id: str) -> Row:
    order = _order(db, order_id, "delivered", "Non-delivered order cannot be returned")
    method = _method(db, order["user_id"], payment_method_id)
    original = order["payment_history"][0]["payment_method_id"]
    if payment_method_id != original and method["source"] != "gift_card":
        raise Refusal("method-forbidden", "Payment method should be the original payment method or a gift card")
    _has_items(order, item_ids)
    return _with(
        order, status="return requested", return_items=sorted(item_ids), return_payment_method_id=payment_method_id
    )


def exchange_delivered_order_items(
    db: Database, order_id: str, item_ids: Sequence[str], new_item_ids: Sequence[str], payment_method_id: str
) -> Row:
    order = _order(db, order_id, "delivered", "Non-delivered order cannot be exchanged")
    difference = _difference(_exchanged(db, order, item_ids, new_item_ids))
    _can_pay(db, order["user_id"], payment_method_id, difference)
    return _with(
        order,
        status="exchange requested",
        exchange_items=sorted(item_ids),
        exchange_new_items=sorted(new_item_ids),
        exchange_payment_method_id=payment_method_id,
        exchange_price_difference=difference,
    )


# Users -----------------------------------------------------------------------------------------------------------


def modify_user_address(db: Database, user_id: str, **address: str) -> Row:
    return _with(db.change("users", user_id), address=_address(address))


# Rules -----------------------------------------------------------------------------------------------------------


def _order(db: Database, order_id: str, status: str, refusal: str) -> Row:
    order = db.change("orders", order_id)
    if order["status"] != status:
        raise Refusal("wrong-status", refusal)
    return order


def _modifiable(db: Database, order_id: str) -> Row:
    """A pending order, also one whose items were modified."""
    order = db.change("orders", order_id)
    if "pending" not in order["status"]:
        raise Refusal("wrong-status", "Non-pending order cannot be modified")
    return order


def _has_items(order: Row, item_ids: Sequence[str]) -> None:
    lacking = Counter(item_ids) - Counter(item["item_id"] for item in order["items"])
    if lacking:
        raise Refusal("not-found", f"Item {min(lacking)} is not, or not so often, in the order")


def _exchanged(db: Database, order: Row, item_ids: Sequence[str], new_item_ids: Sequence[str]) -> list[tuple[Row, Row]]:
    """Each item of the order with the variant of the same product that replaces it."""
    if len(item_ids) != len(new_item_ids):
        raise Refusal("unequal-numbers", "The number of items to be exchanged should match")
    _has_items(order, item_ids)
    left = list(order["items"])
    pairs = []
    for old, new in zip(item_ids, new_item_ids, strict=True):
        item = left.pop(next(at for at, item in enumerate(left) if item["item_id"] == old))
        variant = db.get("products", item["product_id"])["variants"].get(new)
        if variant is None or not variant["available"]:
            raise Refusal("not-available", f"New item {new} not found or available")
        pairs.append((item, variant))
    return pairs


def _difference(pairs: Sequence[tuple[Row, Row]]) -> float:
    return float(round(sum(variant["price"] - item["price"] for item, variant in pairs), 2))


def _method(db: Database, user_id: str, method_id: str) -> Row:
    found: Row | None = db.get("users", user_id)["payment_methods"].get(method_id)
    if found is None:
        raise Refusal("not-found", "Payment method not found")
    return found


def _can_pay(db: Database, user_id: str, method_id: str, amount: float) -> None:
    method = _method(db, user_id, method_id)
    if method["source"] == "gift_card" and method["balance"] < amount:
        raise Refusal("balance", "Insufficient gift card balance")


def _move(db: Database, user_id: str, method_id: str, amount: float) -> None:
    """Put an amount back on a gift card, or, below zero, take it off; other methods have no balance here."""
    if _method(db, user_id, method_id)["source"] == "gift_card":
        card = db.change("users", user_id)["payment_methods"][method_id]
        card["balance"] = round(card["balance"] + amount, 2)


def _payment(kind: str, amount: float, method_id: str) -> Row:
    return {"transaction_type": kind, "amount": amount, "payment_method_id": method_id}


def _address(parts: dict[str, str]) -> Row:
    if set(parts) != set(ADDRESS):
        raise Refusal("arguments-invalid", f"An address has {', '.join(ADDRESS)}")
    return {name: parts[name] for name in ADDRESS}


def _with(row: Row, **fields: Any) -> Row:
    row.update(fields)
    return row


_READING = (
    find_user_id_by_email,
    find_user_id_by_name_zip,
    get_user_details,
    get_order_details,
    get_product_details,
    get_item_details,
    list_all_product_types,
)
_WRITING = (
    cancel_pending_order,
    modify_pending_order_address,
    modify_pending_order_items,
    modify_pending_order_payment,
    return_delivered_order_items,
    exchange_delivered_order_items,
    modify_user_address,
)
OPERATIONS: dict[str, Callable[..., Any]] = {function.__name__: function for function in (*_READING, *_WRITING)}
WRITES = frozenset(function.__name__ for function in _WRITING)
