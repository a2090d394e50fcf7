"""Repositories as a whole: who may make, see, change and delete them."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub as hf
import pytest
from huggingface_hub.errors import (
    BadRequestError,
    GatedRepoError,
    HfHubHTTPError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
)


def status(error: pytest.ExceptionInfo) -> int:
    return error.value.response.status_code


def test_whoami(hub):
    me = hf.whoami()
    assert (me["name"], [org["name"] for org in me["orgs"]]) == ("alice", ["lab"])
    assert hf.whoami(token="hf_bob")["orgs"] == []
    with pytest.raises(HfHubHTTPError, match="Invalid user token") as error:
        hf.whoami(token="hf_nobody")
    assert status(error) == 401


def test_no_token(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(LocalTokenNotFoundError):
        hf.whoami()
    with pytest.raises(HfHubHTTPError) as error:
        hf.create_repo("alice/model")
    assert status(error) == 401


def test_create(hub):
    url = hf.create_repo("alice/model")
    assert (str(url), url.repo_id, url.repo_type) == (f"{hub.url}/alice/model", "alice/model", "model")
    assert hf.create_repo("data", repo_type="dataset").repo_id == "alice/data"
    assert hf.create_repo("lab/data", repo_type="dataset").url == f"{hub.url}/datasets/lab/data"
    assert hf.list_repo_files("alice/model") == [".gitattributes"]
    assert hf.repo_exists("alice/data", repo_type="dataset")
    assert not hf.repo_exists("alice/data")


def test_create_again(hub):
    hf.create_repo("alice/model")
    with pytest.raises(HfHubHTTPError) as error:
        hf.create_repo("alice/model")
    assert status(error) == 409
    assert hf.create_repo("alice/model", exist_ok=True).repo_id == "alice/model"


def test_create_elsewhere(hub):
    with pytest.raises(HfHubHTTPError, match="rights to create a model under the namespace") as error:
        hf.create_repo("bob/model")
    assert status(error) == 403
    hub.seed("bob/model", {"a.txt": b"a"})
    # Somebody else's that is there already is fine for exist_ok.
    assert hf.create_repo("bob/model", exist_ok=True).repo_id == "bob/model"


def test_bad_name(hub):
    """The client checks names itself, so this asks past it."""
    headers = {"authorization": "Bearer hf_alice"}
    response = hf.get_session().post(f"{hub.url}/api/repos/create", json={"name": "../x"}, headers=headers)
    with pytest.raises(BadRequestError, match="invalid repository name"):
        hf.utils.hf_raise_for_status(response)


def test_delete(hub):
    hf.create_repo("alice/model")
    with pytest.raises(HfHubHTTPError) as error:
        hf.delete_repo("alice/model", token="hf_bob")
    assert status(error) == 403
    hf.delete_repo("alice/model")
    assert not hf.repo_exists("alice/model")
    with pytest.raises(RepositoryNotFoundError):
        hf.delete_repo("alice/model")
    hf.delete_repo("alice/model", missing_ok=True)


def test_private(hub):
    hf.create_repo("lab/secret", private=True)
    assert hf.model_info("lab/secret").private
    for token in ("hf_bob", False):
        with pytest.raises(RepositoryNotFoundError) as error:
            hf.model_info("lab/secret", token=token)
        assert status(error) == 404
        with pytest.raises(RepositoryNotFoundError):
            hf.hf_hub_download("lab/secret", ".gitattributes", token=token)
    assert [each.id for each in hf.list_models()] == ["lab/secret"]
    assert list(hf.list_models(token="hf_bob")) == []
    hf.update_repo_settings("lab/secret", private=False)
    assert hf.model_info("lab/secret", token=False).private is False


def test_invalid_token(hub):
    hub.seed("alice/model", {"a.txt": b"a"})
    with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header") as error:
        hf.model_info("alice/model", token="hf_nobody")
    assert status(error) == 401
    assert not isinstance(error.value, RepositoryNotFoundError)


@pytest.mark.parametrize("repo_id", ["alice/nothing", "nothing"])
def test_missing(hub, repo_id):
    with pytest.raises(RepositoryNotFoundError):
        hf.model_info(repo_id)
    with pytest.raises(RepositoryNotFoundError):
        hf.hf_hub_download(repo_id, "config.json")
    with pytest.raises(RepositoryNotFoundError):
        hf.snapshot_download(repo_id)


def test_others_may_not_write(hub):
    hub.seed("alice/model", {"a.txt": b"a"})
    with pytest.raises(HfHubHTTPError, match="rights to write") as error:
        hf.upload_file(path_or_fileobj=b"b", path_in_repo="b.txt", repo_id="alice/model", token="hf_bob")
    assert status(error) == 403
    assert hub.files("alice/model") == {"a.txt": b"a"}


def test_gated(hub):
    hub.seed("alice/model", {"a.txt": b"a"}, gated="manual")
    assert hf.model_info("alice/model", token="hf_bob").gated == "manual"
    for token, expected in (("hf_bob", 403), (False, 401)):
        with pytest.raises(GatedRepoError) as error:
            hf.hf_hub_download("alice/model", "a.txt", token=token)
        assert status(error) == expected
    with pytest.raises(GatedRepoError):
        hf.auth_check("alice/model", token="hf_bob")
    hf.grant_access("alice/model", "bob")
    hf.auth_check("alice/model", token="hf_bob")
    assert Path(hf.hf_hub_download("alice/model", "a.txt", token="hf_bob")).read_text() == "a"


def test_errors_name_the_request(hub):
    with pytest.raises(RepositoryNotFoundError) as error:
        hf.model_info("alice/nothing")
    assert error.value.request_id
    assert error.value.request_id in str(error.value)
