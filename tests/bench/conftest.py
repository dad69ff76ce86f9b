# SPDX-License-Identifier: Apache-2.0
"""What feeds the benchmarks and the tests of large policies: converter, generators. Nothing here is timed.
PENSTOCK_BUILD names the directory of the binaries, PENSTOCK_DATA that of the real rule sets."""
import os
import sys

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "bench"), os.path.join(ROOT, "bench", "classbench")]
