"""Transfers and their statistics, against plain loops over rows with a known truth."""

import random
from dataclasses import replace
from fractions import Fraction
from statistics import median

import pytest

from qvec_hub.bench.context import Context, Trained
from qvec_hub.bench.report.treatments import measured
from qvec_hub.bench.stats.bootstrap import mean_interval
from qvec_hub.bench.stats.protocol import Protocol, group
from qvec_hub.bench.stats.summary import summarise
from qvec_hub.bench.stats.transfer import ceilings, transfers
from qvec_hub.errors import DataError
from qvec_hub.results.row import DonorUse

from .synthetic import GRIDS, TASKS, a_row, synthetic

GRID = GRIDS[0]


def task_of(name: str) -> str:
    return next(task for task in TASKS if f"-{task}" in name)


@pytest.fixture(scope="module")
def benchmark():
    return synthetic(seeds=(0, 1))


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("control", [None, "shuffle"])
def test_statistics_equal_plain_loops(benchmark, scale: float, control: str | None) -> None:
    rows, context = benchmark
    found = [
        (protocol, part)
        for protocol, part in group(transfers(rows, context)).items()
        if (protocol.base, protocol.grid, protocol.donors, protocol.control) == ("base-xs", GRID, "one", control)
        and {t.row.scale for t in part} == {scale}
        and protocol.scale_policy != "validation"
    ]
    gains, shares, recovered, ceiling, harmed = [], [], Fraction(0), Fraction(0), []
    for row in rows:
        if row.method != "qvec" or row.grid.name != GRID or "zoo-xs-" not in row.receiver or row.scale != scale:
            continue
        if len(row.donors) > 1 or row.control != control or row.scale_policy == "validation":
            continue
        if task_of(row.receiver) == task_of(row.donors[0].repo):
            continue
        same = [r for r in rows if (r.receiver, r.seed, r.grid) == (row.receiver, row.seed, row.grid)]
        (plain,) = [r.correct for r in same if r.method == "ptq"]
        (own,) = [r.correct for r in same if r.method == "own_qat"]
        gains.append(Fraction(row.correct - plain, row.n))
        shares.append(Fraction(row.correct, row.n))
        ceiling += Fraction(own - plain, row.n)
        recovered += gains[-1]
        if row.correct < plain:
            harmed.append(gains[-1])
    if not gains:
        assert (found, control, scale) in [([], "shuffle", 0.5), ([], "shuffle", 1.5)]
        return
    ((_, part),) = found
    summary = summarise(part, resamples=50)
    assert (summary.n_pairs, summary.n_receivers, summary.n_donors) == (len(gains), 6, 6) == (60, 6, 6)
    assert summary.mean == pytest.approx(float(sum(gains) / 60), abs=1e-12)
    assert summary.median == pytest.approx(float(median(gains)), abs=1e-12)
    assert summary.wins == sum(gain > 0 for gain in gains)
    assert summary.win_rate == summary.wins / 60
    assert summary.accuracy == pytest.approx(float(sum(shares) / 60), abs=1e-12)
    assert (summary.recovery, summary.n_recovery) == (pytest.approx(float(recovered / ceiling), abs=1e-12), 60)
    assert summary.worst.gain == float(min(gains))
    assert [t.gain for t in summary.failures] == [float(gain) for gain in sorted(harmed)]


def test_what_is_counted_beside_a_treatment(benchmark) -> None:
    rows, context = benchmark
    for transfer in transfers(rows, context)[::97]:
        row = transfer.row
        same = {r.method: r.correct for r in rows if (r.receiver, r.seed, r.grid) == (row.receiver, row.seed, row.grid)}
        assert (transfer.ptq.correct, transfer.own_qat.correct) == (same["ptq"], same["own_qat"])
        assert transfer.base == ("base-xs" if "-xs-" in row.receiver else "base-s")
        assert transfer.task == task_of(row.receiver)
        single = row.donors[0].repo if len(row.donors) == 1 else None
        assert transfer.donor == single
        assert transfer.donor_task == (single and task_of(single))


def test_no_vector_of_the_own_task_is_a_transfer(benchmark) -> None:
    rows, context = benchmark
    all_donors = tuple(DonorUse(f"zoo-xs-{task}-{GRID}-qvec", None, 1 / 6) for task in TASKS)
    about = {"donors": all_donors, "merge": "mean", "scale": 1.0, "scale_policy": "unit"}
    merged = a_row("zoo-xs-digits", "digits", "qvec", GRID, 0.9, **about)
    contaminated = [merged, replace(merged, control="random"), replace(merged, method="gptq")]
    found = transfers([*rows, *contaminated], context)
    for transfer in found:
        assert transfer.task not in [task_of(use.repo) for use in transfer.row.donors]
    assert len(found) == len(transfers(rows, context))
    own = ceilings([*rows, *contaminated], context)
    # of 2 bases, 6 tasks, 2 grids and 2 seeds: own training, and the own vector at 3 scales and the validation one
    assert len(own) == 2 * 6 * 2 * 2 * 5
    assert all(t.row.control is None and len(t.row.donors) <= 1 and t.is_own for t in own)
    assert {Protocol.of(t).label for t in own if t.row.grid.name == GRID} == {
        "own QAT", "own donor, λ = 0.5", "own donor, λ = 1", "own donor, λ = 1.5",
        "own donor, λ from validation (not zero-shot)",
    }  # fmt: skip


