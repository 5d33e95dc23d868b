"""The sink `kafka`: brokers, topics, and how it logs in."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from plantain.operators.redaction import shown
from plantain.pipeline.config.secret import secret_of
from plantain.pipeline.config.section import Section

_SERVER = re.compile(r"(?:\w+://)?(?:\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+)(?::(\d{1,5}))?")


def _servers(bootstrap: str) -> str:
    for server in bootstrap.split(","):
        found = _SERVER.fullmatch(server.strip())
        if found is None or not 0 < int(found[1] or 9092) < 1 << 16:  # which is what its library takes
            raise ValueError(
                f"'{shown(server.strip())}' is no host:port: write such as broker-1:9092,broker-2:9092"
            )
    return bootstrap


class KafkaSecurityConfig(Section):
    """How Kafka is logged in to."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="What the brokers speak."
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        default=None, description="Of the SASL protocols."
    )
    username: str | None = Field(default=None, description="Of the login.")
    password: SecretStr | None = Field(default=None, description="Of the login.")
    password_file: str | None = Field(default=None, description="File that holds the password instead.")
    ca_file: str | None = Field(default=None, description="PEM of who signs the brokers' certificates.")
    cert_file: str | None = Field(default=None, description="PEM of the own certificate.")
    key_file: str | None = Field(default=None, description="PEM of its key.")
    check_hostname: bool = Field(
        default=True, description="Whether a broker must be called as it is certified."
    )

    @model_validator(mode="after")
    def _check(self) -> KafkaSecurityConfig:
        has_password = self.password is not None or self.password_file is not None
        if self.protocol.startswith("SASL") and not (self.mechanism and self.username and has_password):
            raise ValueError(f"{self.protocol} needs mechanism, username, and password or password_file")
        return self

    def options(self) -> dict[str, Any]:
        """As the sink takes it, with the password in the clear.

        Raises:
            UsageError: If the password's file cannot be read.
        """
        password = secret_of(self.password, self.password_file, "output.kafka.security.password_file")
        return self.model_dump(exclude={"password", "password_file"}) | {"password": password}


class KafkaConfig(Section):
    """The sink `kafka`."""

    bootstrap: Annotated[str, AfterValidator(_servers)] = Field(
        default="127.0.0.1:9092", min_length=1, description="host:port of some brokers, separated by commas."
    )
    topic_prefix: str = Field(
        default="plantain",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Topics are called PREFIX.predictions, PREFIX.events and PREFIX.health.",
    )
    transactional: bool = Field(
        default=False, description="For files: whoever reads committed messages sees each frame exactly once."
    )
    rasters: Literal["drop", "embed", "refer"] = Field(
        default="drop",
        description="Dense maps: left out (`drop`), embedded as base64 (`embed`), or named by their "
        "Parquet part (`refer`).",
    )
    max_message_bytes: int = Field(default=900_000, ge=10_000, description="A larger answer goes in parts.")
    max_unacknowledged: int = Field(default=10_000, ge=1, description="Messages that may be on their way.")
    timeout_s: float = Field(default=120.0, gt=0, description="A delivery that takes longer is tried again.")
    bootstrap_timeout_ms: int = Field(
        default=30_000, ge=1, description="How long the first contact may take."
    )
    api_version: tuple[int, int] | None = Field(
        default=None, description="Of the brokers, such as [4, 0]; asked of them if left out."
    )
    security: KafkaSecurityConfig = Field(
        default=KafkaSecurityConfig(), description="How the brokers are logged in to."
    )

    def options(self) -> dict[str, Any]:
        """As the sink takes them."""
        return self.model_dump(exclude={"security"}) | {"security": self.security.options()}
