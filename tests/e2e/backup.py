"""Backups and disasters, as an operator meets them: a backup of a cluster under load; the loss of all its members, and
a new cluster from the backup that the satellites obey, while what is left of the old one stops; then a majority of that
one is lost as well, the survivor recovers with everything that was acknowledged, and two machines join it."""
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

import lib_e2e
from lib_e2e import BUILD, Cluster, Rest, Suite, wait_for

lib_e2e.enter()

RAFTCTL = str(BUILD / 'raftctl/raftctl')
PASSPHRASE = 'correct horse battery staple'


class Node:
    """A controller of the test's own, with a data directory that it does not share with anything else."""

    def __init__(self, base, name, address):
        self.name, self.address, self.base = name, address, base / name
        self.data, self.conf, self.process = self.base / 'data', self.base / 'controller.conf', None
        (self.base / 'run').mkdir(parents=True)
        self.conf.write_text(f'[controller]\ndir = {self.data}\nrun_dir = {self.base}/run\n'
                             f'[http]\nlisten = {address}:3370\n[https]\nlisten = {address}:3371\n')

    def raftctl(self, *args):
        return subprocess.run([RAFTCTL, '--config', str(self.conf), *map(str, args)], capture_output=True, text=True, timeout=60)

    def ask(self, *args):
        done = self.raftctl(*args)
        if done.returncode != 0:
            raise AssertionError(f'raftctl {args[0]} on {self.name}: {done.stdout}{done.stderr}')
        return done.stdout.strip()

    def start(self):
        with open(self.base / 'log', 'ab') as log:
            self.process = subprocess.Popen([str(BUILD / 'outrigger-controller'), '--config', str(self.conf)], stdout=log, stderr=log)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def status(self):
        done = self.raftctl('status', '--json')
        return json.loads(done.stdout) if done.stdout.startswith('{') else None

    def rest(self):
        return Rest(self.address, timeout_s=30)

    def serves(self):
        try:
            return self.rest().get('/v1/stats/nodes').status == 200
        except OSError:
            return False


class Load(threading.Thread):
    """Writes numbered values through one member; keeps those that were acknowledged."""

    def __init__(self, rest, store):
        super().__init__()
        self.rest, self.store, self.acked, self.stop = rest, store, [], threading.Event()

    def run(self):
        i = 0
        while not self.stop.is_set():
            try:
                done = self.rest.call('PUT', f'/v1/key-value-store/{self.store}', {'override_props': {f'k{i:05}': f'v{i}'}})
            except (OSError, http.client.HTTPException):
                return  # the member was killed: the outcome of this one is not known
            if done.status >= 400:
                raise AssertionError(done.text)
            self.acked.append(i)
            i += 1

    def end(self):
        self.stop.set()
        self.join()


def stored(rest, store):
    answer = rest.get(f'/v1/key-value-store/{store}').ok().json
    one = answer[0] if isinstance(answer, list) else answer
    return {int(k[1:]) for k in one['props'] if k.startswith('k')}


def contents(rest):
    """What an operator would compare: everything that the views show, without what satellites report."""
    def strip(o):
        if isinstance(o, dict):
            return {k: strip(v) for k, v in o.items() if k not in ('connection_status', 'state', 'layer_object', 'create_timestamp')}
        return [strip(v) for v in o] if isinstance(o, list) else o
    paths = ['/v1/nodes', '/v1/resource-groups', '/v1/resource-definitions', '/v1/key-value-store', '/v1/view/resources']
    found = {p: strip(rest.get(p).ok().json) for p in paths}
    for r in found['/v1/view/resources']:
        r['volumes'] = [{k: v.get(k) for k in ('volume_number', 'storage_pool_name', 'uuid')} for v in r.get('volumes', [])]
    return found


