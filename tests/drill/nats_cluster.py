"""A NATS cluster of three: a server may be killed or frozen, and the routes may be cut."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from msgspec import Struct

from devstack.embedded import Nats, embedded_nats
from devstack.embedded.servers import HOST, free_port
from tests.support.faulty_proxy import Disturbance, FaultyProxy, faulty_proxy

SERVERS = 3
CONFIG = """
ping_interval: "3s"
ping_max: 2
lame_duck_grace_period: "1s"
lame_duck_duration: "30s"
cluster {{
  name: drill
  listen: "{host}:{port}"
  advertise: "{host}:{advertised}"
  routes: [{routes}]
}}
"""


class NatsCluster(Struct, frozen=True):
    """Servers that forward to each other what their clients send, each through a proxy."""

    servers: list[Nats]
    proxies: list[FaultyProxy]

    @property
    def url(self) -> str:
        """Return the URLs of all servers, separated by commas."""
        return ",".join(each.url for each in self.servers)

    def disturb_routes(self, disturbance: Disturbance) -> None:
        """Disturb what the servers send to each other, and nothing else."""
        for proxy in self.proxies:
            proxy.disturb(disturbance)


@asynccontextmanager
async def nats_cluster(directory: Path) -> AsyncIterator[NatsCluster]:
    """Run the servers, each with a configuration file in ``directory``. Raises ServerFailed."""
    ports = [free_port() for _ in range(SERVERS)]
    async with AsyncExitStack() as stack:
        proxies = [
            await stack.enter_async_context(faulty_proxy(f"nats://{HOST}:{port}")) for port in ports
        ]
        servers = []
        for number, port in enumerate(ports):
            others = [each.port for each in proxies if each is not proxies[number]]
            config = directory / f"nats-{number}.conf"
            config.write_text(
                CONFIG.format(
                    host=HOST,
                    port=port,
                    advertised=proxies[number].port,
                    routes=", ".join(f'"nats://{HOST}:{other}"' for other in others),
                )
            )
            home = directory / f"nats-{number}"
            servers.append(stack.enter_context(embedded_nats(home, config=config)))
        yield NatsCluster(servers, proxies)
