"""The files that each kind of addition touches, in the order of CONTRIBUTING.md."""

import re

from contracts.publish.wit import FUNCTION_NAMES
from tests.support.recipes import (
    Recipe,
    Step,
    all_of,
    contains,
    kebab,
    key_in,
    keys_of,
    member_of,
    members,
    permitted,
)

PUBLISHED = (
    Step("docs/api/asyncapi.json", "its channel (`make api`)", contains(r'\.NAME"')),
    Step("docs/api/ext-scheduler.d.ts", "its row (`make api`)", contains(r"^    NAME: \{$")),
)

HOST_OPERATION = Recipe(
    kind="host operation",
    source="contracts/schedules.py",
    names=keys_of("HOST_OPS"),
    steps=(
        Step("contracts/schedules.py", "its types and row in HOST_OPS", key_in("HOST_OPS")),
        Step(
            "contracts/publish/schemas.py",
            "the codes of its negative results, in HOST_REFUSALS",
            key_in("HOST_REFUSALS"),
        ),
        Step(
            "contracts/publish/wit.py",
            "its function's name, in FUNCTION_NAMES",
            key_in("FUNCTION_NAMES"),
        ),
        Step(
            "service/operations/__init__.py",
            "the function that answers it, in HOST_FUNCTIONS",
            key_in("HOST_FUNCTIONS"),
        ),
        Step(
            "nats.conf",
            'its permissions: "ext.scheduler.<op> ext-scheduler" in what `service` may subscribe'
            ' to, "ext.scheduler.<op>" in what `runner` may publish',
            all_of(
                permitted("service", "subscribe", "ext.scheduler.NAME ext-scheduler"),
                permitted("runner", "publish", "ext.scheduler.NAME"),
                permitted("operator", "publish", "ext.scheduler.NAME"),
            ),
        ),
        Step("runner_bridge/client.py", "its method of SchedulerHost", contains(r'\("NAME", ')),
        Step(
            "runner_bridge/dev_runner/wit/extension.wit",
            "its function in the interface scheduler (copy it from docs/api/scheduler.wit)",
            lambda text, name: wit_name(name) + ": func(" in text,
        ),
        Step(
            "runner_bridge/dev_runner/interface.py",
            "its function in OFFERED",
            lambda text, name: f'"{wit_name(name)}"' in text,
        ),
        Step(
            "runner_bridge/dev_runner/scheduling.py",
            "its function in _BINDINGS, and its method in the protocol Scheduler",
            lambda text, name: f'"{wit_name(name)}":' in text,
        ),
        Step(
            "docs/runner-integration.md",
            "its row `op | input | result`",
            contains(r"^\| `NAME` \|"),
        ),
        Step(
            "docs/extension-guide.md",
            "its row in the table of functions",
            lambda text, name: (
                re.search(rf"^\| `{wit_name(name)}\(", text, re.MULTILINE) is not None
            ),
        ),
        Step("tests/wire/samples_host.py", "a sample in HOST_SAMPLES", key_in("HOST_SAMPLES")),
        Step(
            "tests/wire/golden/*/host.json",
            "its golden bytes (`python -m tests.wire.golden_files`)",
            contains(r'^ "NAME": \{$'),
        ),
        *PUBLISHED,
        Step(
            "docs/api/scheduler.wit",
            "its function (`make api`)",
            lambda text, name: wit_name(name) + ": func(" in text,
        ),
        Step("tests/support/hostile.py", "its fields in FIELDS", key_in("FIELDS")),
        Step(
            "tests/acceptance/test_hostile_messages.py", "its members in RESULTS", key_in("RESULTS")
        ),
        Step("tests/integration/test_bridge_client.py", "a call of it in CALLS", key_in("CALLS")),
        Step(
            "tests/integration/test_platform_database.py",
            "a request on every kind of platform database",
            contains(r'walk\.host, "NAME"'),
        ),
        Step(
            "tests/support/scheduling.py",
            "its method of MemoryScheduler, the protocol Scheduler without a bus",
            lambda text, name: f"async def {kebab(name).replace('-', '_')}(" in text,
        ),
        Step(
            "tests/unit/test_guest_scheduling.py",
            "a call of its function, in CHANGES or READS",
            lambda text, name: f'"{wit_name(name)}"' in text,
        ),
        Step(
            "docs/reference.md",
            "its row in the generated tables (`make docs`)",
            contains(r"^\| `NAME` \| `ext\.scheduler\.NAME`"),
        ),
    ),
)

