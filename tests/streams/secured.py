"""A Kafka that lets in whom it knows: TLS with SASL, mutual TLS, SASL alone, and access rights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives import serialization

from streams.brokers import KafkaServer
from tests.ports import free_port

USERS = {"ann": "swordfish-ann", "guest": "swordfish-guest"}
"""Users of every mechanism. `ann` may do everything, `guest` nothing until a test lets them."""

PROPERTIES = """
listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}},\
BOTH://127.0.0.1:{both},MUTUAL://127.0.0.1:{mutual},SASL://127.0.0.1:{sasl}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},\
BOTH://localhost:{both},MUTUAL://localhost:{mutual},SASL://localhost:{sasl}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,\
BOTH:SASL_SSL,MUTUAL:SSL,SASL:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.mutual.ssl.client.auth=required
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
ssl.principal.mapping.rules=RULE:^.*CN=([^,]+).*$/$1/
super.users=User:ANONYMOUS;User:ann
"""
LOGIN = "org.apache.kafka.common.security"


@dataclass
class Secured:
    """The running broker, where each listener is, and the folder with certificates."""

    server: KafkaServer
    folder: Path
    both: str
    mutual: str
    sasl: str

    def __post_init__(self) -> None:
        self.admin = AdminClient({"bootstrap.servers": self.server.bootstrap})  # a super user's

    def allow(self, user: str, operation: str, topic: str = "", group: str = "") -> None:
        """Give a user a right to a topic, or to the groups whose names begin so."""
        kind = ResourceType.TOPIC if topic else ResourceType.GROUP
        binding = AclBinding(
            kind,
            topic or group,
            ResourcePatternType.LITERAL if topic else ResourcePatternType.PREFIXED,
            f"User:{user}",
            "*",
            AclOperation[operation],
            AclPermissionType.ALLOW,
        )
        [done] = self.admin.create_acls([binding]).values()
        done.result()


def start(folder: Path) -> Secured:
    """Make certificates in `folder` and start the broker that uses them."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(folder / "strange.pem")
    _write(authority.issue_cert("localhost", common_name="broker"), folder / "broker.pem")
    _write(authority.issue_cert("ann.example", common_name="ann"), folder / "ann.pem")
    both, mutual, sasl = free_port(), free_port(), free_port()
    properties = PROPERTIES.format(folder=folder, both=both, mutual=mutual, sasl=sasl)
    plain = " ".join(f'user_{user}="{password}"' for user, password in USERS.items())
    for listener in ("both", "sasl"):
        for mechanism, login in {
            "plain": f"plain.PlainLoginModule required {plain}",
            "scram-sha-256": "scram.ScramLoginModule required",
            "scram-sha-512": "scram.ScramLoginModule required",
        }.items():
            name = f"listener.name.{listener}.{mechanism}.sasl.jaas.config"
            properties += f"{name}={LOGIN}.{login};\n"
    secured = Secured(
        KafkaServer(properties=properties),
        folder,
        *(f"localhost:{port}" for port in (both, mutual, sasl)),
    )
    for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
        information = ScramCredentialInfo(mechanism, 4096)
        wanted = [
            UserScramCredentialUpsertion(user, information, password.encode())
            for user, password in USERS.items()
        ]
        for done in secured.admin.alter_user_scram_credentials(wanted).values():
            done.result()
    return secured


def _write(certificate: trustme.LeafCert, file: Path) -> None:
    """Key and certificate in one file; Kafka reads keys in PKCS #8 only."""
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(pem + b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
