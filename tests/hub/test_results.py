"""Evidence into a card's metadata and back, and cards that hold anything."""

import random

import pytest
import yaml
from huggingface_hub import ModelCard

from qvec_hub import Grid
from qvec_hub.artifact.config import VectorConfig
from qvec_hub.hub.cards.model_index import MAX_METHODS, MAX_PAIRS, RESULTS, headline_results, read_evidence
from qvec_hub.hub.cards.vector_card import vector_card
from qvec_hub.results.evidence import Evidence, Pair

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
    assert back == given
    assert (back.mean_gain, back.wins, back.control) == (given.mean_gain, given.wins, given.control)
    ModelCard(text)  # the client's own parser takes it as well


COLUMNS = ["receiver", "dataset", "grid", "seed", "scale", "n"]
GOOD = {"receiver": "me/r", "dataset": "org/d", "grid": "int3", "seed": 1, "scale": 1.0, "n": 10, "ptq": 3, "qvec": 5}


def card(*pairs: dict[str, object]) -> dict[str, object]:
    """A card's metadata with a table of pairs."""
    methods = dict.fromkeys(key for pair in pairs for key in pair if key not in COLUMNS)
    columns = [*COLUMNS, *methods]
    return {RESULTS: {"columns": columns, "pairs": [[pair.get(key) for key in columns] for pair in pairs]}}


def test_a_pair_needs_both_counts() -> None:
    for missing in ("ptq", "qvec"):
        assert read_evidence(card({**GOOD, missing: None}), "a/v") is None
    found = read_evidence(card(GOOD), "a/v")
    assert found is not None
    assert found.pairs == (Pair("me/r", "org/d", Grid(3), 1, 1.0, 10, {"qvec": 5, "ptq": 3}),)


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 0},
        {"n": 10**10},
        {"n": 10**400},
        {"n": True},
        {"n": 10.0},
        {"n": "10"},
        {"qvec": 11},
        {"ptq": -1},
        {"qvec": None},
        {"ptq": "3"},
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
        {"dataset": []},
    ],
    ids=lambda changes: str(changes)[:50].encode("unicode_escape").decode(),
)
def test_a_pair_of_another_form_is_as_if_it_were_not_there(changes) -> None:
    odd = {**GOOD, **changes}
    assert read_evidence(card(odd), "a/v") is None
    assert read_evidence(card(odd, GOOD), "a/v") == read_evidence(card(GOOD), "a/v")


@pytest.mark.parametrize("count", [11, -1, True, "9", 9.0, [9], 10**400])
def test_a_count_of_another_form_is_as_if_it_were_not_there(count) -> None:
    for method in ("gptq", "random"):
        assert read_evidence(card({**GOOD, method: count}), "a/v") == read_evidence(card(GOOD), "a/v")
        assert read_evidence(card({**GOOD, method: 9}), "a/v") != read_evidence(card(GOOD), "a/v")


@pytest.mark.parametrize("name", [5, None, ["gptq"], "\x1b[31m", "m" * 1000])
def test_a_method_of_another_form_is_as_if_it_were_not_there(name) -> None:
    data = card({**GOOD, "gptq": 9})
    data[RESULTS]["columns"][-1] = name
    assert read_evidence(data, "a/v") == read_evidence(card(GOOD), "a/v")


@pytest.mark.parametrize(
    "table",
    [
        None,
        5,
        "x",
        [],
        {},
        {"columns": 1, "pairs": []},
        {"columns": COLUMNS},
        {"columns": [*COLUMNS, "ptq", "qvec"], "pairs": {"a": 1}},
        {"columns": [*COLUMNS, "ptq", "qvec"], "pairs": [None, 3, [], ["me/r"], {}]},
        {"columns": ["dataset", "receiver", *COLUMNS[2:], "ptq", "qvec"], "pairs": [list(GOOD.values())]},
        {"columns": COLUMNS[:3], "pairs": [["me/r", "org/d", "int3"]]},
    ],
)
def test_a_table_of_another_form(table) -> None:
    assert read_evidence({RESULTS: table}, "a/v") is None


def test_an_endless_table_is_not_read_to_its_end() -> None:
    found = read_evidence(card(*({**GOOD, "seed": i} for i in range(MAX_PAIRS + 5))), "a/v")
    assert found is not None
    assert found.n_pairs == MAX_PAIRS
    wide = card({**GOOD, **{f"m{i}": 1 for i in range(10 * MAX_METHODS)}})
    found = read_evidence(wide, "a/v")
    assert found is not None
    assert len(found.pairs[0].correct) == MAX_METHODS


def test_the_headline_counts_what_the_pairs_say() -> None:
    pairs = [
        Pair(f"me/r{i}", "org/d", Grid(2), 1, 0.5, 1000, {"ptq": 100, "qvec": 100 + gain}, random=2)
        for i, gain in enumerate((1, -40, 200, 0))
    ]
    results = headline_results(Evidence("a/v", None, tuple(pairs)))
    values = {result.metric_type: result.metric_value for result in results}
    assert values == {"mean_gain": 4.025, "win_rate": 50, "best_gain": 20, "worst_gain": -4}
    assert [result.metric_name.rpartition(" ")[2] for result in results[2:]] == ["me/r2", "me/r1"]
    (alone, *_) = headline_results(Evidence("a/v", None, tuple(pairs[:1])))
    assert alone.dataset_name == "1 receiver of another task on int2-channel-absmax"
