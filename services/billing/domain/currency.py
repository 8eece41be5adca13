"""Currencies that invoices are made in, and their smallest units here and at a provider.

Source: ISO 4217 for the minor units; docs.stripe.com/currencies for what Stripe takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from services.billing.errors import UnknownCurrency


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TWO = _codes(
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF"
    " CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD"
    " HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA"
    " MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN"
    " QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP"
    " TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD YER ZAR ZMW"
)
_ZERO = _codes("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF")
_THREE = _codes("BHD IQD JOD KWD LYD OMR TND")
# Where Stripe counts in other units than ISO: whole ariary, and hundredths that must be 00.
_PROVIDER_EXPONENTS = {"MGA": 0, "ISK": 2}
# Its documentation names two different units for it, so no amount is certain to be right.
_UNCERTAIN_AT_PROVIDER = frozenset({"UGX"})


@dataclass(frozen=True, slots=True)
class Currency:
    """One currency.

    exponent: digits of its minor unit. provider_exponent: digits of the units Stripe counts in.
    settlement_step: the least amount in minor units that a provider can collect; what is charged
    there is a multiple of it. is_settled_online: whether a provider takes it at all.
    """

    code: str
    exponent: int
    provider_exponent: int
    settlement_step: int
    is_settled_online: bool

    def to_minor(self, amount: Decimal) -> int:
        """Returns whole minor units. Raises ValueError for an amount that is none."""
        units = amount.scaleb(self.exponent)
        if units != units.to_integral_value():
            raise ValueError(f"{amount} {self.code} is not a whole number of minor units")
        return int(units)

    def to_amount(self, units: int) -> Decimal:
        """Returns the amount of so many minor units, with all digits of the minor unit."""
        return Decimal(units).scaleb(-self.exponent)

    def to_provider(self, units: int) -> int:
        """Returns minor units in the units a provider counts in.

        Raises ValueError for an amount that is no multiple of the settlement step, and for a
        currency that no provider takes.
        """
        if not self.is_settled_online:
            raise ValueError(f"{self.code} cannot be collected by a provider")
        if units % self.settlement_step:
            raise ValueError(f"{units} minor units of {self.code} cannot be collected")
        shift = self.provider_exponent - self.exponent
        return units * _ten_to(shift) if shift >= 0 else units // _ten_to(-shift)

    def from_provider(self, units: int) -> int:
        """Returns a provider's units in minor units. Raises ValueError for a fraction of one."""
        shift = self.exponent - self.provider_exponent
        if shift >= 0:
            return units * _ten_to(shift)
        whole, rest = divmod(units, _ten_to(-shift))
        if rest:
            raise ValueError(f"{units} units of {self.code} are not whole minor units")
        return whole


@cache
def currency(code: str) -> Currency:
    """Returns the currency of an ISO 4217 code. Raises UnknownCurrency."""
    if code in _TWO:
        exponent = 2
    elif code in _ZERO:
        exponent = 0
    elif code in _THREE:
        exponent = 3
    else:
        raise UnknownCurrency(
            f"{code[:20]!r} is not a currency that invoices are made in; use an ISO 4217 code",
            currency_code=code[:20],
        )
    provider_exponent = _PROVIDER_EXPONENTS.get(code, exponent)
    # The last of three digits must be zero at Stripe.
    step = 10 if exponent == 3 else _ten_to(max(0, exponent - provider_exponent))  # noqa: PLR2004 - three-decimal currencies
    return Currency(
        code=code,
        exponent=exponent,
        provider_exponent=provider_exponent,
        settlement_step=step,
        is_settled_online=code not in _UNCERTAIN_AT_PROVIDER,
    )


def _ten_to(exponent: int) -> int:
    return int(10**exponent)
