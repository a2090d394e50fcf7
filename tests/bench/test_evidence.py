"""A donor's statistics, against plain loops over the same rows."""

import random
from dataclasses import replace

import pytest

from qvec_hub import Grid
from qvec_hub.results.evidence import evidence
from qvec_hub.results.row import DonorUse, Row

RECEIVERS = [f"receiver-{i}" for i in range(6)]
DONORS = [f"donor-{i}" for i in range(3)]
GRIDS = [Grid(2, range="mse"), Grid(3)]
SEEDS = [0, 1]


def benchmark(make_row, seed: int) -> list[Row]:
    """A full benchmark with counts by chance; some cells of it were never measured."""
    chance = random.Random(seed)
    rows = []
    for number, receiver in enumerate(RECEIVERS):
        for training in SEEDS:
            about = {"receiver": receiver, "dataset": f"zoo:{receiver}", "seed": training, "n": 90 + number}

            def add(method: str, about=about, **more) -> None:
                rows.append(make_row(method, correct=chance.randint(0, about["n"]), **about, **more))

            add("fp")
            for grid in GRIDS:
                add("ptq", grid=grid)
                add("own_qat", grid=grid)
                if chance.random() < 0.5:
                    add("gptq", grid=grid)
                for donor in DONORS:
                    use = (DonorUse(donor, "c" * 40),)
                    if chance.random() < 0.8:
                        add("qvec", grid=grid, donors=use)
                    if chance.random() < 0.5:
                        add("qvec", grid=grid, donors=use, scale=0.5, scale_policy="recommended")
                    if chance.random() < 0.8:
                        add("qvec", grid=grid, donors=use, control="random")
                    add("qvec", grid=grid, donors=use, scale=0.7, scale_policy="validation")
                    add("qvec", grid=grid, donors=use, scale=0.3, scale_policy=None)
                both = tuple(DonorUse(donor, "c" * 40, 0.5) for donor in DONORS[:2])
                add("qvec", grid=grid, donors=both, merge="mean")
    chance.shuffle(rows)
    return rows


