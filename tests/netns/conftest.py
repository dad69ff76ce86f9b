# SPDX-License-Identifier: Apache-2.0
"""Real frames over veth pairs between namespaces. Run: /usr/bin/python3 -m pytest -p no:cacheprovider
tests/netns, as root, after make. PENSTOCK_BUILD names the directory of the binaries, PENSTOCK_DATA that of
the real lists, PENSTOCK_LONG=1 asks for the full figures."""
import os
import resource
import signal
import sys

sys.dont_write_bytecode = True

import pytest  # noqa: E402

import lab as lab_module  # noqa: E402
import shared as shared_module  # noqa: E402


def pytest_configure(config):
    # A killed run cleans up as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line("markers", "guest: runs under other kernels too, see tests/kernels/run")
    config.addinivalue_line("markers", "needs(...): devices and qdiscs that the kernel may lack, see shared.py")


# They take longest, so they begin first: two files are run at a time.
LONGEST = ["test_runtime_sets.py", "test_state_flood.py", "test_sets.py", "test_promise_long.py", "test_state.py",
           "test_promise_apply.py"]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    if os.geteuid():
        for item in items:
            item.add_marker(pytest.mark.skip(reason="namespaces and BPF need root"))


def pytest_runtest_setup(item):
    for mark in item.iter_markers("needs"):
        for what in mark.args:
            shared_module.need(what)


@pytest.fixture
def lab():
    assert os.access(f"{lab_module.BUILD}/penstockd", os.X_OK), f"no penstockd in {lab_module.BUILD}: make first"
    made = lab_module.Lab()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def one_daemon():
    made = shared_module.Shared()
    try:
        yield made
    finally:
        made.lab.close()


@pytest.fixture
def shared(one_daemon):
    """See shared.py; empty before and after the test."""
    kept = len(one_daemon.lab.closing)
    try:
        yield one_daemon
    finally:
        one_daemon.clean(kept)


@pytest.fixture
def open_files():
    """Called with a number: so many files may be open in the test, or it is skipped."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def want(count):
        if hard < count:
            pytest.skip(f"{count} files must be open at a time, the limit is {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    yield want
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
