"""Proxy images: reproducible, varied, of the statistics they claim, and as a processor would hand them over."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import ViTForImageClassification, ViTImageProcessor

import qvec_hub as qv
from qvec_hub.proxies.clip_art import ACROSS, TILE, clip_art, sheet
from qvec_hub.proxies.dead_leaves import dead_leaves
from qvec_hub.proxies.draw import proxy_images
from qvec_hub.proxies.drawings import drawing, pattern
from qvec_hub.proxies.model_inputs import enough_images, proxy_pixels
from qvec_hub.proxies.photo_crops import NAMES, crop, photograph
from qvec_hub.proxies.pink_noise import pink_noise

from ..conftest import tiny_config

KINDS = {
    "crop": crop,
    "leaves": dead_leaves,
    "noise": pink_noise,
    "drawing": drawing,
    "pattern": pattern,
    "clip art": clip_art,
}


@pytest.mark.parametrize("size", [1, 16, (20, 33), 224])
def test_a_seed_count_and_size_mean_the_same_images(size) -> None:
    images = proxy_images(9, size, seed=3)
    height, width = (size, size) if isinstance(size, int) else size
    assert images.shape == (9, height, width, 3)
    assert images.dtype == np.uint8
    proxy_images.cache_clear()
    assert np.array_equal(images, proxy_images(9, size, seed=3))
    assert np.array_equal(images[:4], proxy_images(4, size, seed=3))
    assert not np.array_equal(images, proxy_images(9, size, seed=4))


def test_what_is_shared_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        proxy_images(2, 8)[0] = 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(24, 24), (40, 64)])
def test_every_kind_fills_its_size_and_varies(kind: str, size: tuple[int, int]) -> None:
    images = [KINDS[kind](size, np.random.default_rng(seed), seed) for seed in range(24)]
    assert all(image.shape == (*size, 3) and np.isfinite(image).all() for image in images)
    levels = np.array([image.mean() for image in images])
    assert levels.std() > 0.05
    assert np.mean([image.std() for image in images]) > 0.05


def test_noise_has_the_spectrum_of_photographs() -> None:
    """Power falls with frequency: fitted on a log-log scale, by about f⁻² for amplitudes of f⁻¹."""
    slopes = []
    for seed in range(20):
        noise = pink_noise((64, 64), np.random.default_rng(seed)).mean(axis=2)
        power = np.abs(np.fft.fft(noise - noise.mean(), axis=1)[:, 1:24]) ** 2
        slopes.append(np.polyfit(np.log(np.arange(1, 24)), np.log(power.mean(axis=0)), 1)[0])
    assert -2.6 < np.mean(slopes) < -0.8


def test_photographs_and_clip_art_are_small_and_in_the_package() -> None:
    folder = Path(qv.__file__).parent / "proxies" / "data"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3_000_000
    assert sheet().size == (TILE * ACROSS, TILE * ACROSS)
    assert all(min(photograph(name).size) >= 384 for name in NAMES)


@pytest.mark.parametrize(("count", "size"), [(0, 8), (1, 0), (1, (8, 0)), (1, 5000)])
def test_impossible_images(count: int, size) -> None:
    with pytest.raises(qv.QVecError, match="proxy images"):
        proxy_images(count, size)


def test_pixels_are_those_of_the_checkpoints_processor(receiver_folder: Path) -> None:
    processor = ViTImageProcessor(
        size={"height": 16, "width": 16}, image_mean=[0.1, 0.4, 0.7], image_std=[0.2, 0.5, 0.9]
    )
    processor.save_pretrained(receiver_folder)
    model = ViTForImageClassification.from_pretrained(receiver_folder)
    expected = processor(list(proxy_images(6, 16)), return_tensors="pt")["pixel_values"]
    assert torch.allclose(proxy_pixels(model, 6), expected, atol=1e-5)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[]",
        "{",
        '{"image_mean": "x", "image_std": [1]}',
        '{"image_mean": [0], "image_std": [0]}',
    ],
)
def test_without_a_usable_processor_the_default_of_vits(content: str | None, receiver_folder: Path) -> None:
    if content is not None:
        (receiver_folder / "preprocessor_config.json").write_text(content)
    model = ViTForImageClassification.from_pretrained(receiver_folder)
    with pytest.warns(UserWarning, match="normalized to values from -1 to 1"):
        pixels = proxy_pixels(model, 4)
    assert torch.allclose(pixels, torch.tensor(proxy_images(4, 16)).permute(0, 3, 1, 2) / 127.5 - 1, atol=1e-5)


def test_models_of_one_channel_and_of_oblong_images() -> None:
    model = ViTForImageClassification(tiny_config(num_channels=1, image_size=[16, 24]))
    assert proxy_pixels(model, 3).shape == (3, 1, 16, 24)
    with torch.no_grad():
        assert model(proxy_pixels(model, 3)).logits.shape == (3, 5)


def test_as_many_images_as_the_widest_layer_needs() -> None:
    counts = [enough_images(ViTForImageClassification(tiny_config(intermediate_size=size))) for size in (16, 64, 1000)]
    assert counts == [128, 256, 4000]


def test_fewer_images_where_they_would_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ViTForImageClassification(tiny_config(image_size=96, intermediate_size=1000))
    parameters = sum(parameter.numel() for parameter in model.vit.parameters())
    monkeypatch.setattr("qvec_hub.proxies.model_inputs.PARAMETER_TOKENS", 300.5 * parameters * 577)
    assert enough_images(model) == 300


def test_a_model_without_an_image_size() -> None:
    model = SimpleNamespace(config=SimpleNamespace())
    with pytest.raises(qv.QVecError, match="image_size"):
        proxy_pixels(model, 3)
