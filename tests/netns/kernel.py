# SPDX-License-Identifier: Apache-2.0
"""What the kernel says, past the daemon: namespaces, pinned maps, a foreign XDP program. By system call,
so that a counter is read in microseconds and no tool's output is parsed."""
import contextlib
import ctypes
import mmap
import os
import re
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
_MAP_LOOKUP, _MAP_UPDATE, _PROG_LOAD, _OBJ_PIN, _OBJ_GET, _MAP_FD_BY_ID, _OBJ_GET_INFO = 1, 2, 5, 6, 7, 14, 15
_MAP_LOOKUP_BATCH, _LINK_FD_BY_ID, _LINK_NEXT_ID, _PROG_NEXT_ID, _PROG_FD_BY_ID, _MAP_NEXT_ID = 24, 30, 31, 11, 13, 12
_CLONE_NEWNET = 0x40000000
_XDP = 6
ABI = os.path.join(os.path.dirname(__file__), "../../dataplane/abi.h")


@contextlib.contextmanager
def namespace(name):
    """This thread inside a namespace. A socket made there stays there."""
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{name}") as away:
        if _libc.setns(away.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {name}")
        try:
            yield
        finally:
            if _libc.setns(home.fileno(), _CLONE_NEWNET):
                os._exit(70)  # anything else would go on in the wrong network


def _bpf(command, attributes):
    data = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = _libc.syscall(_SYS_BPF, command, data, 128)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _address(buffer):
    return ctypes.addressof(buffer)


def open_pin(path):
    name = ctypes.create_string_buffer(path.encode())
    return _bpf(_OBJ_GET, struct.pack("QII", _address(name), 0, 0))


def _possible_cpus():
    with open("/sys/devices/system/cpu/possible") as f:
        return int(f.read().strip().split(",")[-1].split("-")[-1]) + 1


def reasons():
    """[(text, verdict)] in the order of enum dp_reason, from the one place that lists them."""
    with open(ABI) as f:
        rows = re.findall(r'^\tX\(\w+, (PASS|DROP), "([a-z0-9-]+)"', f.read(), re.M)
    return [(text, verdict.lower()) for verdict, text in rows]


class ChainCounters:
    """The pinned per-CPU counters of all chains, summed: {(verdict, reason): (packets, bytes)}."""
    SLOTS, VALUE = 256, 1024

    def __init__(self, pin_dir):
        self.fd = open_pin(pin_dir + "/maps/chain_counters")
        self.cpus = _possible_cpus()
        self.value = ctypes.create_string_buffer(self.VALUE * self.cpus)
        self.reasons = [(verdict, text) for text, verdict in reasons()]

    def close(self):
        os.close(self.fd)

    def slot(self, slot):
        key = ctypes.create_string_buffer(struct.pack("I", slot), 4)
        _bpf(_MAP_LOOKUP, struct.pack("IIQQQ", self.fd, 0, _address(key), _address(self.value), 0))
        sums = [0] * (self.VALUE // 8)
        for cpu in range(self.cpus):
            for i, word in enumerate(struct.unpack_from(f"{len(sums)}Q", self.value, cpu * self.VALUE)):
                sums[i] += word
        return sums

    def by_reason(self, slot):
        sums = self.slot(slot)
        return {reason: (sums[4 + 2 * i], sums[5 + 2 * i]) for i, reason in enumerate(self.reasons)
                if sums[4 + 2 * i]}

    def all(self):
        return [self.slot(slot) for slot in range(self.SLOTS)]


class PerCpu:
    """A pinned per-CPU array of numbers, read in a few microseconds: enough to look after each frame."""

    def __init__(self, pin_dir, name):
        self.fd = open_pin(f"{pin_dir}/maps/{name}")
        self.cpus = _possible_cpus()
        self.words = _map_info(self.fd)[1] // 8
        self.key = ctypes.create_string_buffer(4)
        self.value = ctypes.create_string_buffer(self.words * 8 * self.cpus)
        attributes = struct.pack("IIQQQ", self.fd, 0, _address(self.key), _address(self.value), 0)
        self.attributes = ctypes.create_string_buffer(attributes, 128)

    def close(self):
        os.close(self.fd)

    def raw(self, entry):
        """The bytes of all CPUs: to compare, or for sums()."""
        struct.pack_into("I", self.key, 0, entry)
        if _libc.syscall(_SYS_BPF, _MAP_LOOKUP, self.attributes, 128):
            raise OSError(ctypes.get_errno(), f"cannot read entry {entry}")
        return self.value.raw

    def sums(self, raw):
        words = struct.unpack(f"{self.words * self.cpus}Q", raw)
        return [sum(words[i::self.words]) for i in range(self.words)]


def counter_slots(pin_dir, zone, direction):
    """(slot of the chain's counters, [those of its rules, in order], that of its default) in the active bank."""
    # struct dp_chain: flags, dims, words, rules, audit, counter, default_counter; a byte; tables and vectors; state,
    # sets, slots, rule_count. Its line, and how a rule's record begins, are abi.h's as well.
    record = struct.Struct("7I B3x 22I 4I")
    fd = open_pin(pin_dir + "/maps/ctl")
    active = read_array(fd)[0] & 1
    os.close(fd)
    fd = open_pin(pin_dir + "/maps/near")
    bank = _lookup(fd, active, _map_info(fd)[1])
    os.close(fd)
    chain = record.unpack_from(bank, 64 * 4 * (1 + 2 * zone + direction))
    return chain[5], [struct.unpack_from("I", bank, 64 * chain[3] + 8 * i)[0] for i in range(chain[-1])], chain[6]


def pin_foreign(path, name="", prog_type=_XDP):
    """A program of somebody else: passes everything, at XDP."""
    code = struct.pack("<BBhi", 0xB7, 0, 0, 2) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    code = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    fd = _bpf(_PROG_LOAD, struct.pack("IIQQIIQII16s", prog_type, 2, _address(code), _address(licence), 0, 0, 0, 0, 0,
                                      name.encode()))
    name = ctypes.create_string_buffer(path.encode())
    _bpf(_OBJ_PIN, struct.pack("QII", _address(name), fd, 0))
    os.close(fd)


def _map_info(fd):
    """(key size, value size, entries): the start of struct bpf_map_info."""
    info = ctypes.create_string_buffer(256)
    _bpf(_OBJ_GET_INFO, struct.pack("IIQ", fd, len(info), _address(info)))
    return struct.unpack_from("IIII", info.raw, 8)[:3]


def _info(fd, size=256):
    info = ctypes.create_string_buffer(size)
    _bpf(_OBJ_GET_INFO, struct.pack("IIQ", fd, len(info), _address(info)))
    return info.raw


def link_ids(pin_dir):
    """The numbers of the pinned links."""
    found = []
    for name in os.listdir(pin_dir + "/links"):
        fd = open_pin(f"{pin_dir}/links/{name}")
        found.append(struct.unpack_from("II", _info(fd))[1])
        os.close(fd)
    return found


def link_holds(number):
    """(program, interface) of a link that is attached, else None. Nothing keeps it alive for longer than the look."""
    try:
        fd = _bpf(_LINK_FD_BY_ID, struct.pack("I", number))
    except OSError:
        return None
    _, _, program, _, ifindex = struct.unpack_from("5I", _info(fd))
    os.close(fd)
    return (program, ifindex) if program and ifindex else None


def flow_count(pin_dir):
    """Slots of the table of established flows that are in use."""
    fd = open_pin(pin_dir + "/maps/flows")
    _, size, entries = _map_info(fd)
    with mmap.mmap(fd, size * entries, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
        tags = struct.unpack(f"{entries}I", b"".join(mapped[at:at + 4] for at in range(0, size * entries, size)))
    os.close(fd)
    return sum(tag > 1 for tag in tags)  # DP_FLOW_FREE, DP_FLOW_BUSY


def _lookup(fd, key, size):
    key, value = ctypes.create_string_buffer(struct.pack("I", key), 4), ctypes.create_string_buffer(size)
    _bpf(_MAP_LOOKUP, struct.pack("IIQQQ", fd, 0, _address(key), _address(value), 0))
    return value.raw


def read_array(fd):
    """All values of an array, in one call: some have thousands."""
    _, size, entries = _map_info(fd)
    keys, values, at = (ctypes.create_string_buffer(n) for n in (4 * entries, size * entries, 4))
    _bpf(_MAP_LOOKUP_BATCH, struct.pack("QQQQIIQQ", 0, _address(at), _address(keys), _address(values), entries, fd, 0, 0))
    return values.raw


def inner_maps(fd):
    """The numbers of the maps in a map of maps, 0 for an empty slot."""
    numbers = []
    for i in range(_map_info(fd)[2]):
        try:
            numbers.append(struct.unpack("I", _lookup(fd, i, 4))[0])
        except FileNotFoundError:
            numbers.append(0)
    return numbers


def _change_meta(pin_dir, change):
    fd = open_pin(pin_dir + "/maps/meta")
    key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(change(read_array(fd)), 24)
    _bpf(_MAP_UPDATE, struct.pack("IIQQQ", fd, 0, _address(key), _address(value), 0))
    os.close(fd)


def forget_build(pin_dir):
    """The pinned maps say that another build of the same ABI made them: what an upgrade finds."""
    _change_meta(pin_dir, lambda meta: meta[:8] + bytes(b ^ 0xFF for b in meta[8:]))


def set_abi(pin_dir, by):
    """The pinned maps say that they are of a version before or after: what a build of another layout finds."""
    _change_meta(pin_dir, lambda meta: struct.pack("I", struct.unpack_from("I", meta)[0] + by) + meta[4:])


def objects(pin_dir, pid):
    """(programs, maps) by number: the programs that use the instance's maps, whoever holds them, and every map that
    the daemon, its pins, those programs or an outer map hold. Others on the machine do not count."""
    maps, programs = set(), set()
    for name in os.listdir(pin_dir + "/maps"):
        fd = open_pin(f"{pin_dir}/maps/{name}")
        maps.add(struct.unpack_from("II", _info(fd))[1])
        if name in ("banks", "set_table"):
            maps |= set(inner_maps(fd)) - {0}
        if name == "ctl":
            ctl = struct.unpack_from("II", _info(fd))[1]
        os.close(fd)
    for name in os.listdir(f"/proc/{pid}/fdinfo"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii") as f:
            maps |= {int(line.split()[1]) for line in f if line.startswith("map_id:")}
    for number in _numbers(_PROG_NEXT_ID):
        used = _maps_of(number)
        if ctl in used:
            programs.add(number)
            maps |= used
    return programs, maps


def _numbers(command):
    number, data = 0, ctypes.create_string_buffer(128)
    while True:
        struct.pack_into("III", data, 0, number, 0, 0)
        if _libc.syscall(_SYS_BPF, command, data, 128):
            return
        number = struct.unpack_from("II", data)[1]
        yield number


def everything():
    """(programs, maps, links) by number, of the whole machine."""
    return tuple(set(_numbers(command)) for command in (_PROG_NEXT_ID, _MAP_NEXT_ID, _LINK_NEXT_ID))


def _maps_of(program):
    """Numbers of the maps it uses; none when it has gone."""
    try:
        fd = _bpf(_PROG_FD_BY_ID, struct.pack("I", program))
    except OSError:
        return set()
    numbers, info = ctypes.create_string_buffer(4 * 64), ctypes.create_string_buffer(256)
    struct.pack_into("IQ", info, 52, 64, 0)
    struct.pack_into("Q", info, 56, _address(numbers))  # struct bpf_prog_info: nr_map_ids, map_ids
    _bpf(_OBJ_GET_INFO, struct.pack("IIQ", fd, len(info), _address(info)))
    os.close(fd)
    return set(struct.unpack_from(f"{struct.unpack_from('I', info, 52)[0]}I", numbers))


def near_lines(pin_dir):
    """Of either bank. They are megabytes: mapped, not looked up."""
    fd = open_pin(pin_dir + "/maps/near")
    _, size, entries = _map_info(fd)
    with mmap.mmap(fd, size * entries, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
        found = [mapped[i * size:(i + 1) * size] for i in range(entries)]
    os.close(fd)
    return found


def tables(pin_dir):
    """Every byte that a verdict depends on: those in force (the active word, its bank, the near lines of it, each
    device's zone in it), and those of the other bank, where the next policy is prepared."""
    found = {}
    for name, read in ("ctl", read_array), ("banks", inner_maps), ("devs", read_array):
        fd = open_pin(f"{pin_dir}/maps/{name}")
        found[name] = read(fd)
        os.close(fd)
    near = near_lines(pin_dir)
    active = found["ctl"][0] & 1
    banks = []
    for number in found["banks"]:
        fd = _bpf(_MAP_FD_BY_ID, struct.pack("II", number, 0)) if number else None
        banks.append(read_array(fd) if number else b"")
        if number:
            os.close(fd)
    zones = [{d[0]: d[1 + bank] for d in struct.iter_unpack("IBBxx", found["devs"]) if d[1 + bank]} for bank in (0, 1)]
    other = 1 - active
    return (active, banks[active], near[active], zones[active]), (banks[other], near[other], zones[other])


class Policy:
    """The policy in force, as the kernel has it: what its header says of it, and its lines without what an
    installation adds: the generation's number."""
    # struct dp_bank_header
    HEADER = struct.Struct("IIQ16sI")

    def __init__(self, pin_dir):
        _, bank, near, self.zones = tables(pin_dir)[0]
        magic, self.abi, self.generation, digest, self.lines = self.HEADER.unpack_from(bank)
        assert magic == 0x6B6E6162, f"no bank in force: {magic:#x}"
        self.digest = digest.hex()
        self.content = bank[:8] + bank[16:64 * self.lines]
        most = 64 * min(self.lines, len(near) // 64)
        assert near[:most] == bank[:most], "the near lines are of another policy"
