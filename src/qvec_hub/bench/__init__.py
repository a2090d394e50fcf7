"""The benchmark: suites, the runner that turns cells into rows, and verification of rows.

Beside it stand `bench.baselines` (what vectors have to beat), `bench.stats`, `bench.report` and `bench.community`.
"""

from ..util.extras import require_extra

require_extra("bench", "the benchmark")
