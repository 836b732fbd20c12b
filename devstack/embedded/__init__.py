"""PostgreSQL and NATS from their wheels: no container, no root rights, no fixed ports.

For `make demo`, `make dev`, the tests and the benchmarks; nothing of the service itself uses it.
"""

from devstack.embedded.directories import kept_directory, private_directory
from devstack.embedded.nats import Nats, embedded_nats
from devstack.embedded.postgres import Postgres, embedded_postgres
from devstack.embedded.servers import ServerFailed

__all__ = [
    "Nats",
    "Postgres",
    "ServerFailed",
    "embedded_nats",
    "embedded_postgres",
    "kept_directory",
    "private_directory",
]
