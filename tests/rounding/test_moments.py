"""Second moments of layers' inputs: of all tokens, or of some where there are many, the same ones of both twins."""

import pytest
import torch

from qvec_hub.rounding import moments as module
from qvec_hub.rounding.moments import Moments
from qvec_hub.rounding.round_model import FEW_IMAGES, TOKENS, _images_of_a_part
from qvec_hub.rounding.steps import Step

FEATURES, OUT, TOKENS_OF_A_PART = 6, 4, 40


def steps(parts: int, out: int = OUT) -> tuple[Step, Step, torch.Tensor]:
    """A step and its float twin, ``(2, 20, features)`` a part, with the residual stream ``(2, 20, out)``; a weight."""
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(FEATURES, out)

    def drawn(width: int) -> list[torch.Tensor]:
        return [torch.randn(2, TOKENS_OF_A_PART // 2, width, generator=generator) for _ in range(parts)]

    own, twin = (Step((layer,), drawn(FEATURES), drawn(out)) for _ in range(2))
    return own, twin, layer.weight.detach()


def by_hand(own: Step, twin: Step, chosen: list[torch.Tensor], weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Hessian and missing outputs of the chosen tokens of each part, in float64."""

    def rows(tensors) -> torch.Tensor:
        return torch.cat([each.flatten(0, 1)[some] for each, some in zip(tensors, chosen, strict=True)]).double()

    x, other, stream = rows(own.inputs), rows(twin.inputs), rows(twin.stream) - rows(own.stream)
    lost = (other - x) @ weight.double().T + stream
    return 2 / len(x) * x.T @ x, 2 / len(x) * lost.T @ x


@pytest.mark.parametrize("out", [OUT, FEATURES // 2], ids=["wide", "narrow"])
def test_few_tokens_are_all_taken(out: int) -> None:
    own, twin, weight = steps(3, out)
    found = Moments.of(own, twin, 3)
    hessian, missing = by_hand(own, twin, [torch.arange(TOKENS_OF_A_PART)] * 3, weight)
    assert found.rows == 3 * TOKENS_OF_A_PART
    assert torch.allclose(found.hessian(), hessian, rtol=1e-5, atol=1e-6)
    assert torch.allclose(found.missing(weight), missing, rtol=1e-5, atol=1e-6)


def test_of_many_tokens_the_same_ones_of_both_twins_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_ROWS", 60)
    drawn = []
    lot = torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda *args, **how: drawn.append(lot(*args, **how)[:20]) or drawn[-1])
    own, twin, weight = steps(parts=3)
    found = Moments.of(own, twin, 3)
    assert found.rows == 60
    assert [len(set(each.tolist())) for each in drawn] == [20, 20, 20]  # none twice
    assert len({tuple(sorted(each.tolist())) for each in drawn}) == 3  # others of each part
    hessian, missing = by_hand(own, twin, drawn, weight)
    assert torch.allclose(found.hessian(), hessian, rtol=1e-5, atol=1e-6)
    assert torch.allclose(found.missing(weight), missing, rtol=1e-5, atol=1e-6)
    again = Moments.of(own, twin, 3)
    assert torch.equal(again.hessian(), found.hessian())


def test_wide_layers_have_more_tokens_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_ROWS", 10)
    own, _, _ = steps(parts=1)
    assert Moments.of(own, None, 1).rows == TOKENS_OF_A_PART  # fewer than 8 a feature
    monkeypatch.setattr(module, "ROWS_A_FEATURE", 4)
    assert Moments.of(own, None, 1).rows == 4 * FEATURES


def test_of_very_many_parts_each_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_ROWS", 2)
    monkeypatch.setattr(module, "ROWS_A_FEATURE", 0)
    own, _, _ = steps(parts=3)
    assert Moments.of(own, None, 3).rows == 3


def test_as_many_images_at_a_time_as_their_tokens_allow(receiver, pixels) -> None:
    assert _images_of_a_part(receiver, pixels) == TOKENS // 17  # 4 x 4 patches and the class token
    receiver.config.patch_size = 1
    assert _images_of_a_part(receiver, torch.zeros(1, 3, 100, 100)) == 1
    vars(receiver.config)["patch_size"] = None
    assert _images_of_a_part(receiver, pixels) == FEW_IMAGES
