"""A container's quota of processor time counts, not only the machine's processors."""

from pathlib import Path

import pytest

from service.runtime.cpus import usable_cpus


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return a file that places this process into a group, as Linux writes it."""
    (tmp_path / "system.slice" / "ours.service").mkdir(parents=True)
    file = tmp_path / "own"
    file.write_text("4:memory:/elsewhere\n0::/system.slice/ours.service\n")
    return file


@pytest.mark.parametrize(
    ("limit", "cpus"), [("50000 100000", 0.5), ("100000 100000", 1.0), ("10000 20000", 0.5)]
)
def test_a_quota_below_the_processors_counts(
    tmp_path: Path, own: Path, limit: str, cpus: float
) -> None:
    (tmp_path / "system.slice" / "ours.service" / "cpu.max").write_text(f"{limit}\n")
    assert usable_cpus(tmp_path, own) == cpus


@pytest.mark.parametrize("limit", ["max 100000", "99900000 100000", "", "nonsense"])
def test_without_a_smaller_quota_the_processors_count(
    tmp_path: Path, own: Path, limit: str
) -> None:
    (tmp_path / "system.slice" / "ours.service" / "cpu.max").write_text(f"{limit}\n")
    assert usable_cpus(tmp_path, own) == usable_cpus(tmp_path, tmp_path / "missing") >= 1


def test_the_quota_of_a_container_is_that_of_the_root(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/\n")
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert usable_cpus(tmp_path, own) == 0.5
