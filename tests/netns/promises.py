# SPDX-License-Identifier: Apache-2.0
"""What a test has shown, for docs/promises.md: one line of JSON a promise, appended to the file that
PENSTOCK_PROMISES names. A test that fails says nothing, so no row is without a test that passed."""
import json
import os

from lab import LONG


def promise(rows, text, stimulus, expected, measured, test=None):
    """rows: its places in the lists of promises (P), faults (F) and aims (D); the page is sorted by them. The figure is printed in any case. test: what to run again when it is more
    than the test that says so."""
    test = test or os.environ["PYTEST_CURRENT_TEST"].rsplit(" ", 1)[0]
    print(f"{rows}: {text}: {measured}")
    path = os.environ.get("PENSTOCK_PROMISES")
    if path:
        with open(path, "a", encoding="utf-8") as f:
            json.dump({"rows": rows, "promise": text, "stimulus": stimulus, "expected": expected, "measured": measured,
                       "test": test, "long": LONG}, f)
            f.write("\n")
