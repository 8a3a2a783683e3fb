"""What the cloud's API takes and gives."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=200)]
PortNumber = Annotated[int, Field(ge=1, le=65_535)]
Operation = Literal["reset_password", "open_port", "cancel_order", "refund_order"]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class VerifyIdentity(Model):
    email: Email
    code: str = Field(pattern=r"^\d{6}$", description="the six digits shown by the account's authenticator")


class Verification(Model):
    verified: bool
    reason: Literal["ok", "wrong_code", "unknown_account"]
    email: str
    name: str = ""


class Permission(Model):
    allowed: bool
    role: str
    reason: str = Field(description="why not, for people; empty if allowed")


class ResetPassword(Model):
    email: Email


class PasswordReset(Model):
    reset_id: str
    email: str
    sent_to: str = Field(description="where the reset link went, masked")
    valid_minutes: int


class Notify(Model):
    email: Email
    event: Literal["password_reset", "port_opened", "order_cancelled", "refund_made"]


class Notification(Model):
    notification_id: str
    email: str
    event: str
    sent_to: str


class Diagnose(Model):
    """One of `instance_id` and `ip` is enough."""

    instance_id: str | None = None
    ip: str | None = None
    port: PortNumber | None = None


class Finding(Model):
    finding: Literal["port_closed", "stopped", "nothing", "unknown_instance"]
    instance_id: str | None = None
    ip: str | None = None
    port: int | None = None
    service: str = ""
    summary: str = ""


class Diagnosis(Model):
    job_id: str
    state: Literal["running", "done", "failed"]
    percent: int
    line: str
    result: Finding | None = None


class Instance(Model):
    instance_id: str
    ip: str
    owner: str
    region: str
    status: Literal["running", "stopped"]
    services: dict[str, int] = Field(description="service → port it listens on")
    open_ports: list[int]


class OpenPort(Model):
    port: PortNumber
    protocol: Literal["tcp", "udp"] = "tcp"


class OpenedPort(Model):
    rule_id: str
    instance_id: str
    port: int
    protocol: str


class PortState(Model):
    instance_id: str
    port: int
    open: bool
    reachable: bool


class Order(Model):
    order_id: str
    email: str
    product: str
    category: Literal["mailbox", "instance", "storage", "domain"]
    detail: str
    amount: str = Field(description="decimal, e.g. 49.00")
    currency: str
    purchased: str
    expires: str
    status: Literal["active", "expired", "cancelled", "refunded"]
    self_refundable: bool = Field(description="the customer can cancel it without help")
    pending_renewal: bool = Field(description="a renewal is due and not paid")


class MailboxOrders(Model):
    email: str
    orders: list[Order] = Field(description="newest first")
    self_refundable: bool = Field(description="at least one can be cancelled without help")
    newest: Order | None = None


class Cancel(Model):
    reason: str = ""


class Cancellation(Model):
    cancellation_id: str
    order_id: str
    product: str
    status: str


class CancellationFound(Model):
    found: bool
    cancellation: Cancellation | None = None


class Refund(Model):
    refund_id: str
    order_id: str
    amount: str
    currency: str
    days: int = Field(description="working days until the money arrives")


class Filing(Model):
    filing_number: str
    site: str
    stage: str
    stage_number: int
    stages: int
    updated: str
    action_needed: str = Field(description="what the customer must do now; empty if nothing")
    days_left: int = Field(description="expected working days to the end")


class Problem(Model):
    code: str
    message: str


class EffectRecord(Model):
    """One side effect, as it happened."""

    id: int
    at: float
    operation: str
    key: str | None
    request: dict[str, Any]
    response: dict[str, Any]
    asked: int = Field(description="how often it was asked for with this key")
