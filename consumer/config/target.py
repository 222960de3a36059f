"""`[target]`: the Adobe Target account, and the limits that its API sets."""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, ValidationInfo, field_validator

from consumer.config.group import Group, setting
from consumer.config.values import (
    A_DURATION,
    A_SECRET,
    A_SIZE,
    Duration,
    Secret,
    SecretText,
    Size,
    http_address,
)

MOST_ROWS: Final = 500_000  # Adobe's limit for a batch file
MOST_BYTES: Final = 49_999_999  # Adobe says less than 50 MB; MB = 1,000,000 bytes


class BatchSettings(Group):
    """`[target.batch]`: when a micro-batch is sealed; the first limit reached does.

    One that is due and has no call yet goes on growing, up to `most_rows`, `max_bytes`.
    """

    max_rows: int = setting(
        100_000,
        about="How many rows a batch file is sealed with.",
        allowed=f"a whole number from 1 to {MOST_ROWS:,}",
        ge=1,
        le=MOST_ROWS,
    )
    most_rows: int = setting(
        MOST_ROWS,
        about="How many rows a batch file may grow to while it waits for a call, "
        "because calls are scarce.",
        allowed=f"a whole number from max_rows to {MOST_ROWS:,}",
        ge=1,
        le=MOST_ROWS,
    )
    max_bytes: Size = setting(
        49_000_000,
        about="The most bytes of a batch file, counted after encoding.",
        allowed=A_SIZE + ", from 100kB to less than 50MB",
        ge=100_000,
        le=MOST_BYTES,
    )
    max_age: Duration = setting(
        30.0,
        about="How long a row may wait for others.",
        allowed=A_DURATION + ", from 100ms to 1h",
        ge=0.1,
        le=3_600,
    )
    long_values: Literal["warn", "reject"] = setting(
        "warn",
        about="What becomes of a row with a value of more than 256 characters, which "
        "pages cannot use: it is sent and counted, or kept as rejected.",
        allowed='"warn" or "reject"',
    )

    @field_validator("most_rows")
    @classmethod
    def _not_less(cls, most_rows: int, info: ValidationInfo) -> int:
        if most_rows < info.data.get("max_rows", 1):
            message = "expected at least target.batch.max_rows"
            raise ValueError(message)
        return most_rows


class TokenApiSettings(Group):
    """`[target.token_api]`: fetches the profile token instead of `target.token`."""

    tenant: str | None = setting(
        None,
        about="The tenant in the address of Target's Admin API. With it, the profile "
        "token is fetched; a new one is never made, since that would end the present "
        "one for everybody.",
        allowed="letters, digits, `_` and `-`",
        pattern=r"^[A-Za-z0-9_-]+$",
    )
    client_id: str | None = setting(
        None,
        about="The id of the server-to-server credentials in Adobe's console.",
        allowed="a text; with tenant and client_secret",
        min_length=1,
    )
    client_secret: SecretText | None = setting(
        None,
        about="Their secret.",
        allowed=A_SECRET + "; with tenant and client_id",
        validate_default=True,
    )
    scopes: str = setting(
        "openid,AdobeID,target_sdk,additional_info.projectedProductContext,"
        "read_organizations,additional_info.roles",
        about="The scopes asked for.",
        allowed="names separated by commas",
        min_length=1,
    )
    ims: Annotated[str, AfterValidator(http_address)] = setting(
        "https://ims-na1.adobelogin.com",
        about="The server that gives access tokens for the credentials.",
        allowed="an http or https address",
    )
    admin: Annotated[str, AfterValidator(http_address)] = setting(
        "https://mc.adobe.io",
        about="The server of Target's Admin API.",
        allowed="an http or https address",
    )

    @field_validator("client_secret")
    @classmethod
    def _all_or_none(cls, secret: Secret | None, info: ValidationInfo) -> Secret | None:
        given = [info.data.get("tenant"), info.data.get("client_id"), secret]
        if any(one is None for one in given) and any(one is not None for one in given):
            message = "expected tenant, client_id and client_secret together"
            raise ValueError(message)
        return secret


class BudgetSettings(Group):
    """`[target.budget]`: the account's calls a minute, shared by all replicas."""

    calls_per_minute: int = setting(
        50,
        about="The calls a minute that Adobe allows the whole account.",
        allowed="a whole number from 1 to 6,000",
        ge=1,
        le=6_000,
    )
    reserve: int = setting(
        10,
        about="The calls of those that are left for other users of the account.",
        allowed="a whole number from 0 to less than calls_per_minute",
        ge=0,
    )

    @field_validator("reserve")
    @classmethod
    def _leaves_some(cls, reserve: int, info: ValidationInfo) -> int:
        if reserve >= info.data.get("calls_per_minute", reserve + 1):
            message = "expected less than target.budget.calls_per_minute"
            raise ValueError(message)
        return reserve


