"""A cached copy that was damaged after it was checked: never used, always named, and repaired by the way out."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants, scan_cache_dir

import qvec_hub as qv

from .conftest import same

REPO = "alice/toys-qvec"
load = qv.QuantizationVector.from_pretrained


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace(path: Path) -> None:
    """Another file of the same size, moved over it."""
    other = path.with_name("other")
    other.write_bytes(bytes(reversed(path.read_bytes())))
    other.replace(path)


@pytest.fixture(params=[False, True], ids=["single", "sharded"])
def pushed(hub, vector, monkeypatch, request):
    """A vector that was fetched, checked and remembered as checked."""
    monkeypatch.setattr("qvec_hub.artifact.folder.SETTLED_NS", 0)
    if request.param:
        monkeypatch.setattr("qvec_hub.artifact.config.MAX_SHARD_BYTES", 60_000)
    vector.push_to_hub(REPO)
    load(REPO)
    return request.param


def blob(name: str) -> tuple[Path, Path]:
    """Link and content of a cached file."""
    (link,) = Path(constants.HF_HUB_CACHE).rglob(f"snapshots/*/{name}")
    return link, link.resolve()


def remove_as_told(message: str) -> None:
    """Do what the message says, with the client's own way of deleting from the cache."""
    assert re.search(r"remove it with `hf cache rm model/alice/toys-qvec` and load again", message)
    found = scan_cache_dir(constants.HF_HUB_CACHE)
    (repo,) = [repo for repo in found.repos if repo.repo_id == REPO]
    found.delete_revisions(*(revision.commit_hash for revision in repo.revisions)).execute()


@pytest.mark.parametrize("damage", [flip, truncate, empty, replace])
def test_a_damaged_file_is_reported_and_the_way_out_works(hub, vector, pushed, damage) -> None:
    tensors = "qvec-00001-of-0000?.safetensors" if pushed else "qvec.safetensors"
    names = ["qvec_config.json", tensors, "lineage.safetensors", *(["qvec.safetensors.index.json"] if pushed else [])]
    for name in names:
        link, content = blob(name)
        times = content.stat()
        damage(content)
        os.utime(content, ns=(times.st_atime_ns, times.st_mtime_ns))
        for options in ({}, {"local_files_only": True}):
            with pytest.raises(qv.ArtifactError, match=re.escape(str(link.parent))) as caught:
                load(REPO, **options)
        remove_as_told(str(caught.value))
        assert same(load(REPO), vector)


def test_a_removed_file_is_fetched_again_or_missed(hub, vector, pushed) -> None:
    tensors = "qvec-00001-of-0000?.safetensors" if pushed else "qvec.safetensors"
    names = ["qvec_config.json", tensors, "lineage.safetensors", *(["qvec.safetensors.index.json"] if pushed else [])]
    for name in names:
        blob(name)[1].unlink()
        with pytest.raises(qv.HubError, match=f"{REPO}.*does not hold all of it.*go online once"):
            load(REPO, local_files_only=True)
        assert same(load(REPO), vector)
        assert same(load(REPO, local_files_only=True), vector)


def test_the_command_in_the_message_runs(hub, vector, tmp_path) -> None:
    vector.push_to_hub(REPO)
    cache = tmp_path / "my cache"
    load(REPO, cache_dir=cache)
    (link,) = cache.rglob("snapshots/*/qvec_config.json")
    flip(link.resolve())
    with pytest.raises(qv.ArtifactError, match="remove it with") as caught:
        load(REPO, cache_dir=cache)
    command = re.search("`hf (cache rm [^`]+)`", str(caught.value))[1]
    code = "from huggingface_hub.cli.hf import main; main()"
    run = [sys.executable, "-c", code, *shlex.split(command), "--yes"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(cache.rglob("qvec_config.json"))
    assert same(load(REPO, cache_dir=cache), vector)


def test_a_pushed_card_does_not_come_from_the_cache(hub, vector) -> None:
    """A damaged cache may spoil a load, but must not find its way into a repository."""
    from huggingface_hub import hf_hub_download

    vector.push_to_hub(REPO)
    path = Path(hf_hub_download(REPO, "README.md")).resolve()
    path.write_text("---\nlicense: wrong\n---\n\n## Damaged\n\nnonsense\n")
    (2 * vector).push_to_hub(REPO)
    assert "nonsense" not in hub.files(REPO)["README.md"].decode()
