"""The switch of the jepsen-like run (tests/jepsen-like/switch.c): packets are late by what was asked, in order or not, none is
lost or twice, TCP streams arrive whole, and the same seed holds back the same packets.

usage: OUTRIGGER_BUILD=BUILD python3 tests/e2e/switch.py"""
import hashlib
import pathlib
import socket
import statistics
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))
import net_hosts  # noqa: E402

net_hosts.enter()

import packets  # noqa: E402
from lib_e2e import BUILD, Suite  # noqa: E402
from net_cluster import Inside, until  # noqa: E402

PACKETS = 400


class Bed:
    """Hosts a and b with cables through the switch, and c without one."""

    def __init__(self, seed):
        self.net = net_hosts.Net(['a', 'b', 'c'])
        self.hosts = {n: Inside(h) for n, h in self.net.hosts.items()}
        self.switch = packets.Switch(self.net, BUILD / 'tests/jepsen-like/switch', ['a', 'b'], seed)

    def on(self, host, fn, *args):
        """On a thread that is in that host's network namespace."""
        return self.hosts[host].pool.submit(fn, *args)

    def udp(self, source, to, n=PACKETS, every_s=0.001):
        """Numbered packets; [(number, ms that it took)] as they arrived."""
        seen, ready, over = [], threading.Event(), time.monotonic_ns()

        def receive():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                s.bind((self.net.hosts[to].address, 7000))
                s.settimeout(30)
                ready.set()
                while len(seen) < n:
                    number, sent = struct.unpack('<Iq', s.recv(64))
                    seen.append((number, (time.monotonic_ns() - sent) / 1e6))
                s.settimeout(0.3)
                try:
                    while True:  # twice?
                        seen.append((struct.unpack('<Iq', s.recv(64))[0], 0))
                except TimeoutError:
                    pass

        def send():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                for number in range(n):
                    s.sendto(struct.pack('<Iq', number, time.monotonic_ns()), (self.net.hosts[to].address, 7000))
                    time.sleep(every_s)
        receiver = self.on(to, receive)
        assert ready.wait(10)
        self.on(source, send).result(60)
        receiver.result(60)
        assert sorted(number for number, _ in seen) == list(range(n)), f'{len(seen)} of {n} arrived'
        return seen

    def reaches(self, source, to):
        """Does any of some packets arrive?"""
        def listen():
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # of the host that this thread is on
            s.bind((self.net.hosts[to].address, 0))
            s.settimeout(1)
            return s

        def send(port):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                for _ in range(5):
                    try:
                        out.sendto(b'x', (self.net.hosts[to].address, port))
                    except OSError:  # no way there while the cable is out
                        pass
                    time.sleep(0.02)
        with self.on(to, listen).result(10) as s:
            self.on(source, send, s.getsockname()[1]).result(30)
            try:
                return s.recv(1) == b'x'
            except TimeoutError:
                return False

    def tcp(self, source, to, n=3 << 20):
        """So many bytes; how long they took."""
        data = hashlib.sha256(str(n).encode()).digest() * (n // 32)
        ready, got = threading.Event(), hashlib.sha256()

        def receive():
            with socket.create_server((self.net.hosts[to].address, 7001)) as s:
                ready.set()
                with s.accept()[0] as c:
                    while block := c.recv(65536):
                        got.update(block)

        def send():
            with socket.create_connection((self.net.hosts[to].address, 7001), timeout=30) as s:
                s.sendall(data)
        receiver = self.on(to, receive)
        assert ready.wait(10)
        started = time.monotonic()
        self.on(source, send).result(60)
        receiver.result(60)
        assert got.digest() == hashlib.sha256(data).digest(), 'other bytes arrived'
        return time.monotonic() - started


def in_order(seen):
    return [number for number, _ in seen] == sorted(number for number, _ in seen)


def overtaken(seen):
    """Numbers of those that arrived after a later one."""
    late, highest = set(), -1
    for number, _ in seen:
        if number < highest:
            late.add(number)
        highest = max(highest, number)
    return late


def times(seen):
    ms = [t for _, t in seen]
    return f'{min(ms):.1f} to {max(ms):.1f} ms, median {statistics.median(ms):.1f}'


def passes(bed):
    seen = bed.udp('a', 'b')
    assert in_order(seen)
    counts = bed.switch.stats()
    assert counts['passed'] >= PACKETS and counts['delayed'] == 0, counts
    print(f'        {times(seen)}')


def delays(bed):
    """One direction only, each by 40 to 70 ms, in order; the other direction and other hosts at once."""
    bed.switch.link('a', 'b', delay_ms=40, jitter_ms=30)
    there, back, other = bed.udp('a', 'b'), bed.udp('b', 'a'), bed.udp('a', 'c', 50)
    print(f'        there {times(there)}; back {times(back)}; to c {times(other)}')
    assert in_order(there) and in_order(back)
    assert min(t for _, t in there) >= 40
    for at_once in (back, other):
        assert statistics.median(t for _, t in at_once) < 20
    assert statistics.stdev(t for _, t in there) > 2, 'no jitter'
    assert bed.switch.stats()['delayed'] >= PACKETS


def delays_without_cable(bed):
    """From and to a host whose cable does not go through the program: once, not twice and not never."""
    bed.switch.clear()
    for pair in (('a', 'c'), ('c', 'a')):
        bed.switch.link(*pair, delay_ms=30)
        seen = bed.udp(*pair, 100)
        print(f'        {pair[0]} to {pair[1]}: {times(seen)}')
        assert in_order(seen) and min(t for _, t in seen) >= 30
        assert bed.switch.stats()['delayed'] >= 100


def overtakes(bed):
    """About a fifth is held for long, so many later packets arrive first; the others stay in order. Again with the seed: the same."""
    runs = []
    for _ in range(2):
        bed.switch.link('a', 'b', delay_ms=1, per_mille=200, hold_ms=1000)
        seen = bed.udp('a', 'b')
        late = overtaken(seen)
        assert in_order([s for s in seen if s[0] not in late])
        assert PACKETS * 0.12 < len(late) < PACKETS * 0.28, len(late)
        assert min(t for number, t in seen if number in late) >= 1000
        runs.append(late)
    last = PACKETS - 20  # those at the end may have nobody behind them
    assert {n for n in runs[0] if n < last} == {n for n in runs[1] if n < last}
    print(f'        {len(runs[0])} of {PACKETS} overtaken')


def streams(bed):
    """TCP over delayed and reordered packets, from hosts whose cards cut segments (c) and from those that do not."""
    for link in (('a', 'b'), ('b', 'a'), ('c', 'a'), ('a', 'c')):
        bed.switch.link(*link, delay_ms=2, jitter_ms=3, per_mille=100, hold_ms=8)
    print('        3 MiB each: ' + ', '.join(f'{a} to {b} {bed.tcp(a, b):.2f} s' for a, b in (('a', 'b'), ('c', 'a'), ('a', 'c'))))
    counts = bed.switch.stats()
    assert counts['delayed'] > 1000 and counts['held'] > 50, counts


def cable_out_and_in(bed):
    bed.switch.clear()
    bed.net.plug('a', False)
    assert not bed.reaches('a', 'b')
    bed.net.plug('a', True)
    until('packets to pass again', lambda: bed.reaches('a', 'b'))
    bed.udp('a', 'b', 20)


def removed(bed):
    bed.switch.link('a', 'b', delay_ms=500)
    bed.switch.remove()
    seen = bed.udp('a', 'b')
    assert in_order(seen) and statistics.median(t for _, t in seen) < 20, times(seen)
    bed.switch.insert()
    bed.udp('a', 'b', 20)
    bed.switch.remove()


def main():
    suite = Suite()
    bed = suite.check('three hosts, the cables of two through the switch', Bed, 5)
    if bed and suite.check('the switch is inserted', lambda: bed.switch.insert() or True):
        for check in (passes, delays, delays_without_cable, overtakes, streams, cable_out_and_in, removed):
            suite.check(check.__name__.replace('_', ' '), check, bed)
    suite.finish()


main()
