"""Who is in the demo company, what it runs and what that costs. Everything is invented."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from finops.usage.v1 import allocation_model_pb2, directory_model_pb2, pricing_model_pb2
from google.protobuf.timestamp_pb2 import Timestamp

TENANT = "demo"
SOURCE = "demo"
BOOK = "demo-prices"
PEAK = "working-hours"
ZONE = ZoneInfo("Europe/Berlin")
PRICE_CHANGE_DAYS_AGO = 120  # the large model became cheaper then
ANOMALY_DAYS_AGO = range(17, 24)  # an agent of the research team ran in a loop every night then

TENANT_RECORD = directory_model_pb2.Tenant(
    tenant_id=TENANT,
    display_name="Demo company (generated)",
    time_zone=ZONE.key,
    currency_code="USD",
)

# (id, department above, name)
DEPARTMENTS = (
    ("company", "", "Demo company"),
    ("engineering", "company", "Engineering"),
    ("platform", "engineering", "Platform"),
    ("research", "engineering", "Machine learning research"),
    ("product", "engineering", "Product"),
    ("commercial", "company", "Commercial"),
    ("support", "commercial", "Customer support"),
    ("marketing", "commercial", "Marketing"),
    ("sales", "commercial", "Sales"),
    ("finance", "company", "Finance"),
)

# (id, department, manager), managers before their people
USERS = (
    ("noor.haddad", "company", ""),
    ("iris.lindqvist", "engineering", "noor.haddad"),
    ("tomas.oduya", "commercial", "noor.haddad"),
    ("greta.maro", "finance", "noor.haddad"),
    ("hugo.brandt", "platform", "iris.lindqvist"),
    ("mei.tanaka", "research", "iris.lindqvist"),
    ("luca.ferri", "product", "iris.lindqvist"),
    ("sara.novak", "support", "tomas.oduya"),
    ("paul.adeyemi", "marketing", "tomas.oduya"),
    ("olga.petrova", "sales", "tomas.oduya"),
    ("ben.fischer", "platform", "hugo.brandt"),
    ("anna.kowalski", "platform", "hugo.brandt"),
    ("ravi.menon", "research", "mei.tanaka"),
    ("julia.santos", "research", "mei.tanaka"),
    ("omar.farouk", "research", "mei.tanaka"),
    ("ella.nguyen", "product", "luca.ferri"),
    ("finn.olsen", "product", "luca.ferri"),
    ("zoe.martin", "support", "sara.novak"),
    ("kofi.mensah", "support", "sara.novak"),
    ("lena.vogel", "support", "sara.novak"),
    ("marc.dubois", "marketing", "paul.adeyemi"),
    ("ines.costa", "sales", "olga.petrova"),
    ("amir.rahimi", "sales", "olga.petrova"),
    ("dana.weiss", "finance", "greta.maro"),
    ("adam.abbas", "platform", "hugo.brandt"),
    ("bella.berg", "platform", "hugo.brandt"),
    ("cara.cruz", "platform", "hugo.brandt"),
    ("dario.dietz", "platform", "hugo.brandt"),
    ("emil.evans", "platform", "hugo.brandt"),
    ("freya.fonseca", "platform", "hugo.brandt"),
    ("gael.gruber", "research", "mei.tanaka"),
    ("hana.hansen", "research", "mei.tanaka"),
    ("igor.ivanov", "research", "mei.tanaka"),
    ("jana.jansen", "research", "mei.tanaka"),
    ("kai.kaya", "research", "mei.tanaka"),
    ("lila.lopez", "research", "mei.tanaka"),
    ("milo.meyer", "product", "luca.ferri"),
    ("nadia.nilsen", "product", "luca.ferri"),
    ("otto.okafor", "product", "luca.ferri"),
    ("petra.price", "product", "luca.ferri"),
    ("quinn.quist", "product", "luca.ferri"),
    ("rosa.romano", "product", "luca.ferri"),
    ("sven.silva", "support", "sara.novak"),
    ("tara.torres", "support", "sara.novak"),
    ("umar.ueda", "support", "sara.novak"),
    ("vera.varga", "support", "sara.novak"),
    ("wim.weber", "support", "sara.novak"),
    ("xenia.xu", "support", "sara.novak"),
    ("yann.yilmaz", "support", "sara.novak"),
    ("zora.zeman", "marketing", "paul.adeyemi"),
    ("aron.auer", "marketing", "paul.adeyemi"),
    ("britt.bakker", "marketing", "paul.adeyemi"),
    ("cleo.conti", "marketing", "paul.adeyemi"),
    ("dina.dahl", "sales", "olga.petrova"),
    ("elif.eriksen", "sales", "olga.petrova"),
    ("felix.fabre", "sales", "olga.petrova"),
    ("gina.gomez", "sales", "olga.petrova"),
    ("henk.haas", "sales", "olga.petrova"),
    ("ilse.ito", "finance", "greta.maro"),
    ("jonas.jung", "finance", "greta.maro"),
)


@dataclass(frozen=True, slots=True)
class Model:
    """A language model. Prices in USD per million tokens: input, cached input, output."""

    name: str
    provider: str
    prices: tuple[str, str, str]


LARGE = Model("atlas-large", "example-ai", ("3", "0.3", "15"))
LARGE_BEFORE = Model("atlas-large", "example-ai", ("5", "0.5", "25"))
SMALL = Model("atlas-small", "example-ai", ("0.25", "0.025", "1.25"))
CODER = Model("kestrel-code", "sample-models", ("1.1", "0.11", "4.4"))


@dataclass(frozen=True, slots=True)
class Machine:
    """A virtual machine. is_always_on: whether it runs at night and on weekends as well.

    busy: utilization in working hours, from 0 to 1.
    """

    name: str
    kind: str
    department: str
    project: str
    environment: str
    region: str
    busy: float
    is_always_on: bool = True


# The last three run all night for nobody: off-peak waste for an optimizer to find.
MACHINES = (
    Machine("web-1", "general-8", "platform", "storefront", "prod", "eu-central", 0.62),
    Machine("ledger-db", "memory-16", "platform", "ledger", "prod", "eu-central", 0.71),
    Machine("train-1", "gpu-1", "research", "ranking", "prod", "us-east", 0.88, is_always_on=False),
    Machine("dev-1", "general-8", "product", "storefront", "dev", "eu-central", 0.34),
    Machine("notebook-1", "gpu-1", "research", "ranking", "dev", "us-east", 0.41),
    Machine("batch-old", "memory-16", "finance", "reporting", "prod", "eu-west", 0.06),
)
# USD an hour; working hours cost more on the GPU machines.
MACHINE_PRICES = {"general-8": "0.384", "memory-16": "1.008", "gpu-1": "2.48"}

BUCKETS = (("storefront-media", "platform"), ("training-sets", "research"), ("exports", "finance"))


def instant(day: date, at: time = time(), zone: ZoneInfo = ZONE) -> Timestamp:
    """Returns the instant of a local date and time."""
    stamp = Timestamp()
    stamp.FromDatetime(datetime.combine(day, at, zone).astimezone(UTC))
    return stamp


def departments() -> list[directory_model_pb2.Department]:
    """Returns the departments, those above first."""
    return [
        directory_model_pb2.Department(department_id=id_, parent_id=above, display_name=name)
        for id_, above, name in DEPARTMENTS
    ]


def users() -> list[directory_model_pb2.User]:
    """Returns the people, managers first."""
    return [
        directory_model_pb2.User(
            user_id=id_,
            display_name=id_.replace(".", " ").title(),
            email=f"{id_}@demo.example",
            department_id=department,
            manager_id=manager,
        )
        for id_, department, manager in USERS
    ]


def peak_schedule() -> pricing_model_pb2.PeakSchedule:
    """Returns the schedule that makes GPU machines dearer in working hours."""
    window = pricing_model_pb2.PeakWindow(
        weekdays=range(1, 6), start="09:00", end="18:00", multiplier="1.5"
    )
    return pricing_model_pb2.PeakSchedule(
        peak_schedule_id=PEAK,
        display_name="Working hours in Berlin",
        time_zone=ZONE.key,
        windows=[window],
    )


def prices(today: date) -> list[pricing_model_pb2.Price]:
    """Returns the prices, with the change of the large model's price."""
    change = instant(today - timedelta(days=PRICE_CHANGE_DAYS_AGO))
    found = [
        *_model_prices("before", LARGE_BEFORE, end=change),
        *_model_prices("now", LARGE, start=change),
        *_model_prices("now", SMALL),
        *_model_prices("now", CODER),
    ]
    for kind, price in MACHINE_PRICES.items():
        found.append(_price(f"vm-{kind}", "vm", "hour", price, service=kind))
        if kind.startswith("gpu"):
            found[-1].peak_schedule_id = PEAK
    storage = _price("storage", "storage", "gb_day", "0.0008", up_to="20000")
    storage.model = pricing_model_pb2.PRICING_MODEL_GRADUATED
    storage.tiers.add(unit_price="0.0006")
    return [*found, storage]


