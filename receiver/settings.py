"""Everything an operator can set, read once from ``RECEIVER_*`` and checked whole.

``RECEIVER_<NAME>_FILE`` names a file that holds the value instead, for secrets.  docs/operations.md
lists the same names; a test compares the two.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "RECEIVER_"

Stage = Literal[
    "queued", "printing", "posted", "delivered", "returned", "deferred", "suppressed", "failed", "unknown"
]


RelaySource = Literal["callback", "replayed", "sending"]


class WrongSettings(Exception):
    """The settings cannot be used.  The message lists every mistake and no value."""


def _names(text: object) -> object:
    """``a, b`` -> ``("a", "b")``; what is no text is left to the validation."""
    if not isinstance(text, str):
        return text
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _pairs(text: object) -> object:
    """``a=1, b=2`` -> ``{"a": "1", "b": "2"}``; what is no text is left to the validation."""
    if not isinstance(text, str):
        return text
    pairs = [pair.partition("=") for pair in _names(text)]  # type: ignore[attr-defined]  # a tuple, for a text
    if any(not sign or not left.strip() or not right.strip() for left, sign, right in pairs):
        raise ValueError("write it as name=value, name=value")
    return {left.strip(): right.strip() for left, _, right in pairs}


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]
Numbers = Annotated[Mapping[str, PositiveInt], NoDecode, BeforeValidator(_pairs)]
StageWords = Annotated[Mapping[str, Stage], NoDecode, BeforeValidator(_pairs)]


class _FileSource(PydanticBaseSettingsSource):
    """Values from the files that ``RECEIVER_<NAME>_FILE`` names."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE")
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise WrongSettings(
                f"{PREFIX}{field_name.upper()}_FILE: cannot be read ({type(error).__name__})"
            ) from None

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(field, name)[0] for name, field in self._fields.items()}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def _fields(self) -> Mapping[str, FieldInfo]:
        return self.settings_cls.model_fields


