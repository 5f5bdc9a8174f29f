"""Streams of server-sent events at every member: what happens is told, a client that comes back misses nothing, at the same member or at
another one; a client that does not read costs nothing; streams end cleanly when their member stops (that they do without
a quorum is in tests/unit/test_rest)."""
import json
import os
import pathlib
import signal
import socket
import time

import lib_e2e
from lib_e2e import Cluster, Suite, wait_for

lib_e2e.enter()

NODES, PROMOTION = '/v1/events/nodes', '/v1/events/drbd/promotion'


class Stream:
    """One client; what has come so far is read without waiting."""

    def __init__(self, address, path=NODES, last_id=None, small=False):
        self.socket = socket.socket()
        if small:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(60)
        self.socket.connect((address, 3370))
        header = f'Last-Event-ID: {last_id}\r\n' if last_id else ''
        self.socket.sendall(f'GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n{header}\r\n'.encode())
        self.raw, self.ended, self.head = b'', False, None
        if small:
            return
        wait_for('the head of the answer', lambda: self.pump() and b'\r\n\r\n' in self.raw)
        self.head = self.raw.split(b'\r\n\r\n')[0].decode()
        assert self.head.startswith('HTTP/1.1 200') and 'Content-Type: text/event-stream' in self.head, self.head
        self.socket.setblocking(False)

    def pump(self):
        try:
            while True:
                piece = self.socket.recv(65536)
                if not piece:
                    self.ended = True
                    return True
                self.raw += piece
                if self.head is None:
                    return True
        except BlockingIOError:
            return True

    def text(self):
        """The body without its chunks' heads; the last chunk may be incomplete."""
        self.pump()
        rest, out = self.raw.split(b'\r\n\r\n', 1)[1], b''
        while b'\r\n' in rest:
            size, rest = rest.split(b'\r\n', 1)
            out += rest[:int(size, 16)]
            rest = rest[int(size, 16) + 2:]
        return out.decode()

    def clean(self):
        """Has it been ended by the last chunk?"""
        self.pump()
        return self.raw.endswith(b'0\r\n\r\n')

    def events(self):
        """[(name, id, data)]"""
        found = []
        for block in self.text().split('\n\n')[:-1]:
            fields = dict(line.split(': ', 1) for line in block.split('\n') if ': ' in line and line[0] != ':')
            if 'event' in fields:
                found.append((fields['event'], fields.get('id'), json.loads(fields['data'])))
        return found

    def names(self):
        """["node-create n1"], without what says more of connections to satellites"""
        names = [f'{name} {(data.get("node") or data["new_node"])["name"]}' for name, _, data in self.events()]
        return [n for n in names if n != 'node-modified s1']

    def wait(self, *names):
        try:
            wait_for('events', lambda: self.names()[-len(names):] == list(names))
        except TimeoutError:
            raise AssertionError((names, self.names())) from None
        return self.events()

    def close(self):
        self.socket.close()


def node(c, name, member='c1'):
    c.rest(member).call('POST', '/v1/nodes', {'name': name, 'type': 'Auxiliary', 'net_interfaces': [
        {'name': 'default', 'address': '127.0.9.9'}]}).ok()


def told(c):
    streams = [Stream(c.address(name)) for name in c.controllers]
    node(c, 'one')
    for s in streams:
        s.wait('node-create one')
    c.rest('c2').call('PUT', '/v1/nodes/one', {'override_props': {'Aux/x': 'y'}}).ok()
    for s in streams:
        last = s.wait('node-create one', 'node-modified one')[-1][2]
        assert 'Aux/x' not in last['old_node']['props'] and last['new_node']['props']['Aux/x'] == 'y', last
    c.rest('c3').call('DELETE', '/v1/nodes/one').ok()
    for s in streams:
        wait_for('the deletion', lambda s=s: s.names()[-1] == 'node-delete one')
        s.close()


def satellites(c):
    """Connections are part of a node."""
    s = Stream(c.address('c2'))
    c.kill('s1')
    wait_for('offline', lambda: any(d['new_node']['connection_status'] == 'OFFLINE' for n, _, d in s.events() if n == 'node-modified'))
    c.start('s1')
    wait_for('online again', lambda: [d['new_node']['connection_status'] for n, _, d in s.events()][-1:] == ['ONLINE'])
    s.close()


