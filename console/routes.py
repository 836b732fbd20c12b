"""All pages: their routes, and their places in the navigation."""

from console.pages import (
    audit,
    installs,
    live,
    load,
    now,
    run,
    schedule,
    schedule_changes,
    schedules,
    sessions,
    tenants,
)
from console.visit import ConsoleRoute, NavigationEntry

PAGES = (
    now,
    schedules,
    schedule,
    schedule_changes,
    run,
    tenants,
    installs,
    load,
    audit,
    sessions,
    live,
)

ROUTES: tuple[ConsoleRoute, ...] = tuple(route for page in PAGES for route in page.ROUTES)

NAVIGATION = (
    NavigationEntry("Now", "/", "n"),
    NavigationEntry("Schedules", "/schedules", "s"),
    NavigationEntry("Runs", "/runs", "r"),
    NavigationEntry("Tenants", "/tenants", "t"),
    NavigationEntry("Installs", "/installs", "i"),
    NavigationEntry("Load", "/load", "l"),
    NavigationEntry("Audit", "/audit", "a"),
    NavigationEntry("Events", "/events", "e"),
)
