"""What a broker that cannot be used says."""


class BrokerError(Exception):
    """A broker that does not start or answer. The message is one line and says what to do next."""


class RefusedError(BrokerError):
    """A broker that answers and does not let us in: to try again is of no use."""
