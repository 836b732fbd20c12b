"""The test kit for extensions: run one as plain Python, against the service's own rules.

``types`` are the records and enums that an extension imports as ``wit_world.imports.types``.
"""

from devstack.testing import wit_types as types
from devstack.testing.fake_host import FakeHost, Fire, Response, Run
from service.rules.limits import Limits

__all__ = ["FakeHost", "Fire", "Limits", "Response", "Run", "types"]