def resync(c):
    s = Stream(c.address('c1'))
    node(c, 'aa')
    last = s.wait('node-create aa')[-1][1]
    s.close()
    node(c, 'bb')
    c.rest('c1').call('DELETE', '/v1/nodes/aa').ok()
    again = Stream(c.address('c1'), last_id=last)
    wait_for('what was missed', lambda: again.names() in (['node-create bb', 'node-delete aa'], ['node-delete aa', 'node-create bb']))
    assert c.rest('c2').get('/v1/nodes/aa').status == 404  # what a read has seen, later streams of that member do not tell anew
    other = Stream(c.address('c2'), last_id=last)  # which does not know that id: the whole state
    other.wait('node-create bb', 'node-create s1')
    fresh = Stream(c.address('c2'), last_id='current')
    fresh.wait('node-create bb', 'node-create s1')
    new = Stream(c.address('c2'))
    c.rest('c1').call('DELETE', '/v1/nodes/bb').ok()
    for stream in (again, other, fresh, new):
        wait_for('the deletion', lambda stream=stream: stream.names()[-1] == 'node-delete bb')
    assert new.names() == ['node-delete bb'], new.names()
    for path in (PROMOTION, PROMOTION + '?'):
        promotion = Stream(c.address('c3'), path, 'current')
        wait_for('something', lambda promotion=promotion: promotion.text())
        assert promotion.events() == [], promotion.text()  # nobody has DRBD here
        promotion.close()
    for stream in (again, other, fresh, new):
        stream.close()


def rss_kib(c, name):
    pid = (c.dir / name / 'pid').read_text().split()[0]
    return int(next(x for x in pathlib.Path(f'/proc/{pid}/status').read_text().splitlines() if x.startswith('VmRSS')).split()[1])


def deaf(c):
    """Clients that do not read, and one that does, while some MiB of events pass."""
    node(c, 'big')
    assert c.rest('c1').get('/v1/nodes/big').status == 200  # from here on its changes are told
    silent = [Stream(c.address('c1'), small=True) for _ in range(40)]
    reader = Stream(c.address('c1'))
    before = rss_kib(c, 'c1')
    rest, seen = c.rest('c1'), 0
    for i in range(20):  # each is waited for: changes that come quickly one after the other are told as one
        rest.call('PUT', '/v1/nodes/big', {'override_props': {'Aux/x': f'{i:060000d}'}}).ok()
        wait_for('the change', lambda i=i: any(d['new_node']['props']['Aux/x'] == f'{i:060000d}'
                                               for n, _, d in reader.events()[seen:] if n == 'node-modified'))
        seen = len(reader.events())
    grown = rss_kib(c, 'c1') - before
    print(f'        {len(reader.raw) >> 20} MiB of events, 40 clients that do not read, memory grew by {grown} KiB')
    assert len(reader.raw) > 1 << 20 and grown < 32 << 10, (len(reader.raw), grown)
    for s in silent:
        s.close()
    reader.close()
    rest.call('DELETE', '/v1/nodes/big').ok()
    wait_for('they are gone', lambda: sum('socket:' in _link(p) for p in _fds(c, 'c1')) < 40)


def _fds(c, name):
    return list(pathlib.Path(f'/proc/{(c.dir / name / "pid").read_text().split()[0]}/fd').iterdir())


def _link(path):
    try:
        return str(path.readlink())
    except OSError:
        return ''


def many(c):
    streams = []
    for _ in range(256):
        streams.append(Stream(c.address('c3')))
    refused = c.rest('c3').get(NODES)
    assert refused.status == 500 and 'too many' in refused.text, refused.text
    for s in streams:
        s.close()
    wait_for('room again', lambda: _opens(c, 'c3'))


def _opens(c, name):
    try:
        Stream(c.address(name)).close()
        return True
    except AssertionError:
        return False


def stopped(c):
    """The member that stops ends its streams, after which its clients go on elsewhere and miss nothing."""
    node(c, 'before')
    s = Stream(c.address('c2'), last_id='current')
    wait_for('the state', lambda: {'node-create s1', 'node-create before'} <= set(s.names()))
    pid = int((c.dir / 'c2' / 'pid').read_text().split()[0])
    started = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    wait_for('the end of the stream', s.clean)
    wait_for('the end of the process', lambda: not c.running('c2'))
    print(f'        ended after {time.monotonic() - started:.1f} s')
    c.rest('c1').call('DELETE', '/v1/nodes/before').ok()
    again = Stream(c.address('c1'), last_id=[i for _, i, _ in s.events() if i][-1])
    wait_for('the state', lambda: 'node-create s1' in again.names())
    c.start('c2')
    wait_for('c2 to serve', lambda: c.serves('c2'))
    again.close()


def leader_killed(c):
    leader = c.leader()
    other = next(n for n in c.controllers if n != leader)
    s = Stream(c.address(other))
    c.kill(leader)
    node(c, 'after', other)
    s.wait('node-create after')
    c.rest(other).call('DELETE', '/v1/nodes/after').ok()
    c.start(leader)
    wait_for(f'{leader} to serve', lambda: c.serves(leader))
    assert not s.ended
    s.close()


def main():
    suite = Suite()
    c = suite.check('the dev cluster comes up', Cluster, 3, 1)
    if c is None:
        suite.finish()
    try:
        for name, fn in (('every member tells', told), ('connections to satellites', satellites),
                         ('a client comes back', resync), ('clients that do not read', deaf), ('too many', many),
                         ('the leader is killed', leader_killed), ('a member stops', stopped)):
            suite.check(name, fn, c)
        suite.check('all members have the same state', c.same_state)
    finally:
        suite.check('the dev cluster goes down', c.close)
    suite.finish()


main()
