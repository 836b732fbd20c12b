"""``admin``: every operation of the contract as a command, over NATS."""

from service.cli.admin.program import admin_program

__all__ = ["admin_program"]
