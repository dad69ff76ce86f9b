# SPDX-License-Identifier: Apache-2.0
"""ClassBench rule sets: made, converted, and headers for them. All answers go to stdout.

    python3 bench/classbench rules acl1 10000 --seed 1            a rule set of that shape
    python3 bench/classbench headers RULES 100000 --seed 1        a trace of headers drawn from its rules
    python3 bench/classbench policy RULES --do alternate          the rules as a policy of penstock
    python3 bench/classbench nft RULES                            and of nftables
    python3 bench/classbench shape RULES                          what `rules` must know, counted

RULES is a file in ClassBench's format, also with .gz. The same arguments give the same bytes.
"""
import argparse
import random
import signal
import sys

import emit
import headers
import rules as classbench
import shapes


def make_parser():
    parser = argparse.ArgumentParser(prog="classbench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    seeded = argparse.ArgumentParser(add_help=False)
    seeded.add_argument("--seed", type=int, default=1)
    chain = argparse.ArgumentParser(add_help=False)
    chain.add_argument("--do", choices=("drop", "pass", "alternate"), default="drop", help="of the rules")
    chain.add_argument("--default", choices=("drop", "pass"), default="drop", help="of the chain")
    chain.add_argument("--first", type=int, metavar="N", help="the first N rules only")

    verb = verbs.add_parser("rules", parents=[seeded])
    verb.add_argument("shape", choices=shapes.NAMES)
    verb.add_argument("count", type=int)
    verb = verbs.add_parser("headers", parents=[seeded])
    verb.add_argument("rules")
    verb.add_argument("count", type=int)
    verb.add_argument("--order", choices=("trace", "uniform"), default="trace",
                      help="repeated as in ClassBench's traces, or never")
    verb = verbs.add_parser("policy", parents=[chain])
    verb.add_argument("rules")
    verb.add_argument("--dev", default="none", help="device of its only zone")
    verb = verbs.add_parser("nft", parents=[chain])
    verb.add_argument("rules")
    verb.add_argument("--table", default="bench")
    verb = verbs.add_parser("shape")
    verb.add_argument("rules")
    return parser


def answer(o):
    """Lines."""
    if o.verb == "rules":
        return (rule.line() for rule in shapes.generate(random.Random(o.seed), o.shape, o.count))
    rules = classbench.read(o.rules)
    if o.verb == "headers":
        return (header.line() for header in headers.headers(random.Random(o.seed), rules, o.count, o.order))
    if o.verb == "policy":
        return emit.penstock(rules[:o.first], o.do, o.default, o.dev)
    if o.verb == "nft":
        return emit.nft(rules[:o.first], o.do, o.default, o.table)
    return shapes.dump(shapes.measure(rules)).splitlines()


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        for line in answer(make_parser().parse_args()):
            print(line)
    except (OSError, classbench.Error) as error:
        sys.exit(f"classbench: {error}")


main()
