"""What a hard budget and the budget above it must say, in a few lines without a database."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

HOLD = timedelta(minutes=15)
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Policy:
    """What of a day is carried into the next. cap_amount: None for no such cap."""

    is_enabled: bool = True
    cap_ratio: Decimal = Decimal(1)
    cap_amount: Decimal | None = None
    carries_overspend: bool = False

    def carried(self, amount: Decimal, left: Decimal) -> Decimal:
        """Returns what the next day gets."""
        if not self.is_enabled or (left < 0 and not self.carries_overspend):
            return ZERO
        most = amount * self.cap_ratio
        if self.cap_amount is not None:
            most = min(most, self.cap_amount)
        return min(left, most)


@dataclass(slots=True)
class Account:
    """One period of one budget."""

    amount: Decimal
    policy: Policy = Policy()
    rolled: Decimal = ZERO
    spent: Decimal = ZERO
    held: Decimal = ZERO

    @property
    def limit(self) -> Decimal:
        """What may be spent."""
        return self.amount + self.rolled

    @property
    def figures(self) -> tuple[Decimal, Decimal, Decimal]:
        """(spent, held, limit)."""
        return self.spent, self.held, self.limit

    @property
    def carried(self) -> Decimal:
        """What it leaves; what it still holds counts as spent."""
        return self.policy.carried(self.amount, self.limit - self.spent - self.held)

    def admits(self, amount: Decimal) -> bool:
        """Tells whether so much more fits."""
        return self.spent + self.held + amount <= self.limit


@dataclass(slots=True)
class Held:
    """One authorization. settled: what counts in place of its usage, 0 where nothing does."""

    day: int
    amount: Decimal
    created_at: datetime
    is_open: bool = True
    settled: Decimal = ZERO

    @property
    def expires_at(self) -> datetime:
        """When its hold runs out."""
        return self.created_at + HOLD


@dataclass(slots=True)
class Model:
    """A budget a day, and one a year above it. days: by number from the first."""

    year: Account
    days: list[Account]
    holds: dict[str, Held] = field(default_factory=dict)

    @property
    def today(self) -> Account:
        """The running day."""
        return self.days[-1]

    def admits(self, amount: Decimal) -> bool:
        """Tells whether both budgets have room."""
        return self.today.admits(amount) and self.year.admits(amount)

    def hold(self, authorization_id: str, amount: Decimal, now: datetime) -> None:
        """Holds an amount in both."""
        self.holds[authorization_id] = Held(len(self.days) - 1, amount, now)
        self._move(len(self.days) - 1, held=amount)

    def give_back(self, authorization_id: str) -> None:
        """Ends a hold that is open."""
        hold = self.holds[authorization_id]
        if hold.is_open:
            hold.is_open = False
            self._move(hold.day, held=-hold.amount)

    def settle(self, authorization_id: str, cost: Decimal) -> None:
        """Counts the real cost in place of the hold."""
        hold = self.holds[authorization_id]
        self.give_back(authorization_id)
        hold.settled = cost
        self._move(hold.day, spent=cost)

    def report(self, authorization_id: str, cost: Decimal) -> None:
        """Counts the usage event of the work in place of its hold or settlement."""
        hold = self.holds[authorization_id]
        self.give_back(authorization_id)
        self._move(hold.day, spent=cost - hold.settled)
        hold.settled = ZERO

    def use(self, day: int, cost: Decimal) -> None:
        """Counts usage; negative takes it back."""
        self._move(day, spent=cost)

    def expire(self, now: datetime) -> None:
        """Gives back what ran out."""
        for authorization_id, hold in self.holds.items():
            if hold.expires_at <= now:
                self.give_back(authorization_id)

    def reset(self) -> None:
        """Begins the next day, with what the last one leaves."""
        last = self.today
        self.days.append(Account(last.amount, last.policy, last.carried))

    def _move(self, day: int, *, spent: Decimal = ZERO, held: Decimal = ZERO) -> None:
        for account in (self.year, self.days[day]):
            account.spent += spent
            account.held += held
        if day == len(self.days) - 2:
            self.today.rolled = self.days[day].carried  # older days are closed, and what they left
