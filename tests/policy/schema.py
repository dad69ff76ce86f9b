#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The generated JSON Schema accepts the examples and refuses what the reader refuses. It rules out a schema
that accepts everything. Prints TAP."""
import json
import sys

import jsonschema
import yaml

GOOD = ["examples/edge.yaml", "examples/server.yaml", "examples/blocklist.yaml", "examples/demo.yaml"]
BAD = {
    "an unknown key": "version: 1\nfitler: {}\n",
    "no version": "attach: {}\n",
    "an unknown verdict":
        "version: 1\nattach: {wan: {dev: a}}\nfilter: {c: {at: wan.ingress, default: allow, rules: []}}\n",
    "an unknown match key": "version: 1\nattach: {wan: {dev: a}}\nfilter: {c: {at: wan.ingress, default: drop,"
                            " rules: [{id: a, dprot: 1, do: pass}]}}\n",
}


def valid(schema, text):
    try:
        jsonschema.validate(yaml.safe_load(text), schema)
        return True
    except jsonschema.ValidationError:
        return False


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        schema = json.load(f)
    cases = []
    for path in GOOD:
        with open(path, encoding="utf-8") as f:
            cases.append((f"accepts {path}", valid(schema, f.read())))
    cases += [(f"refuses {name}", not valid(schema, text)) for name, text in BAD.items()]
    for number, (name, passed) in enumerate(cases, 1):
        print(f"{'ok' if passed else 'not ok'} {number} {name}")
    return 0 if all(passed for _, passed in cases) else 1


sys.exit(main())
