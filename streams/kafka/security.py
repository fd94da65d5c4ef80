"""The settings of [security] as confluent-kafka and Python's own TLS want them."""

from __future__ import annotations

import ssl
from pathlib import Path

from streams.settings import SecuritySettings, SettingsError


def for_librdkafka(security: SecuritySettings) -> dict[str, str]:
    """Configuration of a confluent-kafka client.

    Raises
    ------
    SettingsError
        Naming the setting whose file cannot be read.
    """
    found: dict[str, str] = {"security.protocol": security.protocol}
    if tls_context(security):  # which says in one line what is wrong with a file
        for field, name in (
            ("ca", "ssl.ca.location"),
            ("certificate", "ssl.certificate.location"),
            ("key", "ssl.key.location"),
        ):
            if file := _file(security, field):
                found[name] = file
    if security.protocol.startswith("sasl"):
        found |= {
            "sasl.mechanism": security.mechanism,
            "sasl.username": security.user,
            "sasl.password": security.password.get_secret_value(),
        }
    return found


def who(security: SecuritySettings) -> str:
    """The identity that the broker sees, in words."""
    if security.user:
        return f"user {security.user!r}"
    if security.certificate:
        return f"the owner of certificate {security.certificate!r}"
    return "a client without a name"


def tls_context(security: SecuritySettings) -> ssl.SSLContext | None:
    """What Python's own TLS needs; None where no TLS is wanted.

    Raises
    ------
    SettingsError
        As `for_librdkafka` does.
    """
    if not security.protocol.endswith("ssl"):
        return None
    context = ssl.create_default_context(cafile=_file(security, "ca"))
    if certificate := _file(security, "certificate"):
        key = _file(security, "key")
        try:
            context.load_cert_chain(certificate, key, password=_no_pass_phrase)
        except (ssl.SSLError, ValueError) as error:
            raise SettingsError(
                f"security.certificate = {certificate!r}, security.key = {key!r}: they are no "
                f"certificate and its key without a pass phrase, in PEM ({error})"
            ) from None
    return context


def _no_pass_phrase() -> str:
    raise ValueError("the key asks for a pass phrase")


def _file(security: SecuritySettings, field: str) -> str | None:
    """The readable PEM file that a setting names; None if it names none."""
    name: str = getattr(security, field)
    if not name:
        return None
    try:
        text = Path(name).read_bytes()
    except OSError as error:
        raise SettingsError(f"security.{field} = {name!r}: {error.strerror}") from None
    if b"-----BEGIN " not in text:
        raise SettingsError(f"security.{field} = {name!r}: this is no file in PEM")
    return name
