"""All settings of Millrace, by section: names, types, defaults and what they mean."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from platformdirs import user_state_path
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from engine.events import KindRule
from engine.settings import EngineSettings


class SettingsError(ValueError):
    """A setting that does not fit."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BrokerSettings(Section):
    """Where Kafka is."""

    bootstrap: str = Field("127.0.0.1:9092", description="host:port, several parted by commas")
    embedded: bool = Field(
        False,
        description="the broker is Millrace's embedded one (librdkafka's mock), which knows no "
        "admin requests",
    )
    metadata_seconds: float = Field(
        30.0, ge=1, description="seconds after which added partitions are noticed"
    )

    @field_validator("bootstrap")
    @classmethod
    def _addresses(cls, bootstrap: str) -> str:
        """As host:port each; `kafka://` and `PLAINTEXT://`, as other tools write them, go away."""
        return ",".join(_address(each.strip()) for each in bootstrap.split(","))


def _address(text: str) -> str:
    scheme, _, address = text.rpartition("://")
    if scheme.lower() not in ("", "kafka", "plaintext"):
        known = ("ssl", "sasl_plaintext", "sasl_ssl")
        hint = f" and security.protocol = {scheme.lower()}" if scheme.lower() in known else ""
        raise ValueError(f"write host:port{hint}, not {scheme}://")
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):[0-9]{1,5}", address):
        raise ValueError(f"{address!r} is not host:port")
    return address


class SecuritySettings(Section):
    """How clients reach Kafka: encrypted or not, and as whom."""

    protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext", description="what the broker's listener speaks: TLS (ssl), SASL, both, neither"
    )
    ca: str = Field(
        "", description="file of the authorities that may sign the broker's certificate, PEM; "
        "empty: those of this system",
    )  # fmt: skip
    certificate: str = Field("", description="our own certificate for mutual TLS, a file in PEM")
    key: str = Field("", description="its key, a file in PEM without a pass phrase")
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="mechanism of SASL for user and password"
    )
    user: str = Field("", description="user name for SASL")
    password: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        sasl = self.protocol.startswith("sasl")
        if sasl and not (self.user and self.password.get_secret_value()):
            missing = "password (MILLRACE_SECURITY__PASSWORD)" if self.user else "user"
            raise ValueError(f"protocol {self.protocol} needs a {missing}")
        if self.user and not sasl:
            raise ValueError(f"user {self.user!r} is of no use: protocol {self.protocol} has none")
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key come together, or neither")
        if (self.certificate or self.ca) and not self.protocol.endswith("ssl"):
            raise ValueError(f"ca and certificate are of no use: protocol {self.protocol} has none")
        return self


