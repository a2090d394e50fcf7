"""Publishing through the real client over HTTP: what arrives, what is refused, what happens to what was there."""

import torch
from huggingface_hub import HfApi, ModelCard

import qvec_hub as qv


def test_a_pushed_vector_comes_back(hub, vector) -> None:
    done = vector.push_to_hub("alice/toys-qvec")
    assert done == f"{hub.url}/alice/toys-qvec/commit/{done.oid}"
    again = qv.QuantizationVector.from_pretrained("alice/toys-qvec")
    assert set(again.names()) == set(vector.names())
    assert all(torch.equal(again[name], vector[name]) for name in vector)
    assert (again.origin.repo_id, again.origin.revision) == ("alice/toys-qvec", done.oid)
    card = ModelCard.load("alice/toys-qvec")
    card.validate()
    print(card.content)
    assert len(HfApi().list_repo_commits("alice/toys-qvec")) == 2  # the repository's own first commit, and ours
