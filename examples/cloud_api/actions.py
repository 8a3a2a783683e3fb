"""What the cloud does and finds out, over its records."""

from __future__ import annotations

from typing import Any

from examples.cloud_api import models
from examples.cloud_api.store import Refusal, Row, Store


def verify_identity(store: Store, body: models.VerifyIdentity) -> models.Verification:
    account = store.find("accounts", body.email)
    if account is None:
        return models.Verification(verified=False, reason="unknown_account", email=body.email)
    if account["code"] != body.code:
        return models.Verification(verified=False, reason="wrong_code", email=account["email"])
    return models.Verification(verified=True, reason="ok", email=account["email"], name=account["name"])


def permission(store: Store, email: str, operation: str, resource: str | None) -> models.Permission:
    """Owners may do everything with what is theirs."""
    account = store.get("accounts", email)
    role = account["role"]
    if role not in ("owner", "admin"):
        reason = f"the role {role} may not do this; an owner of the account can"
        return models.Permission(allowed=False, role=role, reason=reason)
    if resource and _owner_of(store, resource) != account["email"]:
        return models.Permission(allowed=False, role=role, reason=f"{resource} belongs to another account")
    return models.Permission(allowed=True, role=role, reason="")


def reset_password(store: Store, key: str | None, body: models.ResetPassword) -> Row:
    account = store.get("accounts", body.email)

    def work(number: int) -> Row:
        store.change("accounts", body.email, password_resets=account.get("password_resets", 0) + 1)
        sent_to = _masked(account["email"])
        return {"reset_id": f"PR-{number:05d}", "email": account["email"], "sent_to": sent_to, "valid_minutes": 30}

    return store.effect("reset_password", key, body.model_dump(), work)


def notify_owner(store: Store, key: str | None, body: models.Notify) -> Row:
    account = store.get("accounts", body.email)

    def work(number: int) -> Row:
        sent_to = _masked(account["email"])
        return {
            "notification_id": f"NT-{number:05d}",
            "email": account["email"],
            "event": body.event,
            "sent_to": sent_to,
        }

    return store.effect("notify_owner", key, body.model_dump(), work)


def start_diagnosis(store: Store, key: str | None, body: models.Diagnose) -> models.Diagnosis:
    if not (body.instance_id or body.ip):
        raise Refusal(422, "instance_missing", "Give an instance_id or an ip.")
    job = store.start_job(key, body.model_dump())
    return models.Diagnosis(job_id=job, state="running", percent=0, line="Waiting for a worker")


def diagnosis(store: Store, job: str) -> models.Diagnosis:
    request, part, line = store.job(job)
    if part < 1.0:
        return models.Diagnosis(job_id=job, state="running", percent=int(part * 100), line=line)
    return models.Diagnosis(job_id=job, state="done", percent=100, line="Finished", result=_finding(store, request))


def open_port(store: Store, key: str | None, instance_id: str, body: models.OpenPort) -> Row:
    instance = store.get("instances", instance_id)

    def work(number: int) -> Row:
        ports = sorted({*instance["open_ports"], body.port})
        store.change("instances", instance_id, open_ports=ports)
        rule = {"rule_id": f"SG-{number:05d}", "instance_id": instance["instance_id"]}
        return rule | body.model_dump()

    return store.effect("open_port", key, {"instance_id": instance["instance_id"], **body.model_dump()}, work)


def port_state(store: Store, instance_id: str, port: int) -> models.PortState:
    instance = store.get("instances", instance_id)
    is_open = port in instance["open_ports"]
    reachable = is_open and instance["status"] == "running"
    return models.PortState(instance_id=instance["instance_id"], port=port, open=is_open, reachable=reachable)


def mailbox_orders(store: Store, email: str) -> models.MailboxOrders:
    account = store.get("accounts", email)
    mine = [row for row in store.of("orders", account["email"]) if row["category"] == "mailbox"]
    mine.sort(key=lambda row: str(row["purchased"]), reverse=True)
    orders = [models.Order.model_validate(row) for row in mine if row["status"] not in ("cancelled", "refunded")]
    return models.MailboxOrders(
        email=account["email"],
        orders=orders,
        self_refundable=any(order.self_refundable for order in orders),
        newest=orders[0] if orders else None,
    )


def cancel_order(store: Store, key: str | None, order_id: str, body: models.Cancel) -> Row:
    order = store.get("orders", order_id)

    def work(number: int) -> Row:
        if store.get("orders", order_id)["status"] in ("cancelled", "refunded"):
            raise Refusal(409, "not_cancellable", f"{order['order_id']} is already {order['status']}.")
        store.change("orders", order_id, status="cancelled", pending_renewal=False)
        cancelled = {"cancellation_id": f"CN-{number:05d}", "order_id": order["order_id"]}
        return cancelled | {"product": order["product"], "status": "cancelled"}

    return store.effect("cancel_order", key, {"order_id": order["order_id"], **body.model_dump()}, work)


def find_cancellation(store: Store, reference: str) -> models.CancellationFound:
    found = store.effect_of("cancel_order", reference)
    return models.CancellationFound(
        found=found is not None, cancellation=models.Cancellation.model_validate(found) if found else None
    )


def refund_order(store: Store, key: str | None, order_id: str) -> Row:
    """Pays back every time it is asked with a new key: whoever calls must not call twice."""
    order = store.get("orders", order_id)
    if not order["self_refundable"]:
        raise Refusal(409, "not_refundable", f"{order['order_id']} cannot be refunded without a person's decision.")

    def work(number: int) -> Row:
        store.change("orders", order_id, status="refunded")
        refund = {"refund_id": f"RF-{number:05d}", "order_id": order["order_id"]}
        return refund | {"amount": order["amount"], "currency": order["currency"], "days": 5}

    return store.effect("refund_order", key, {"order_id": order["order_id"]}, work)


def _finding(store: Store, request: Row) -> models.Finding:
    instance = _instance_of(store, request)
    if instance is None:
        return models.Finding(finding="unknown_instance", summary="no such instance in any region")
    place: dict[str, Any] = {"instance_id": instance["instance_id"], "ip": instance["ip"]}
    if instance["status"] == "stopped":
        return models.Finding(finding="stopped", summary="the instance is stopped", **place)
    wanted = request.get("port")
    for service, port in instance["services"].items():
        if port not in instance["open_ports"] and wanted in (None, port):
            summary = f"{service} listens on port {port}, but no security-group rule lets anybody in"
            return models.Finding(finding="port_closed", port=port, service=service, summary=summary, **place)
    return models.Finding(finding="nothing", summary="the instance runs and its ports are open", **place)


def _instance_of(store: Store, request: Row) -> Row | None:
    if request.get("instance_id"):
        return store.find("instances", request["instance_id"])
    return next((row for row in store.all("instances") if row["ip"] == request.get("ip")), None)


def _owner_of(store: Store, resource: str) -> str | None:
    """Who owns an instance or an order."""
    instance = store.find("instances", resource)
    order = store.find("orders", resource)
    return instance["owner"] if instance else order["email"] if order else None


def _masked(email: str) -> str:
    name, _, host = email.partition("@")
    return f"{name[0]}***@{host}"
