# SPDX-License-Identifier: Apache-2.0
"""libxdp's dispatcher on the device, which runs programs of others: known by name, left alone, lived beside."""
import glob

import pytest

from test_attach import Probe, policy

pytestmark = [pytest.mark.guest, pytest.mark.needs("dispatcher of libxdp")]
KEEPS = "--bounding-set=-all,+bpf,+net_admin,+perfmon"


def loader(shared, *words, prefix=()):
    return shared.lab.run(shared.host, *prefix, "xdp-loader", *words, timeout=60)


@pytest.fixture
def dispatcher(shared):
    """wan0 with a dispatcher that runs a program of somebody else: the paths of its pins."""
    shared.pair(quiet=True)
    shared.foreign = glob.glob("/usr/lib/*/bpf/xdpfilt_alw_udp.o")[0]
    answer = loader(shared, "load", "-m", "native", "wan0", shared.foreign)
    try:
        assert answer.exit == 0 and pins(shared), answer
        yield pins(shared)
    finally:
        loader(shared, "unload", "wan0", "--all")
        assert not pins(shared)


def pins(shared):
    number = shared.lab.ip(shared.host, "-o link show wan0").stdout.split(":")[0]
    return glob.glob(f"/sys/fs/bpf/xdp/dispatch-{number}-*")


def test_a_dispatcher_is_known_and_left_alone(shared, dispatcher):
    """hook xdp is refused: the sentence names libxdp, what its dispatcher runs, and the hooks that live beside it; both
    stay where they were. auto then enforces at TC behind it, and after the others have gone, a hook xdp takes the place.
    Rules out a refusal that calls it just another program, and one that throws others out."""
    answer = shared.daemon.cli("apply", shared.lab.write("policy.yaml", policy(hook="xdp")))
    assert answer.exit == 1 and "libxdp's dispatcher" in answer.stderr and "xdpfilt_alw_udp" in answer.stderr, answer
    assert "wan0" in answer.stderr and "'hook: tc'" in answer.stderr, answer
    assert not shared.daemon.attached("wan0") and pins(shared) == dispatcher
    shared.daemon.apply(policy(hook="auto"))
    probe = Probe(shared.lab, shared.host, shared.peer)
    probe.enforced(shared.daemon)
    assert shared.daemon.attached("wan0")["hook"] == "tc" and pins(shared) == dispatcher
    assert loader(shared, "load", "-m", "native", "wan0", shared.foreign).exit == 0  # a second one, beside us
    probe.enforced(shared.daemon)
    answer = shared.daemon.cli("apply", shared.lab.write("policy.yaml", policy(hook="xdp")))
    assert answer.stderr.count("xdpfilt_alw_udp") == 2, answer
    probe.enforced(shared.daemon)
    assert loader(shared, "unload", "wan0", "--all").exit == 0
    shared.daemon.apply(policy(hook="xdp"))
    assert shared.daemon.attached("wan0")["mode"] == "native"
    probe.enforced(shared.daemon)
    answer = loader(shared, "load", "-m", "native", "wan0", shared.foreign)
    assert answer.exit != 0 and not pins(shared), answer
    probe.enforced(shared.daemon)


def test_the_daemons_rights_make_no_dispatcher(shared, dispatcher):
    """Why penstock is no program of a dispatcher (docs/decisions): with the three capabilities that the daemon keeps,
    libxdp itself cannot add one. It will be asked again when this fails. Rules out a reason that has gone."""
    answer = loader(shared, "load", "-m", "native", "wan0", shared.foreign, prefix=("setpriv", KEEPS))
    assert answer.exit != 0 and "Operation not permitted" in answer.stderr, answer
    assert pins(shared) == dispatcher
