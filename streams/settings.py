"""The one settings tree: defaults < millrace.toml < MILLRACE_... < command-line flags."""

from __future__ import annotations

import json
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Any, Literal

import tomlkit
from platformdirs import user_state_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from tomlkit.exceptions import TOMLKitError

from engine.settings import EngineSettings


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BrokerSettings(Section):
    """Where Kafka is."""

    bootstrap: str = Field("127.0.0.1:9092", description="host:port, several parted by commas")
    embedded: bool = Field(
        False,
        description="the broker is Millrace's embedded one (librdkafka's mock): no admin calls",
    )


class TopicSettings(Section):
    """Names and shapes of the topics; `millrace topics create` makes them."""

    interactions: str = "millrace.interactions"
    items: str = "millrace.items"
    item_embeddings: str = "millrace.item-embeddings"
    recommendations: str = "millrace.recommendations"
    dead_letters: str = "millrace.dead-letters"
    partitions: int = Field(4, ge=1, description="partitions of each topic")
    replication: int = Field(1, ge=1, description="replicas of each partition")
    message_bytes: int = Field(
        8 * 1024 * 1024, ge=65_536, description="largest message that the topics take, in bytes"
    )


class WorkerSettings(Section):
    """How a worker reads, answers and reports."""

    group: str = Field("millrace", description="consumer group of the workers")
    session_seconds: float = Field(
        10.0, ge=1, description="seconds without a heartbeat after which others take over"
    )
    duplicate_window: int = Field(
        250_000, ge=1, description="latest event ids that duplicates are known by, per partition"
    )
    late: Literal["apply", "dead-letter"] = Field(
        "apply", description="what becomes of an event that is late by more than grace_seconds"
    )
    grace_seconds: float = Field(
        604_800.0,
        ge=0,
        description="how far behind its partition's latest event an event may be: a week",
    )
    waiting_answers: int = Field(
        5_000, ge=1, description="answers waiting for the broker, per partition, that pause input"
    )
    checkpoints: str = Field(
        str(user_state_path("millrace") / "checkpoints"),
        description="folder of checkpoints, which the workers of a machine share; empty: none",
    )
    checkpoint_seconds: float = Field(30.0, gt=0, description="seconds between checkpoints")
    checkpoints_kept: int = Field(3, ge=1, description="newest checkpoints that are kept")
    linger_ms: float = Field(0.0, ge=0, description="how long the producer waits to fill a batch")
    commit_seconds: float = Field(
        0.2, gt=0, description="seconds between commits of offsets, which other workers follow"
    )
    metrics_host: str = Field("127.0.0.1", description="address that /metrics binds to")
    metrics_port: int = Field(6067, ge=0, le=65535, description="port of /metrics; 0 turns it off")


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="MILLRACE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    broker: BrokerSettings = Field(default_factory=BrokerSettings)
    topics: TopicSettings = Field(default_factory=TopicSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)

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


def load_settings(config: Path | None = None, overrides: list[str] | None = None) -> Settings:
    """The effective settings.

    Parameters
    ----------
    config
        A TOML file; without one, `millrace.toml` of the working folder if it is there.
    overrides
        `section.name=value` pairs, values as TOML writes them (a bare word is a string).

    Raises
    ------
    SettingsError
        Naming each wrong field and its value, when a source does not fit.
    """
    if config is not None and not config.is_file():
        raise SettingsError(f"no settings file at {config}")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=config or "millrace.toml")

    try:
        loaded = FromFile(**_nested(overrides or []))
        return Settings.model_construct(**dict(loaded))
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in e['loc'])} = {e['input']!r}: {e['msg']}"
            for e in error.errors()
        ]
        raise SettingsError("; ".join(lines)) from None
    except TOMLDecodeError as error:
        raise SettingsError(f"{config or 'millrace.toml'}: {error}") from None


class SettingsError(ValueError):
    """A setting that does not fit."""


def _nested(overrides: list[str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for override in overrides:
        path, equals, value = override.partition("=")
        section, dot, name = path.strip().partition(".")
        if not (equals and dot and name):
            raise SettingsError(f"{override!r}: write section.name=value, as engine.k=20")
        try:
            parsed = tomlkit.parse(f"value = {value}").unwrap()["value"]
        except TOMLKitError:
            parsed = value.strip()
        tree.setdefault(section, {})[name] = parsed
    return tree


def as_environment(settings: Settings) -> dict[str, str]:
    """The effective settings as environment variables, for a process that we start."""
    return {
        f"MILLRACE_{section}__{name}".upper(): value
        if isinstance(value, str)
        else json.dumps(value)
        for section, values in settings.model_dump().items()
        for name, value in values.items()
    }


def as_toml(settings: Settings) -> str:
    """The effective settings as a commented TOML file that `load_settings` reads back."""
    document = tomlkit.document()
    for name, value in settings:
        table = tomlkit.table()
        doc = (type(value).__doc__ or "").strip().splitlines()[0]
        table.comment(doc)
        for key, field in type(value).model_fields.items():
            if field.description:
                table.add(tomlkit.comment(field.description))
            table.add(key, getattr(value, key))
        document.add(name, table)
    return tomlkit.dumps(document)
