"""Images that come with a vector: kept exactly, refused when damaged, and shown to receivers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import qvec_hub as qv
from qvec_hub import Grid
from qvec_hub.artifact.images import MAX_SHIPPED, read_images, write_images
from qvec_hub.proxies.draw import proxy_images
from qvec_hub.proxies.model_inputs import proxy_pixels

IMAGES = np.array(proxy_images(21, 16))


@pytest.mark.parametrize("count", [1, 5, 8, 21])
def test_saved_and_opened_they_are_the_same(count: int, vector, tmp_path: Path) -> None:
    given = vector.with_images(IMAGES[:count])
    given.save_pretrained(tmp_path / "v")
    opened = qv.QuantizationVector.from_pretrained(tmp_path / "v")
    found = opened.images()
    assert np.array_equal(found[:count].numpy(), IMAGES[:count])
    assert len(found) == (count if count < 8 else -(-count // 8) * 8)  # the last row is filled up
    assert np.array_equal(found[count:].numpy(), IMAGES[: len(found) - count])
    assert opened.config.tensors.sha256 == saved_hash(vector, tmp_path)
    assert len(opened.images(3)) == min(3, len(found))
    sheet = Image.open(tmp_path / "v" / "images.png")
    assert np.array_equal(np.asarray(sheet)[:16, :16], IMAGES[0])


def saved_hash(vector, tmp_path: Path) -> str:
    vector.save_pretrained(tmp_path / "plain")
    assert not (tmp_path / "plain" / "images.png").exists()
    return qv.QuantizationVector.from_pretrained(tmp_path / "plain").config.tensors.sha256


def test_other_sizes_are_brought_to_the_models(vector) -> None:
    images = vector.with_images(torch.tensor(np.array(proxy_images(3, (20, 40))))).images()
    assert images.shape == (3, 16, 16, 3)
    assert images.dtype == torch.uint8


@pytest.mark.parametrize(
    "wrong",
    [
        IMAGES.astype(np.float32),
        IMAGES[0],
        IMAGES[..., :1],
        IMAGES[:0],
        np.zeros((MAX_SHIPPED + 1, 1, 1, 3), "u1"),
    ],
)
def test_what_are_no_images(wrong, vector) -> None:
    with pytest.raises(qv.QVecError, match="images: expected"):
        vector.with_images(wrong)


def test_a_new_save_replaces_or_removes_them(vector, tmp_path: Path) -> None:
    vector.with_images(IMAGES).save_pretrained(tmp_path / "v")
    again = qv.QuantizationVector.from_pretrained(tmp_path / "v")
    again.with_config(scale=0.5).save_pretrained(tmp_path / "v", encoding="int4")
    assert qv.QuantizationVector.from_pretrained(tmp_path / "v").images() is not None
    vector.save_pretrained(tmp_path / "v")
    assert qv.QuantizationVector.from_pretrained(tmp_path / "v").images() is None


def test_of_several_vectors_all_have_their_turn(vector, qat, base) -> None:
    one, other, none = vector.with_images(IMAGES[:2]), vector.with_images(IMAGES[5:10]), vector
    merged = qv.merge([one, none, other])
    order = [0, 5, 1, 6, 7, 8, 9]
    assert np.array_equal(merged.images().numpy(), IMAGES[order])
    assert np.array_equal(merged.images(3).numpy(), IMAGES[order[:3]])
    assert np.array_equal((2 * one).images().numpy(), IMAGES[:2])
    assert np.array_equal((one + other).images().numpy(), IMAGES[order])
    assert qv.merge([none, 2 * none]).images() is None


DAMAGED = {
    "text": lambda path: path.write_text("no image"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "odd": lambda path: Image.new("RGB", (17, 16)).save(path),
    "wide": lambda path: Image.new("RGB", (16 * 9, 16)).save(path),
    "long": lambda path: Image.new("RGB", (16, 16 * (MAX_SHIPPED + 1))).save(path),
    "jpeg": lambda path: Image.new("RGB", (16, 16)).save(path, format="JPEG"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_sheets_are_named(kind: str, vector, receiver_folder: Path, tmp_path: Path) -> None:
    vector.with_images(IMAGES).save_pretrained(tmp_path / "v")
    DAMAGED[kind](tmp_path / "v" / "images.png")
    opened = qv.QuantizationVector.from_pretrained(tmp_path / "v")
    with pytest.raises(qv.ArtifactError, match=r"images\.png"):
        opened.images()
    with pytest.raises(qv.ArtifactError, match=r"images\.png"):
        qv.from_pretrained(receiver_folder, vector=opened, weights="int3", scale="auto", rounding="nearest")
    qv.from_pretrained(receiver_folder, vector=opened, weights="int3", rounding="nearest")  # shows it no image


def test_a_sheet_for_oblong_images(tmp_path: Path) -> None:
    write_images(torch.tensor(IMAGES), tmp_path / "images.png")
    with pytest.raises(qv.ArtifactError, match="image_size"):
        read_images(tmp_path / "images.png", [16, 24])


def test_receivers_are_shown_them_first(vector, receiver_folder: Path, monkeypatch) -> None:
    from qvec_hub.proxies import model_inputs as pixels

    monkeypatch.setattr(pixels, "LEAST", 30)
    monkeypatch.setattr(pixels, "IMAGES_A_FEATURE", 0)
    given = vector.with_images(IMAGES)
    model = qv.from_pretrained(receiver_folder)
    shown = proxy_pixels(model, shipped=given.images())
    assert len(shown) == 30
    assert torch.allclose(shown[:21], torch.tensor(IMAGES).permute(0, 3, 1, 2) / 127.5 - 1, atol=1e-5)
    assert torch.equal(shown[21:], proxy_pixels(model, 9))
    loaded = qv.from_pretrained(receiver_folder, vector=given, weights="int3", scale=1.0, rounding="fitted")
    by_hand = qv.quantize_(qv.patch_(model, given), "int3", rounding="fitted", images=shown)
    names = [name for name, _ in loaded.named_buffers()]
    assert all(torch.equal(loaded.get_buffer(name), by_hand.get_buffer(name)) for name in names)
    without = qv.from_pretrained(receiver_folder, vector=vector, weights="int3", scale=1.0, rounding="fitted")
    assert any(not torch.equal(loaded.get_buffer(name), without.get_buffer(name)) for name in names)
    assert loaded.config.quantization_config.watched == "proxies"
    assert given.config.grid == Grid(3)


def test_published_with_the_vector_and_fetched_with_it(hub, vector) -> None:
    given = vector.with_images(IMAGES[:16])
    given.push_to_hub("alice/with-images")
    opened = qv.QuantizationVector.from_pretrained("alice/with-images")
    assert np.array_equal(opened.images().numpy(), IMAGES[:16])
    vector.push_to_hub("alice/with-images")
    assert qv.QuantizationVector.from_pretrained("alice/with-images").images() is None


def test_extract_with_a_folder_of_images(qvec, finetuned, qat, tmp_path: Path) -> None:
    finetuned.save_pretrained(tmp_path / "fp")
    qat.save_pretrained(tmp_path / "qat")
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for number, image in enumerate(IMAGES[:10]):
        Image.fromarray(image).save(tmp_path / "photos" / "deep" / f"{number:02}.png")
    done = qvec("extract", "fp", "qat", "--images", "photos", "--image-count", "8", "--out", "vec")
    assert done.returncode == 0, done.stderr
    found = qv.QuantizationVector.from_pretrained(tmp_path / "vec").images().numpy()
    assert np.array_equal(found, IMAGES[np.linspace(0, 9, 8).astype(int)])
    done = qvec("extract", "fp", "qat", "--images", "fp", "--out", "other")
    assert done.returncode == 1
    assert "expected images" in done.stderr
    assert not (tmp_path / "other").exists()
