"""The airline's operations: users, flights, reservations."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tandem.bench.tau.records import Database, Refusal, Row

NOW = "2024-05-15T15:00:00"
"""The policy's clock."""

INSURANCE, EXTRA_BAG = 30, 50
NEW_RESERVATIONS = ("HATHAT", "HATHAU", "HATHAV")
NEW_CERTIFICATES = ("certificate_3221322", "certificate_3221323", "certificate_3221324")
"""Ids that the system gives, in this order: the same calls make the same records."""

CITIES = {
    "ATL": "Atlanta",
    "BOS": "Boston",
    "CLT": "Charlotte",
    "DEN": "Denver",
    "DFW": "Dallas",
    "DTW": "Detroit",
    "EWR": "Newark",
    "IAH": "Houston",
    "JFK": "New York",
    "LAS": "Las Vegas",
    "LAX": "Los Angeles",
    "LGA": "New York LaGuardia",
    "MCO": "Orlando",
    "MIA": "Miami",
    "MSP": "Minneapolis",
    "ORD": "Chicago",
    "PHL": "Philadelphia",
    "PHX": "Phoenix",
    "SEA": "Seattle",
    "SFO": "San Francisco",
}


# Looking up ------------------------------------------------------------------------------------------------------


def get_user_details(db: Database, user_id: str) -> Row:
    return {"user_id": user_id, **db.get("users", user_id)}


def get_reservation_details(db: Database, reservation_id: str) -> Row:
    return db.get("reservations", reservation_id)


def list_all_airports(db: Database) -> list[Row]:
    codes = {flight[end] for _, flight in db.all("flights") for end in ("origin", "destination")}
    return [{"iata": code, "city": CITIES.get(code, code)} for code in sorted(codes)]


def search_direct_flight(db: Database, origin: str, destination: str, date: str) -> list[Row]:
    return [found for found in _leaving(db, origin, date) if found["destination"] == destination]


def search_onestop_flight(db: Database, origin: str, destination: str, date: str) -> list[list[Row]]:
    found = []
    for first in _leaving(db, origin, date):
        arrival, _, later = first["scheduled_arrival_time_est"].partition("+")
        day = _days_after(date, int(later or 0))
        found += [
            [{**first, "date": date}, {**second, "date": day}]
            for second in _leaving(db, first["destination"], day)
            if second["destination"] == destination and second["scheduled_departure_time_est"] >= arrival
        ]
    return found


def get_flight_status(db: Database, flight_number: str, date: str) -> str:
    return str(_on(db.get("flights", flight_number), date)["status"])


def _leaving(db: Database, origin: str, date: str) -> Iterator[Row]:
    """Flights with seats to book from an airport on a day."""
    for _, flight in db.all("flights"):
        day = flight["dates"].get(date, {})
        if flight["origin"] == origin and day.get("status") == "available":
            yield {name: value for name, value in flight.items() if name != "dates"} | day


# Booking ---------------------------------------------------------------------------------------------------------


def book_reservation(
    db: Database,
    user_id: str,
    cabin: str,
    flights: Sequence[Row],
    passengers: list[Row],
    payment_methods: list[Row],
    **more: Any,
) -> Row:
    """`more`: origin, destination, flight_type, total_baggages, nonfree_baggages, insurance."""
    user = db.change("users", user_id)
    number = _unused(NEW_RESERVATIONS, lambda id: db.find("reservations", id) is None, "reservations")
    booked = [_seat(db, wanted, cabin, len(passengers)) for wanted in flights]
    insured = INSURANCE if more["insurance"] == "yes" else 0
    price = (sum(flight["price"] for flight in booked) + insured) * len(passengers)
    _pay(user, payment_methods, price + EXTRA_BAG * more["nonfree_baggages"])
    for flight in booked:
        day = db.change("flights", flight["flight_number"])["dates"][flight["date"]]
        day["available_seats"][cabin] -= len(passengers)
    own = {"reservation_id": number, "user_id": user_id, "cabin": cabin, "flights": booked, "passengers": passengers}
    reservation = {**own, "payment_history": payment_methods, "created_at": NOW, **more}
    user["reservations"].append(number)
    db.add("reservations", number, reservation)
    return reservation


def _pay(user: Row, payments: Sequence[Row], price: float) -> None:
    """Take the amounts off the user's methods; a certificate is used up."""
    for payment in payments:
        method, amount = _method(user, payment["payment_id"]), payment["amount"]
        if method["source"] in ("gift_card", "certificate") and method["amount"] < amount:
            raise Refusal("balance", f"Not enough balance in payment method {method['id']}")
    paid = sum(payment["amount"] for payment in payments)
    if paid != price:
        raise Refusal("wrong-amount", f"Payment amount does not add up, total price is {price}, but paid {paid}")
    for payment in payments:
        method = _method(user, payment["payment_id"])
        if method["source"] == "gift_card":
            method["amount"] -= payment["amount"]
        elif method["source"] == "certificate":
            del user["payment_methods"][payment["payment_id"]]