ADMIN_OPERATION = Recipe(
    kind="admin operation",
    source="contracts/admin.py",
    names=keys_of("ADMIN_OPS"),
    steps=(
        Step("contracts/admin.py", "its types and row in ADMIN_OPS", key_in("ADMIN_OPS")),
        Step(
            "contracts/publish/schemas.py",
            "the codes of its negative results, in ADMIN_REFUSALS",
            key_in("ADMIN_REFUSALS"),
        ),
        Step(
            "service/operations/admin/table.py",
            "the function that answers it, in ADMIN_FUNCTIONS",
            key_in("ADMIN_FUNCTIONS"),
        ),
        Step(
            "nats.conf",
            'its permissions: "ext.scheduler.admin.*" covers it for `service`, `operator` and'
            " `platform`",
            all_of(
                permitted("service", "subscribe", "ext.scheduler.admin.NAME ext-scheduler"),
                permitted("operator", "publish", "ext.scheduler.admin.NAME"),
                permitted("platform", "publish", "ext.scheduler.admin.NAME"),
            ),
        ),
        Step("tests/wire/samples_admin.py", "a sample", contains(r'^    "NAME": \($')),
        Step(
            "tests/wire/golden/*/admin.json",
            "its golden bytes (`python -m tests.wire.golden_files`)",
            contains(r'^ "NAME": \{$'),
        ),
        *PUBLISHED,
        Step(
            "tests/integration/test_admin_isolation.py",
            "a body for the matrix of tenants",
            contains(r'"NAME": '),
        ),
        Step(
            "tests/integration/test_platform_database.py",
            "a request on every kind of platform database",
            contains(r'"NAME"'),
        ),
        Step(
            "docs/reference.md",
            "its row in the generated tables (`make docs`)",
            contains(r"^\| `NAME` \| `ext\.scheduler\.admin\.NAME`"),
        ),
    ),
)

METRIC = Recipe(
    kind="metric",
    source="service/runtime/metrics.py",
    names=lambda text: re.findall(r'^ +"(extension_scheduler_\w+)",$', text, re.MULTILINE),
    steps=(
        Step("service/runtime/metrics.py", "its registration in Metrics", contains('"NAME"')),
        Step("docs/operations.md", "its row under Metrics", contains(r"^\| `NAME` \|")),
        Step(
            "tests/support/observed.py",
            "its labels in SPECIFIED",
            lambda text, name: (
                name.removeprefix("extension_scheduler_") in keys_of("SPECIFIED")(text)
            ),
        ),
    ),
)

SETTING = Recipe(
    kind="setting",
    source="service/runtime/settings.py",
    names=lambda text: members(text)["Settings"],
    steps=(
        Step("service/runtime/settings.py", "its member of Settings", member_of("Settings")),
        Step("docs/operations.md", "its row under Settings", contains(r"^\| `NAME` \|")),
        Step(
            "service/**/*.py",
            "a reader (`settings.<name>`, most of them in service/component_settings.py)",
            contains(r"\w\.NAME\b"),
        ),
    ),
)

BY_PATH = {"endpoint": "endpoint_path"}
BY_ID = {"endpoint": "endpoint_id"}