class DeliverySettings(Group):
    """`[target.delivery]`: how far a batch is followed."""

    confirm: bool = setting(
        default=True,
        about="Whether each batch's status is followed to its end.",
        allowed="true or false",
    )
    first_poll: Duration = setting(
        60.0,
        about="How long after its acceptance a batch's status is first asked for; each "
        "further poll waits longer. At Adobe the first is nearly always `incomplete`.",
        allowed=A_DURATION + ", from 100ms to 1h",
        ge=0.1,
        le=3_600,
    )
    deadline: Duration = setting(
        600.0,
        about="How long a file is tried again that fails: beyond it a file that Target "
        "answers with errors is divided to find the rows at fault; one without any "
        "answer gives its rows back, to go with newer ones.",
        allowed=A_DURATION + ", from 1s to 24h",
        ge=1,
        le=86_400,
    )
    confirm_timeout: Duration = setting(
        1_800.0,
        about="After how long without an end a batch's rows are sent again.",
        allowed=A_DURATION + ", from 1s to 24h",
        ge=1,
        le=86_400,
    )
    sample: float = setting(
        0.0,
        about="The share of confirmed rows that is fetched from Target afterwards and "
        "compared, to measure what gets lost; at most ten a batch. Each is a call.",
        allowed="a number from 0 to 1",
        ge=0,
        le=1,
    )


def _default_endpoint(data: Mapping[str, object]) -> str:
    return f"https://{data['client']}.tt.omtrdc.net"


class TargetSettings(Group):
    """`[target]`: the Adobe Target account that gets the profiles."""

    client: str = setting(
        about="The account's client code.",
        allowed="the client code, letters, digits, `_` and `-`",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$",
    )
    key: Literal["thirdPartyId", "pcId"] = setting(
        "thirdPartyId",
        about="Which of Target's ids a visitor's id is.",
        allowed='"thirdPartyId" or "pcId"',
    )
    api: Literal["v2", "v1"] = setting(
        "v2",
        about="The bulk API's version; v1 makes no new profiles.",
        allowed='"v2" or "v1"',
    )
    endpoint: Annotated[str, AfterValidator(http_address)] = setting(
        _default_endpoint,
        about="The server; `https://<client>.tt.omtrdc.net` without it.",
        allowed="an http or https address",
    )
    status_hosts: tuple[str, ...] = setting(
        (".tt.omtrdc.net",),
        about="Host suffixes where a batch's status may be asked for; the endpoint's "
        "own host always may.",
        allowed='a list of host suffixes that begin with a dot: [".tt.omtrdc.net"]',
    )
    keep_alive: Duration | None = setting(
        None,
        about="How long Target keeps a profile that nobody touches (14 days, or as "
        "agreed with Adobe). With it, profiles that do not change are sent again, "
        "evenly spread, about three times within it.",
        allowed=A_DURATION + ", from 1h to 90d",
        ge=3_600,
        le=90 * 86_400,
    )
    token: SecretText | None = setting(
        None,
        about="The profile token, where the account requires authentication.",
        allowed=A_SECRET,
    )
    token_api: TokenApiSettings = setting(
        TokenApiSettings, about="Where the token is fetched.", allowed="a table"
    )
    batch: BatchSettings = setting(
        BatchSettings, about="When a batch is sealed.", allowed="a table"
    )
    budget: BudgetSettings = setting(
        BudgetSettings, about="The call budget.", allowed="a table"
    )
    delivery: DeliverySettings = setting(
        DeliverySettings, about="How far a batch is followed.", allowed="a table"
    )

    @field_validator("token_api")
    @classmethod
    def _one_source(
        cls, token_api: TokenApiSettings, info: ValidationInfo
    ) -> TokenApiSettings:
        if token_api.tenant is not None and info.data.get("token") is not None:
            message = "expected either target.token or [target.token_api], not both"
            raise ValueError(message)
        return token_api

    @field_validator("delivery")
    @classmethod
    def _can_sample(
        cls, delivery: DeliverySettings, info: ValidationInfo
    ) -> DeliverySettings:
        if delivery.sample and info.data.get("key") == "pcId":
            message = 'expected key = "thirdPartyId": profiles are fetched by it alone'
            raise ValueError(message)
        if delivery.sample and not delivery.confirm:
            message = "expected confirm = true: only confirmed rows are looked up"
            raise ValueError(message)
        return delivery

    @field_validator("status_hosts", mode="before")
    @classmethod
    def _separated(cls, hosts: object) -> object:
        return (
            [h.strip() for h in hosts.split(",")] if isinstance(hosts, str) else hosts
        )

    @field_validator("status_hosts")
    @classmethod
    def _suffixes(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not re.fullmatch(r"(\.[a-z0-9-]+)+", host):
                message = 'expected host suffixes such as ".tt.omtrdc.net"'
                raise ValueError(message)
        return hosts
