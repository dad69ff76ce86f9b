# SPDX-License-Identifier: Apache-2.0
"""Headers drawn from rules: every header lies in the box of a rule picked at random.

Each coordinate is an end of the rule's range or any point of it, by halves: borders are where classifiers
err, and ends alone would never meet what stands between. Repetition is that of ClassBench's own traces: a
header comes ceil(Pareto(1, 0.1)) times in a row, so that of ten one is repeated and a few are hundreds of
times; `uniform` never repeats.
"""
import math

from rules import ICMP, TCP, Header

PARETO_SCALE = 0.1  # and shape 1, as in the traces that are handed around
REPEAT_MAX = 4096


def _point(draw, low, high):
    if draw.random() < 0.5:
        return low if draw.random() < 0.5 else high
    return draw.randint(low, high)


def _address(draw, addr, length):
    return _point(draw, addr, addr | (1 << 32 - length) - 1)


def _word(draw, rule, proto):
    """The bits that the rule asks for, the others as they come; 0 where no packet has any."""
    if proto not in (TCP, ICMP):
        return 0
    free = ~rule.word_mask & 0xff
    return rule.word & rule.word_mask | _point(draw, 0, 0xff) & free


def draw_header(draw, rules):
    at = draw.randrange(len(rules))
    rule = rules[at]
    proto = rule.proto if rule.proto >= 0 else _point(draw, 0, 255)
    return Header(_address(draw, rule.src, rule.src_len), _address(draw, rule.dst, rule.dst_len),
                  _point(draw, *rule.sport), _point(draw, *rule.dport), proto, _word(draw, rule, proto), at)


def _repeats(draw):
    return min(REPEAT_MAX, math.ceil(PARETO_SCALE / (1 - draw.random())))


def headers(draw, rules, count, order):
    """Yields `count` of them; draw is a random.Random."""
    while count > 0:
        header = draw_header(draw, rules)
        for _ in range(min(count, _repeats(draw) if order == "trace" else 1)):
            yield header
            count -= 1
