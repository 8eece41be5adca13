"""What the budget service reads from its environment beside the kernel's settings."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, PositiveInt, SecretStr, field_validator
from pydantic_settings import NoDecode

from services.kernel.money import Money, parse_decimal
from services.kernel.settings import ServiceSettings

SMTP_SCHEMES = ("smtp", "smtps", "smtp+starttls")


class BudgetSettings(ServiceSettings):
    """Bounds of the budget service; prefix `FINOPS_`."""

    # How long consumers may lag behind the change feed before they must start from the lists.
    feed_retention_days: PositiveInt = 35
    # What is held, as `1.50 USD`, for work that neither price nor history is known of. Empty: such
    # work is unpriced, and each budget's policy says what then.
    default_hold: str = Field(default="", pattern=r"^([0-9]{1,12}(\.[0-9]{1,18})? [A-Z]{3})?$")
    # The server that mails go by, `smtp[s]://[user:password@]host[:port]` or `smtp+starttls://…`,
    # and who they come from. Without it, mails stay in the queue and say so.
    smtp_url: SecretStr | None = None
    mail_sender: str = "FinOps <finops@localhost>"
    # Hosts inside this network that channels may send to: names, addresses or networks, separated
    # by commas. Without them, channels reach the public internet only.
    egress_allow: Annotated[tuple[str, ...], NoDecode] = ()

    @field_validator("egress_allow", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            return [host.strip() for host in value.split(",") if host.strip()]
        return value

    @field_validator("smtp_url")
    @classmethod
    def _require_mail_scheme(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and urlsplit(value.get_secret_value()).scheme not in SMTP_SCHEMES:
            raise ValueError(f"must begin with one of {', '.join(SMTP_SCHEMES)} and ://")
        return value


def read_money(text: str) -> Money | None:
    """Returns the money of a setting such as `1.50 USD`; None for the empty text."""
    amount, _, code = text.partition(" ")
    return Money(code, parse_decimal(amount)) if text else None
