import torch

from qvec_hub.training.pixels import Pixels, collate

from .conftest import images


def test_kept_and_remade_pixels_are_the_same(processor):
    dataset = images(7, 3)
    kept, remade = Pixels(dataset, processor, "x"), Pixels(dataset, processor, "x", memory=0)
    assert kept.kept is not None
    assert remade.kept is None
    ours, theirs = (collate(data.__getitems__([5, 0, 6])) for data in (kept, remade))
    assert torch.equal(ours["pixel_values"], theirs["pixel_values"])
    assert ours["labels"].tolist() == theirs["labels"].tolist() == [dataset["label"][row] for row in (5, 0, 6)]
    assert torch.equal(kept[2]["pixel_values"], remade[2]["pixel_values"])
