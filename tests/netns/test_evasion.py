# SPDX-License-Identifier: Apache-2.0
"""Ways around a filter, one row each: sent for real through a veth, at both hooks, under both policies."""
import os
import struct

import pytest

import lab as lab_module
from evasion import cuts, extensions, flows, fragments, headers, links
from evasion.row import BL, CUT, DD
from evasion.stand import Stand, unseen
from promises import promise

ROWS = headers.ROWS + extensions.ROWS + links.ROWS
CHAINS = {"dd": DD, "bl": BL}
SCATTER, FIRST_BUFFER = 5000, 14  # bytes
SOL_PACKET, PACKET_VNET_HDR = 263, 15
SCATTERED = [row for row in headers.BASE + headers.OPTIONS + extensions.ROWS + links.TAGS if row.dd != CUT]
PAGE = os.path.join(lab_module.ROOT, "docs/man/penstock-packets.7.scd")


@pytest.fixture(scope="module")
def lab_of():
    made = lab_module.Lab()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def stands(lab_of):
    """Both hooks, each with a host and a daemon of its own, loaded once for all rows."""
    return {hook: Stand(lab_of, hook, CHAINS) for hook in ("xdp", "tc")}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_row(stands, hook, row):
    """The answer is the one expected, by exactly one reason and the right rule, explain gives the same, the frame
    comes out behind the hook unchanged or not at all, and a listener hears it only if it passed; with no filter
    the listener does hear it. Rules out fixed offsets, a walk that gives up and passes, a second parser for the
    second hook, and an explain that is a matcher of its own."""
    stand = stands[hook]
    wrong = [w for policy in CHAINS for w in stand.doors[policy].judge(row, policy)]
    if row.host:
        wrong += stand.unheard(row, "dd")
    assert not wrong, "\n".join(wrong)


class Scattered:
    """A wire whose frames the kernel carries in several buffers, of which the first ends behind the Ethernet header.
    It does so with frames that are longer than a page."""

    def __init__(self, wire):
        self.wire = wire
        self.wire.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)

    def send(self, frame):
        self.wire.send(struct.pack("BBHHHH", 0, 0, FIRST_BUFFER, 0, 0, 0) + frame)


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_headers_that_lie_in_several_buffers(stands, lab_of, hook):
    """Rows as before and the deepest headers that are read, each with a long trailer, so that TC finds nothing but the
    Ethernet header in the first buffer. Rules out a program that passes, or drops, what it does not find there, and
    hooks that do not look equally deep."""
    for policy in CHAINS:
        door = stands[hook].doors[policy]
        plain, door.wire = door.wire, Scattered(lab_of.wire(stands[hook].peer, f"to-{policy}0"))
        for row in SCATTERED:
            for frame, answer in row.answers(policy):
                frame += bytes(SCATTER - len(frame))
                met = door.meet(frame)
                assert (met.answer, met.said) == (answer, answer), f"{row.id} {policy}"
        door.wire = plain


def everywhere(stands, policy, sample):
    """[(what XDP and TC answer, what explain says at each)] of frames, None where TC's program never saw one."""
    got = []
    for hook, stand in stands.items():
        door = stand.doors[policy]
        said = door.explain(sample)
        for number, frame in enumerate(sample):
            answer, arrived = door.counted(frame)
            assert arrived == ([frame] if answer.startswith("pass") else [])
            if unseen(hook, frame):
                answer = said[number]
            got.append((answer, said[number]))
    half = len(sample)
    return [{*a, *b} for a, b in zip(got[:half], got[half:])]


@pytest.mark.parametrize("row", cuts.ROWS + cuts.NOT_IP, ids=lambda row: row.id)
def test_no_frame_passes_that_ends_early(stands, row):
    """Every prefix of a frame of headers is dropped as truncated, at both hooks, and explain says so. Rules out a
    parser that reads what it has and passes the rest, and one that checks its bounds at some headers only."""
    for policy in CHAINS:
        frame = row.frames(row.aim[policy == "bl"])[0]
        sizes = range(cuts.SHORTEST, len(frame))
        answers = everywhere(stands, policy, [frame[:size] for size in sizes])
        wrong = {size: a for size, a in zip(sizes, answers) if a != {"drop truncated"}}
        assert not wrong, f"{policy} {frame.hex()}"


@pytest.mark.parametrize("row", cuts.ROWS, ids=lambda row: row.id)
def test_no_datagram_passes_that_ends_inside_its_headers(stands, row):
    """The same with an IP length that fits what is there: what lacks a byte of a header drops as malformed, what
    lacks none is judged by the rules, at both hooks alike. Rules out a parser that trusts the frame's end alone,
    and one that drops all that is not as it was."""
    for policy in CHAINS:
        whole = row.frames(row.aim[policy == "bl"])[0]
        answer = getattr(row, policy)
        sizes = range(cuts.SHORTEST, len(whole) + len(cuts.MORE) + 1)
        answers = everywhere(stands, policy, [cuts.fitted((whole + cuts.MORE)[:size]) for size in sizes])
        for size, got in zip(sizes, answers):
            if size >= len(whole):
                assert got == {answer}, f"{policy}, {size - len(whole)} bytes of data"
            else:
                assert len(got) == 1 and got.pop().split()[1] in cuts.MALFORMED, f"{policy}, {size} of {whole.hex()}"


def test_the_manual_page_has_every_reason():
    """What becomes of odd packets is written down: the page names every reason that a row expects, but for the
    plain ones. Rules out a new verdict that nobody told the user about."""
    answers = {answer for row in ROWS + fragments.ROWS + flows.ROWS for policy in CHAINS
               for _, answer in row.answers(policy)}
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    missing = {reason for reason in (answer.split()[1] for answer in answers)
               if reason not in ("rule", "default") and f"_{reason}_" not in page}
    assert not missing


@pytest.mark.parametrize("hook", ["xdp", "tc"])
def test_the_books_agree(stands, hook):
    """After all of the above, what users see of each chain adds up, and says the same of every reason as the
    counters that the rows were read from."""
    stand, sums = stands[hook], {}
    for policy in CHAINS:
        chain = f"{policy}-in"
        stand.daemon.add_up(chain)
        shown = {}
        for (reason, _), (packets, size) in stand.daemon.drops(chain).items():
            before = shown.get(reason, (0, 0))
            shown[reason] = before[0] + packets, before[1] + size
        counted, _ = stand.doors[policy].counts()
        assert shown == {reason: count for (verdict, reason), count in counted.items() if verdict == "drop"}
        sums[policy] = stand.daemon.chain(chain), len(shown)
    promise("P10", f"every drop has a reason and adds up, at {hook.upper()}", "every frame of the catalogue of evasions, "
            "under a policy that drops by default and one that passes", "received = passed + sum of the reasons, in "
            "packets and bytes; unknown 0",
            "; ".join(f"{row['received_packets']:,} = {row['passed_packets']:,} + {row['dropped_packets']:,} by {n} reasons"
                      for row, n in sums.values()) + "; unknown 0", test="tests/netns/test_evasion.py")
