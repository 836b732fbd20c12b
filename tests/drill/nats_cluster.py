"""A NATS cluster of three servers, each of which may be killed or frozen."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from devstack.embedded import Nats, embedded_nats
from devstack.embedded.servers import HOST, free_port

SERVERS = 3
CONFIG = """
ping_interval: "3s"
ping_max: 2
cluster {{
  name: drill
  listen: "{host}:{port}"
  routes: [{routes}]
}}
"""


class NatsCluster(Struct, frozen=True):
    """Servers that pass on to each other what their clients send."""

    servers: list[Nats]

    @property
    def url(self) -> str:
        """The URLs of all servers, separated by commas."""
        return ",".join(each.url for each in self.servers)


@contextmanager
def nats_cluster(directory: Path) -> Iterator[NatsCluster]:
    """Run the servers, each with a configuration file in ``directory``. Raises ServerFailed."""
    ports = [free_port() for _ in range(SERVERS)]
    routes = ", ".join(f'"nats://{HOST}:{port}"' for port in ports)
    with ExitStack() as stack:
        servers = []
        for number, port in enumerate(ports):
            config = directory / f"nats-{number}.conf"
            config.write_text(CONFIG.format(host=HOST, port=port, routes=routes))
            home = directory / f"nats-{number}"
            servers.append(stack.enter_context(embedded_nats(home, config=config)))
        yield NatsCluster(servers)