SCHEDULE_FIELD = Recipe(
    kind="schedule field",
    source="contracts/schedules.py",
    names=lambda text: members(text)["CreateInput"],
    steps=(
        Step(
            "contracts/schedules.py",
            "its member of CreateInput, UpdateInput and ScheduleInfo",
            all_of(
                member_of("CreateInput", "UpdateInput"), member_of("ScheduleInfo", renamed=BY_PATH)
            ),
        ),
        Step(
            "contracts/admin_schedules.py",
            "its member of CreateScheduleInput, UpdateScheduleInput and PortableSchedule",
            all_of(
                member_of("CreateScheduleInput", "UpdateScheduleInput"),
                member_of("PortableSchedule", renamed=BY_PATH),
            ),
        ),
        Step(
            "contracts/publish/wit.py",
            "its place in the records schedule-info and _INPUT",
            all_of(contains(r'_INPUT = .*"NAME"'), contains('^ +"NAME",$', BY_PATH)),
        ),
        Step(
            "service/rules/fields.py",
            "its rule, and its member of CheckedCreate and CheckedUpdate",
            all_of(
                contains(r'CREATE_FIELDS = .*"CAMEL"'),
                contains(r'^    "CAMEL": '),
                member_of("CheckedCreate", "CheckedUpdate"),
            ),
        ),
        Step(
            "service/storage/migrations/*.sql",
            "its column of tenant_extension_schedule",
            contains(
                r"^ +(ADD COLUMN (IF NOT EXISTS )?)?NAME ", {**BY_ID, "payload": "payload_json"}
            ),
        ),
        Step(
            "service/storage/schedules/rows.py",
            "its column of inserts (NEW_COLUMNS), its assignment in UPDATE, its member of Schedule"
            " and NewSchedule",
            all_of(
                contains(r"'CAMEL' = ANY"),
                contains(r'^    "NAME": ', BY_ID),
                member_of("Schedule", "NewSchedule", renamed=BY_ID),
            ),
        ),
        Step(
            "service/storage/schedules/owner_view.py",
            "its column and member of what an owner is shown",
            contains(r"^    NAME: ", BY_PATH),
        ),
        Step(
            "service/storage/schedules/transfer.py",
            "its column and member of what is exported",
            contains(r"^    NAME: ", {"endpoint": "path"}),
        ),
        Step(
            "service/operations/views.py",
            "its value in views",
            contains(r"^        NAME=", BY_PATH),
        ),
        Step(
            "service/operations/admin/tenant_export.py",
            "its value in exports",
            contains(r"^        NAME=.*row\.", BY_PATH),
        ),
        Step(
            "runner_bridge/dev_runner/wit/extension.wit",
            "its field of the records (copy them from docs/api/scheduler.wit)",
            contains(r"^        KEBAB: ", {}),
        ),
        Step(
            "runner_bridge/dev_runner/scheduling.py",
            "its value in _create and _update",
            contains(r'"KEBAB"\]'),
        ),
        Step(
            "docs/runner-integration.md",
            "its member of `ScheduleInfo`",
            contains(r"`ScheduleInfo`: `[^`]*\bCAMEL\b", BY_PATH),
        ),
        Step("docs/extension-guide.md", "its row with its rules", contains(r"^\| `CAMEL`")),
        Step(
            "tests/wire/samples_host.py",
            "its value in SCHEDULE (then `python -m tests.wire.golden_files`)",
            contains(r'^    "NAME": ', BY_PATH),
        ),
        Step("docs/api/scheduler.wit", "its field (`make api`)", contains(r"^        KEBAB: ")),
        Step(
            "tests/integration/test_admin_transfer.py",
            "a value in EVERY_FIELD, which has to survive an export and an import",
            key_in("EVERY_FIELD"),
        ),
    ),
)

CONSOLE_PAGE = Recipe(
    kind="page of the console",
    source="console/routes.py",
    names=lambda text: re.findall(
        r"\w+", re.findall(r"^PAGES = \((.*?)\)", text, re.MULTILINE | re.DOTALL)[0]
    ),
    steps=(
        Step("console/routes.py", "its module in PAGES", contains(r"\bNAME\b")),
        Step("console/pages/*.py", "its routes, in ROUTES", contains(r"^ROUTES = ")),
        Step("docs/console.md", "its row under Pages", contains(r"\| `console/pages/NAME\.py` \|")),
    ),
)

RECIPES = (HOST_OPERATION, ADMIN_OPERATION, METRIC, SETTING, CONSOLE_PAGE, SCHEDULE_FIELD)


def wit_name(op: str) -> str:
    """Return the function of a host operation in the interface, as ``contracts`` names it."""
    return FUNCTION_NAMES.get(op, op)
