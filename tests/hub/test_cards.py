"""What a card says: metadata the Hub accepts, numbers that are in the rows, and nothing lost on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

import qvec_hub as qv
from qvec_hub.artifact.config import Donor, Revision, Source, TensorSummary, VectorConfig
from qvec_hub.artifact.model_record import quantization_record
from qvec_hub.hub.cards.evidence_table import headline, results_table
from qvec_hub.hub.cards.model_card import model_card
from qvec_hub.hub.cards.model_index import headline_results, read_evidence
from qvec_hub.hub.cards.sections import MARK, split_card
from qvec_hub.hub.cards.values import grid_name
from qvec_hub.hub.cards.vector_card import combine_cards, vector_card
from qvec_hub.results.evidence import Evidence, Pair
from qvec_hub.results.reference import reference_table

GRID = qv.Grid.parse("int2-channel-mse")
PAIRS = (
    Pair("lab/flowers", "flowers", GRID, 0, 0.5, 200, {"fp": 180, "ptq": 100, "qvec": 130, "own_qat": 170}, 101),
    Pair("pets", "pets", GRID, 0, 0.5, 400, {"fp": 380, "ptq": 300, "qvec": 290, "own_qat": 350}, 296),
)
EVIDENCE = Evidence("me/eurosat", None, PAIRS)


@pytest.fixture
def config(vector) -> VectorConfig:
    return replace(
        vector.config,
        grid=GRID,
        scale=0.5,
        base_model=Revision("google/vit-base", "a" * 40),
        donor=Donor("EuroSAT", "tanganke/eurosat", "b" * 40),
        recipe={"name": "ste", "learning_rate": 1e-5},
        tensors=TensorSummary(38, 18256, 0.91, "0" * 64),
    )


def front(card: str) -> dict:
    return yaml.safe_load(split_card(card)[0])


def test_the_metadata_is_what_the_hub_knows(hub, config: VectorConfig) -> None:
    card = vector_card(config, "me/eurosat", 76912, EVIDENCE, license="mit")
    data = front(card)
    assert data["library_name"] == "qvec_hub"
    assert {"quantization-vector", "int2-channel-mse", "int2", "vit"} <= set(data["tags"])
    assert (data["base_model"], data["base_model_relation"]) == ("google/vit-base", "adapter")
    assert (data["datasets"], data["metrics"], data["license"]) == (["tanganke/eurosat"], ["accuracy"], "mit")
    assert data["pipeline_tag"] == "image-classification"
    (model,) = data["model-index"]
    (result,) = model["results"]
    assert result["dataset"]["name"] == "2 receivers of other tasks on int2-channel-mse"
    assert [(metric["type"], metric["value"]) for metric in result["metrics"]] == [
        ("mean_gain", 6.25), ("win_rate", 50.0), ("best_gain", 15.0), ("worst_gain", -2.5),
    ]  # fmt: skip
    assert [metric["name"].rpartition(" ")[2] for metric in result["metrics"][2:]] == ["lab/flowers", "pets"]
    assert data["quantization_vector_results"] == {
        "columns": ["receiver", "dataset", "grid", "seed", "scale", "n", "fp", "ptq", "qvec", "own_qat", "random"],
        "pairs": [
            ["lab/flowers", "flowers", "int2-channel-mse", 0, 0.5, 200, 180, 100, 130, 170, 101],
            ["pets", "pets", "int2-channel-mse", 0, 0.5, 400, 380, 300, 290, 350, 296],
        ],
    }
    ModelCard(card).validate()


@pytest.mark.parametrize("extra", [{}, {f"method-{i}": 7 for i in range(9)}], ids=["usual", "many methods"])
def test_the_metadata_of_many_pairs_is_short(hub, config: VectorConfig, extra: dict[str, int]) -> None:
    name, counts = f"some-laboratory/vit-base-patch16-224-{'x' * 50}", {**PAIRS[0].correct, **extra}
    many = [replace(PAIRS[0], receiver=f"{name}-{i}", correct=counts) for i in range(21)]
    evidence = Evidence("me/eurosat", None, tuple(many))
    card = vector_card(config, "me/eurosat", 76912, evidence, license="mit")
    assert len(split_card(card)[0].splitlines()) < 80
    assert card[card.index("\n---\n") :].startswith("\n---\n\n# eurosat\n")
    assert read_evidence(front(card), "me/eurosat") == evidence
    ModelCard(card).validate()
    rewritten = str(ModelCard(card))  # by the client, which spreads a pair over many lines
    assert read_evidence(front(rewritten), "me/eurosat") == evidence
    again = vector_card(config, "me/eurosat", 76912, existing=rewritten, license="mit")
    assert len(split_card(again)[0].splitlines()) < 80
    assert (front(again), split_card(again)[1]) == (front(card), split_card(card)[1])


def test_a_broken_card_does_not_pass_the_hub(hub) -> None:
    with pytest.raises(ValueError, match="base_model"):
        ModelCard("---\nbase_model: [1, 2]\n---\n").validate()


def test_the_text_says_what_was_counted(config: VectorConfig) -> None:
    text = split_card(vector_card(config, "me/eurosat", 76912, EVIDENCE))[1]
    assert "| pets | 0.5 | 0.950 (380/400) | 0.750 (300/400) | 0.725 (290/400) | 0.740 (296/400) | 0.875" in text
    assert "went from 0.625 (plain rounding) to 0.688" in text
    assert "+6.2 points" in text
    assert "better in 1 of 2" in text
    assert "harmed pets: 300/400 right without it, 290/400 with it (−2.5 points)" in text
    assert "A random vector of the same size brought −0.2 points" in text
    assert "No calibrated baseline" in text
    assert 'qv.from_pretrained("lab/flowers", vector="me/eurosat", weights="int2-channel-mse")' in text


def test_calibrated_baselines_stand_beside_and_are_marked(config: VectorConfig) -> None:
    pairs = tuple(replace(pair, correct={**pair.correct, "gptq": pair.n - 10}) for pair in PAIRS)
    text = vector_card(config, "me/eurosat", 1, Evidence("me/eurosat", None, pairs))
    assert "GPTQ (uses receiver images)" in text
    assert "GPTQ, which needs images of the receiver's task, reached 0.963" in text
    assert "No calibrated baseline" not in text


def test_a_method_counted_on_some_receivers_only_gets_no_mean(config: VectorConfig) -> None:
    pairs = (replace(PAIRS[0], correct={**PAIRS[0].correct, "gptq": 190}), PAIRS[1])
    text = vector_card(config, "me/eurosat", 1, Evidence("me/eurosat", None, pairs))
    assert "reached" not in text
    mean = next(line for line in text.splitlines() if line.startswith("| **mean**"))
    assert mean.split("|")[-3].strip() == "–"


def test_without_results_it_says_so(config: VectorConfig) -> None:
    card = vector_card(config, "me/eurosat", 1)
    assert "Not measured yet" in card
    assert not {"model-index", "quantization_vector_results"} & front(card).keys()


def test_evidence_survives_the_card(config: VectorConfig) -> None:
    data = front(vector_card(config, "me/eurosat", 1, EVIDENCE))
    found = read_evidence(data, "me/eurosat")
    assert found.pairs == PAIRS
    assert (found.mean_gain, found.win_rate) == (EVIDENCE.mean_gain, EVIDENCE.win_rate)


def test_results_stay_with_the_tensors_they_were_measured_with(config: VectorConfig) -> None:
    card = vector_card(config, "me/eurosat", 1, EVIDENCE)
    again = vector_card(config, "me/eurosat", 1, existing=card)
    assert again == card
    other = replace(config, tensors=replace(config.tensors, sha256="1" * 64))
    fresh = vector_card(other, "me/eurosat", 1, existing=card)
    assert "Not measured yet" in fresh
    assert not {"model-index", "quantization_vector_results"} & front(fresh).keys()


def test_what_the_author_wrote_stays(config: VectorConfig) -> None:
    card = vector_card(config, "me/eurosat", 1)
    edited = card.replace("## Cite", "## Why I made it\n\nOut of love.\n\n## Cite").replace(
        "license: unknown", "license: cc-by-4.0\nlanguage: la\nthumbnail: x.png"
    )
    edited = edited.replace("tags:\n", "tags:\n- mine\n- int3-channel-absmax\n")
    again = vector_card(config, "me/eurosat", 1, EVIDENCE, existing=edited)
    assert "Out of love." in again
    data = front(again)
    assert (data["license"], data["language"], data["thumbnail"]) == ("cc-by-4.0", "la", "x.png")
    assert "mine" in data["tags"]
    assert [tag for tag in data["tags"] if grid_name(tag)] == ["int2-channel-mse", "int2"]
    assert vector_card(config, "me/eurosat", 1, EVIDENCE, existing=again) == again
    assert front(vector_card(config, "me/eurosat", 1, existing=edited, license="mit"))["license"] == "mit"


def test_two_cards_become_one(config: VectorConfig) -> None:
    remote = vector_card(config, "me/eurosat", 1, EVIDENCE, license="mit")
    remote = remote.replace("## Cite", "## On the web\n\nadded there\n\n## Cite")
    local = vector_card(config, "your-name/x", 1) + "\n## At home\n\nadded here\n"
    card = vector_card(config, "me/eurosat", 1, existing=combine_cards(remote, local))
    assert "added there" in card
    assert "added here" in card
    assert front(card)["license"] == "mit"
    assert read_evidence(front(card), "me/eurosat").pairs == PAIRS
    assert combine_cards("", local) == local
    assert combine_cards(remote, "") == remote


def test_metadata_that_is_no_yaml_is_named(config: VectorConfig) -> None:
    for broken in ("---\na: [\n---\n", "---\n- a\n---\n"):
        with pytest.raises(qv.ArtifactError, match="metadata"):
            vector_card(config, "me/eurosat", 1, existing=broken)


def test_untrusted_words_are_only_words(config: VectorConfig) -> None:
    hostile = "x](http://evil)|<script>`\\ *a*"
    donor = Donor(task=hostile, dataset=hostile)
    sources = [Source("a/b", "c" * 40, 0.5), Source(None, None, 0.5)]
    text = vector_card(replace(config, donor=donor, recipe={hostile: hostile}), "me/x", 1)
    for bad in ("<script>", "](http://evil)", "*a*"):
        assert bad not in split_card(text)[1]
    merged = vector_card(replace(config, donor=donor, sources=sources), "me/x", 1)
    assert "2 other vectors" in merged
    assert "0.5 × a local vector" in merged


@pytest.mark.parametrize("task", ["counting", "glyphs-greek", "glyphs-latin", "shapes", "textures"])
def test_the_published_cards_are_what_this_version_writes(hub, task: str) -> None:
    card = (Path(__file__).parents[2] / "model_cards" / task / "README.md").read_text(encoding="utf-8")
    ModelCard(card).validate()
    name = f"qvec-hub/zoo-s-{task}-int2-channel-mse-qvec"
    found = read_evidence(front(card), name)
    assert found.n_pairs == 4
    values = [metric["value"] for metric in front(card)["model-index"][0]["results"][0]["metrics"]]
    assert values == [result.metric_value for result in headline_results(found)]
    assert results_table(found, name) in card
    assert headline(found, 2) in card


def test_a_saved_folder_has_a_card_and_keeps_notes(vector, tmp_path: Path) -> None:
    vector.save_pretrained(tmp_path / "v")
    path = tmp_path / "v" / "README.md"
    assert "your-name/toys-int3-channel-absmax-qvec" in path.read_text()
    path.write_text(path.read_text() + "\n## Notes\n\nmine\n")
    vector.save_pretrained(tmp_path / "v")
    assert path.read_text().count("mine") == 1


def test_a_card_that_cannot_be_read_is_left_alone(vector, tmp_path: Path) -> None:
    vector.save_pretrained(tmp_path / "v")
    path = tmp_path / "v" / "README.md"
    path.write_text("---\na: [\n---\nmine")
    with pytest.warns(UserWarning, match="not refreshed"):
        (2 * vector).save_pretrained(tmp_path / "v")
    assert path.read_text() == "---\na: [\n---\nmine"
    assert qv.QuantizationVector.from_pretrained(tmp_path / "v").norm() == pytest.approx(2 * vector.norm())


def test_the_card_of_a_quantized_model() -> None:
    class Config:
        num_labels = 5
        quantization_config = quantization_record(
            GRID,
            [{"repo_id": "a/v", "revision": "d" * 40, "weight": 0.5, "task": "pets"},
             {"repo_id": "b/w", "revision": "e" * 40, "weight": 0.5, "subfolder": "in/side"}],
            0.75,
            {"repo_id": "google/base", "revision": None},
            {"repo_id": "me/flowers", "revision": "f" * 40},
        )  # fmt: skip

    card = model_card(Config, "me/flowers-int2", tags=["plants"])
    data = front(card)
    assert (data["library_name"], data["base_model"], data["base_model_relation"]) == (
        "transformers", "me/flowers", "quantized",
    )  # fmt: skip
    assert {"qvec", "int2-channel-mse", "plants"} <= set(data["tags"])
    for piece in ("import qvec_hub", "dddddddddddd", "eeeeeeeeeeee", "`in/side`", "0.75", "google/base", "fffffffffff"):
        assert piece in card
    assert MARK in card
    assert model_card(Config, "me/flowers-int2", tags=["plants"], existing=card) == card
    Config.quantization_config = quantization_record(GRID, None, 1.0)
    assert "without a vector" in model_card(Config, "me/x")


@pytest.mark.parametrize("watched", [None, "proxies", "own_images"])
def test_the_card_says_how_codes_and_scale_were_found(watched: str | None, vector) -> None:
    class Config:
        num_labels = 3
        quantization_config = quantization_record(
            qv.Grid(2),
            vector.provenance(),
            0.5,
            rounding="nearest" if watched is None else "fitted",
            watched=watched,
            scale_curve=None if watched is None else [[0.0, 0.31], [0.5, 0.1234]],
        )

    card = model_card(Config, "me/x")
    assert ("No image of its task was used" in card) == (watched != "own_images")
    assert ("calibrated, not zero-shot" in card) == (watched == "own_images")
    assert ("0.31 at 0, 0.123 at 0.5" in card) == (watched is not None)
    expected = {
        None: "to nearest",
        "proxies": "scales fitted to the outputs, with proxy images that come with qvec_hub",
        "own_images": "scales fitted to the outputs, with calibration images that its author chose",
    }
    assert expected[watched] in card


def test_images_and_what_the_encoding_cost_are_shown(config: VectorConfig, vector, tmp_path: Path) -> None:
    plain = vector_card(config, "me/eurosat", 76912)
    assert "images.png" not in plain
    assert "float32" in plain
    small = replace(config, encoding=replace(config.encoding, name="int2", relative_error=0.34))
    card = vector_card(small, "me/eurosat", 4900, images=True)
    assert "![Images of the donor's task](images.png)" in card
    (point,) = (e for e in reference_table("encodings")["points"] if (e["grid"], e["encoding"]) == (GRID.name, "int2"))
    assert f"off by 34.0% of the vector's norm, which cost {point['lost']:.2f} points" in card
    unmeasured = replace(small, grid=qv.Grid.parse("int5"))
    assert "off by 34.0% of the vector's norm)" in vector_card(unmeasured, "me/eurosat", 4900)
    vector.with_images(np.zeros((3, 16, 16, 3), np.uint8)).save_pretrained(tmp_path / "v")
    assert "](images.png)" in (tmp_path / "v" / "README.md").read_text()
