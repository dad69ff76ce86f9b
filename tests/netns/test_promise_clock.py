# SPDX-License-Identifier: Apache-2.0
"""The wall clock jumps by ten years, to and fro: nothing that counts seconds notices."""
import os
import time

import kernel
from lab import BUILD, datagrams, wait_for
from lines import FAR, PEER, asked, router, udp
from promises import promise
from test_state_forward import WAN

FLOWS = 100
YEARS = 10 * 365 * 86400
SHORT, HOUR = 2, 3600  # seconds
BANNED = WAN.replace("filter:", "sets:\n  banned: {max: 100, ttl: 1h}\nfilter:") \
    .replace("      - {id: est", "      - {id: banned, from: $banned, do: drop}\n      - {id: est")


def expires_in(daemon, address):
    """Seconds that a member has left, None when it is none."""
    rows = daemon.ok("set", "list", "banned")["members"]
    return next((row["expires_in_ms"] / 1000 for row in rows if row["prefix"] == address), None)


def test_a_step_of_the_wall_clock_is_no_time(lab):
    """The daemon's wall clock jumps ten years ahead, then twenty back: flows go on, a member that has an hour keeps it,
    one that has seconds leaves in seconds, and a policy can be applied. Rules out ages and timers by the time of day."""
    host, peer, far = router(lab)
    clock = lab.write("clock", "0")
    daemon = lab.daemon(host, start=False)
    daemon.environment = os.environ | {"LD_PRELOAD": f"{BUILD}/tests/tools/clock.so", "PENSTOCK_CLOCK": clock}
    daemon.start()
    daemon.apply(BANNED % "tc")
    server, askers = udp(lab, peer, PEER[4], 53), [udp(lab, far, FAR[4]) for _ in range(FLOWS)]
    for _ in range(2):
        assert all(asked(asker, server, (PEER[4], 53)) for asker in askers)
    flows, began = kernel.flow_count(daemon.pin_dir), time.monotonic()
    daemon.ok("set", "add", "banned", "198.51.100.1")
    said, years, drift, late = [], [], 0, 0
    for n, by in enumerate((YEARS, -YEARS, 0)):
        daemon.ok("set", "add", "--ttl", f"{SHORT}s", "banned", "198.51.100.2")
        short = time.monotonic()
        lab.write("clock", str(by))
        for asker in askers:
            server.sendto(b"late", asker.getsockname())
        wait_for(lambda: expires_in(daemon, "198.51.100.2") is None, "the short member to leave", 3 * SHORT)
        late = max(late, abs(time.monotonic() - short - SHORT))
        said.append(sum(datagrams(asker) == [b"late"] for asker in askers))
        left = expires_in(daemon, "198.51.100.1")
        drift = max(drift, abs(HOUR - (time.monotonic() - began) - left))
        years.append(daemon.apply((BANNED + f"      - {{id: n{n}, proto: udp, dport: {n + 1}, do: drop}}\n") % "tc")
                     and daemon.get("/v1/status")["policy"]["applied_at"][:4])
    assert said == [FLOWS] * 3 and kernel.flow_count(daemon.pin_dir) >= flows
    assert int(years[0]) - int(years[1]) in (19, 20)  # the clock did move
    assert drift < 2 and late < 2
    promise("P30 F27", "steps of the wall clock do no harm", "the daemon's clock ten years ahead, ten back, right again",
            "flow ages and timers unchanged", f"applied in {years[0]}, {years[1]} and {years[2]}; {FLOWS} of {FLOWS} flows "
            f"kept each time; an hour was off by {drift:.1f} s at most, {SHORT} s by {late:.1f} s")
