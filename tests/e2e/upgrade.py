"""Rolling upgrades and downgrades under load, between this release and one that is built with --enable-next-level
(OUTRIGGER_BUILD_NEXT, or built here when it is not given): three controllers and two satellites go up one by one, down
again, up again; no request fails. Then the feature level is raised: what is new works, and the old release is refused
with cause and remedy, its data as they were."""
import hashlib
import http.client
import os
import pathlib
import subprocess
import threading
import time
import uuid

import lib_e2e
from lib_e2e import BUILD, TOP, Cluster, Suite, wait_for

lib_e2e.enter()
NEXT = pathlib.Path(os.environ.get('OUTRIGGER_BUILD_NEXT') or BUILD / 'next').resolve()


def build_next():
    if os.environ.get('OUTRIGGER_BUILD_NEXT'):
        return 'given'
    NEXT.mkdir(exist_ok=True)
    done = subprocess.run(f'[ -f Makefile ] || {TOP}/configure -q --enable-next-level && '
                          'make -s -j2 outrigger-controller outrigger-satellite raftctl/raftctl',
                          shell=True, cwd=NEXT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return 'built'


class Client(threading.Thread):
    """One request after the other; when its member closes the connection it asks the next one, with the same key, as
    LINSTOR's clients do with their list of controllers."""

    def __init__(self, cluster, number, volumes):
        super().__init__(daemon=True)
        self.cluster, self.number, self.volumes = cluster, number, volumes
        self.at, self.done, self.made, self.failures, self.longest, self.moved = number, 0, [], [], 0.0, 0
        self.ending, self.hold, self.idle = threading.Event(), threading.Event(), threading.Event()
        self.rest = None

    def call(self, method, path, body=None):
        headers = {'Idempotency-Key': str(uuid.uuid4())}
        started = time.monotonic()
        while True:
            names = self.cluster.controllers
            try:
                if self.rest is None:
                    self.rest = self.cluster.rest(names[self.at % len(names)], timeout_s=30)
                answer = self.rest.call(method, path, body, headers)
                break
            except (OSError, http.client.HTTPException) as e:
                self.rest, self.at, self.moved = None, self.at + 1, self.moved + 1
                if time.monotonic() - started > 20:
                    self.failures.append(f'{method} {path}: no member answers: {e!r}')
                    return None
                time.sleep(0.02)
        self.longest = max(self.longest, time.monotonic() - started)
        self.done += 1
        if answer.status >= 400:
            self.failures.append(f'{method} {path}: {answer.status} {answer.text[:300]}')
        return answer

    def run(self):
        count = 0
        while not self.ending.is_set():
            while self.hold.is_set() and not self.ending.is_set():
                self.idle.set()
                time.sleep(0.01)
            self.idle.clear()
            name = f'l{self.number}x{count}'
            count += 1
            if not self.volumes:
                self.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name}})
                self.made.append(name)
                answer = self.call('GET', f'/v1/resource-definitions/{name}')
                if answer is not None and answer.status == 200 and answer.json['name'] != name:
                    self.failures.append(f'{name} reads as {answer.text[:100]}')
            else:
                self.call('POST', '/v1/resource-groups/up/spawn', {'resource_definition_name': name, 'volume_sizes': [4096]})
                self.call('DELETE', f'/v1/resource-definitions/{name}')
            self.ending.wait(0.02 if not self.volumes else 0.3)


