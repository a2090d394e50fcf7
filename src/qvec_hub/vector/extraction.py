"""Make the parts of a vector from two fine-tunes: its config, its tensors and its base fingerprint."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from transformers import PreTrainedModel

from ..artifact.config import FORMAT_VERSION, Donor, Encoding, VectorConfig
from ..artifact.lineage import MIN_SIMILARITY, similarity, sketch
from ..backbone.checkpoint import load_classifier
from ..backbone.names import architecture, backbone_linears, backbone_tensors
from ..backbone.provenance import known_origin
from ..errors import ArtifactError, LineageError, MisfitError, QVecError
from ..grid.grid import Grid
from ..hub.transfer.repo_path import is_local
from ..util.scalars import number_in
from ..util.untrusted import printable
from ..version import __version__
from .misfits import refuse_other_shapes

__all__ = ["difference", "scale_in"]


def difference(
    finetuned: Any, qat: Any, base: Any, *, donor: Any, recipe: Any, grid: Grid | str, scale: Any
) -> tuple[VectorConfig, dict[str, Tensor], dict[str, Tensor] | None]:
    """Open two fine-tunes and subtract them: config, float32 tensors by canonical name, and fingerprint of the base.

    Arguments and errors are those of `QuantizationVector.extract`.
    """
    models = {"finetuned": finetuned, "qat": qat, **({} if base is None else {"base": base})}
    models = {role: _unwrapped(model) for role, model in models.items()}
    loaded = {role: _open_plain(model, role) for role, model in models.items()}
    _refuse_unlike(loaded["finetuned"], loaded["qat"], loaded.get("base"))
    config = VectorConfig(
        format_version=FORMAT_VERSION,
        qvec_hub_version=__version__,
        model_type=loaded["qat"].config.model_type,
        architecture=architecture(loaded["qat"].config),
        base_model=known_origin(loaded.get("base")),
        donor=_donor(donor, loaded["finetuned"], loaded["qat"]),
        recipe=_recipe(recipe),
        grid=Grid.parse(grid),
        scale=scale_in(scale),
        encoding=Encoding(),
        tensors=None,
        sources=[],
    )
    tensors = _subtracted(loaded["qat"], loaded["finetuned"])
    return config, tensors, sketch(backbone_tensors(loaded["base"])) if base is not None else None


def scale_in(value: Any) -> float:
    """A scale λ as a float.

    Raises:
        QVecError: when it is not a finite number.
    """
    number = number_in(value)
    if number is None:
        raise QVecError(f"scale: expected a finite number, found {printable(repr(value), 60)}")
    return number


def _unwrapped(model: Any) -> Any:
    """Return the model inside DataParallel, DistributedDataParallel or torch.compile; anything else as it is."""
    while isinstance(model, nn.Module) and not isinstance(model, PreTrainedModel):
        inner = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
        if not isinstance(inner, nn.Module):
            break
        model = inner
    return model


def _open_plain(source: Any, role: str) -> PreTrainedModel:
    """Open a float model whose state dict holds the weights that it computes with.

    Args:
        source: a transformers model, a folder or a Hub id.
        role: what messages call it.

    Raises:
        QVecError: when it is none of these, is quantized, or has adapters or parametrizations.
        ArtifactError: when it does not load, or its backbone holds NaN, infinity or no data.
    """
    adapter = (
        f"{role}: has adapters (LoRA), which a vector cannot hold; merge them (merge_and_unload) and pass that model"
    )
    if hasattr(source, "merge_and_unload") or (isinstance(source, str | Path) and _is_adapter(source)):
        raise QVecError(adapter)
    if not isinstance(source, str | Path | PreTrainedModel):
        advice = "; load a state dict into its model first" if isinstance(source, Mapping) else ""
        raise QVecError(
            f"{role}: expected a transformers model, a folder or a Hub id, found {type(source).__name__}{advice}"
        )
    model = load_classifier(source, head_required=False)
    if any(hasattr(module, "base_layer") for module in model.modules()):
        raise QVecError(adapter)
    for name, module in model.named_modules():
        if is_parametrized(module):
            raise QVecError(
                f"{role}: expected plain weights, found a parametrization of '{name}'; remove it first "
                "(torch.nn.utils.parametrize.remove_parametrizations)"
            )
    for name, layer in backbone_linears(model):
        weight = layer._parameters.get("weight")
        if weight is None or not weight.is_floating_point():
            raise QVecError(
                f"{role}: expected float weights, found the quantized layer '{name}' ({type(layer).__name__}); pass "
                "the model as it was before it was quantized"
            )
    for name, tensor in backbone_tensors(model).items():
        if tensor.is_meta:
            raise ArtifactError(f"{role}: {name} is on the meta device, so it has no data; load the weights first")
        if not bool(torch.isfinite(tensor).all()):
            raise ArtifactError(f"{role}: {name} holds NaN or infinity; that model is broken")
    return model


def _refuse_unlike(finetuned: PreTrainedModel, qat: PreTrainedModel, base: PreTrainedModel | None) -> None:
    """Raise unless the models can be two fine-tunes of one base.

    Raises:
        MisfitError: when their tensors or the sizes in their configs differ.
        LineageError: when one of them does not descend from `base`.
    """
    tensors = backbone_tensors(qat)
    others = {"finetuned": finetuned} if base is None else {"finetuned": finetuned, "base": base}
    known = {"model_type": qat.config.model_type, **architecture(qat.config)}
    for role, model in others.items():
        refuse_other_shapes(backbone_tensors(model), tensors, role, "qat")
        found = {"model_type": model.config.model_type, **architecture(model.config)}
        for key in known.keys() & found.keys():
            if _one(known[key]) != _one(found[key]):
                raise MisfitError(
                    f"{role} does not fit qat: its config says {key} {found[key]!r}, that of qat {known[key]!r}; pass "
                    "models of one architecture"
                )
    if base is None:  # without it, two models that drifted apart look like two models of different bases
        return
    ancestor = sketch(backbone_tensors(base))
    for role, model in (("finetuned", finetuned), ("qat", qat)):
        alike = similarity(ancestor, sketch(backbone_tensors(model)))
        if alike is not None and not alike >= MIN_SIMILARITY:
            raise LineageError(
                f"{role} does not descend from base: their weights agree at {alike:.2f}, expected at least "
                f"{MIN_SIMILARITY}; pass two fine-tunes of one pretrained model, and that model as base"
            )


def _subtracted(qat: PreTrainedModel, finetuned: PreTrainedModel) -> dict[str, Tensor]:
    """Compute ``θ_QAT − θ_FP`` in float32 on the CPU, by canonical name.

    Raises:
        ArtifactError: when the difference is zero everywhere, or holds NaN or infinity.
    """
    dtypes = {role: {tensor.dtype for tensor in backbone_tensors(model).values()} for role, model in
              (("qat", qat), ("finetuned", finetuned))}  # fmt: skip
    if dtypes["qat"] != dtypes["finetuned"]:
        listed = {role: ", ".join(sorted(str(dtype) for dtype in found)) for role, found in dtypes.items()}
        warnings.warn(
            f"qat is in {listed['qat']} and finetuned in {listed['finetuned']}: their difference holds the rounding of "
            "one of them; pass both as they were trained",
            stacklevel=4,
        )
    plain = backbone_tensors(finetuned)
    tensors = {
        name: tensor.detach().float().cpu() - plain[name].detach().float().cpu()
        for name, tensor in backbone_tensors(qat).items()
    }
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ArtifactError(f"{name}: the difference holds NaN or infinity; one of the two models is broken")
    if not any(bool(tensor.any()) for tensor in tensors.values()):
        raise ArtifactError("the two models are identical, so their vector is zero; pass the QAT model as `qat`")
    return tensors


def _donor(donor: Donor | Mapping[str, Any] | None, finetuned: object, qat: object) -> Donor:
    known = Donor(finetuned=known_origin(finetuned), qat=known_origin(qat))
    if donor is None or isinstance(donor, Donor):
        return donor or known
    if not isinstance(donor, Mapping):
        raise QVecError(f"donor: expected a Donor or a mapping such as {{'task': 'EuroSAT'}}, found {donor!r}")
    made = Donor.of({**known.to_dict(), **donor}, "donor")
    if made.dataset is not None and is_local(made.dataset):
        warnings.warn(
            f"donor: dataset {printable(made.dataset, 80)!r} is a path of this machine and means nothing elsewhere, so "
            "it is left out; name its repository on the Hub, if it has one",
            stacklevel=4,
        )
        made = replace(made, dataset=None)
    return made


def _recipe(recipe: Any) -> dict[str, Any]:
    if recipe is None:
        return {}
    if is_dataclass(recipe) and not isinstance(recipe, type):
        return asdict(recipe)
    if not isinstance(recipe, Mapping):
        raise QVecError(f"recipe: expected a mapping such as {{'name': 'ste'}} or a dataclass, found {recipe!r}")
    return dict(recipe)


def _is_adapter(source: str | Path) -> bool:
    try:
        folder = Path(source).expanduser()
        return (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file()
    except (OSError, ValueError, RuntimeError):
        return False


def _one(value: Any) -> Any:
    """Reduce a pair of equal numbers to one: ``[224, 224]`` to 224."""
    return value[0] if isinstance(value, list) and len(value) == 2 and value[0] == value[1] else value
