"""Evidence into a card's ``model-index`` and back, and cards that hold anything."""

import random

import pytest
import yaml
from huggingface_hub import ModelCard

from qvec_hub import Grid
from qvec_hub.artifact import VectorConfig
from qvec_hub.bench import Evidence, Pair
from qvec_hub.hub import vector_card
from qvec_hub.hub.results import MAX_METRICS, eval_results, read_evidence

GRIDS = ["int3", "int2-channel-mse", "int4-group64-hqq-affine"]


def random_evidence(chance: random.Random) -> Evidence:
    pairs = []
    for _ in range(chance.randint(1, 12)):
        n = chance.choice([1, 300, 10_000])
        methods = ["ptq", "qvec", *chance.sample(["fp", "own_qat", "gptq"], chance.randint(0, 3))]
        correct = {method: chance.randint(0, n) for method in methods}
        pairs.append(
            Pair(
                receiver=f"me/r{chance.randint(0, 2)}",
                dataset=f"org/d{chance.randint(0, 1)}",
                grid=Grid.parse(chance.choice(GRIDS)),
                seed=chance.randint(0, 1),
                scale=chance.choice([1.0, 0.5, 1e-7]),
                n=n,
                correct=correct,
                random=chance.choice([None, chance.randint(0, n)]),
            )
        )
    return Evidence("a/v", None, tuple(pairs))


@pytest.mark.parametrize("seed", range(30))
def test_evidence_comes_back_from_a_card(vector_folder, seed: int) -> None:
    """Also where two pairs agree in everything but the suite or the revision, which pairs do not name."""
    given = random_evidence(random.Random(seed))
    config = VectorConfig.read(vector_folder / "qvec_config.json")
    text = vector_card(config, "a/v", 1000, given)
    back = read_evidence(yaml.safe_load(text.split("---")[1]), "a/v")
    assert back is not None
    assert sorted(map(str, back.pairs)) == sorted(map(str, given.pairs))
    assert (back.mean_gain, back.wins, back.control) == (given.mean_gain, given.wins, given.control)
    ModelCard(text)  # the client's own parser takes it as well


def metric(**changes) -> dict[str, object]:
    values = {"method": "qvec", "grid": "int3", "scale": 1.0, "receiver": "me/r", "seed": 1, "n": 10, "correct": 5}
    return {"type": "accuracy", "args": {**values, **changes}}


def card(metrics: list[object]) -> dict[str, object]:
    return {"model-index": [{"name": "v", "results": [{"dataset": {"type": "org/d"}, "metrics": metrics}]}]}


def test_a_pair_needs_both_counts() -> None:
    assert read_evidence(card([metric()]), "a/v") is None
    assert read_evidence(card([metric(method="ptq", correct=3)]), "a/v") is None
    found = read_evidence(card([metric(), metric(method="ptq", correct=3)]), "a/v")
    assert found is not None
    assert found.pairs == (Pair("me/r", "org/d", Grid(3), 1, 1.0, 10, {"qvec": 5, "ptq": 3}),)
    assert read_evidence(card([metric(), metric(method="ptq", seed=2)]), "a/v") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 0},
        {"n": 10**10},
        {"n": 10**400},
        {"n": True},
        {"n": 10.0},
        {"n": "10"},
        {"correct": 11},
        {"correct": -1},
        {"correct": None},
        {"seed": "1"},
        {"seed": -1},
        {"scale": float("nan")},
        {"scale": float("inf")},
        {"scale": 10**400},
        {"scale": True},
        {"scale": "1"},
        {"grid": "int99"},
        {"grid": ["int3"]},
        {"grid": "int3" * 100_000},
        {"receiver": "\x1b[31m"},
        {"receiver": "r" * 1000},
        {"receiver": {}},
        {"method": 5},
        {"repeat": "x"},
    ],
    ids=lambda changes: str(changes)[:50].encode("unicode_escape").decode(),
)
def test_a_metric_of_another_form_is_as_if_it_were_not_there(changes) -> None:
    good = [metric(), metric(method="ptq", correct=3)]
    odd = [metric(**changes), metric(**{"method": "ptq", **changes})]
    assert read_evidence(card(odd), "a/v") is None
    assert read_evidence(card([*odd, *good]), "a/v") == read_evidence(card(good), "a/v")


@pytest.mark.parametrize(
    "index", [None, 5, "x", {}, [None], [{"results": 1}], [{"results": [{"dataset": [], "metrics": [metric()]}]}]]
)
def test_an_index_of_another_form(index) -> None:
    assert read_evidence({"model-index": index}, "a/v") is None


def test_an_endless_index_is_not_read_to_its_end() -> None:
    pairs = [[metric(seed=i), metric(method="ptq", seed=i)] for i in range(MAX_METRICS)]
    found = read_evidence(card([each for pair in pairs for each in pair]), "a/v")
    assert found is not None
    assert found.n_pairs == MAX_METRICS // 2


def test_what_a_number_belongs_to() -> None:
    pair = Pair("me/r", "org/d", Grid(2), 1, 0.5, 10, {"fp": 9, "ptq": 1, "qvec": 5}, random=2)
    results = eval_results(Evidence("a/v", None, (pair, pair)))
    said = {result.metric_args["method"]: result.metric_args for result in results[:4]}
    assert {method: args["bits"] for method, args in said.items()} == {"fp": 32, "ptq": 2, "qvec": 2, "random": 2}
    assert {method: args["scale"] for method, args in said.items()} == {"fp": 0, "ptq": 0, "qvec": 0.5, "random": 0.5}
    assert ["repeat" in result.metric_args for result in results] == [False] * 4 + [True] * 4
