"""Publishing a vector through the real client over HTTP: what arrives, what is refused, what stays."""

import re

import pytest
from huggingface_hub import CommitInfo, HfApi, ModelCard, constants

import qvec_hub as qv
from qvec_hub.artifact import folder as storage

from .conftest import named, same

REPO = "alice/toys-qvec"
FILES = {"README.md", "lineage.safetensors", "qvec.safetensors", "qvec_config.json"}


def test_a_pushed_vector_comes_back(hub, vector, asked) -> None:
    done = vector.push_to_hub(REPO)
    assert isinstance(done, CommitInfo)
    assert done == f"{hub.url}/{REPO}/commit/{done.oid}"
    assert hub.files(REPO).keys() - {".gitattributes"} == FILES
    assert len(asked("POST", "/commit/")) == 1
    again = qv.QuantizationVector.from_pretrained(REPO)
    assert same(again, vector)
    assert (again.origin.repo_id, again.origin.revision) == (REPO, done.oid)
    assert set(again.lineage) == set(vector.lineage)
    ModelCard.load(REPO).validate()


def test_a_name_without_an_owner_is_the_users_own(hub, vector) -> None:
    assert vector.push_to_hub("mine").repo_url.repo_id == "alice/mine"


def test_the_same_push_again_changes_nothing(hub, vector, asked, capfd) -> None:
    first = vector.push_to_hub(REPO)
    hub.clear_requests()
    again = vector.push_to_hub(REPO)
    assert (str(again), again.oid) == (str(first), first.oid)
    assert asked("POST", "/commit/") == asked("PUT", "") == []
    assert capfd.readouterr().err == ""
    assert same(qv.QuantizationVector.from_pretrained(REPO), vector)


def test_private_and_public(hub, vector) -> None:
    vector.push_to_hub("alice/hidden", private=True)
    assert HfApi().model_info("alice/hidden").private
    vector.push_to_hub("alice/hidden")  # stays private
    vector.push_to_hub("alice/hidden", private=True)
    vector.push_to_hub("alice/open")
    before = hub.files("alice/open")
    with pytest.raises(qv.HubError, match=r"alice/open: is a public repository, but private=True .* nothing was"):
        (2 * vector).push_to_hub("alice/open", private=True, revision="new")
    assert hub.files("alice/open") == before
    with pytest.raises(KeyError):
        hub.files("alice/open", "new")


def test_a_branch_is_created_and_main_is_left(hub, vector) -> None:
    first = vector.push_to_hub(REPO)
    done = (2 * vector).push_to_hub(REPO, revision="feature/one", commit_message="Twice as much")
    assert HfApi().list_repo_commits(REPO, revision="feature/one")[0].title == "Twice as much"
    assert same(qv.QuantizationVector.from_pretrained(f"{REPO}@feature/one"), 2 * vector)
    assert qv.QuantizationVector.from_pretrained(REPO).origin.revision == first.oid
    (3 * vector).push_to_hub(f"{REPO}@feature/one")
    assert same(qv.QuantizationVector.from_pretrained(REPO, revision="feature/one"), 3 * vector)
    with pytest.raises(qv.HubError, match="is a commit, which cannot change; name a branch"):
        vector.push_to_hub(REPO, revision=done.oid)


def test_a_subfolder_beside_other_things(hub, vector) -> None:
    hub.seed("alice/m", {"config.json": b"{}", "model.safetensors": b"float", "README.md": b"# Mine\n"})
    before = hub.files("alice/m")
    vector.push_to_hub("alice/m", subfolder="vectors/int3")
    after = hub.files("alice/m")
    assert {path: after[path] for path in before} == before
    assert after.keys() - before.keys() == {f"vectors/int3/{name}" for name in FILES}
    for source, extra in [("hf://alice/m/vectors/int3", {}), ("alice/m", {"subfolder": "vectors/int3"})]:
        assert same(qv.QuantizationVector.from_pretrained(source, **extra), vector)


def test_anybody_can_open_a_pull_request(hub, vector) -> None:
    first = vector.push_to_hub(REPO)
    done = (2 * vector).push_to_hub(REPO, token="hf_bob", create_pr=True)
    assert done.pr_url == f"{hub.url}/{REPO}/discussions/1"
    assert (done.pr_num, done.pr_revision) == (1, "refs/pr/1")
    for source in (f"{REPO}@refs/pr/1", f"hf://{REPO}@refs/pr/1"):
        found = qv.QuantizationVector.from_pretrained(source)
        assert same(found, 2 * vector)
        assert found.origin.revision == done.oid
    assert qv.QuantizationVector.from_pretrained(REPO).origin.revision == first.oid
    (3 * vector).push_to_hub(REPO, token="hf_bob", revision="refs/pr/1")  # his to go on with
    assert same(qv.QuantizationVector.from_pretrained(f"{REPO}@refs/pr/1"), 3 * vector)
    assert hub.files(REPO)["qvec.safetensors"] != hub.files(REPO, "refs/pr/1")["qvec.safetensors"]


