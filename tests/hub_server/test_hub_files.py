"""Reading files through the client: trees, downloads, the cache, ranges."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import huggingface_hub as hf
import pytest
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RevisionNotFoundError

from . import HubServer

REPO = "alice/model"
WEIGHTS = bytes(range(256)) * 40
FILES = {"config.json": b'{"model_type": "vit"}', "sub/deep/x.txt": b"x", "sub/y.txt": b"y", "w.safetensors": WEIGHTS}


@pytest.fixture(autouse=True)
def head(hub):
    return hub.seed(REPO, FILES)


def test_tree(hub):
    assert [each.path for each in hf.list_repo_tree(REPO)] == ["config.json", "sub", "w.safetensors"]
    assert [each.path for each in hf.list_repo_tree(REPO, "sub")] == ["sub/deep", "sub/y.txt"]
    assert [each.path for each in hf.list_repo_tree(REPO, "sub", recursive=True)] == [
        "sub/deep",
        "sub/deep/x.txt",
        "sub/y.txt",
    ]
    assert hf.list_repo_files(REPO) == sorted(FILES)
    with pytest.raises(EntryNotFoundError):
        list(hf.list_repo_tree(REPO, "nowhere"))
    with pytest.raises(RevisionNotFoundError):
        hf.list_repo_files(REPO, revision="nowhere")


def test_ids_are_those_of_git(hub, tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path / "git"], check=True)

    def git(*arguments: str, data: bytes | None = None) -> str:
        done = subprocess.run(["git", *arguments], cwd=tmp_path / "git", input=data, capture_output=True, check=True)
        return done.stdout.decode().strip()

    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(WEIGHTS).hexdigest()}\n"
    for path, data in {**FILES, "w.safetensors": f"{pointer}size {len(WEIGHTS)}\n".encode()}.items():
        (tmp_path / "git" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "git" / path).write_bytes(data)
    git("add", ".")
    root = git("write-tree")
    expected = {line.split("\t")[1]: line.split()[2] for line in git("ls-tree", "-r", "-t", root).splitlines()}
    found = {}
    for each in hf.list_repo_tree(REPO, recursive=True):
        found[each.path] = each.blob_id if isinstance(each, hf.hf_api.RepoFile) else each.tree_id
    assert found == expected


def test_paths_info(hub, head):
    made = hf.upload_file(path_or_fileobj=b"new", path_in_repo="sub/y.txt", repo_id=REPO)
    asked = ["w.safetensors", "sub", "nowhere", "sub/deep"]
    weights, sub, deep = hf.get_paths_info(REPO, asked, expand=True)
    assert (weights.size, weights.lfs.size, weights.lfs.sha256) == (
        len(WEIGHTS),
        len(WEIGHTS),
        hashlib.sha256(WEIGHTS).hexdigest(),
    )
    assert (weights.last_commit.oid, sub.last_commit.oid, deep.last_commit.oid) == (head, made.oid, head)


def test_pages_of_a_tree(tmp_path, hub):
    names = {f"f{i:02d}.txt": b"x" for i in range(11)}
    with HubServer(tmp_path / "paged", page_size=4) as paged:
        paged.seed(REPO, names)
        assert hf.HfApi(endpoint=paged.url, token=False).list_repo_files(REPO) == sorted(names)
        assert len(paged.requests) == 3


def test_snapshot(hub, head):
    folder = Path(hf.snapshot_download(REPO))
    assert folder.name == head
    assert {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")} == FILES
    hub.clear_requests()
    assert Path(hf.snapshot_download(REPO, revision=head)) == folder
    assert hub.requests == []
    picked = Path(hf.snapshot_download(REPO, allow_patterns="sub/*", local_dir=folder.parent / "picked"))
    assert sorted(path.name for path in picked.rglob("*.txt")) == ["x.txt", "y.txt"]


def test_download_and_cache(hub, head):
    path = Path(hf.hf_hub_download(REPO, "w.safetensors"))
    assert path.read_bytes() == WEIGHTS
    hub.clear_requests()
    assert hf.hf_hub_download(REPO, "w.safetensors") == str(path)
    assert [each.method for each in hub.requests] == ["HEAD"]
    hub.seed(REPO, {"w.safetensors": b"other"})
    assert Path(hf.hf_hub_download(REPO, "w.safetensors")).read_bytes() == b"other"
    assert Path(hf.hf_hub_download(REPO, "w.safetensors", revision=head)).read_bytes() == WEIGHTS
    with pytest.raises(EntryNotFoundError):
        hf.hf_hub_download(REPO, "nothing.txt")
    assert hf.file_exists(REPO, "sub/y.txt")
    assert not hf.file_exists(REPO, "nothing.txt")


def test_revisions_with_slashes(hub):
    hf.create_commit(REPO, [hf.CommitOperationAdd("sub/y.txt", b"proposed")], commit_message="Propose", create_pr=True)
    assert Path(hf.hf_hub_download(REPO, "sub/y.txt", revision="refs/pr/1")).read_bytes() == b"proposed"
    folder = Path(hf.snapshot_download(REPO, revision="refs/pr/1"))
    assert (folder / "sub/y.txt").read_bytes() == b"proposed"


def test_metadata_of_a_large_file(hub, head):
    found = hf.get_hf_file_metadata(hf.hf_hub_url(REPO, "w.safetensors"))
    assert (found.commit_hash, found.etag, found.size) == (head, hashlib.sha256(WEIGHTS).hexdigest(), len(WEIGHTS))
    assert found.location.startswith(f"{hub.storage_url}/cdn/{REPO}/")
    assert found.xet_file_data is None
    unsigned = found.location.split("?")[0]
    assert hf.get_session().get(unsigned).status_code == 403


def test_the_storage_never_sees_the_token(hub):
    tokens = []
    app = hub._faults.app
    hub._faults.app = lambda scope, *rest: (
        tokens.append((scope["path"].split("/")[1], b"authorization" in dict(scope["headers"]))),
        app(scope, *rest),
    )[1]
    hf.upload_file(path_or_fileobj=b"v", path_in_repo="v.safetensors", repo_id=REPO)
    hf.hf_hub_download(REPO, "v.safetensors")
    assert {sent for area, sent in tokens if area in ("cdn", "lfs-upload")} == {False}
    assert {sent for area, sent in tokens if area not in ("cdn", "lfs-upload")} == {True}


@pytest.mark.parametrize("name", ["w.safetensors", "config.json"])
def test_ranges(hub, name):
    url, session = hf.hf_hub_url(REPO, name), hf.get_session()
    whole = FILES[name]
    part = session.get(url, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, whole[5:10])
    assert part.headers["content-range"] == f"bytes 5-9/{len(whole)}"
    assert session.get(url, headers={"Range": "bytes=-3"}).content == whole[-3:]
    assert session.get(url, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416


def test_downloads_are_counted(hub):
    assert hf.model_info(REPO).downloads == 0
    hf.snapshot_download(REPO)
    hf.hf_hub_download(REPO, "config.json")  # from the cache
    hf.hf_hub_download(REPO, "config.json", force_download=True)
    assert hf.model_info(REPO).downloads == 2
    assert hf.model_info(REPO, expand=["downloads", "downloadsAllTime"]).downloads_all_time == 2


@pytest.mark.parametrize("name", ["../../evil.txt", "/etc/evil.txt", "a/../../evil.txt", "a\\..\\evil.txt"])
def test_hostile_names_can_be_listed(hub, name):
    with pytest.raises(Exception, match="invalid path"):
        hub.seed("bob/evil", {name: b"evil"})
    hub.seed("bob/evil", {name: b"evil", "good.txt": b"good"}, raw_names=True)
    assert hf.list_repo_files("bob/evil") == sorted([name, "good.txt"])
    assert name in [each.rfilename for each in hf.model_info("bob/evil").siblings]


def test_unknown_page(hub):
    with pytest.raises(HfHubHTTPError, match="no such page"):
        hf.utils.hf_raise_for_status(hf.get_session().get(f"{hub.url}/api/unknown"))
