"""The bundled base is an ordinary transformers folder with useful features."""

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, ViTConfig, ViTForImageClassification

from qvec_hub import zoo
from qvec_hub.zoo.fonts import atlas
from qvec_hub.zoo.mixture import figures, parts, surfaces


@pytest.fixture(scope="module")
def base():
    return ViTForImageClassification.from_pretrained(zoo.base_path(), num_labels=5).eval()


def test_shapes_and_size(base):
    assert base.config.num_labels == 5
    assert base(torch.zeros(2, 3, 24, 24)).logits.shape == (2, 5)
    assert 400_000 < base.num_parameters() < 500_000
    assert (zoo.base_path() / "model.safetensors").stat().st_size <= 2_000_000
    assert (zoo.base_path() / "README.md").is_file()


def test_its_processor_takes_an_image_of_any_size():
    processor = AutoImageProcessor.from_pretrained(zoo.base_path())
    image = np.full((40, 31, 3), 255, dtype=np.uint8)
    pixels = processor(image, return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 24, 24)
    assert torch.allclose(pixels, torch.ones_like(pixels))


@pytest.mark.parametrize("name", ["glyphs-latin", "shapes", "textures"])
def test_linear_probe_beats_random_features(base, name):
    torch.manual_seed(0)
    random = ViTForImageClassification(ViTConfig.from_pretrained(zoo.base_path())).eval()
    assert _probe(base, name) > _probe(random, name) + 0.1


@torch.no_grad()
def _probe(model, name):
    """Test accuracy of ridge regression from the last class token to one-hot labels."""
    features, labels = {}, {}
    for split, n in (("train", 600), ("test", 300)):
        images, targets = zoo.arrays(name, split, n)
        pixels = torch.from_numpy(images.transpose(0, 3, 1, 2)).float() / 127.5 - 1
        token = model.base_model(pixels).last_hidden_state[:, 0]  # (n, hidden)
        features[split] = torch.cat([token, torch.ones(n, 1)], dim=1).double()
        labels[split] = torch.from_numpy(targets)
    x, y = features["train"], torch.nn.functional.one_hot(labels["train"]).double()
    weight = torch.linalg.solve(x.T @ x + 1e-2 * torch.eye(x.shape[1], dtype=torch.float64), x.T @ y)
    return ((features["test"] @ weight).argmax(1) == labels["test"]).double().mean().item()


def test_pretraining_is_repeatable_and_leaves_a_loadable_folder(tmp_path):
    for folder in ("a", "b"):
        zoo.make_base(tmp_path / folder, steps=2, batch=8, images=200, progress=False)
    read = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("a", "b")]
    assert read[0] == read[1]
    assert "2 steps" in (tmp_path / "a" / "README.md").read_text(encoding="utf-8")
    assert ViTForImageClassification.from_pretrained(tmp_path / "a", num_labels=3).config.num_labels == 3


def test_the_mixture_fills_its_label_space():
    images, labels = parts.draw_mixture(20_000, np.random.default_rng(0))
    assert images.shape == (20_000, 24, 24, 3)
    assert set(labels.tolist()) == set(range(len(parts.CLASSES)))
    assert len(set(parts.CLASSES)) == len(parts.CLASSES)
    assert sum(part.share for part in parts.PARTS) == pytest.approx(1)


def test_classes_drawn_by_lot_differ():
    assert len(surfaces.MOSAICS) == 15  # the fourth Bell number
    assert len({marked.tobytes() for marked in figures._MARKED}) == figures.PLACES
    for forms in (figures._WAVES, figures._STATIONS):
        flat = forms.reshape(len(forms), -1)
        apart = np.linalg.norm(flat[:, None] - flat, axis=2) + 9 * np.eye(len(flat))
        assert apart.min() > 0.4


def test_the_mixture_shares_no_letter_with_the_tasks():
    from qvec_hub.zoo.families.glyphs import ALPHABETS

    ours = {letter for letters in ALPHABETS.values() for letter in letters + letters.lower()}
    assert not ours & {*parts.ARMENIAN, *parts.GEORGIAN, *parts.HEBREW}


@pytest.mark.parametrize("script", ["ARMENIAN", "GEORGIAN", "HEBREW"])
def test_every_letter_of_the_mixture_is_in_the_font(script):
    """A letter the font lacks would be drawn as the same empty box as another."""
    glyphs = atlas(getattr(parts, script), 24, ("DejaVuSans",))[:, 0]
    assert len({image.tobytes() for image in glyphs}) == len(glyphs)