def test_without_the_right_to_write(hub, vector) -> None:
    vector.push_to_hub(REPO)
    before = hub.files(REPO)
    for repo, token, said in [
        (REPO, "hf_bob", "may not do this; use one with write access, or ask the owner"),
        ("alice/new", "hf_bob", "may not do this"),
        (REPO, "hf_expired", "does not accept your token; log in again with `hf auth login`"),
        (REPO, False, "log in"),
    ]:
        with pytest.raises(qv.HubError, match=said) as caught:
            (2 * vector).push_to_hub(repo, token=token)
        assert str(caught.value).startswith(f"{repo}: ")
        assert hub.files(REPO) == before
    vector.push_to_hub("lab/ours")  # alice is of the organisation


@pytest.mark.parametrize("name", ["alice/..", "..", "alice/x/y", "", "alice/a--b", "alice/x y", "alice/x@", "hf://a"])
def test_names_that_are_none(hub, vector, name: str) -> None:
    with pytest.raises(qv.QVecError, match=r"not a repo id|no revision|not a place"):
        vector.push_to_hub(name)
    assert hub.requests == []


def test_shards_give_way_to_a_single_file_and_back(hub, vector, asked, monkeypatch) -> None:
    with monkeypatch.context() as small:
        small.setattr("qvec_hub.artifact.config.MAX_SHARD_BYTES", 20_000)
        vector.push_to_hub(REPO)
    shards = {path for path in hub.files(REPO) if re.fullmatch(r"qvec-\d{5}-of-\d{5}.safetensors", path)}
    assert len(shards) > 2
    assert "qvec.safetensors.index.json" in hub.files(REPO)
    assert same(qv.QuantizationVector.from_pretrained(REPO), vector)
    hub.seed(REPO, {"qvec-notes.safetensors": b"mine", "notes/qvec.safetensors": b"mine"})
    hub.clear_requests()
    vector.push_to_hub(REPO)
    mine = {".gitattributes", "qvec-notes.safetensors", "notes/qvec.safetensors"}
    assert hub.files(REPO).keys() == FILES | mine
    assert len(asked("POST", "/commit/")) == 1
    assert same(qv.QuantizationVector.from_pretrained(REPO), vector)
    monkeypatch.setattr("qvec_hub.artifact.config.MAX_SHARD_BYTES", 20_000)
    vector.push_to_hub(REPO)
    assert hub.files(REPO).keys() == shards | mine | FILES - {"qvec.safetensors"} | {"qvec.safetensors.index.json"}


def test_a_vector_of_another_base_is_refused(hub, vector, unrelated) -> None:
    named(vector, "lab/base").push_to_hub(REPO)
    before = hub.files(REPO)
    other_shape = qv.QuantizationVector(
        storage.replace(vector.config, architecture={**vector.config.architecture, "num_attention_heads": 4}),
        {name: vector[name] for name in vector},
    )
    for other, said in [
        (named(vector, "lab/other"), "holds a vector of base lab/base, this one is of lab/other"),
        (other_shape, "holds a vector of architecture"),
        (unrelated, r"another base: similarity -?0\.\d+ .* at least 0.5"),
        (named(unrelated, "lab/base"), "another base: similarity"),
        (qv.QuantizationVector(vector.config, {n: vector[n] for n in vector}), "lab/base, this one is of unknown"),
    ]:
        with pytest.raises(qv.MisfitError, match=f"{REPO}: .*{said}.*nothing was uploaded.*replace=True"):
            other.push_to_hub(REPO)
        assert hub.files(REPO) == before
    vector.push_to_hub(REPO)  # its name is unknown, but its base is the same
    unrelated.push_to_hub(REPO, replace=True)
    assert same(qv.QuantizationVector.from_pretrained(REPO), unrelated)


