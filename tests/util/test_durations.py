"""Times as messages tell them."""

import pytest

from qvec_hub.util.durations import spoken


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 s"),
        (0.2, "1 s"),
        (119, "119 s"),
        (120, "2 minutes"),
        (2100, "35 minutes"),
        (7199, "120 minutes"),
        (9000, "2.5 hours"),
    ],
)
def test_in_words(seconds: float, words: str) -> None:
    assert spoken(seconds) == words
