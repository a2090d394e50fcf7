"""Register the plugin with transformers without importing transformers or torch.

``import qvec_hub`` must be fast, and it must make the plugin known to ``AutoModelForImageClassification``. So the
plugin's classes are entered into transformers' two tables as soon as those exist, and imported when a model needs them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from ..artifact.model_record import METHOD

__all__ = ["register_plugin"]

TABLES = "transformers.quantizers.auto"  # the module that holds them


def register_plugin() -> None:
    """Register the quantization method ``"qvec"`` with transformers, now or when its tables are imported."""
    tables = sys.modules.get(TABLES)
    if tables is not None:
        _enter(tables)
    elif not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterImport())


class Deferred:
    """A class that is imported when it is first called or asked for an attribute."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._target()(*args, **kwargs)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._target(), attribute)

    def _target(self) -> Any:
        return getattr(import_module(self._module), self._name)


def _enter(tables: Any) -> None:
    tables.AUTO_QUANTIZATION_CONFIG_MAPPING[METHOD] = Deferred("qvec_hub.loading.config", "QVecConfig")
    tables.AUTO_QUANTIZER_MAPPING[METHOD] = Deferred("qvec_hub.loading.quantizer", "QVecQuantizer")


class _AfterImport(MetaPathFinder):
    """Waits for the import of transformers' tables, lets it happen, and enters the plugin."""

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != TABLES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Entering(spec.loader, self)
        return spec


class _Entering(Loader):
    """Runs another loader, then enters the plugin."""

    def __init__(self, loader: Loader, finder: MetaPathFinder) -> None:
        self.loader, self.finder = loader, finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader  # what asks the module for its source finds the real loader
        module.__loader__ = self.loader
        self.loader.exec_module(module)
        _enter(module)
        sys.meta_path.remove(self.finder)