class Settings(BaseSettings):
    """What an operator decided for the whole installation."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True
    )

    database_url: str = Field(
        "sqlite:///var/receiver.db",
        repr=False,
        description="SQLAlchemy URL of the one database: `sqlite:///...` or `postgresql://...`.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8000, description="Port to listen on.")
    workers: PositiveInt = Field(1, description="Processes that receive; more than 1 needs PostgreSQL.")

    hard_ids: Names = Field(("registered",), description="Names of hard IDs; the first one decides.")
    soft_ids: Names = Field(("cookie",), description="Names of soft IDs.")
    empty_ids: Literal["reject", "drop"] = Field(
        "reject", description="An empty ID refuses its command, or is left out beside a valid one."
    )
    reject_status: Annotated[int, Field(ge=200, le=499)] = Field(
        400, description="HTTP status of a refused single call; 200 for the classic Tracking API."
    )
    unknown_customers: Literal["create", "reject"] = Field(
        "create", description="What happens to a callback about somebody we do not know."
    )
    individualisations: Numbers = Field(
        {"registered": 1, "cookie": 2, "campaign": 3},
        description="Which individualisation carries which ID, the `campaign` or the `mailing`.",
    )
    gateway_individualisations: Numbers = Field(
        {},
        description="The same mapping for letters that come through the gateway; none: they pass untied.",
    )
    campaign_properties: Names = Field(
        ("campaign_id", "campaign_reference", "scenario_id"),
        description="Event properties read for the campaign reference; the first non-empty one wins.",
    )
    status_properties: Names = Field(
        ("status", "state"), description="Event properties read for the status; the first non-empty one wins."
    )
    stage_words: StageWords = Field({}, description="Further words of the sender, as `word=stage`.")

    max_body_bytes: PositiveInt = Field(4_194_304, description="Largest body of a request.")
    max_commands: PositiveInt = Field(50, description="Most commands of a batch (not of the flat form).")
    duplicate_window: PositiveInt = Field(
        600, description="Seconds in which a repeat without a time counts as the same."
    )
    body_seconds: PositiveFloat = Field(
        20.0, description="Seconds that a sender may take to hand over a body."
    )
    held_bytes: PositiveInt = Field(
        67_108_864, description="All half-read bodies together; beyond it the answer is 503."
    )
    queue_bytes: PositiveInt = Field(
        33_554_432, description="All bodies waiting for the writer together; beyond it the answer is 503."
    )
    database_seconds: PositiveFloat = Field(
        5.0, description="Seconds to wait for a database connection or lock before the answer is 503."
    )
    optilyz_base_url: str = Field(
        "https://www.optilyz.com/api", description="Where Optilyz is asked, without the version."
    )
    optilyz_api_key: SecretStr | None = Field(
        None, description="Key of the one Optilyz account; without it nothing is sent."
    )
    optilyz_batch_size: Annotated[int, Field(ge=1, le=1000)] = Field(
        100, description="Most letters of one request, 1 to 1000."
    )
    optilyz_concurrency: Annotated[int, Field(ge=1, le=2)] = Field(
        1, description="Most requests at once, of all processes together, 1 or 2."
    )
    optilyz_per_minute: PositiveInt = Field(
        300, description="Most requests a minute, of all processes together."
    )
    optilyz_seconds: Annotated[float, Field(gt=0, le=300)] = Field(
        30.0,
        description="Seconds that Optilyz may take for an answer; what is not answered by then is `unknown`.",
    )
    bloomreach_base_url: str | None = Field(
        None,
        description="Where Bloomreach is told; these four together switch the relay on.",
    )
    bloomreach_project_token: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,100}$")] | None = Field(
        None, description="Project of Bloomreach that events go to."
    )
    bloomreach_key_id: str | None = Field(None, description="API key of Bloomreach, a private one.")
    bloomreach_secret: SecretStr | None = Field(None, description="Its secret.")
    bloomreach_per_minute: Annotated[int, Field(ge=1, le=6000)] = Field(
        5_900, description="Most requests a minute to Bloomreach, which takes 6,000 of an address."
    )
    bloomreach_seconds: Annotated[float, Field(gt=0, le=300)] = Field(
        15.0, description="Seconds that Bloomreach may take for an answer; then it is asked again."
    )
    relay_sources: Annotated[tuple[RelaySource, ...], NoDecode, BeforeValidator(_names)] = Field(
        ("callback", "replayed"),
        description="What is relayed: `callback`, `replayed`, and `sending`, our own events about letters.",
    )
    relay_ids: Literal["received", "current"] = Field(
        "received", description="Relay an event with the IDs that came, or with those its customer has now."
    )
    relay_id_property: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        "receiver_event_id", description="Property that carries our number of a relayed event; `off`: none."
    )
    relay_in_service: bool = Field(
        True, description="The service relays by itself; `false`: only `receiver relay run` does."
    )
    relay_alert_minutes: Annotated[int, Field(ge=1, le=10_080)] = Field(
        15, description="Minutes that an event may wait for Bloomreach before that is told."
    )
    consent_property: str | None = Field(
        None, description="Customer property that must say yes before a letter is sent."
    )
    revoke_consent: bool = Field(
        False, description="A refused or returned letter sets CONSENT_PROPERTY to false."
    )
    alert_urls: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_names)] = Field(
        (), description="Whom to notify: Apprise URLs."
    )
    alert_quiet_minutes: Annotated[int, Field(ge=1, le=10_080)] = Field(
        60, description="Minutes without a rejection of a reason after which it is told to be over."
    )
    alert_silence_hours: Annotated[int, Field(ge=0, le=8_760)] = Field(
        0, description="Hours without a callback after which that is told; 0: never."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level of log lines."
    )

    @property
    def missing_for_relay(self) -> list[str]:
        """Those of the four settings of Bloomreach that are not there, as the environment names them."""
        needed = ("base_url", "project_token", "key_id", "secret")
        return [
            f"{PREFIX}BLOOMREACH_{name.upper()}"
            for name in needed
            if getattr(self, f"bloomreach_{name}") is None
        ]

    @field_validator("optilyz_base_url", "bloomreach_base_url")
    @classmethod
    def _is_a_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not re.fullmatch(r"https?://[^/?#@\s]+[^?#\s]*", url):
            raise ValueError("write it as https://host/path")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _names_fit_together(self) -> "Settings":
        ids = (*self.hard_ids, *self.soft_ids)
        if not ids:
            raise ValueError("HARD_IDS and SOFT_IDS: name at least one ID")
        if len(set(ids)) != len(ids):
            raise ValueError("HARD_IDS and SOFT_IDS: an ID name stands there twice")
        if any(len(name) > 100 for name in ids):
            raise ValueError("HARD_IDS and SOFT_IDS: an ID name has at most 100 characters")
        for name in ("individualisations", "gateway_individualisations"):
            numbers = getattr(self, name)
            if unknown := set(numbers) - {*ids, "campaign", "mailing"}:
                raise ValueError(f"{name.upper()}: no such ID: {', '.join(sorted(unknown))}")
            if len(set(numbers.values())) != len(numbers):
                raise ValueError(f"{name.upper()}: a number stands there twice")
        if self.revoke_consent and not self.consent_property:
            raise ValueError("REVOKE_CONSENT: say which property with CONSENT_PROPERTY")
        return self

    @model_validator(mode="after")
    def _one_process_writes_sqlite(self) -> "Settings":
        scheme = self.database_url.partition(":")[0]
        if scheme not in {"sqlite", "postgresql"}:
            raise ValueError("DATABASE_URL: begin it with sqlite:/// or postgresql://")
        if self.workers > 1 and scheme == "sqlite":
            raise ValueError("WORKERS: more than one process needs PostgreSQL; SQLite has one writer")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _FileSource(settings_cls)


def read_settings(**overrides: Any) -> Settings:
    """The settings of this process; *overrides* (of the command line) win over the environment.

    Raises WrongSettings with one line per mistake.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        lines = [_sentence(mistake["loc"], mistake["msg"]) for mistake in error.errors(include_input=False)]
        raise WrongSettings("\n".join(lines)) from None


def _sentence(where: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    return PREFIX + (f"{str(where[0]).upper()}: {message}" if where else message)
