"""Which commands ask before they act, as the guide says."""

import re

from service.cli.admin.command_specs import SPECS
from tests.support.sources import ROOT

GUIDE = (ROOT / "docs" / "command-line.md").read_text()


def test_the_guide_names_every_command_that_asks() -> None:
    (line,) = re.findall(r"^(.+) ask before they remove anything", GUIDE, re.MULTILINE)
    named = set(re.findall(r"`([\w-]+)[^`]*`", line))
    asking = {spec.name for spec in SPECS if spec.confirmation}
    assert named == {*asking, "apply"}