class Upgrade:
    def __init__(self):
        self.cluster = Cluster(3, 2)
        self.clients = []

    def rest(self, name='c1'):
        return self.cluster.rest(name)

    def ok(self, name, method, path, body=None):
        return self.rest(name).call(method, path, body).ok()

    # ---- load ----
    def start_load(self):
        self.ok('c1', 'POST', '/v1/resource-groups', {'name': 'up', 'select_filter': {
            'place_count': 1, 'storage_pool': 'pool1', 'layer_stack': ['STORAGE']}})
        self.ok('c1', 'POST', '/v1/resource-groups/up/volume-groups', {})
        self.clients = [Client(self.cluster, i, i == 0) for i in range(4)]
        for c in self.clients:
            c.start()
        wait_for('the first answers', lambda: all(c.done > 3 for c in self.clients))

    def no_failures(self):
        failures = [f for c in self.clients for f in c.failures]
        assert not failures, failures[:5]
        assert all(c.is_alive() for c in self.clients)

    def same_state(self):
        """Equal hashes: with the load held for a moment, for they can be compared at equal indexes only."""
        for c in self.clients:
            c.hold.set()
        wait_for('the load to pause', lambda: all(c.idle.is_set() or not c.is_alive() for c in self.clients))
        self.cluster.same_state()
        for c in self.clients:
            c.hold.clear()

    def stop_load(self):
        for c in self.clients:
            c.ending.set()
        for c in self.clients:
            c.join(120)
        failures = [f for c in self.clients for f in c.failures]
        assert not failures, failures[:5]
        print(f'        {sum(c.done for c in self.clients)} requests, longest {max(c.longest for c in self.clients):.2f} s, '
              f'{sum(c.moved for c in self.clients)} times on to the next member')

    # ---- releases ----
    def release(self, name, build):
        self.cluster.devcluster('stop', name)
        self.cluster.start(name, build)
        if name[0] == 'c':
            wait_for(f'{name} serves', lambda: self.cluster.serves(name))
        else:
            self.cluster.all_online()  # members dial a satellite that was away again after a pause

    def roll(self, build, names=None):
        if names is None:
            leader = self.cluster.leader()
            names = ['s1', 's2'] + [c for c in self.cluster.controllers if c != leader] + [leader]
        for name in names:
            self.release(name, build)
            self.no_failures()
        self.cluster.all_online()
        self.same_state()
        self.no_failures()

    def releases(self, name):
        view = self.cluster.raft(name)
        return {m['name']: m.get('software', '?') for m in view['members'] + view.get('satellites', [])}

    def mark(self, name):
        return self.rest(name).call('PUT', '/v1/next-level/marks/first', {'text': 'hello'})

    def note(self, name):
        return self.rest(name).call('PUT', '/v1/nodes/s1', {'next_note': 'seen'})

    def lead(self, name):
        leader = self.cluster.leader()
        if leader != name:
            self.cluster.raftctl(leader, 'transfer', name)
        wait_for(f'{name} leads', lambda: self.cluster.leader() == name)

    # ---- checks ----
    def mixed(self):
        """c1 is of the next release, the others not: what is new is ignored or refused, whoever leads."""
        self.release('s1', NEXT)
        self.release('c1', NEXT)
        for leader in ('c2', 'c1'):
            self.lead(leader)
            answer = self.mark('c1')
            assert answer.status >= 400 and 'needs feature level 2' in answer.text and 'raftctl level raise' in answer.text, answer.text
            old = self.mark('c2')
            assert old.status >= 400, old.text
            self.note('c1').ok()
            self.note('c2').ok()
            node = self.ok('c1', 'GET', '/v1/nodes/s1').json
            assert 'next_note' not in node, node
        for _ in range(5):  # a machine that stood still may have elected another one
            self.lead('c1')
            answer = self.note('c1')  # c1 leads: it knows the field, and says that it does not count yet
            if self.cluster.leader() == 'c1':
                break
        assert 'was ignored: it needs feature level 2' in answer.text, answer.text
        said = self.cluster.raftctl('c2', 'level', 'raise', '2', ok=False)
        assert 'runs release' in said and 'upgrade it first' in said, said
        self.same_state()
        self.no_failures()
        for name in ('c1', 's1'):
            self.release(name, BUILD)

    def level_one(self):
        for c in self.cluster.controllers:
            assert self.cluster.view(c)['level'] == 1
        said = self.cluster.raftctl('c1', 'level')
        assert said.startswith('feature level 1'), said

    def shown(self):
        view = self.cluster.raft(self.cluster.leader())
        assert view['level'] == 1 and view['level_next'] == 2, view
        names = self.releases('c1')
        assert len(names) == 5 and all(v.endswith('+next') for v in names.values()), names
        assert any('raftctl level' in w for w in view['warnings']), view['warnings']

    def raise_level(self):
        said = self.cluster.raftctl(next(c for c in self.cluster.controllers if c != self.cluster.leader()), 'level', 'raise')
        assert said == 'The feature level is 2 from now on.', said
        wait_for('level 2 on every member', lambda: all(self.cluster.view(c)['level'] == 2 for c in self.cluster.controllers))

    def works(self):
        assert self.mark('c2').status == 200
        assert self.note('c3').status == 200
        for c in self.cluster.controllers:
            assert self.ok(c, 'GET', '/v1/next-level/marks').json == [{'name': 'first', 'text': 'hello'}]
            node = self.ok(c, 'GET', '/v1/nodes/s1').json
            assert node['next_note'] == 'seen', node
            found = self.ok(c, 'GET', f'/v1/next-level/uuids/{node["uuid"]}').json  # made before the index was
            assert found['node_name'] == 's1', found
            wait_for('the note on the satellite and back',
                     lambda c=c: self.ok(c, 'GET', '/v1/next-level/notes/s1').json.get('next_note') == 'seen')
        self.same_state()

    def files(self, name):
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest()
                for p in sorted((self.cluster.dir / name / 'raft').iterdir()) if p.name != 'member.mdb-lock'}  # LMDB's table of readers

    def refused(self):
        self.cluster.devcluster('stop', 'c2')
        before = self.files('c2')
        log = self.cluster.dir / 'c2' / 'log'
        size = log.stat().st_size
        self.cluster.start('c2', BUILD)

        def ended():
            return 'stopped' in [line for line in self.cluster.devcluster('status').splitlines() if line.startswith('c2')][0]
        wait_for('the old release to end', ended)
        said = log.read_bytes()[size:].decode()
        assert 'feature level 2' in said and 'levels up to 1' in said and 'Nothing was changed' in said and 'install' in said, said
        after = self.files('c2')
        assert after == before, f'changed: {[n for n in after if after[n] != before.get(n)]}'
        self.cluster.start('c2', NEXT)
        wait_for('c2 serves again', lambda: self.cluster.serves('c2'))
        self.same_state()
        self.no_failures()

    def old_machine(self):
        """A controller of the old release cannot join; its token stays good. A satellite of it takes part."""
        token = self.cluster.raftctl('c1', 'token', 'create', '--role', 'controller', '--name', 'c9').split()[-1]
        place = self.cluster.dir / 'c9'
        join = [str(BUILD / 'raftctl/raftctl'), '--dir', str(place), 'join', token, '--name', 'c9', '--address', '127.0.0.19']
        done = subprocess.run(join, capture_output=True, text=True, timeout=60)
        assert done.returncode != 0 and 'feature level 2' in done.stderr and 'install' in done.stderr, done.stderr + done.stdout
        self.release('s1', BUILD)
        for c in self.cluster.controllers:
            wait_for('the old satellite to be ONLINE', lambda c=c: all(
                n['connection_status'] == 'ONLINE' for n in self.rest(c).get('/v1/nodes').json))
        assert not self.releases('c1')['s1'].endswith('+next')
        answer = self.rest('c1').call('POST', '/v1/resource-definitions', {'resource_definition': {'name': 'old'}}).ok()
        self.ok('c1', 'POST', '/v1/resource-definitions/old/volume-definitions', {'volume_definition': {'size_kib': 4096}})
        answer = self.rest('c1').call('POST', '/v1/resource-definitions/old/resources', [
            {'resource': {'node_name': 's1', 'props': {'StorPoolName': 'pool1'}}, 'layer_list': ['STORAGE']}])
        assert answer.status == 201, answer.text
        self.ok('c1', 'DELETE', '/v1/resource-definitions/old')
        self.release('s1', NEXT)
        wait_for('the note on the satellite again', lambda:
                 self.ok('c1', 'GET', '/v1/next-level/notes/s1').json.get('next_note') == 'seen')

    def all_there(self):
        made = {n for c in self.clients for n in c.made}
        for c in self.cluster.controllers:
            listed = [d['name'] for d in self.rest(c).get('/v1/resource-definitions').ok().json]
            assert len(listed) == len(set(listed)), 'twice'
            assert made <= set(listed), sorted(made - set(listed))[:5]
        self.same_state()

    def offline(self):
        """raftctl check finds nothing, and that of the old release says what it cannot read."""
        self.cluster.devcluster('stop', *self.cluster.controllers)
        dirs = [str(self.cluster.dir / c) for c in self.cluster.controllers]
        done = subprocess.run([str(NEXT / 'raftctl/raftctl'), 'check', *dirs], capture_output=True, text=True)
        assert done.returncode == 0 and '0 findings' in done.stdout, done.stdout + done.stderr
        done = subprocess.run([str(BUILD / 'raftctl/raftctl'), 'check', dirs[0]], capture_output=True, text=True)
        assert done.returncode != 0 and 'feature level 2' in done.stdout, done.stdout + done.stderr