def _model_prices(
    version: str, model: Model, *, start: Timestamp | None = None, end: Timestamp | None = None
) -> list[pricing_model_pb2.Price]:
    found = []
    meters = ("input_token", "cached_input_token", "output_token")
    for meter, amount in zip(meters, model.prices, strict=True):
        price = _price(f"{model.name}-{meter}-{version}", "llm", meter, amount)
        price.resource_id, price.provider = model.name, model.provider
        price.per_quantity = "1000000"
        if start is not None:
            price.effective_start_time.CopyFrom(start)
        if end is not None:
            price.effective_end_time.CopyFrom(end)
        found.append(price)
    return found


def _price(
    price_id: str,
    resource_type: str,
    meter: str,
    amount: str,
    *,
    service: str = "",
    up_to: str = "",
) -> pricing_model_pb2.Price:
    return pricing_model_pb2.Price(
        price_id=f"demo-{price_id}",
        price_book_id=BOOK,
        resource_type=resource_type,
        meter=meter,
        service=service,
        currency_code="USD",
        model=pricing_model_pb2.PRICING_MODEL_PER_UNIT,
        tiers=[pricing_model_pb2.PriceTier(unit_price=amount, up_to=up_to)],
    )


def allocation_rule() -> allocation_model_pb2.AllocationRule:
    """Returns the rule that shares the ledger database among the departments by their own cost."""
    return allocation_model_pb2.AllocationRule(
        allocation_rule_id="demo-ledger",
        display_name="The ledger database serves everybody",
        source=[
            allocation_model_pb2.AllocationCondition(dimension="resource_id", value="ledger-db")
        ],
        method=allocation_model_pb2.ALLOCATION_METHOD_PROPORTIONAL_TO_COST,
        target_dimension="department",
    )