def cell(rows, receiver, grid, seed, method, donor=None, control=None, policy=None):
    """The one row of a kind, found by looking at every row."""
    found = None
    for row in rows:
        if row.receiver != receiver or row.grid != grid or row.seed != seed or row.method != method:
            continue
        if [use.repo for use in row.donors] != ([donor] if donor else []):
            continue
        if row.control != control or row.scale_policy != policy:
            continue
        assert found is None
        found = row
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("donor", DONORS)
def test_statistics_equal_plain_loops(make_row, donor: str, seed: int) -> None:
    rows = benchmark(make_row, seed)
    gains, noise, names = [], [], []
    shares: dict[str, list[float]] = {}
    for receiver in RECEIVERS:
        if receiver == "receiver-2":
            continue
        for grid in GRIDS:
            for training in SEEDS:
                patched = cell(rows, receiver, grid, training, "qvec", donor, None, "recommended")
                patched = patched or cell(rows, receiver, grid, training, "qvec", donor, None, "unit")
                plain = cell(rows, receiver, grid, training, "ptq")
                if patched is None:
                    continue
                gains.append((patched.correct - plain.correct) / plain.n)
                names.append(receiver)
                control = cell(rows, receiver, grid, training, "qvec", donor, "random", "unit")
                if control is not None and patched.scale_policy == "unit":
                    noise.append((control.correct - plain.correct) / plain.n)
                for method in ("fp", "ptq", "own_qat", "gptq"):
                    other = cell(rows, receiver, None if method == "fp" else grid, training, method)
                    if other is not None:
                        shares.setdefault(method, []).append(other.correct / other.n)
                shares.setdefault("qvec", []).append(patched.correct / patched.n)
    found = evidence(rows, donor, own_tasks={"zoo:receiver-2"})
    assert found is not None
    assert found.n_pairs == len(gains)
    assert found.mean_gain == pytest.approx(sum(gains) / len(gains), abs=1e-12)
    ordered = sorted(gains)
    middle = (ordered[(len(gains) - 1) // 2] + ordered[len(gains) // 2]) / 2
    assert found.median_gain == pytest.approx(middle, abs=1e-12)
    assert found.win_rate == sum(gain > 0 for gain in gains) / len(gains)
    assert found.wins == sum(gain > 0 for gain in gains)
    assert found.worst.gain == min(gains)
    assert (found.worst.receiver, found.worst.gain) in zip(names, gains, strict=True)
    assert [pair.gain for pair in found.failures] == sorted(gain for gain in gains if gain < 0)
    assert found.control is not None
    assert found.control.n_pairs == len(noise)
    assert found.control.value == pytest.approx(sum(noise) / len(noise), abs=1e-12)
    assert set(found.accuracy) == set(shares)
    for method, values in shares.items():
        assert found.accuracy[method].n_pairs == len(values)
        assert found.accuracy[method].value == pytest.approx(sum(values) / len(values), abs=1e-12)


def test_the_failures_come_with_their_counts(make_row) -> None:
    rows = [
        make_row("ptq", correct=100), make_row(correct=90),
        make_row("ptq", correct=50, receiver="b"), make_row(correct=80, receiver="b"),
        make_row("ptq", correct=50, receiver="c"), make_row(correct=50, receiver="c"),
    ]  # fmt: skip
    found = evidence(rows, "you/donor")
    assert found is not None
    (failure,) = found.failures
    assert failure is found.worst
    assert (failure.receiver, failure.correct, failure.n) == ("me/flowers", {"qvec": 90, "ptq": 100}, 300)
    assert (found.wins, found.n_pairs, found.control) == (1, 3, None)
    assert found.mean_gain == 20 / 300 / 3


@pytest.mark.parametrize(
    "change",
    [
        {"suite": "other"}, {"suite_version": "2"}, {"receiver": "other"}, {"receiver_revision": None},
        {"dataset": "other"}, {"dataset_revision": "d"}, {"split": "validation"}, {"grid": Grid(4)}, {"seed": 8},
        {"n": 299}, {"image_backend": "torchvision"},
    ],
)  # fmt: skip
def test_counts_of_other_images_or_models_are_no_pair(make_row, change) -> None:
    assert evidence([make_row("ptq"), make_row()], "you/donor") is not None
    assert evidence([make_row("ptq", **change), make_row()], "you/donor") is None


@pytest.mark.parametrize(
    "change",
    [
        {"control": "shuffle"}, {"scale": 0.9, "scale_policy": None}, {"scale_policy": "validation"},
        {"donors": (DonorUse("you/donor", None, 0.5),)}, {"donors": (DonorUse("other/donor"),)},
        {"donors": (DonorUse("you/donor"), DonorUse("other/donor")), "merge": "mean"},
        {"method": "gptq"}, {"receiver": "own"}, {"dataset": "own"},
    ],
)  # fmt: skip
def test_what_says_nothing_about_the_donor_alone(make_row, change) -> None:
    row = replace(make_row(), **change)
    plain = make_row("ptq", receiver=row.receiver, dataset=row.dataset)
    assert evidence([plain, row], "you/donor", own_tasks=("own",)) is None


def test_a_revision_and_a_repeated_measurement(make_row) -> None:
    old, new = (DonorUse("you/donor", letter * 40) for letter in "ab")
    rows = [make_row("ptq", correct=10), make_row(donors=(old,), correct=20), make_row(donors=(new,), correct=40)]
    gains = {}
    for revision in (old.revision, new.revision, None):
        found = evidence(rows, "you/donor", revision)
        assert found is not None
        gains[revision] = [pair.correct["qvec"] for pair in found.pairs]
    assert gains == {old.revision: [20], new.revision: [40], None: [40]}
    assert evidence(rows, "you/donor", "c" * 40) is None