def main():
    suite = Suite()
    if suite.check('the next release is there', build_next) is None:
        suite.finish()
    started = time.monotonic()
    upgrade = suite.check('a cluster of this release comes up', Upgrade)
    if upgrade is None:
        suite.finish()
    cluster = upgrade.cluster
    try:
        suite.check('level 1, and who runs what', upgrade.level_one)
        suite.check('load', upgrade.start_load)
        suite.check('one member and one satellite of the next release: nothing new is stored, whoever leads', upgrade.mixed)
        suite.check('rolling upgrade', upgrade.roll, NEXT)
        suite.check('rolling downgrade', upgrade.roll, BUILD)
        suite.check('rolling upgrade again', upgrade.roll, NEXT)
        suite.check('all know level 2', upgrade.shown)
        suite.check('the level is raised', upgrade.raise_level)
        suite.check('the new field, command and index work', upgrade.works)
        suite.check('the old release is refused, its files are untouched', upgrade.refused)
        suite.check('no request failed', upgrade.stop_load)
        suite.check('old machines: a controller cannot join, a satellite takes part', upgrade.old_machine)
        suite.check('every acknowledged write is there, once', upgrade.all_there)
        suite.check('data directories', upgrade.offline)
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    print(f'{time.monotonic() - started:.0f} s')
    suite.finish()


if __name__ == '__main__':
    main()
