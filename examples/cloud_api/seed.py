"""What the cloud knows on its first day. Addresses are from the ranges kept for documentation."""

from __future__ import annotations

from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]


def _account(email: str, name: str, code: str, role: str = "owner", phone: str = "+1 555 0100") -> Row:
    return {"email": email, "name": name, "code": code, "role": role, "phone": phone}


ACCOUNTS: list[Row] = [
    _account("alice@example.com", "Alice Moreau", "246810"),
    _account("erin@example.com", "Erin Walsh", "864213"),
    _account("kate@example.com", "Kate Lindqvist", "515253"),
    _account("quinn@example.com", "Quinn Adeyemi", "727374"),
    _account("nina@example.com", "Nina Sorensen", "616263"),
    _account("peter@example.com", "Peter Zeller", "818283"),
    _account("bob@example.com", "Bob Tanaka", "135790"),
    _account("frank@example.com", "Frank Ito", "909090", role="viewer"),
    _account("li.wei@example.com", "李伟", "778899", phone="+86 10 5550 0101"),
    _account("dave@example.com", "Dave Okoro", "445566"),
    _account("grace@example.com", "Grace Chen", "121314"),
    _account("heidi@example.com", "Heidi Braun", "212223"),
    _account("ivan@example.com", "Ivan Petrov", "313233"),
    _account("zhang.min@example.com", "张敏", "667788", phone="+86 21 5550 0102"),
    _account("carol@example.com", "Carol Dubois", "112233"),
    _account("judy@example.com", "Judy Alvarez", "303132"),
    _account("olivia@example.com", "Olivia Rossi", "404142"),
    _account("peggy@example.com", "Peggy Novak", "454647"),
    _account("trent@example.com", "Trent Hale", "505152"),
]


def _instance(ident: str, ip: str, owner: str, services: dict[str, int], open_ports: list[int], **more: Any) -> Row:
    base = {"instance_id": ident, "ip": ip, "owner": owner, "region": "eu-west-1", "status": "running"}
    return base | {"services": services, "open_ports": open_ports} | more


INSTANCES: list[Row] = [
    _instance("i-7f3a9c21", "203.0.113.24", "dave@example.com", {"SSH": 22, "HTTP": 80}, [80]),
    _instance("i-b04e77d5", "203.0.113.57", "grace@example.com", {"SSH": 22, "HTTPS": 443}, [22]),
    _instance("i-3c9d10ef", "198.51.100.12", "zhang.min@example.com", {"RDP": 3389}, [], region="ap-east-1"),
    _instance("i-55aa0f3b", "203.0.113.91", "heidi@example.com", {"SSH": 22}, [22], status="stopped"),
    _instance("i-9d0d0a17", "198.51.100.77", "ivan@example.com", {"SSH": 22, "PostgreSQL": 5432}, [22, 5432]),
    _instance("i-e1c2b3a4", "203.0.113.130", "quinn@example.com", {"SSH": 22}, []),
]


def _order(ident: str, email: str, product: str, category: str, detail: str, **more: Any) -> Row:
    base = {"order_id": ident, "email": email, "product": product, "category": category, "detail": detail}
    defaults = {"currency": "EUR", "status": "active", "self_refundable": False, "pending_renewal": False}
    return base | defaults | more


ORDERS: list[Row] = [
    _order(
        "ORD-2002",
        "carol@example.com",
        "Business Mail",
        "mailbox",
        "10 mailboxes, dubois-atelier.example",
        amount="120.00",
        purchased="2025-02-01",
        expires="2026-01-31",
        status="expired",
        pending_renewal=True,
    ),
    _order(
        "ORD-2001",
        "carol@example.com",
        "Team Mail",
        "mailbox",
        "3 mailboxes, dubois-press.example",
        amount="36.00",
        purchased="2024-06-12",
        expires="2026-06-11",
    ),
    _order(
        "ORD-2102",
        "judy@example.com",
        "Business Mail",
        "mailbox",
        "25 mailboxes, alvarez-law.example",
        amount="300.00",
        purchased="2025-03-15",
        expires="2026-03-14",
        status="expired",
        pending_renewal=True,
    ),
    _order(
        "ORD-2101",
        "judy@example.com",
        "Archive Mail",
        "mailbox",
        "25 archives, alvarez-law.example",
        amount="75.00",
        purchased="2024-09-01",
        expires="2026-08-31",
    ),
    _order(
        "ORD-1042",
        "olivia@example.com",
        "Object Storage 500 GB",
        "storage",
        "bucket olivia-media",
        amount="49.00",
        purchased="2026-02-20",
        expires="2027-02-19",
        self_refundable=True,
    ),
    _order(
        "ORD-1077",
        "peggy@example.com",
        "Domain novak-ceramics.example",
        "domain",
        "one year",
        amount="14.90",
        purchased="2026-02-25",
        expires="2027-02-24",
        self_refundable=True,
    ),
    _order(
        "ORD-1090",
        "trent@example.com",
        "Instance reservation, 1 year",
        "instance",
        "4 vCPU, 16 GB",
        amount="540.00",
        purchased="2025-05-02",
        expires="2026-05-01",
    ),
]

FILINGS: list[Row] = [
    {
        "filing_number": "ICP2026-00871", "site": "lindenhof-tea.example", "stage": "review by the administration",
        "stage_number": 4, "stages": 5, "updated": "2026-03-02", "action_needed": "", "days_left": 9,
    },
    {
        "filing_number": "ICP2026-01290", "site": "petrov-optics.example", "stage": "check by the provider",
        "stage_number": 2, "stages": 5, "updated": "2026-03-05",
        "action_needed": "please upload a clearer photograph of the business licence", "days_left": 16,
    },
    {
        "filing_number": "ICP2025-07715", "site": "adeyemi-studio.example", "stage": "approved",
        "stage_number": 5, "stages": 5, "updated": "2026-01-19", "action_needed": "", "days_left": 0,
    },
]  # fmt: skip
"""Progress of website filings, in the manner of an ICP filing."""


def crowd(count: int) -> dict[str, list[Row]]:
    """More customers, each with an account, an instance that nobody can reach, an order that can be cancelled and one
    that can be paid back."""
    found: dict[str, list[Row]] = {"accounts": [], "instances": [], "orders": []}
    for number in range(count):
        email = f"c{number:06d}@example.com"
        found["accounts"].append(_account(email, f"Customer {number}", f"{number:06d}"))
        ip = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        found["instances"].append(_instance(f"i-{number:08d}", ip, email, {"SSH": 22}, []))
        dates = {"purchased": "2025-01-01", "expires": "2025-12-31"}
        lapsed = {"amount": "36.00", "status": "expired", "pending_renewal": True, **dates}
        found["orders"].append(_order(f"ORD-9{number:06d}", email, "Team Mail", "mailbox", "3 mailboxes", **lapsed))
        kept = {"amount": "49.00", "self_refundable": True, **dates}
        found["orders"].append(_order(f"ORD-8{number:06d}", email, "Object Storage", "storage", "one bucket", **kept))
    return found