def test_without_a_record_the_name_tells_an_own_donor() -> None:
    about = {"scale": 1.0, "scale_policy": "unit"}
    rows = [a_row("mine", "digits", "ptq", GRID, 0.3)]
    for repo in ("you/vit-digits-qvec", "you/vit-shapes-qvec"):
        rows.append(a_row("mine", "digits", "qvec", GRID, 0.4, donors=(DonorUse(repo),), **about))
    (transfer,) = transfers(rows, Context())
    assert (transfer.donor, transfer.donor_task, transfer.base) == ("you/vit-shapes-qvec", None, "unknown")
    (ceiling,) = ceilings(rows, Context())
    assert (ceiling.donor, ceiling.is_own, Protocol.of(ceiling).own) == ("you/vit-digits-qvec", True, True)


@pytest.mark.parametrize(
    ("own_qat", "recovery"), [(None, None), (319, None), (320, 2.5), (310, None), (250, None), (400, 0.5)]
)
def test_recovery_is_undefined_below_two_points(own_qat: int | None, recovery: float | None) -> None:
    use = {"donors": (DonorUse("d"),), "scale": 1.0, "scale_policy": "unit"}
    rows = [a_row("r", "digits", "ptq", GRID, 0.3), a_row("r", "digits", "qvec", GRID, 0.35, **use)]
    if own_qat is not None:
        rows.append(a_row("r", "digits", "own_qat", GRID, own_qat / 1000))
    (transfer,) = transfers(rows, Context())
    assert transfer.recovery == recovery
    assert transfer.ceiling == (None if own_qat is None else (own_qat - 300) / 1000)
    summary = summarise([transfer])
    assert (summary.recovery, summary.n_recovery) == (recovery, 0 if recovery is None else 1)
    assert summary.interval is None


def test_recovery_of_many_is_of_their_sums() -> None:
    use = {"donors": (DonorUse("d"),), "scale": 1.0, "scale_policy": "unit"}
    rows = []
    for name, plain, treated, own in [("a", 300, 400, 800), ("b", 300, 250, 330), ("c", 300, 900, 310)]:
        rows += [
            a_row(name, "t", "ptq", GRID, plain / 1000),
            a_row(name, "t", "qvec", GRID, treated / 1000, **use),
            a_row(name, "t", "own_qat", GRID, own / 1000),
        ]
    summary = summarise(transfers(rows, Context()))
    assert summary.recovery == pytest.approx((100 - 50) / (500 + 30), abs=1e-12)
    assert summary.n_recovery == 2


def test_the_order_of_rows_does_not_matter(benchmark) -> None:
    rows, context = benchmark
    shuffled = random.Random(3).sample(rows, len(rows))
    assert transfers(shuffled, context) == transfers(rows, context)
    assert ceilings(shuffled, context) == ceilings(rows, context)
    expected = {protocol: summarise(part, 100) for protocol, part in group(transfers(rows, context)).items()}
    found = {protocol: summarise(part, 100) for protocol, part in group(transfers(shuffled, context)).items()}
    assert list(found) == list(expected)
    assert found == expected
    part = next(part for protocol, part in group(transfers(rows, context)).items() if protocol.donors == "one")
    assert summarise(part[::-1]) == summarise(part)


def test_the_last_row_of_a_repeated_measurement_counts() -> None:
    def treated(share: float, **about):
        values = {"donors": (DonorUse("d", "a" * 40),), "scale": 1.0, "scale_policy": "unit"} | about
        return a_row("r", "digits", "qvec", GRID, share, **values)

    plain = a_row("r", "digits", "ptq", GRID, 0.3)
    better = replace(plain, correct=310)
    for again in (treated(0.5), treated(0.5, scale_policy=None), treated(0.5, donors=(DonorUse("d", "b" * 40),))):
        (transfer,) = transfers([plain, treated(0.4), again, better], Context())
        assert (transfer.correct, transfer.ptq.correct) == (500, 310)
    chosen = {"scale_policy": "validation"}
    (transfer,) = transfers([plain, treated(0.4, scale=0.9, **chosen), treated(0.5, scale=0.6, **chosen)], Context())
    assert (transfer.correct, transfer.row.scale) == (500, 0.6)
    other = [treated(0.5, seed=1), treated(0.5, n=2000), treated(0.5, scale=0.5, scale_policy=None)]
    assert len(transfers([plain, treated(0.4), *other], Context())) == 2  # two of the three have no ptq row


