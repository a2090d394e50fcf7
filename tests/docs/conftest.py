"""The Hub and the folder that a page's examples run against."""

import pytest

from .props import Props


@pytest.fixture(scope="session")
def props(tmp_path_factory: pytest.TempPathFactory) -> Props:
    return Props(tmp_path_factory.mktemp("props"))


@pytest.fixture
def published(hub, props: Props, monkeypatch: pytest.MonkeyPatch) -> Props:
    """The same, on a loopback Hub where the user ``me`` is logged in."""
    props.publish(hub)
    monkeypatch.setenv("HF_TOKEN", "hf_me")
    return props
