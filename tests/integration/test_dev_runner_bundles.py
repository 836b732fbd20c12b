"""Bundles in the development Runner: their hash is the whole file's."""

import io
import tarfile
from pathlib import Path

import pytest
import zstandard

from runner_bridge.dev_runner.components import content_hash
from tests.support.running_extensions import development_runner, document
from tests.support.tiny_components import component


def bundle(path: Path, name: str, content: bytes) -> str:
    """Write a bundle with one file in it; return its content hash."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    path.write_bytes(zstandard.compress(archive.getvalue()))
    return content_hash(path)


@pytest.mark.parametrize("name", ["dist/main.wasm", "./dist/main.wasm"])
async def test_the_component_in_a_bundle_runs(tmp_path: Path, name: str) -> None:
    named = bundle(tmp_path / "bundle.tar.zst", name, component())
    async with development_runner(tmp_path, bundles=tmp_path) as runner:
        assert (await runner.execute(named)).status == 204


async def test_an_unusable_bundle_is_said_to_be_unusable(tmp_path: Path) -> None:
    empty = bundle(tmp_path / "empty.tar.zst", "main.wasm", component())
    (tmp_path / "nonsense.tar.zst").write_bytes(b"nonsense")
    async with development_runner(tmp_path, bundles=tmp_path) as runner:
        for named in (empty, content_hash(tmp_path / "nonsense.tar.zst")):
            status, answer = await runner.post(document(named))
            assert status == 500
            assert answer["error"].startswith("component_unusable: the bundle ")
