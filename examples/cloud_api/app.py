"""The HTTP application: routes only; what they do is in `actions`."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from starlette.routing import Match
from starlette.types import ASGIApp, Scope

from examples.cloud_api import actions, models
from examples.cloud_api.faults import Fault, Faults, FaultyAnswers
from examples.cloud_api.store import Refusal, Row, Store

Key: TypeAlias = Annotated[
    str | None, Header(alias="Idempotency-Key", max_length=200, description="the same key is the same request")
]


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


def _faults(request: Request) -> Faults:
    faults: Faults = request.app.state.faults
    return faults


TheStore: TypeAlias = Annotated[Store, Depends(_store)]
TheFaults: TypeAlias = Annotated[Faults, Depends(_faults)]

REFUSALS: dict[int | str, dict[str, Any]] = {
    404: {"model": models.Problem, "description": "there is no such thing"},
    409: {"model": models.Problem, "description": "it contradicts what is recorded"},
}
api = APIRouter(responses=REFUSALS)
judge = APIRouter(include_in_schema=False)


@api.post("/identity/verifications", operation_id="verify_identity", summary="Verify who a customer is")
async def verify_identity(body: models.VerifyIdentity, store: TheStore) -> models.Verification:
    return actions.verify_identity(store, body)


@api.get("/permissions", operation_id="check_authorisation", summary="Whether an account may do an operation")
async def check_authorisation(
    email: models.Email, operation: models.Operation, store: TheStore, resource: str | None = None
) -> models.Permission:
    return actions.permission(store, email, operation, resource)


@api.post("/password-resets", operation_id="reset_password", summary="Send a password-reset link")
async def reset_password(body: models.ResetPassword, store: TheStore, key: Key = None) -> models.PasswordReset:
    return models.PasswordReset.model_validate(actions.reset_password(store, key, body))


@api.post("/notifications", operation_id="notify_owner", summary="Tell the account's owner what was done")
async def notify_owner(body: models.Notify, store: TheStore, key: Key = None) -> models.Notification:
    return models.Notification.model_validate(actions.notify_owner(store, key, body))


@api.post("/diagnoses", status_code=202, operation_id="diagnose_instance", summary="Find out why nobody can connect")
async def diagnose_instance(body: models.Diagnose, store: TheStore, key: Key = None) -> models.Diagnosis:
    return actions.start_diagnosis(store, key, body)


@api.get("/diagnoses/{job_id}", operation_id="get_diagnosis", summary="How far a diagnosis is, and what it found")
async def get_diagnosis(job_id: str, store: TheStore) -> models.Diagnosis:
    return actions.diagnosis(store, job_id)


@api.get("/instances/{instance_id}", operation_id="get_instance", summary="An instance")
async def get_instance(instance_id: str, store: TheStore) -> models.Instance:
    return models.Instance.model_validate(store.get("instances", instance_id))


@api.post("/instances/{instance_id}/ports", operation_id="open_port", summary="Open a port to the internet")
async def open_port(instance_id: str, body: models.OpenPort, store: TheStore, key: Key = None) -> models.OpenedPort:
    return models.OpenedPort.model_validate(actions.open_port(store, key, instance_id, body))


@api.get("/instances/{instance_id}/ports/{port}", operation_id="check_port", summary="Whether a port can be reached")
async def check_port(instance_id: str, port: models.PortNumber, store: TheStore) -> models.PortState:
    return actions.port_state(store, instance_id, port)


@api.get("/mailboxes/orders", operation_id="list_mailbox_orders", summary="An account's mailbox orders, newest first")
async def list_mailbox_orders(email: models.Email, store: TheStore) -> models.MailboxOrders:
    return actions.mailbox_orders(store, email)


@api.get("/orders/{order_id}", operation_id="get_order", summary="An order")
async def get_order(order_id: str, store: TheStore) -> models.Order:
    return models.Order.model_validate(store.get("orders", order_id))


@api.post("/orders/{order_id}/cancellations", operation_id="cancel_order", summary="Cancel an order")
async def cancel_order(order_id: str, body: models.Cancel, store: TheStore, key: Key = None) -> models.Cancellation:
    return models.Cancellation.model_validate(actions.cancel_order(store, key, order_id, body))


@api.get("/cancellations/{reference}", operation_id="find_cancellation", summary="Whether a cancellation was done")
async def find_cancellation(reference: str, store: TheStore) -> models.CancellationFound:
    """`reference` is the Idempotency-Key it was asked with."""
    return actions.find_cancellation(store, reference)


@api.post("/orders/{order_id}/refunds", operation_id="refund_order", summary="Pay an order back")
async def refund_order(order_id: str, store: TheStore, key: Key = None) -> models.Refund:
    return models.Refund.model_validate(actions.refund_order(store, key, order_id))


@api.get("/filings/{filing_number}", operation_id="get_filing", summary="Progress of a website filing")
async def get_filing(filing_number: str, store: TheStore) -> models.Filing:
    return models.Filing.model_validate(store.get("filings", filing_number))


@judge.get("/_effects")
async def effects(store: TheStore, operation: str | None = None) -> list[models.EffectRecord]:
    """The judge's record: every side effect, in order."""
    return [models.EffectRecord.model_validate(row) for row in store.effects(operation)]


@judge.get("/_faults")
async def waiting_faults(faults: TheFaults) -> list[Fault]:
    return faults.waiting()


@judge.post("/_faults", status_code=201)
async def add_fault(fault: Fault, faults: TheFaults) -> Fault:
    faults.add(fault)
    return fault


@judge.delete("/_faults", status_code=204)
async def clear_faults(faults: TheFaults) -> None:
    faults.clear()


@judge.post("/_reset")
async def reset(store: TheStore, faults: TheFaults) -> Row:
    store.reset()
    faults.clear()
    return {"reset": True}


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    return JSONResponse({"code": error.code, "message": error.message}, status_code=error.status)


def build_api(store: Store) -> FastAPI:
    """The API itself. Its OpenAPI document is at /openapi.json."""
    app = FastAPI(title="Example cloud", version="1.0.0", description="A small cloud provider's back office.")
    app.state.store = store
    app.state.faults = Faults()
    app.include_router(api)
    app.include_router(judge)
    app.add_exception_handler(Refusal, _refused)
    return app


def create_app(store: Store) -> ASGIApp:
    """The API with its faults around it."""
    app = build_api(store)
    return FaultyAnswers(app, app.state.faults, _operation_of)


def _operation_of(scope: Scope) -> str | None:
    for route in api.routes:
        if route.matches(scope)[0] == Match.FULL:
            return getattr(route, "operation_id", None)
    return None