class Tests:
    def __init__(self, cluster):
        self.cluster, self.base = cluster, pathlib.Path(str(cluster.dir) + '-new')
        self.base.mkdir()
        self.secret = self.base / 'passphrase'
        self.secret.write_text(PASSPHRASE + '\n')
        self.secret.chmod(0o600)
        self.file, self.nodes = self.base / 'cluster.backup', {}

    # ---- backup ----
    def deploy(self, rest, name):
        rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name, 'layer_data': [{'type': 'STORAGE'}]}}).ok()
        rest.call('POST', f'/v1/resource-definitions/{name}/volume-definitions', {'volume_definition': {'size_kib': 4096}}).ok()
        for s in self.cluster.satellites:
            rest.call('POST', f'/v1/resource-definitions/{name}/resources/{s}',
                      {'resource': {'props': {'StorPoolName': 'pool1'}}}).ok()

    def backup(self, member, *args, ok=True):
        return self.cluster.raftctl(member, 'backup', *map(str, args), ok=ok)

    def under_load(self):
        leader = self.cluster.leader()
        follower = [c for c in self.cluster.controllers if c != leader][0]
        self.deploy(self.cluster.rest(leader), 'before')
        loads = [Load(self.cluster.rest(c), f'load-{c}') for c in self.cluster.controllers]
        for load in loads:
            load.start()
        wait_for('some writes', lambda: all(len(load.acked) > 50 for load in loads))
        for n in range(5):
            sure = {load.store: set(load.acked) for load in loads}
            text = self.backup(follower, self.file, '--passphrase-file', self.secret, *(['--force'] if n else []))
        time.sleep(0.2)
        for load in loads:
            load.end()
        assert all(len(load.acked) > len(sure[load.store]) for load in loads), 'nothing was written meanwhile'
        assert 'encrypted; with the key' in text, text
        assert (self.file.stat().st_mode & 0o777) == 0o600
        return sure, loads

    def refusals(self):
        member = self.cluster.controllers[1]
        assert 'exists already' in self.backup(member, self.file, '--passphrase-file', self.secret, ok=False)
        assert 'no terminal' in self.backup(member, self.base / 'x', ok=False)
        assert 'undamaged, but was not opened' in self.backup(member, '--verify', self.file)
        assert 'The file is whole' in self.backup(member, '--verify', self.file, '--passphrase-file', self.secret)
        wrong = self.base / 'wrong'
        wrong.write_text('x\n')
        wrong.chmod(0o600)
        assert 'wrong passphrase' in self.backup(member, '--verify', self.file, '--passphrase-file', wrong, ok=False)
        wrong.chmod(0o644)
        assert 'can be read by others' in self.backup(member, '--verify', self.file, '--passphrase-file', wrong, ok=False)
        damaged = self.base / 'damaged'
        data = bytearray(self.file.read_bytes())
        damaged.write_bytes(data[:-1])
        assert 'ends too early' in self.backup(member, '--verify', damaged, ok=False)
        data[len(data) // 2] ^= 1
        damaged.write_bytes(data)
        assert 'damaged' in self.backup(member, '--verify', damaged, ok=False)
        assert 'not a backup' in self.backup(member, '--verify', self.secret, ok=False)
        assert not (self.base / 'x').exists() and not (self.base / 'x.part').exists()

    def clients_that_go_away(self):
        """At any moment of an answer; one stays and takes nothing. The member serves on, and others get their backups."""
        member, ask = self.cluster.controllers[1], b'\0\0\0\5\0\1\x81\1\x09'  # {verb: BACKUP}
        held = []
        for n in range(10):
            s = socket.socket(socket.AF_UNIX)
            s.connect(str(self.cluster.dir / member / 'run/raftctl.sock'))
            s.sendall(ask)
            head = s.recv(6) if n % 3 else b''
            assert not head or head[5] == 3, head  # a part
            if n == 7:
                held.append(s)
            else:
                s.close()
        assert 'Wrote' in self.backup(member, self.base / 'beside', '--no-secrets')
        assert self.cluster.serves(member)
        for s in held:
            s.close()

    def last_backup(self):
        """Of a cluster at rest: nothing of it may be missing afterwards."""
        self.wanted = contents(self.cluster.rest(self.cluster.leader()))
        self.backup(self.cluster.controllers[2], self.file, '--passphrase-file', self.secret, '--force')

    # ---- restore ----
    def node(self, name, number):
        self.nodes[name] = Node(self.base, name, f'127.0.0.{number}')
        return self.nodes[name]

    def join(self, member, name, number):
        new = self.node(name, number)
        token = member.ask('token', 'create', '--role', 'controller', '--name', name)
        new.ask('join', token, '--name', name, '--address', new.address)
        new.start()

        def votes():
            view = member.status()
            return view and any(m['name'] == name and m['role'] == 'voter' for m in view['members'])
        wait_for(f'{name} to be a voter', votes)
        return new

    def restore(self):
        for c in self.cluster.controllers:
            self.cluster.kill(c)
        n1 = self.node('n1', 11)  # the address that c1 had: the others of the old cluster will call it
        done = n1.raftctl('restore', self.file, '--name', 'n1', '--address', n1.address, '--passphrase-file', self.base / 'wrong')
        assert done.returncode == 1 and not n1.data.exists(), done
        print('       ', n1.ask('restore', self.file, '--name', 'n1', '--address', n1.address, '--passphrase-file',
                                self.secret).splitlines()[0])
        n1.start()
        wait_for('n1 serves', n1.serves)
        for name, number in (('n2', 42), ('n3', 43)):
            self.join(n1, name, number)

    def satellites_online(self, node):
        def online():
            nodes = node.rest().get('/v1/nodes').ok().json
            return all(n['connection_status'] == 'ONLINE' for n in nodes) and len(nodes) == len(self.cluster.satellites)
        wait_for('ONLINE satellites', online)

    def restored(self):
        n2 = self.nodes['n2']
        self.satellites_online(n2)
        got = contents(n2.rest())
        for path, wanted in self.wanted.items():
            assert got[path] == wanted, f'{path}: {got[path]} instead of {wanted}'
        self.deploy(n2.rest(), 'after')
        assert n2.rest().call('DELETE', '/v1/resource-definitions/before').ok()

    def old_members_stop(self):
        for c in self.cluster.controllers[1:]:
            self.cluster.start(c)

        def stopped():
            return all('earlier' in t or 'belongs to the past' in t for t in
                       ((self.cluster.dir / c / 'log').read_text() for c in self.cluster.controllers[1:]))
        wait_for('the old members to stop', stopped)
        assert not any(self.cluster.serves(c) for c in self.cluster.controllers[1:]), 'an old member serves'
        self.satellites_online(self.nodes['n1'])

    # ---- recover ----
    def lose_majority(self):
        n1 = self.nodes['n1']
        if n1.status()['state'] != 'leader':
            [n for n in self.nodes.values() if n.status()['state'] == 'leader'][0].ask('transfer', 'n1')
            wait_for('n1 leads', lambda: n1.status()['state'] == 'leader')
        load = Load(n1.rest(), 'majority')
        load.start()
        wait_for('some writes', lambda: len(load.acked) > 100)
        for name in ('n2', 'n3'):
            self.nodes[name].kill()
        load.rest.timeout_s = 1
        time.sleep(1)
        assert 'no quorum' in n1.raftctl('status').stdout
        done = n1.raftctl('recover', '--lost', 'n2', '--lost', 'n3')
        assert done.returncode == 1 and 'in use' in done.stderr, done
        n1.kill()
        load.end()
        return set(load.acked)

    def recover(self, acked):
        n1 = self.nodes['n1']
        done = subprocess.run([RAFTCTL, 'check', str(n1.data)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and 'That is no majority' in done.stdout, done
        for args in ([], ['--lost', 'n2'], ['--lost', 'n2', '--lost', 'n9']):
            done = n1.raftctl('recover', *args)
            assert done.returncode == 1 and 'Recovered' not in done.stdout, done
        assert 'May be missing' in n1.raftctl('recover').stdout
        text = n1.ask('recover', '--lost', 'n2', '--lost', 'n3')
        assert "Recovered: 'n1' is the only member now" in text, text
        n1.start()
        wait_for('n1 serves', n1.serves)
        missing = acked - stored(n1.rest(), 'majority')
        assert not missing, f'acknowledged and lost: {sorted(missing)[:10]} of {len(acked)}'
        print(f'        {len(acked)} acknowledged writes, all there')
        for name, number in (('n4', 44), ('n5', 45)):
            self.join(n1, name, number)
        self.satellites_online(self.nodes['n5'])
        self.deploy(self.nodes['n4'].rest(), 'recovered')

    def lost_one_returns(self):
        n2 = self.nodes['n2']
        n2.start()
        code = n2.process.wait(20)
        assert code == 71 and 'belongs to the past' in (n2.base / 'log').read_text(), code
        n2.process = None
        assert len(self.nodes['n1'].status()['members']) == 3

    def directories_agree(self):
        names = ('n1', 'n4', 'n5')

        def same():
            seen = {(v['hash_index'], v['state_hash']) for v in (self.nodes[n].status() for n in names)}
            return len(seen) == 1
        wait_for('equal states', same)
        for name in names:
            self.nodes[name].process.send_signal(signal.SIGTERM)
            self.nodes[name].process.wait(10)
            self.nodes[name].process = None
        dirs = [str(self.nodes[n].data) for n in names]
        done = subprocess.run([RAFTCTL, 'check', *dirs], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and '3 of the 3 voters' in done.stdout, done
        done = subprocess.run([RAFTCTL, 'check', dirs[0], str(self.nodes['n2'].data)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and 'of an earlier history' in done.stdout, done

    def close(self):
        for n in self.nodes.values():
            n.kill()
        if not os.environ.get('OUTRIGGER_KEEP'):
            subprocess.run(['rm', '-rf', str(self.base)], check=True)


def main():
    suite = Suite()
    cluster = suite.check('the dev cluster comes up', Cluster, 3, 2)
    if cluster is None:
        suite.finish()
    tests = Tests(cluster)
    try:
        sure = suite.check('backups of a follower under load', tests.under_load)
        suite.check('what is refused, and why', tests.refusals)
        if sure is not None:
            suite.check('clients that go away in the midst', tests.clients_that_go_away)
            suite.check('the last backup, at rest', tests.last_backup)
            suite.check('all members lost; restored, two more join', tests.restore)
            suite.check('the content is the same, and the satellites obey', tests.restored)
            suite.check('old members that come back stop', tests.old_members_stop)
            acked = suite.check('two of three lost for good', tests.lose_majority)
            suite.check('recovered, two more join', tests.recover, acked or set())
            suite.check('a lost one that comes back stops', tests.lost_one_returns)
            suite.check('the data directories agree', tests.directories_agree)
    finally:
        suite.check('everything ends', lambda: (tests.close(), cluster.close()))
    suite.finish()


main()
