"""Why a broker does not answer or refuses us, in one line without a secret."""

from __future__ import annotations

import re
import socket
import ssl

from confluent_kafka import KafkaError

from streams.brokers.errors import BrokerError, RefusedError
from streams.kafka.security import tls_context
from streams.settings import SecuritySettings

_NOT_OURS = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT)
_LEARNT = re.compile(r"(?:\w+://)?(\S+:\d+)/\d+: (.*)")
"""What librdkafka says of a broker by its id, which it knows from another one's metadata."""
_UNREACHED = re.compile(r"Connect to .* failed|Failed to resolve")


def explained(bootstrap: str, security: SecuritySettings, errors: list[KafkaError]) -> BrokerError:
    """What librdkafka reported while nothing answered, as an error to raise.

    A rejected login or certificate is a `RefusedError`; everything else may pass, as a broker that
    starts does.

    Parameters
    ----------
    bootstrap, security
        Where and how an answer was sought.
    errors
        What was reported, in order.
    """
    for error in errors:
        said = error.str()
        if error.code() == KafkaError._AUTHENTICATION:
            return RefusedError(
                f"the broker at {bootstrap} refuses user {security.user!r} by "
                f"{security.mechanism}: {_reason(said)}; look at security.user, "
                "security.mechanism and MILLRACE_SECURITY__PASSWORD"
            )
        if "certificate verify failed" in said:
            return RefusedError(
                f"the certificate of the broker at {bootstrap} is not to be trusted: "
                f"{_distrust(_address(said, bootstrap), security)}; look at security.ca = "
                f"{security.ca!r} and broker.bootstrap"
            )
        if alert := re.search(r"alert ([a-z ]+)", said):
            ours = f"our certificate {security.certificate!r}" if security.certificate else (
                "a client without a certificate"
            )  # fmt: skip
            return RefusedError(
                f"the broker at {bootstrap} refuses {ours}: {alert[1].strip()}; look at "
                "security.certificate and security.key"
            )
    advertised = {
        found[1]: _reason(found[2])
        for error in errors
        if (found := _LEARNT.match(error.str())) and _UNREACHED.search(error.str())
    }
    if advertised:  # librdkafka asked a broker that only the bootstrap address can have named
        return unreachable(bootstrap, advertised)
    reasons = [_reason(e.str()) for e in errors if e.code() not in _NOT_OURS]
    if any(_UNREACHED.search(reason) for reason in reasons):
        return BrokerError(no_broker(bootstrap))
    why = reasons[0] if reasons else "connected, and then nothing was said"
    return BrokerError(
        f"{no_broker(bootstrap)} ({why}; does that listener speak security.protocol = "
        f"{security.protocol}?)"
    )


def no_broker(bootstrap: str) -> str:
    """What to say when nothing answers at ``bootstrap``."""
    return (
        f"no Kafka broker answers at {bootstrap}; start one with `millrace broker` or `make kafka`,"
        " or name yours with --broker"
    )


def unreachable(bootstrap: str, advertised: dict[str, str]) -> RefusedError:
    """What to say when the broker sends clients to addresses where nothing can be reached.

    Parameters
    ----------
    bootstrap
        The address that answered.
    advertised
        The addresses that it named, and why each cannot be reached.
    """
    told = ", ".join(f"{address} ({reason})" for address, reason in advertised.items())
    return RefusedError(
        f"the broker at {bootstrap} answers and sends clients to {told}, which cannot be reached "
        "from here; set advertised.listeners of the broker to an address that clients reach"
    )


def _reason(said: str) -> str:
    """librdkafka's reason, without the address before it and the state after it."""
    return re.sub(r" \(after \d+ms.*", "", re.sub(r"^\S+: ", "", said)).strip().rstrip(":")


def _address(said: str, bootstrap: str) -> tuple[str, int]:
    found = re.match(r"\w+://(.+):(\d+)/", said)
    host, port = found.groups() if found else bootstrap.split(",", maxsplit=1)[0].rsplit(":", 1)
    return host.strip("[]"), int(port)


def _distrust(address: tuple[str, int], security: SecuritySettings) -> str:
    """What is wrong with a certificate: OpenSSL tells Python, librdkafka does not tell us."""
    context = tls_context(security)
    assert context is not None
    try:
        with (
            socket.create_connection(address, timeout=3.0) as connection,
            context.wrap_socket(connection, server_hostname=address[0]),
        ):
            return "it is now, and was not a moment ago"
    except ssl.SSLCertVerificationError as error:
        return error.verify_message.rstrip(".")
    except OSError as error:
        return str(error)
