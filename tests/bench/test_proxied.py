"""Rows of methods that use proxy images: counted on the bench as by loading, and named for what they need."""

from pathlib import Path

import pytest

import qvec_hub as qv
from qvec_hub.bench.cells import cells
from qvec_hub.bench.context import read_context
from qvec_hub.bench.model_store import Library
from qvec_hub.bench.report.treatments import measured
from qvec_hub.bench.report.write import write_report
from qvec_hub.bench.runner import run_suite
from qvec_hub.bench.verify import verify
from qvec_hub.proxies import model_inputs as pixels
from qvec_hub.results.rows import read_rows, row_files
from qvec_hub.rounding import fit_scales as fitting
from qvec_hub.rounding import tune_scales as tuning

from .library import BASE, a_suite, fill

MEASURE = [
    {"method": "fp"},
    {"method": "ptq"},
    {"method": "fitted"},
    {"method": "proxy_gptq"},
    {"method": "proxy_fitted"},
    {"method": "proxy_tuned", "donors": "others", "merge": "mean", "scales": [0.5, "auto"], "controls": ["random"]},
    {"method": "qvec", "donors": "others", "merge": "mean", "scales": ["auto"]},
]


@pytest.fixture(autouse=True)
def few_images(monkeypatch) -> None:
    monkeypatch.setattr(pixels, "LEAST", 24)
    monkeypatch.setattr(pixels, "IMAGES_A_FEATURE", 0)
    monkeypatch.setattr(tuning, "STEPS", 5)
    monkeypatch.setattr(fitting, "ROUNDS", 1)
    monkeypatch.setattr(fitting, "SWEEPS", 1)


def test_rows_and_what_they_say(tmp_path: Path) -> None:
    suite = a_suite(measure=MEASURE, receivers=["shapes"])
    library, out = Library(tmp_path / "models"), tmp_path / "run"
    fill(library, suite)
    run_suite(suite, out, library.root)
    rows, context = [row for path in row_files([out]) for row in read_rows(path)], read_context([out])
    assert len(rows) == len(cells(suite)) == 10
    checks = verify(rows, context=context, suite=suite, library=library)
    assert all(check.reproduces for check in checks), [check.why for check in checks if not check.reproduces]

    by_hand = qv.from_pretrained(
        library.fp(BASE, 0, "shapes"),
        vector=[library.vector(BASE, 0, task, suite.grids[0]) for task in ("counting", "textures")],
        weights=suite.grids[0],
        rounding="tuned",
    ).config.quantization_config
    auto = next(row for row in rows if row.method == "proxy_tuned" and row.scale_policy == "auto" and not row.control)
    assert (auto.scale, auto.grid) == (by_hand.scale, by_hand.grid)

    kinds = {line.method: (line.kind, line.needs) for line in measured(rows, context).lines}
    assert kinds["fitted on proxy images"] == ("proxy images", "none")
    assert kinds["fitted (receiver's images)"] == ("calibrated", "images")
    assert kinds["mean of others, λ = 0.5, then tuned on proxy images"] == ("vector", "none")
    assert kinds["mean of others, automatic λ, then tuned on proxy images"] == ("vector", "none")
    assert kinds["mean of others, automatic λ"] == ("vector", "none")
    report = write_report(rows, context, tmp_path / "report")
    assert "| fitted on proxy images | none |" in report.markdown.read_text()
    assert (tmp_path / "report" / "figures" / f"methods-{BASE}.png").is_file()


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        ({"method": "proxy_fitted", "donors": "others", "merge": "mean"}, "scales"),
        ({"method": "proxy_gptq", "donors": "each", "scales": ["validation"]}, "validation"),
        ({"method": "fitted", "donors": "each", "scales": [1]}, "donors"),
    ],
)
def test_measures_that_make_no_sense(measure: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        a_suite(measure=[measure])
