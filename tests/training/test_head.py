"""A head fitted to the base's features, against scikit-learn's logistic regression on transformers' own features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets import DatasetDict
from sklearn.linear_model import LogisticRegression
from transformers import AutoModelForImageClassification, ResNetConfig, ResNetForImageClassification

from qvec_hub import QVecError
from qvec_hub.training.donor import train_donor
from qvec_hub.training.head import PENALTY, fit_head_
from qvec_hub.training.pixels import Pixels
from qvec_hub.training.recipes.training_recipe import TrainingRecipe

from .conftest import images

QUICK = {"epochs": 1, "warmup_steps": 1, "batch_size": 16}


@pytest.fixture
def data(processor):
    return Pixels(images(150, 0), processor, "images")


def features_of(model, data):
    with torch.no_grad():
        return model.eval().vit(data.kept).last_hidden_state[:, 0].numpy()


def test_probabilities_are_those_of_scikit_learn(tiny_vit, data):
    features = features_of(tiny_vit, data)
    spread = features.std(axis=0, ddof=1)
    scaled = (features - features.mean(axis=0)) / spread
    theirs = LogisticRegression(C=1 / (PENALTY * len(scaled)), max_iter=10_000, tol=1e-8).fit(scaled, data.labels)
    before = {name: tensor.clone() for name, tensor in tiny_vit.vit.state_dict().items()}
    fit_head_(tiny_vit, data)
    with torch.no_grad():
        ours = tiny_vit(data.kept).logits.softmax(dim=1).numpy()
    np.testing.assert_allclose(ours, theirs.predict_proba(scaled), atol=0.01)
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny_vit.vit.state_dict().items())


def test_the_mode_stays_and_a_second_fit_is_the_same(tiny_vit, data):
    for training in (True, False):
        fit_head_(tiny_vit.train(training), data)
        assert tiny_vit.training is training
    first = tiny_vit.classifier.weight.clone()
    fit_head_(tiny_vit, data)
    assert torch.equal(first, tiny_vit.classifier.weight)


def test_a_feature_that_never_changes_does_no_harm(tiny_vit, data):
    with torch.no_grad():
        tiny_vit.vit.layernorm.weight[3] = 0
    fit_head_(tiny_vit, data)
    assert torch.isfinite(tiny_vit.classifier.weight).all()


def test_both_models_of_a_donor_start_from_it(base, tmp_path):
    dataset = DatasetDict({"train": images(64, 0)})
    slow = {"learning_rate": 1e-9, **QUICK}
    heads = {}
    for head in ("random", "probe"):
        donor = train_donor(base, dataset, tmp_path / head, recipe=TrainingRecipe(head=head, **slow))
        loaded = [AutoModelForImageClassification.from_pretrained(folder) for folder in (donor.fp, donor.qat)]
        heads[head] = [model.classifier.weight.detach() for model in loaded]
        torch.testing.assert_close(*heads[head], rtol=0, atol=1e-5)
    assert (heads["probe"][0] - heads["random"][0]).abs().max() > 0.1


def test_says_what_head_it_needs(processor):
    small = {"embedding_size": 8, "hidden_sizes": [8], "depths": [1], "num_labels": 3}
    model = ResNetForImageClassification(ResNetConfig(**small))
    with pytest.raises(QVecError, match="head 'probe' needs a linear layer called 'classifier', found Sequential"):
        fit_head_(model, Pixels(images(4, 0), processor, "images"))
