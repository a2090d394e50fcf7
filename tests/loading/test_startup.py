"""What starting costs, told by the modules that are imported and not by a clock."""

import json
import subprocess
import sys

import pytest

HEAVY = {"accelerate", "datasets", "evaluate", "matplotlib", "optimum", "peft", "scipy", "sklearn", "skimage", "torch"}
PROGRAM = """
import json, sys
{statements}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def imported(statements: str) -> set[str]:
    """The top-level packages that a fresh interpreter has imported after some statements."""
    command = [sys.executable, "-c", PROGRAM.format(statements=statements)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return set(json.loads(found.splitlines()[-1]))


RUN_QVEC = """
from qvec_hub.cli import main
for arguments in {commands!r}:
    sys.argv = ["qvec", *arguments]
    try:
        main()
    except SystemExit:
        pass
"""


def test_importing_the_package_imports_neither_torch_nor_transformers() -> None:
    assert imported("import qvec_hub") & (HEAVY | {"transformers", "huggingface_hub", "numpy"}) == set()


def test_help_the_version_and_usage_errors_import_nothing_heavy() -> None:
    commands = [["--help"], ["--version"], ["apply", "--help"], ["bench", "run", "--help"], ["train", "--help"], ["no"]]
    assert imported(RUN_QVEC.format(commands=commands)) & (HEAVY | {"transformers", "huggingface_hub"}) == set()


def test_the_plugin_adds_only_quanto_to_what_transformers_imports_itself() -> None:
    load = "from transformers import PreTrainedModel; import transformers.quantizers.auto as auto"
    before = imported(load)
    after = imported(f"import qvec_hub; {load}; auto.AUTO_QUANTIZER_MAPPING['qvec'].mro()")
    assert (after - before) & HEAVY == {"optimum"}


@pytest.mark.parametrize("first", ["qvec_hub", "transformers.quantizers.auto"])
def test_the_plugin_is_known_whatever_is_imported_first(first: str) -> None:
    statements = f"""
import {first}
import qvec_hub
from transformers import AutoModelForImageClassification
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AutoQuantizationConfig
config = AutoQuantizationConfig.from_dict({{"quant_method": "qvec", "grid": {{"bits": 2}}}})
assert type(config) is qvec_hub.QVecConfig and config.grid == qvec_hub.Grid(bits=2), config
assert not any(type(finder).__module__.startswith("qvec_hub") for finder in sys.meta_path)
"""
    assert "transformers" in imported(statements)
