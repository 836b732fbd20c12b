"""The command line of ``make drill``."""

import argparse
import time
from pathlib import Path

from tests.drill.drill import Options
from tests.drill.fault_injection import KINDS
from tests.drill.planted_faults import PlantedFault
from tests.support.planted_results import PLANTED_RESULTS


def parse_arguments(description: str | None) -> argparse.Namespace:
    """Return what was chosen; ends the program where it makes no sense."""
    parser = argparse.ArgumentParser(prog="make drill", description=description)
    _add_size(parser)
    _add_kinds_of_faults(parser)
    _add_releases(parser)
    _add_results(parser)
    return parser.parse_args()


def _add_size(parser: argparse.ArgumentParser) -> None:
    defaults = Options()
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--minutes", type=float, default=defaults.faults_for_s / 60)
    parser.add_argument("--gap", type=float, default=defaults.gap_s, help="seconds between faults")
    parser.add_argument("--schedules", type=int, default=defaults.schedules)
    parser.add_argument(
        "--planned-within",
        type=float,
        metavar="SECONDS",
        help="in which a machine as busy as this one plans whatever is due at a minute (15)",
    )
    parser.add_argument("--slow", action="store_true", help="a slow Runner, so that runs wait")


def _add_kinds_of_faults(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--faults", type=int, default=0, help="go on until there were so many")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=[kind.name for kind in KINDS],
        metavar="KIND",
        help="inject no other kind of fault (may be repeated)",
    )
    parser.add_argument(
        "--plant", type=PlantedFault, choices=list(PlantedFault), help="a fault to be found"
    )


def _add_releases(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--postgres", choices=["15"], help="release to test instead of the wheel's")
    parser.add_argument(
        "--previous",
        nargs="?",
        const="",
        metavar="COMMIT",
        help="upgrade from this commit's program, or the latest tag's",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--proof", action="store_true", help=f"keep in {PLANTED_RESULTS.name} what --plant found"
    )
    parser.add_argument("--keep", type=Path, help="file to keep the history in, as JSON")
    parser.add_argument("--json", type=Path, help="file for the counts and heal times, as JSON")
    parser.add_argument("--judge", type=Path, help="judge a history that was kept; run nothing")
