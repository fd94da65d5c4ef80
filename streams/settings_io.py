"""Settings from files, variables and flags, and back into them.

What comes later counts: defaults, `millrace.toml`, `MILLRACE_...` variables, command-line flags.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Any

import tomlkit
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsConfigDict
from tomlkit.exceptions import TOMLKitError

from streams.settings import Settings, SettingsError

_BY_NAME = ("kinds", "experiments")
"""Sections whose names are the user's own."""


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
        lines = [_told(e["loc"], e["input"], e["msg"]) for e in error.errors()]
        raise SettingsError("; ".join(lines)) from None
    except (TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config or 'millrace.toml'}: {error}") from None


def _told(place: tuple[int | str, ...], value: Any, message: str) -> str:
    """A validation error in words; with the value only where that cannot be a secret."""
    name = ".".join(str(part) for part in place)
    message = message.removeprefix("Value error, ")
    section = str(place[0]) if place else ""
    secrets = {field for field in _fields(section) if _is_secret(section, field)}
    field = str(place[1]) if len(place) > 1 else ""
    misspelt = field not in _fields(section) and bool(secrets)
    if len(place) < 2 or field in secrets or misspelt:
        return f"{name}: {message}"
    shown = re.sub(r"://[^/]*@", "://***@", repr(value))  # a login in a URL
    return f"{name} = {shown}: {message}"


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
        if _is_secret(section, name):
            raise SettingsError(
                f"{section}.{name}: a command line is there for all to see: "
                f"set {_variable(section, name)} in the environment"
            )
        tree.setdefault(section, {})[name] = parsed
    return tree


def as_environment(settings: Settings) -> dict[str, str]:
    """The effective settings, secrets too, as environment variables for a process that we start."""
    sections = settings.model_dump()
    # Names of experiments are not of one case, as those of variables are.
    experiments = {"MILLRACE_EXPERIMENTS": json.dumps(sections.pop("experiments"))}
    return experiments | {
        _variable(section, name): _written(value)
        for section, values in sections.items()
        for name, value in values.items()
    }


def as_toml(settings: Settings) -> str:
    """The effective settings as a commented TOML file that `load_settings` reads back.

    A secret is not in it: a comment names the variable that holds it.
    """
    document = tomlkit.document()
    for name, value in settings:
        if name in _BY_NAME:
            continue
        table = tomlkit.table()
        doc = (type(value).__doc__ or "").strip().splitlines()[0]
        table.comment(doc)
        for key, field in type(value).model_fields.items():
            if (name, key) == ("engine", "kinds"):
                continue
            if field.description:
                table.add(tomlkit.comment(field.description))
            if _is_secret(name, key):
                table.add(tomlkit.comment(f"{key} comes from {_variable(name, key)}"))
            else:
                table.add(key, getattr(value, key))
        document.add(name, table)
    kinds = tomlkit.table()
    kinds.comment(str(Settings.model_fields["kinds"].description))
    for kind, rule in settings.engine.kinds.items():
        kinds.add(kind, rule)
    document.add("kinds", kinds)
    if settings.experiments:
        held = {n: e.model_dump(exclude_unset=True) for n, e in settings.experiments.items()}
        document.add("experiments", tomlkit.item(held))
    return tomlkit.dumps(document)


def _written(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value if isinstance(value, str) else json.dumps(value)


def _variable(section: str, name: str) -> str:
    return f"MILLRACE_{section}__{name}".upper()


def _fields(section: str) -> dict[str, FieldInfo]:
    """The fields of a section; of one that is not there, none."""
    found = Settings.model_fields.get(section)
    annotation = found.annotation if found else None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.model_fields
    return {}


def _is_secret(section: str, name: str) -> bool:
    field = _fields(section).get(name)
    return field is not None and field.annotation is SecretStr
