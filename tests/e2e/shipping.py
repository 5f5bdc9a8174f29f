#!/usr/bin/env python3
"""Shipping between two clusters (three members and two satellites, and one of each) that share no certificate authority: refused to those
that are not known, shipped and compared, into other pools and under other names; nothing readable on the wire; refusals of the other
cluster come back; leaders of both sides and both satellites killed while it is on its way; stopped on either side, nothing stays; only what has
changed, with what passed counted, through the same deaths, and everything again when the base is gone.

usage: OUTRIGGER_BUILD=BUILD_DIR tests/e2e/shipping.py [CHECK...]"""
import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading

import lib_e2e
from lib_e2e import BUILD, Cluster, Suite, enter

SIZE_KIB = 16384
MARK = b'what nobody may read on the wire '


def wait_for(what, fn):
    """Two clusters take longer than one on a machine that is busy."""
    return lib_e2e.wait_for(what, fn, 300)


class Side:
    """One cluster, with what the checks ask of it."""

    def __init__(self, cluster):
        self.c = cluster

    def rest(self):
        return self.c.rest(next(m for m in self.c.controllers if self.c.running(m)))

    def call(self, method, path, body=None):
        return self.rest().call(method, path, body)

    def cli(self, *args, ok=True):
        urls = ','.join(self.c.address(m) for m in self.c.controllers)
        done = subprocess.run([str(BUILD / 'outrigger'), '--controllers', urls, *args], capture_output=True, text=True, timeout=120)
        assert (done.returncode == 0) == ok, done
        return done.stdout + done.stderr

    def device(self, rsc, volume=0):
        def known():
            return [v.get('device_path') for r in self.rest().get(f'/v1/view/resources?resources={rsc}').ok().json
                    for v in r['volumes'] if v['volume_number'] == volume]
        return wait_for(f'the device of {rsc}', lambda: known() and known()[0])

    def write(self, rsc, text, volume=0):
        fd = os.open(self.device(rsc, volume), os.O_WRONLY)
        os.pwrite(fd, (text * 100000)[:1 << 20], 1 << 20)
        os.pwrite(fd, text, SIZE_KIB * 1024 - 4096)
        os.fsync(fd)
        os.close(fd)

    def digest(self, rsc, volume=0):
        fd = os.open(self.device(rsc, volume), os.O_RDONLY)
        try:
            return hashlib.sha256(os.pread(fd, SIZE_KIB * 1024, 0)).hexdigest()
        finally:
            os.close(fd)

    def files(self):
        return sorted(p.name for n in self.c.satellites for p in (self.c.dir / n / 'pool1').iterdir())

    def shipments(self):
        return self.rest().get('/v1/shipments').ok().json

    def phases(self):
        return sorted(s['phase'] for s in self.shipments())

    def reports(self):
        return self.rest().get('/v1/error-reports').ok().text

    def has(self, rsc):
        return self.rest().get(f'/v1/view/resources?resources={rsc}').ok().json != []

    def uuid(self):
        return self.rest().get('/v1/controller/properties').ok().json['Cluster/LocalID']