class TopicSettings(Section):
    """Names and shapes of the topics; `millrace topics create` makes them."""

    interactions: str = "millrace.interactions"
    items: str = "millrace.items"
    item_embeddings: str = "millrace.item-embeddings"
    item_deltas: str = "millrace.item-deltas"
    recommendations: str = "millrace.recommendations"
    dead_letters: str = "millrace.dead-letters"
    partitions: int = Field(
        4, ge=1, description="partitions of each topic but item_deltas, which has one"
    )
    replication: int = Field(1, ge=1, description="replicas of each partition")

    message_bytes: int = Field(
        1_572_864,
        ge=65_536,
        description="largest message that the topics accept, in bytes; the longest text of an "
        "event fits the default, and larger messages only delay others",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [
            self.interactions, self.items, self.item_embeddings, self.recommendations,
            self.dead_letters,
        ]  # fmt: skip
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two topics are called {name!r}; each needs a name of its own")
        return self


class EventSettings(Section):
    """Names of the fields of a shop's own events; `data.user` is the field of an object within."""

    user: str = Field("", description="field of the user; empty: events in Millrace's own form")
    item: str = Field("item", description="field of the item")
    timestamp: str = Field(
        "timestamp",
        description="field of the time: seconds, milliseconds or microseconds, told by their size, "
        "or a date; an event without it has the time when the broker received it",
    )
    kind: str = Field(
        "kind", description="field of the kind of event; without it an event is a click"
    )
    value: str = Field("value", description="field of a rating, or a weight")
    text: str = Field("text", description="field of what the user wrote")
    event_id: str = Field(
        "event_id",
        description="field of the event's id; without it, events that are equal in user, item, "
        "kind and time are one",
    )


class WorkerSettings(Section):
    """How a worker reads, answers and reports."""

    group: str = Field("millrace", description="consumer group of the workers")
    session_seconds: float = Field(
        10.0,
        ge=1,
        description="seconds without a heartbeat after which other workers take over",
    )
    delivery: Literal["leased", "transactional"] = Field(
        "leased",
        description="how answers are written: under a lease, which is fast, or in transactions, "
        "which the broker itself fences (docs/guarantees.md)",
    )
    duplicate_window: int = Field(
        250_000, ge=1, description="event ids that are kept per partition to recognise duplicates"
    )
    late: Literal["apply", "dead-letter"] = Field(
        "apply", description="what is done with an event that is late by more than grace_seconds"
    )
    grace_seconds: float = Field(
        604_800.0,
        ge=0,
        description="seconds that an event may be behind its partition's latest one; 604800 is a "
        "week",
    )
    waiting_answers: int = Field(
        5_000,
        ge=1,
        description="answers per partition that may wait for the broker before reading pauses",
    )
    checkpoints: str = Field(
        str(user_state_path("millrace") / "checkpoints"),
        description="folder of checkpoints that all workers share, or the URL of an object store "
        "as in s3://bucket/prefix, with credentials from the environment; empty: no checkpoints",
    )
    checkpoint_seconds: float = Field(30.0, gt=0, description="seconds between checkpoints")
    checkpoints_kept: int = Field(
        3, ge=1, description="how many of the newest checkpoints are kept"
    )
    linger_ms: float = Field(
        0.0, ge=0, description="milliseconds that the producer waits to fill a batch"
    )
    commit_seconds: float = Field(
        0.2, gt=0, description="seconds between commits of offsets, which renew the worker's lease"
    )
    delta_seconds: float = Field(
        0.1,
        gt=0,
        description="seconds between two deltas, which tell other workers what was learnt of "
        "items; longer with many workers, so that following takes 5 % of a core",
    )
    stalled_seconds: float = Field(
        60.0,
        ge=1,
        description="seconds without progress while events wait, after which the worker exits; "
        "after half of them /health/ready fails",
    )

    @field_validator("checkpoints")
    @classmethod
    def _folder_or_object_store(cls, checkpoints: str) -> str:
        """What has :// is a URL; it is shown and logged, and so may hold no credentials."""
        scheme, _, rest = checkpoints.partition("://")
        if rest and "@" in rest.partition("/")[0]:
            raise ValueError("credentials come from the environment, as AWS_ACCESS_KEY_ID does")
        if "://" in checkpoints and not (
            scheme in ("s3", "gs", "az") and re.fullmatch(r"[\w.-]+(/[^?#\s]*)?", rest)
        ):
            raise ValueError("a URL is written s3://bucket/prefix, gs://... or az://...")
        return checkpoints


class WebSettings(Section):
    """The worker's web server: the page, the HTTP API, /metrics and /health."""

    host: str = Field("127.0.0.1", description="address that the server binds to")
    port: int = Field(6066, ge=0, le=65535, description="port of the server; 0: no server")
    address: str = Field(
        "",
        pattern=r"^(.+:[0-9]{1,5})?$",
        description="host:port at which other workers reach the server; empty: host and port",
    )
    connections: int = Field(
        256, ge=1, description="most open connections; a new one then replaces an idle one"
    )
    idle_seconds: float = Field(
        30.0, gt=0, description="seconds after which a connection without a request is closed"
    )
    body_bytes: int = Field(
        1024 * 1024, ge=1024, description="largest body of a request, unpacked, in bytes"
    )
    body_seconds: float = Field(
        10.0, gt=0, description="seconds within which the body of a request must have arrived"
    )
    pages_per_client: int = Field(
        16, ge=1, description="live pages that one address may have open, of 64 in all"
    )
    requests_per_second: float = Field(
        0.0,
        ge=0,
        description="requests a second that one address may make; others are refused after a "
        "quarter of a second; 0: no limit",
    )
    token: SecretStr = SecretStr("")

    def url(self, path: str) -> str:
        """The URL of a path at which this machine reaches the server."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        return f"http://{host}:{self.port}/{path}"


class ArmSettings(Section):
    """One arm of an experiment: what its users get in place of the section engine."""

    share: float = Field(1.0, gt=0, description="weight of the arm's share of the users")
    list: Literal["model", "noop", "shuffle"] = Field(
        "model",
        description="the model's list; what is trending, without the model (noop); the model's "
        "list in random order (shuffle)",
    )
    k: int | None = Field(None, ge=1, le=1000, description="engine.k of its users")
    diversity: float | None = Field(None, ge=0, lt=1, description="engine.diversity")
    per_category: int | None = Field(None, ge=0, description="engine.per_category")
    include_categories: tuple[str, ...] | None = Field(
        None, description="engine.include_categories"
    )
    exclude_categories: tuple[str, ...] | None = Field(
        None, description="engine.exclude_categories"
    )


class ExperimentSettings(Section):
    """An experiment: users divided at random, and for good, into arms."""

    salt: str = Field(
        "",
        description="salt of the hash that divides the users; another one divides them anew; "
        "empty: the experiment's name",
    )
    arms: dict[str, ArmSettings] = Field(
        description="arms by name; the others are compared with the first"
    )

    @field_validator("arms")
    @classmethod
    def _two_at_least(cls, arms: dict[str, ArmSettings]) -> dict[str, ArmSettings]:
        if len(arms) < 2:
            raise ValueError("an experiment compares two arms at least")
        return arms


class LogSettings(Section):
    """What workers write to standard error."""

    format: Literal["auto", "text", "json"] = Field(
        "auto", description="text, JSON lines, or auto: text at a terminal, else JSON"
    )


class TraceSettings(Section):
    """Where traces of events go that bring a `traceparent` (docs/metrics.md)."""

    endpoint: str = Field(
        "", description="OTLP/HTTP collector, as http://127.0.0.1:4318; empty: no traces"
    )


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="MILLRACE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    broker: BrokerSettings = Field(default_factory=BrokerSettings)
    security: SecuritySettings = Field(default_factory=SecuritySettings)
    topics: TopicSettings = Field(default_factory=TopicSettings)
    events: EventSettings = Field(default_factory=EventSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    traces: TraceSettings = Field(default_factory=TraceSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)
    experiments: dict[str, ExperimentSettings] = Field(
        {}, description="Experiments by name (docs/experiments.md)"
    )
    kinds: dict[str, KindRule] = Field(
        {},
        exclude=True,
        description="Own kinds of events, and built-in ones weighed anew: as bookmark = 0.9 (a "
        'purchase has 1, a view 0.4), skip = "dislike" or ping = "ignore"',
    )
    """How files write `engine.kinds`, which is what counts."""

    @model_validator(mode="before")
    @classmethod
    def _kinds_are_the_engines(cls, data: Any) -> Any:
        kinds = data.get("kinds") if isinstance(data, dict) else None
        if not kinds:
            return data
        given = data.get("engine", {})
        if isinstance(given, EngineSettings):
            given = given.model_dump()
        return {**data, "engine": {**given, "kinds": {**given.get("kinds", {}), **kinds}}}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
