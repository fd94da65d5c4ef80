"""Errors of a broker that cannot be used."""


class BrokerError(Exception):
    """A broker that does not start or answer. The message is one line and says what to do next."""


class RefusedError(BrokerError):
    """A broker that answers and refuses us: retrying does not help."""
