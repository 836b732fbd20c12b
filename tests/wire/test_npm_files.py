"""The npm packages: what of them comes from the contract and the rules is what is committed."""

import pytest

from contracts.publish import typescript_client
from devstack.testing import npm_files
from tests.support.npm_packages import NPM

GENERATED = {
    **{f"client/src/{name}": text for name, text in typescript_client.files().items()},
    **{f"testing/{path}": text for path, text in npm_files.files().items()},
}


@pytest.mark.parametrize("path", sorted(GENERATED))
def test_committed_files_equal_the_generated_ones(path: str) -> None:
    assert (NPM / path).read_text() == GENERATED[path], "make api"


@pytest.mark.sweep
def test_the_zones_of_the_test_kit_are_those_of_the_service() -> None:
    committed = (NPM / "testing" / "data" / "zones.json").read_text()
    assert committed == npm_files.zones_file(), "delete it, then make api"