# Changing --------------------------------------------------------------------------------------------------------


def cancel_reservation(db: Database, reservation_id: str) -> Row:
    reservation = db.change("reservations", reservation_id)
    refunds = [{**payment, "amount": -payment["amount"]} for payment in reservation["payment_history"]]
    reservation["payment_history"] += refunds
    reservation["status"] = "cancelled"
    return reservation


def update_reservation_flights(
    db: Database, reservation_id: str, cabin: str, flights: Sequence[Row], payment_id: str
) -> Row:
    """Segments that stay keep their price. Seats are not counted here: the airline does that later."""
    reservation = db.change("reservations", reservation_id)
    kept = {(one["flight_number"], one["date"]): one for one in reservation["flights"] if cabin == reservation["cabin"]}
    people = len(reservation["passengers"])
    chosen = [kept.get((one["flight_number"], one["date"])) or _seat(db, one, cabin, people) for one in flights]
    before = sum(flight["price"] for flight in reservation["flights"])
    _settle(db, reservation, payment_id, (sum(flight["price"] for flight in chosen) - before) * people)
    reservation.update(flights=chosen, cabin=cabin)
    return reservation


def update_reservation_baggages(
    db: Database, reservation_id: str, total_baggages: int, nonfree_baggages: int, payment_id: str
) -> Row:
    reservation = db.change("reservations", reservation_id)
    extra = max(0, nonfree_baggages - reservation["nonfree_baggages"])
    _settle(db, reservation, payment_id, EXTRA_BAG * extra)
    reservation.update(total_baggages=total_baggages, nonfree_baggages=nonfree_baggages)
    return reservation


def update_reservation_passengers(db: Database, reservation_id: str, passengers: list[Row]) -> Row:
    reservation = db.change("reservations", reservation_id)
    if len(passengers) != len(reservation["passengers"]):
        raise Refusal("unequal-numbers", "Number of passengers does not match")
    reservation["passengers"] = passengers
    return reservation


def send_certificate(db: Database, user_id: str, amount: float) -> str:
    methods = db.change("users", user_id)["payment_methods"]
    number = _unused(NEW_CERTIFICATES, lambda id: id not in methods, "certificates")
    methods[number] = {"source": "certificate", "amount": amount, "id": number}
    return f"Certificate {number} added to user {user_id} with amount {amount}."


def _settle(db: Database, reservation: Row, payment_id: str, price: float) -> None:
    """Charge a change, or, below zero, pay it back."""
    user = db.change("users", reservation["user_id"])
    method = _method(user, payment_id)
    if method["source"] == "certificate":
        raise Refusal("method-forbidden", "Certificate cannot be used to update reservation")
    if method["source"] == "gift_card":
        if method["amount"] < price:
            raise Refusal("balance", "Gift card balance is not enough")
        method["amount"] -= price
    if price:
        reservation["payment_history"].append({"payment_id": payment_id, "amount": price})


# Rules -----------------------------------------------------------------------------------------------------------


def _seat(db: Database, wanted: Row, cabin: str, people: int) -> Row:
    """A segment at today's price, if there are seats for all."""
    number, date = wanted["flight_number"], wanted["date"]
    flight = db.get("flights", number)
    day = _on(flight, date)
    if day["status"] != "available":
        raise Refusal("not-available", f"Flight {number} not available on date {date}")
    if day["available_seats"][cabin] < people:
        raise Refusal("not-available", f"Not enough seats on flight {number}")
    ends = {"origin": flight["origin"], "destination": flight["destination"]}
    return {**ends, "flight_number": number, "date": date, "price": day["prices"][cabin]}


def _on(flight: Row, date: str) -> Row:
    day: Row | None = flight["dates"].get(date)
    if day is None:
        raise Refusal("not-found", f"Flight {flight['flight_number']} not found on date {date}")
    return day


def _method(user: Row, payment_id: str) -> Row:
    found: Row | None = user["payment_methods"].get(payment_id)
    if found is None:
        raise Refusal("not-found", f"Payment method {payment_id} not found")
    return found


def _unused(ids: Sequence[str], free: Callable[[str], bool], what: str) -> str:
    found = next(filter(free, ids), None)
    if found is None:
        raise Refusal("limit", f"Too many {what}")
    return found


def _days_after(date: str, days: int) -> str:
    try:
        return (dt.date.fromisoformat(date) + dt.timedelta(days)).isoformat()
    except ValueError:
        raise Refusal("arguments-invalid", f"{date} is not a date (YYYY-MM-DD)") from None


_READING = (
    get_user_details,
    get_reservation_details,
    list_all_airports,
    search_direct_flight,
    search_onestop_flight,
    get_flight_status,
)
_WRITING = (
    book_reservation,
    cancel_reservation,
    update_reservation_flights,
    update_reservation_baggages,
    update_reservation_passengers,
    send_certificate,
)
OPERATIONS: dict[str, Callable[..., Any]] = {function.__name__: function for function in (*_READING, *_WRITING)}
WRITES = frozenset(function.__name__ for function in _WRITING)
