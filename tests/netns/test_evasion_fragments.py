# SPDX-License-Identifier: Apache-2.0
"""Fragments as ways around a filter, at both hooks, where a chain drops them all and where it follows the first."""
import dataclasses
import struct

import pytest

import frames
import lab as lab_module
from evasion.fragments import FRAGMENT, ROWS, two4
from evasion.row import BL, DD, WEB, chain
from evasion.stand import Stand, difference

FLOOD, FIRST = 10_000, 20_000  # datagrams; their numbers are not those of the rows

# The zones by how a chain treats fragments, and then by policy.
ZONES = {"drop": {"dd": "ddcut", "bl": "blcut"}, "first-only": {"dd": "ddfirst", "bl": "blfirst"}}
CHAINS = {zones[policy]: chain(text, fragments, policy == "dd") for fragments, zones in ZONES.items()
          for policy, text in (("dd", DD), ("bl", BL))}


@pytest.fixture(scope="module")
def stands():
    made = lab_module.Lab()
    try:
        yield {hook: Stand(made, hook, CHAINS) for hook in ("xdp", "tc")}
    finally:
        made.close()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
@pytest.mark.parametrize("fragments", ZONES)
@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_row(stands, hook, fragments, row):
    """Each piece gets the answer that is expected where and when it comes, and a host hears the datagram only if
    all its pieces passed. Rules out ports read from the second piece, a memory that keeps what was refused, one
    that lets a piece write over what was judged, and one that mixes up datagrams."""
    stand = stands[hook]
    if fragments == "drop":
        row = dataclasses.replace(row, dd=FRAGMENT, bl=FRAGMENT)
    wrong = [w for policy, zone in ZONES[fragments].items() for w in stand.doors[zone].judge(row, policy)]
    if row.host:
        wrong += stand.unheard(row, "dd")
    assert not wrong, "\n".join(wrong)


def numbered(frame, number):
    """An IPv4 frame with another datagram number, and its checksum."""
    head = frame[14:18] + struct.pack("!H", number) + frame[20:24] + b"\0\0" + frame[26:34]
    return frame[:14] + head[:10] + struct.pack("!H", frames.checksum(head)) + head[12:] + frame[34:]


@pytest.mark.parametrize("fragments", ZONES)
@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_datagrams_that_never_end_take_no_memory(stands, hook, fragments):
    """F17: ten thousand first fragments, each of a datagram of its own and none completed. All are counted, the
    memory in use stays what it was, and the next datagram's pieces still find each other; the host's own memory of
    fragments is full by then. Rules out a table that grows, and one that is full for ever."""
    stand, zone = stands[hook], ZONES[fragments]["dd"]
    door = stand.doors[zone]
    frame = bytes(two4(80)[0])
    memory, before = stand.daemon.get("/v1/status")["memory_bytes"], door.counts()
    for number in range(FIRST, FIRST + FLOOD):
        door.through(numbered(frame, number))
    reasons, rules = (difference(*pair) for pair in zip(before, door.counts()))
    del reasons["pass", "arp"]  # the fences
    verdict, reason, *rule = (WEB if fragments == "first-only" else FRAGMENT).split()
    counted = FLOOD, FLOOD * len(frame)
    assert reasons == {(verdict, reason): counted} and rules == dict.fromkeys(rule, counted)
    assert stand.daemon.get("/v1/status")["memory_bytes"] == memory
    if fragments == "first-only":
        row = next(row for row in ROWS if row.id.startswith("F2"))
        assert not door.judge(dataclasses.replace(row, host=False), "dd")
