"""The capabilities that a host can grant an extension."""

SCHEDULER = "cap:scheduler.manage"

DEFAULTS = frozenset({"cap:context.read", "cap:log.emit", "cap:user.read"})
"""Granted to every install."""

KNOWN = DEFAULTS | {
    SCHEDULER,
    "cap:secrets.get",
    "cap:http.fetch",
    "cap:storage.kv",
    "cap:ui.proxy",
    "cap:invoice.manual.create",
    "cap:client.read",
    "cap:service.read",
}