def test_what_is_not_beside_plain_rounding_is_left_out() -> None:
    plain = a_row("r", "digits", "ptq", GRID, 0.3)
    use = {"scale": 1.0, "scale_policy": "unit"}
    treated = a_row("r", "digits", "qvec", GRID, 0.4, donors=(DonorUse("d"),), **use)
    part = replace(treated, donors=(DonorUse("d", None, 0.5),))
    assert len(transfers([plain, treated], Context())) == 1
    assert transfers([plain, part], Context()) == []
    for change in ({"grid": GRIDS[1]}, {"seed": 1}, {"split": "validation"}, {"suite": "other"}, {"n": 999}):
        other = a_row("r", "digits", "ptq", change.get("grid", GRID), 0.3)
        other = replace(other, **{key: value for key, value in change.items() if key != "grid"})
        assert transfers([other, treated], Context()) == []


def test_protocols_have_labels_and_an_order(benchmark) -> None:
    rows, context = benchmark
    several = tuple(DonorUse(f"zoo-xs-{task}-{GRID}-qvec", None, 0.5) for task in TASKS[1:3])
    merged = {"donors": several, "merge": "ties", "scale": 0.7, "scale_policy": "auto"}
    more = [
        a_row("zoo-xs-digits", "digits", "gptq", GRID, 0.6, **merged),
        a_row("zoo-xs-digits", "digits", "brecq", GRID, 0.6),
        a_row("zoo-xs-digits", "digits", "qvec", GRID, 0.6, **(merged | {"scale_policy": "recommended"})),
    ]
    groups = group(transfers([*rows, *more], context))
    lines = measured([*rows, *more], context).of("base-xs", GRID)
    needs = {line.protocol: line.needs for line in lines}
    labels = {p.label: needs[p] == "none" for p in groups if (p.base, p.grid) == ("base-xs", GRID)}
    assert labels == {
        "AWQ (receiver's images)": False,
        "GPTQ (receiver's images)": False,
        "brecq (receiver's images)": False,
        "ties of others, automatic λ, then GPTQ (receiver's images)": False,
        "ties of others, recommended λ": True,
        "one donor, λ = 0.5": True,
        "one donor, λ = 1": True,
        "one donor, λ = 1.5": True,
        "one donor, λ from validation (not zero-shot)": False,
        "mean of others, λ = 0.5": True,
        "mean of others, λ = 1": True,
        "mean of others, λ = 1.5": True,
        "random control of one donor, λ = 1": True,
        "shuffled control of one donor, λ = 1": True,
        "task-vector control of one donor, λ = 1": True,
        "random control of mean of others, λ = 0.5": True,
        "random control of mean of others, λ = 1": True,
        "random control of mean of others, λ = 1.5": True,
    }
    assert sorted(groups, reverse=True) == list(groups)[::-1]
    assert [p.base for p in groups] == sorted(p.base for p in groups)
    assert sum(map(len, groups.values())) == len(transfers([*rows, *more], context))


def test_single_donors_are_resampled_and_merged_ones_are_not(benchmark) -> None:
    rows, context = benchmark
    for protocol, part in group(transfers(rows, context)).items():
        gains, shares = [t.gain for t in part], [t.correct / t.n for t in part]
        receivers = [t.row.receiver for t in part]
        donors = [t.row.donors[0].repo for t in part] if protocol.donors == "one" else None
        summary = summarise(part, resamples=200, seed=3)
        assert summary.interval == mean_interval(gains, receivers, donors, 200, 3)
        assert summary.accuracy_interval == mean_interval(shares, receivers, donors, 200, 3)
        assert (summary.interval == mean_interval(gains, receivers, None, 200, 3)) == (donors is None)


def test_the_accuracy_of_unquantized_models() -> None:
    rows = [a_row(f"r{i}", "digits", "fp", None, share) for i, share in enumerate([0.2, 0.4, 0.6, 0.9])]
    plain = [a_row(f"r{i}", "digits", "ptq", GRID, 0.1) for i in range(4)]
    lines = measured([replace(rows[3], correct=1), *rows, *plain], Context()).lines
    found = next(line.summary for line in lines if line.kind == "unquantized")
    assert (found.n_pairs, found.accuracy) == (4, pytest.approx(0.525, abs=1e-12))
    assert found.accuracy_interval is not None
    assert 0.2 <= found.accuracy_interval.low < 0.525 < found.accuracy_interval.high <= 0.9


def test_nothing_is_said_of_nothing() -> None:
    context = Context({"r": Trained("b", "t")})
    assert transfers([], context) == ceilings([], context) == []
    assert group([]) == {}
    with pytest.raises(DataError, match="transfers: expected at least one, found none"):
        summarise([])
