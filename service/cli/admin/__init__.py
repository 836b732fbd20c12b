"""``admin``: every admin operation of the contract as a command."""

from service.cli.admin.program import admin_program

__all__ = ["admin_program"]
