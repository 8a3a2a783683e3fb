def main(email):
    cents, kinds, next_end = 0, [], ""
    for listed in list_mailbox_orders(email=email)["orders"]:
        order = get_order(order_id=listed["order_id"])
        whole, _, part = order["amount"].partition(".")
        cents += int(whole) * 100 + int((part + "00")[:2])
        kinds.append(f"{order['product']} ({order['order_id']}) {order['currency']} {order['amount']}")
        if order["status"] == "active":
            next_end = min(next_end or order["expires"], order["expires"])
    return {
        "count": len(kinds),
        "orders": "; ".join(kinds),
        "total": f"{cents // 100}.{cents % 100:02d}",
        "next_end": next_end or None,
    }