def test_a_model_or_a_newer_vector_is_not_replaced(hub, vector, vector_files) -> None:
    hub.seed("alice/m", {"config.json": b"{}", "model.safetensors": b"float", "README.md": b"# Mine\n"})
    newer = vector_files["qvec_config.json"].replace(b'"format_version": 1', b'"format_version": 2')
    hub.seed("alice/newer", {**vector_files, "qvec_config.json": newer})
    for repo, said in [("alice/m", r"holds a model \(config.json, model.safetensors\)"), ("alice/newer", "is newer")]:
        before = hub.files(repo)
        with pytest.raises(qv.MisfitError, match=f"{repo}: .*{said}.*replace=True"):
            vector.push_to_hub(repo)
        assert hub.files(repo) == before
        vector.push_to_hub(repo, replace=True)
        assert same(qv.QuantizationVector.from_pretrained(repo), vector)


def test_a_broken_vector_is_repaired_by_a_push(hub, vector, vector_files) -> None:
    hub.seed(REPO, {**vector_files, "qvec_config.json": b"{", "lineage.safetensors": b"no"})
    vector.push_to_hub(REPO)
    assert same(qv.QuantizationVector.from_pretrained(REPO), vector)


def test_of_two_pushes_at_once_the_second_is_refused(hub, vector, monkeypatch) -> None:
    vector.push_to_hub(REPO)
    create_commit = HfApi.create_commit
    theirs = []

    def after_somebody_else(self, *args, **kwargs):
        if not theirs:
            theirs.append(hub.seed(REPO, {"note.txt": b"theirs"}))
        return create_commit(self, *args, **kwargs)

    monkeypatch.setattr(HfApi, "create_commit", after_somebody_else)
    with pytest.raises(qv.HubError, match=f"{REPO}: .*somebody else changed the repository at the same time; look"):
        (2 * vector).push_to_hub(REPO)
    assert HfApi().model_info(REPO).sha == theirs[0]
    assert same(qv.QuantizationVector.from_pretrained(REPO), vector)
    (2 * vector).push_to_hub(REPO)
    assert same(qv.QuantizationVector.from_pretrained(REPO), 2 * vector)
    assert hub.files(REPO)["note.txt"] == b"theirs"


def test_what_was_written_by_hand_survives(hub, vector, tmp_path) -> None:
    vector.push_to_hub(REPO, license="mit")
    text = hub.files(REPO)["README.md"].decode() + "\n## On the Hub\n\nremote words\n"
    hub.seed(REPO, {"README.md": text.encode()})
    vector.save_pretrained(tmp_path / "v")
    card = tmp_path / "v" / "README.md"
    card.write_text(card.read_text() + "\n## At home\n\nlocal words\n")
    qv.QuantizationVector.from_pretrained(tmp_path / "v").push_to_hub(REPO)
    after = hub.files(REPO)["README.md"].decode()
    assert "remote words" in after
    assert "local words" in after
    assert "license: mit" in after
    assert after.count("## At home") == after.count("## On the Hub") == 1


@pytest.mark.parametrize("create_pr", [False, True])
def test_a_hub_without_chunk_storage(hub, vector, asked, capfd, monkeypatch, create_pr: bool) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr("qvec_hub.hub.transfer.commit.WAIT_S", 1e6)  # nothing to wait for
    hub.seed(REPO, {"note.txt": b"theirs"})
    done = vector.push_to_hub(REPO, create_pr=create_pr)
    assert len(asked("GET", "/xet-write-token/")) == 1
    assert len(asked("POST", "/commit/")) == 1
    assert len(asked("PUT", "/lfs-upload/")) == 2
    assert capfd.readouterr().err == ""
    assert same(qv.QuantizationVector.from_pretrained(f"{REPO}@{done.pr_revision or 'main'}"), vector)


def test_scratch_files_are_gone(hub, vector, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    vector.push_to_hub(REPO)
    with pytest.raises(qv.HubError):
        (2 * vector).push_to_hub(REPO, token="hf_bob")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_small_encoding(hub, vector) -> None:
    vector.push_to_hub(REPO)
    vector.push_to_hub(REPO, encoding="int2")
    small = qv.QuantizationVector.from_pretrained(REPO)
    assert small.config.encoding.name == "int2"
    assert same(qv.QuantizationVector.from_pretrained(f"{REPO}@{small.origin.revision}"), small)
    assert "int2, instead of" in ModelCard.load(REPO).content
    small.push_to_hub("alice/again")
    assert same(qv.QuantizationVector.from_pretrained("alice/again"), small)
    assert hub.files("alice/again")["qvec.safetensors"] == hub.files(REPO)["qvec.safetensors"]
