"""What a load says of a vector that was trained on another grid."""

import pytest

from qvec_hub import Grid
from qvec_hub.loading.grid_mismatch import other_grid
from qvec_hub.results.reference import reference_table

MEASURED = {"absmax on mse": -6.85, "mse on mse": 8.58}  # as docs/findings.md has them


def test_the_measured_cost_is_quoted() -> None:
    said = other_grid(Grid.parse("int3"), Grid.parse("int3-group64-mse"))
    assert said.startswith("the vector was trained on int3-channel-absmax and is used on int3-group64-mse. ")
    for gain in MEASURED.values():
        assert f"{gain:+.1f}" in said


def test_what_was_not_measured_is_not_quoted() -> None:
    for trained, used in (("int2", "int3"), ("int2-channel-hqq-affine", "int2"), ("int2", "int2-channel-hqq-affine")):
        assert "has not been measured" in other_grid(Grid.parse(trained), Grid.parse(used))


def test_the_table_is_what_the_script_last_printed() -> None:
    table = reference_table("other_grid")
    gains = {f"{entry['trained']} on {entry['used']}": entry["gain"] for entry in table["gains"]}
    for pair, gain in MEASURED.items():
        trained, used = (f"int2-channel-{rule}" for rule in pair.split(" on "))
        assert gains[f"{trained} on {used}"] == pytest.approx(gain)
    assert table["receivers"] == 22