class Between:
    """Stands between the clusters: answers for the other one's REST API, where it puts itself in the place of the satellite that listens;
    so it sees what passes between the satellites, and can hold it."""
    ADDRESS = '127.0.0.80'

    def __init__(self, side):
        self.side, self.seen, self.gate, self.open, self.to = side, b'', threading.Event(), [], None
        self.gate.set()
        self.socket = socket.create_server((self.ADDRESS, 4000))
        between = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def answer(self):
                body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
                got = between.side.call(self.command, self.path, json.loads(body) if body else None)
                text = got.text
                if self.command == 'GET' and got.status == 200 and 'port' in got.json:
                    between.to = got.json['address'], got.json['port']
                    text = json.dumps(dict(got.json, address=between.ADDRESS, port=4000))
                self.send_response(got.status)
                self.send_header('Content-Type', 'application/json')
                self.send_header('Content-Length', str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer((self.ADDRESS, 3370), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            a, _ = self.socket.accept()
            try:
                b = socket.create_connection(self.to)
            except OSError:
                a.close()
                continue
            self.open += [a, b]
            for x, y in ((a, b), (b, a)):
                threading.Thread(target=self.copy, args=(x, y), daemon=True).start()

    def copy(self, x, y):
        try:
            while data := x.recv(65536):
                self.seen += data
                self.gate.wait()
                y.sendall(data)
            y.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def break_all(self):
        for s in self.open:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()
        self.open = []


class Tests:
    def __init__(self, a, b):
        self.a, self.b = Side(a), Side(b)
        self.pipe = Between(self.b)

    # ---- checks ----

    def prepare(self):
        a, b = self.a, self.b
        # one that nobody answers at comes first
        a.cli('remote', 'create', 'linstor', 'other', f'http://127.0.0.81:3370,http://{self.pipe.ADDRESS}:3370')
        a.call('POST', '/v1/resource-definitions', {'resource_definition': {
            'name': 'data', 'layer_data': [{'type': 'STORAGE'}], 'volume_definitions': [{'size_kib': SIZE_KIB}, {'size_kib': SIZE_KIB - 3}]}})  # images are of whole blocks.ok()
        a.call('POST', '/v1/resource-definitions/data/resources/s1', {'resource': {'props': {'StorPoolName': 'pool1'}}}).ok()
        a.call('PUT', '/v1/resource-definitions/data', {'override_props': {'Aux/says': 'data'}}).ok()
        a.call('PUT', '/v1/resource-definitions/data/volume-definitions/1', {'override_props': {'Aux/is': 'second'}}).ok()
        a.write('data', MARK)
        a.write('data', b'second volume ' + MARK, 1)
        b.call('POST', '/v1/nodes/s1/net-interfaces', {'name': 'ship', 'address': '127.0.9.1'}).ok()
        b.call('POST', '/v1/controller/properties', {'override_props': {'SnapshotShipping/TcpPortRange': '12345-12349'}}).ok()

    def ship(self, to, *more):
        """All of it; what has changed only: below."""
        return self.a.cli('backup', 'ship', '--full', 'other', 'data', to, *more)

    def unknown(self):
        """The other cluster takes nothing from one that it has no remote of."""
        assert 'begins' in self.ship('copy')
        wait_for('a report', lambda: 'takes nothing from cluster' in self.a.reports())
        (s,) = [x for x in self.a.shipments() if x['phase'] == 'FAILED']
        assert 'takes nothing' in s['reason'], s
        assert not self.b.has('copy') and self.b.shipments() == []
        self.b.cli('remote', 'create', 'linstor', 'friend', 'http://127.0.0.11:3370', '--cluster-id', self.a.uuid())

    def over(self, rsc):
        wait_for(f'{rsc}', lambda: self.b.has(rsc))
        wait_for('the end', lambda: not [p for p in self.a.phases() if p not in ('FAILED', 'DONE')])
        assert (self.b.digest(rsc), self.b.digest(rsc, 1)) == (self.a.digest('data'), self.a.digest('data', 1))

    def whole(self):
        shown = self.ship('copy', '--source-snapshot', 'mine', '--target-node', 's1', '--target-net-if', 'ship')
        assert "snapshot 'mine'" in shown, shown
        self.over('copy')
        snap = self.b.rest().get('/v1/resource-definitions/copy/snapshots/mine').ok().json
        assert snap['nodes'] == ['s1'] and snap['flags'] == ['SUCCESSFUL'], snap
        props = [self.b.rest().get(f'/v1/resource-definitions/copy{of}').ok().json['props'] for of in ('', '/volume-definitions/1')]
        assert props == [{'Aux/says': 'data'}, {'Aux/is': 'second'}], props
        assert self.b.phases() == ['DONE'], self.b.shipments()
        assert self.pipe.to == ('127.0.9.1', 12345), self.pipe.to

    def secret(self):
        """What passed is as long as what was sent, and nothing of it can be read."""
        seen = self.pipe.seen
        assert len(seen) > 2 << 20, len(seen)
        assert MARK not in seen and b'ORSHIP' not in seen and b'mine' not in seen

    def again(self):
        """The same snapshot once more, to wherever there is room, in another group, as a snapshot only."""
        self.b.call('POST', '/v1/resource-groups', {'name': 'grp'}).ok()
        self.ship('only', '--source-snapshot', 'mine', '--download-only', '--target-resource-group', 'grp')
        wait_for('the snapshot', lambda: self.b.rest().get('/v1/resource-definitions/only/snapshots/mine').status == 200 and
                 self.b.rest().get('/v1/resource-definitions/only/snapshots/mine').json['flags'] == ['SUCCESSFUL'])
        assert not self.b.has('only')
        assert self.b.rest().get('/v1/resource-definitions/only').ok().json['resource_group_name'] == 'grp'

    def refused(self):
        """What the other cluster says against it stands in the list and in a report of the sender."""
        for more, words in ((['copy', '--target-snapshot', 'mine'], 'already'), (['x1', '--target-node', 's9'], 's9'),
                            (['x2', '--target-storage-pool', 'nopool'], 'nopool'), (['x3', '--target-net-if', 'none'], 'none')):
            self.ship(*more)
            wait_for(f'a refusal of {more}', lambda: any(words in s.get('reason', '') for s in self.a.shipments()))
        assert not [r for r in ('x1', 'x2', 'x3') if self.b.has(r)]
        bad = self.a.call('POST', '/v1/remotes/other/backups/ship', {'src_rsc_name': 'none', 'dst_rsc_name': 'x4'})
        assert bad.status == 404, bad.text
        bad = self.b.call('POST', '/v1/shipments', {'uuid': 'u', 'version': 99, 'cluster_id': self.a.uuid()})
        assert bad.status == 500 and bad.json[0]['ret_code'] & 0x3fff == 978, bad.text

    def stranger(self):
        """Whoever connects without the key is sent away, and keeps nobody from connecting who has it."""
        self.pipe.gate.clear()
        self.ship('guarded', '--target-node', 's1', '--target-net-if', 'ship')
        self.pipe.to = None
        wait_for('the receiver', lambda: any(s.get('port') for s in self.b.shipments()))
        (port,) = [s['port'] for s in self.b.shipments() if 'port' in s]
        s = socket.create_connection(('127.0.9.1', port), timeout=30)
        s.sendall(b'ORLINK1\n' + os.urandom(24) + (100).to_bytes(4, 'big') + os.urandom(100))
        assert s.recv(100) == b''
        self.pipe.gate.set()
        self.over('guarded')

    def kill_leaders(self):
        for side in (self.a, self.b):
            leader = side.c.leader()
            side.c.kill(leader)
            side.c.start(leader)
            side.c.leader()

    def killed(self):
        """The leaders of both sides die while it is on its way; then the satellites. It arrives, once."""
        self.pipe.gate.clear()
        self.ship('tough', '--target-node', 's1', '--target-net-if', 'ship')
        wait_for('both run', lambda: 'RUN' in self.a.phases() and 'RUN' in self.b.phases())
        self.kill_leaders()
        self.pipe.gate.set()
        self.over('tough')
        for victim in (self.a, self.b):
            name = f'tougher{victim.c.satellites[0]}{len(victim.c.satellites)}'
            self.pipe.gate.clear()
            self.ship(name, '--target-node', 's1', '--target-net-if', 'ship')
            wait_for('both run', lambda: 'RUN' in self.a.phases() and 'RUN' in self.b.phases())
            victim.c.kill('s1')
            victim.c.start('s1')
            self.pipe.gate.set()
            self.over(name)

    def cut(self):
        """A connection that breaks: begun anew."""
        self.pipe.gate.clear()
        self.pipe.open = []
        self.ship('cut', '--target-node', 's1', '--target-net-if', 'ship')
        wait_for('both run', lambda: 'RUN' in self.a.phases() and 'RUN' in self.b.phases() and self.pipe.open)
        self.pipe.break_all()
        self.pipe.gate.set()
        self.over('cut')

    def stopped(self):
        """On either side; the other one hears of it, and nothing stays but the sender's snapshot."""
        for side, args in ((self.a, ('other', 'data')), (self.b, ('friend', 'stop'))):
            self.pipe.gate.clear()
            self.ship('stop', '--target-node', 's1', '--target-net-if', 'ship')
            wait_for('both run', lambda: 'RUN' in self.a.phases() and 'RUN' in self.b.phases())
            side.cli('backup', 'abort', *args)
            self.pipe.gate.set()
            wait_for('the end', lambda: 'RUN' not in self.a.phases() and 'ASK' not in self.a.phases() and 'RUN' not in self.b.phases())
            wait_for('nothing left', lambda: not [p for p in self.b.files() if 'stop' in p])
            assert self.b.rest().get('/v1/resource-definitions/stop').status == 404
        assert any('stopped by' in s.get('reason', '') for s in self.a.shipments())

    # ---- only what has changed ----

    def change(self, text):
        """A part of the first volume, and zeros where something was."""
        fd = os.open(self.a.device('data'), os.O_WRONLY)
        os.pwrite(fd, (text * 10000)[:65536], 8 << 20)
        os.pwrite(fd, bytes(4096), 1 << 20)
        os.fsync(fd)
        os.close(fd)

    def incremental(self, snap, *more):
        return self.a.cli('backup', 'ship', 'other', 'data', 'chain', '--source-snapshot', snap, '--target-node', 's1', '--target-net-if',
                          'ship', *more)

    def arrived(self, snap):
        """The snapshot is there, and holds what the resource holds."""
        def there():
            got = self.b.rest().get(f'/v1/resource-definitions/chain/snapshots/{snap}')
            return got.status == 200 and got.json['flags'] == ['SUCCESSFUL']
        wait_for(snap, there)
        wait_for('the end', lambda: not [p for p in self.a.phases() if p not in ('FAILED', 'DONE')])
        self.restored(self.b, 'chain', snap)
        for volume in (0, 1):
            assert self.b.digest(f'from-{snap}', volume) == self.a.digest('data', volume), (snap, volume)

    def restored(self, side, rsc, snap):
        args = '--from-resource', rsc, '--from-snapshot', snap, '--to-resource', f'from-{snap}'
        side.cli('resource-definition', 'create', f'from-{snap}', '--layer-list', 'storage')
        side.cli('snapshot', 'volume-definition', 'restore', *args)
        side.cli('snapshot', 'resource', 'restore', *args)
        wait_for('the resource', lambda: side.has(f'from-{snap}'))

    def differences(self):
        said = self.a.cli('backup', 'ship', '--full', 'other', 'data', 'chain', '--source-snapshot', 'd1', '--download-only', '--target-node', 's1')
        assert 'changed' not in said, said
        self.arrived('d1')
        self.change(b'first change ')
        seen = len(self.pipe.seen)
        said = self.incremental('d2', '--download-only')
        assert "since snapshot 'd1'" in said, said
        self.arrived('d2')
        sent = len(self.pipe.seen) - seen
        assert 65536 <= sent < 200000, sent
        (shown,) = [s for s in self.a.shipments() if s['snap_name'] == 'd2']
        assert shown['phase'] == 'DONE' and shown['base_snapshot'] == 'd1', shown
        print(f'        {sent} bytes for 64 KiB that changed, of {2 * SIZE_KIB} KiB')

    def differences_killed(self):
        """On d2, while both leaders, then either satellite, die."""
        self.change(b'second change ')
        self.pipe.gate.clear()
        self.incremental('d3', '--download-only')
        wait_for('both run', lambda: 'RUN' in self.a.phases() and 'RUN' in self.b.phases())
        self.kill_leaders()
        self.pipe.gate.set()
        self.arrived('d3')
        for i, victim in enumerate((self.a, self.b)):
            self.change(f'change {i} '.encode())
            self.pipe.gate.clear()
            self.incremental(f'k{i}', '--download-only')
            wait_for('both run', lambda: 'RUN' in self.a.phases() and 'RUN' in self.b.phases())
            assert all(s.get('base_snapshot') for s in self.a.shipments() + self.b.shipments() if s['phase'] == 'RUN')
            victim.c.kill('s1')
            victim.c.start('s1')
            self.pipe.gate.set()
            self.arrived(f'k{i}')

    def base_gone(self):
        """Nothing that both have is left there: everything is sent, and the answer says so. The resource that is there stays as it is."""
        for name in [s['name'] for s in self.b.rest().get('/v1/resource-definitions/chain/snapshots').ok().json]:
            wait_for(f'{name} deleted', lambda: self.b.call('DELETE', f'/v1/resource-definitions/chain/snapshots/{name}').status == 200)
        said = self.incremental('e1')
        assert 'Everything is sent' in said and "'chain'" in said, said
        wait_for('the resource', lambda: self.b.has('chain'))
        self.arrived('e1')
        before = self.b.digest('chain')
        self.change(b'last change ')
        said = self.incremental('e2')
        assert "since snapshot 'e1'" in said and 'stays as it is' in said, said
        self.arrived('e2')
        assert self.b.digest('chain') == before != self.a.digest('data')

    def back(self):
        """The other way: what came from there is a base there."""
        self.b.cli('remote', 'modify', 'linstor', 'friend', '--url', 'http://127.0.0.11:3370')
        self.a.cli('remote', 'modify', 'linstor', 'other', '--cluster-id', self.b.uuid())
        fd = os.open(self.b.device('chain'), os.O_WRONLY)
        os.pwrite(fd, b'written there', 4 << 20)
        os.fsync(fd)
        os.close(fd)
        said = self.b.cli('backup', 'ship', 'friend', 'chain', 'data', '--source-snapshot', 'home')
        assert "since snapshot 'e2'" in said, said
        wait_for('the snapshot', lambda: self.a.rest().get('/v1/resource-definitions/data/snapshots/home').status == 200 and
                 self.a.rest().get('/v1/resource-definitions/data/snapshots/home').json['flags'] == ['SUCCESSFUL'])
        self.restored(self.a, 'data', 'home')
        assert self.a.digest('from-home') == self.b.digest('chain') != self.a.digest('data')


def main():
    enter()
    suite = Suite()
    clusters = []
    try:
        clusters.append(Cluster(3, 2))
        clusters.append(Cluster(3, 1, net=1))
        tests = Tests(*clusters)
        for name in ('prepare', 'unknown', 'whole', 'secret', 'again', 'refused', 'stranger', 'killed', 'cut', 'stopped',
                     'differences', 'differences_killed', 'base_gone', 'back'):
            if sys.argv[1:] and name not in ('prepare', 'unknown', *sys.argv[1:]):
                continue
            suite.check(name, getattr(tests, name))
        for c in clusters:
            suite.check('the same state on all members', c.same_state)
    finally:
        for c in clusters:
            c.close()
    suite.finish()


main()
