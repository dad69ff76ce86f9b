# SPDX-License-Identifier: Apache-2.0
"""What a test has shown, for docs/promises.md: one line of JSON a promise, appended to the file that
PENSTOCK_PROMISES names. A test that fails says nothing, so no row is without a test that passed."""
import json
import os

from lab import LONG


def promise(rows, text, stimulus, expected, measured):
    """rows: where it comes from, "P4 F1". The figure is printed in any case."""
    test = os.environ["PYTEST_CURRENT_TEST"].rsplit(" ", 1)[0]
    print(f"{rows}: {text}: {measured}")
    path = os.environ.get("PENSTOCK_PROMISES")
    if path:
        with open(path, "a", encoding="utf-8") as f:
            json.dump({"rows": rows, "promise": text, "stimulus": stimulus, "expected": expected, "measured": measured,
                       "test": test, "long": LONG}, f)
            f.write("\n")
