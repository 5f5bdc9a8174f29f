"""Snapshots on real loop devices: taken, listed, restored, rolled back, cloned, deleted, of several resources at once, and by reflink; data are written
before and compared after each. Then the same while the leader, or a satellite, is killed: a snapshot is taken or not, never half,
nothing is left suspended, and nothing is left behind."""
import os
import random
import shutil
import subprocess
import threading
import time

import lib_e2e
from lib_e2e import CannotRun, Cluster, Suite, wait_for

lib_e2e.enter()

SIZE_KIB = 4096
POOL = 'pool1'


class Tests:
    def __init__(self, cluster):
        self.cluster, self.nodes = cluster, cluster.satellites
        self.api = cluster.rest(cluster.controllers[0])

    def call(self, method, path, body=None, code=None):
        """code: number of the error that the answer must have."""
        answer = self.api.call(method, path, body)
        if code is None:
            answer.ok()
        else:
            assert any(rc['ret_code'] & 0xffff == code for rc in answer.json), (code, answer.status, answer.text)
        return answer.json

    def make(self, name, volumes=1, nodes=None, pool=POOL):
        self.call('POST', '/v1/resource-definitions', {'resource_definition': {
            'name': name, 'layer_data': [{'type': 'STORAGE'}],
            'volume_definitions': [{'size_kib': SIZE_KIB} for _ in range(volumes)]}})
        for node in nodes or self.nodes:
            self.call('POST', f'/v1/resource-definitions/{name}/resources/{node}',
                      {'resource': {'node_name': node, 'props': {'StorPoolName': pool}}})

    def devices(self, name):
        """(node, volume) -> device. A satellite that has just started is online before it has looked at its devices."""
        def known():
            listed = self.api.get(f'/v1/view/resources?resources={name}').ok().json
            found = {(r['node_name'], v['volume_number']): v.get('device_path') for r in listed for v in r['volumes']}
            return found if all(found.values()) else None
        return wait_for(f'the devices of {name}', known)

    def fill(self, name, text):
        for key, device in self.devices(name).items():
            data = f'{text} {key} '.encode().ljust(4096, b'.')
            fd = os.open(device, os.O_WRONLY)
            for at in (0, 1 << 20, SIZE_KIB * 1024 - 4096):
                os.pwrite(fd, data, at)
            os.close(fd)

    def holds(self, name, text, source=None):
        """Do all volumes hold what fill() wrote with this text?"""
        devices = self.devices(name)
        assert devices, name
        for key, device in devices.items():
            data = f'{text} {key} '.encode().ljust(4096, b'.')
            with open(device, 'rb') as f:
                for at in (0, 1 << 20, SIZE_KIB * 1024 - 4096):
                    f.seek(at)
                    got = f.read(4096)
                    assert got == data, (name, key, at, got[:60], data[:60])

    def snapshot(self, name, snap, nodes=None, code=None):
        return self.call('POST', f'/v1/resource-definitions/{name}/snapshots',
                         {'name': snap, 'nodes': nodes or []}, code)

    def snapshots(self, name):
        return {s['name']: s for s in self.call('GET', f'/v1/resource-definitions/{name}/snapshots')}

    def pool(self, node):
        return self.cluster.dir / node / 'pool1'

    def files(self):
        return sorted(p.name for node in self.nodes for p in self.pool(node).iterdir())

    def drop(self, *names):
        for name in names:
            self.call('DELETE', f'/v1/resource-definitions/{name}')

    # ---- checks ----

    def take(self):
        self.make('data', 2)
        self.fill('data', 'first')
        self.snapshot('data', 'snap1')
        one = self.snapshots('data')['snap1']
        assert one['flags'] == ['SUCCESSFUL'] and sorted(one['nodes']) == self.nodes, one
        assert [v['size_kib'] for v in one['volume_definitions']] == [SIZE_KIB, SIZE_KIB], one
        assert all(s['create_timestamp'] > 0 and len(s['snapshot_volumes']) == 2 for s in one['snapshots']), one
        assert self.files().count('data_00001_snap1.img') == len(self.nodes), self.files()
        self.snapshot('data', 'SNAP1', code=514)
        self.snapshot('nosuch', 'snap1', code=301)
        self.snapshot('data', '-', code=218)
        self.snapshot('data', 'other', nodes=['nowhere'], code=300)
        self.fill('data', 'second')
        self.snapshot('data', 'snap2', nodes=[self.nodes[0]])
        assert self.snapshots('data')['snap2']['nodes'] == [self.nodes[0]]
        view = self.call('GET', f'/v1/view/snapshots?resources=data&nodes={self.nodes[1]}')
        assert [s['name'] for s in view] == ['snap1'], view
        view = self.call('GET', '/v1/view/snapshots?limit=1&offset=1')
        assert [s['name'] for s in view] == ['snap2'], view
        self.call('PUT', '/v1/resource-definitions/data/snapshots/snap1', {'override_props': {'Aux/why': 'test'}})
        one = self.call('GET', '/v1/resource-definitions/data/snapshots/snap1')
        assert one['props'] == one['snapshot_definition_props'] == {'Aux/why': 'test'}, one
        self.call('DELETE', '/v1/resource-definitions/data', code=514)

    def restore(self):
        path = '/v1/resource-definitions/data'
        self.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': 'copy'}})
        self.call('POST', f'{path}/snapshot-restore-resource/snap1', {'to_resource': 'copy'}, 229)
        self.call('POST', f'{path}/snapshot-restore-volume-definition/snap1', {'to_resource': 'copy'})
        self.call('POST', f'{path}/snapshot-restore-resource/snap2', {'to_resource': 'copy', 'nodes': [self.nodes[1]]}, 315)
        self.call('POST', f'{path}/snapshot-restore-resource/snap1', {'to_resource': 'copy'})
        self.holds('copy', 'first')
        self.holds('data', 'second')
        self.call('POST', f'{path}/snapshot-restore-resource/snap1', {'to_resource': 'copy'}, 502)
        self.fill('copy', 'own')  # changes neither the snapshot nor the source
        self.call('PUT', '/v1/resource-definitions/copy/volume-definitions/0', {'size_kib': 2 * SIZE_KIB})
        self.drop('copy')
        self.holds('data', 'second')

    def roll_back(self):
        path = '/v1/resource-definitions/data/snapshot-rollback'
        self.call('POST', f'{path}/snap2', {}, 315)
        device = self.devices('data')[(self.nodes[0], 0)]
        subprocess.run(['mkfs.ext4', '-q', '-F', device], check=True)
        mount = self.cluster.dir / 'mnt'
        mount.mkdir()
        subprocess.run(['mount', device, str(mount)], check=True)
        used = lambda: any(r['state']['in_use'] for r in self.call('GET', '/v1/view/resources?resources=data'))  # noqa: E731
        started = time.monotonic()
        wait_for('in use', used)
        seen_s = time.monotonic() - started
        self.call('POST', f'{path}/snap1', {}, 997)
        subprocess.run(['umount', str(mount)], check=True)
        started = time.monotonic()
        wait_for('not in use', lambda: not used())
        seen_s = min(seen_s, time.monotonic() - started)
        assert seen_s < 5, f'{seen_s:.1f} s'  # the pools are looked at each 10 s, and when something is mounted
        self.call('POST', f'{path}/snap1', {})
        self.holds('data', 'first')
        assert sorted(self.snapshots('data')) == ['snap1', 'snap2']
        self.fill('data', 'third')
        self.call('POST', f'{path}/snap1', {})
        self.holds('data', 'first')
        wait_for('the safety snapshots gone', lambda: not [f for f in self.files() if 'safety' in f])

    def clone(self):
        self.fill('data', 'fourth')
        answer = self.call('POST', '/v1/resource-definitions/data/clone', {'name': 'clone'})
        assert answer['location'].endswith('/v1/resource-definitions/data/clone/clone'), answer
        wait_for('the clone', lambda: self.call('GET', answer['location'])['status'] == 'COMPLETE')
        self.holds('clone', 'fourth')
        self.call('POST', '/v1/resource-definitions/data/clone', {'name': 'clone'}, 501)
        # other layers: each node has data of its own, so DRBD would have to choose; NVMe is not added; nothing is made
        self.call('POST', '/v1/resource-definitions/data/clone', {'name': 'other', 'layer_list': ['NVME', 'STORAGE']}, 225)
        refused = self.call('POST', '/v1/resource-definitions/data/clone', {'name': 'other', 'layer_list': ['DRBD', 'STORAGE']}, 225)
        assert any(f'is on {len(self.nodes)} nodes' in rc['message'] for rc in refused), refused
        assert self.api.get('/v1/resource-definitions/other').status == 404
        assert sorted(self.snapshots('data')) == ['snap1', 'snap2']
        self.drop('clone')
        wait_for('nothing left of the clone', lambda: not [f for f in self.files() if 'clone' in f])
        assert self.api.get('/v1/resource-definitions/data/clone/clone').status == 404

    def delete(self):
        self.call('DELETE', f'/v1/resource-definitions/data/snapshots/snap1?nodes={self.nodes[0]}')
        assert self.snapshots('data')['snap1']['nodes'] == self.nodes[1:]
        assert self.files().count('data_00000_snap1.img') == len(self.nodes) - 1, self.files()
        self.call('DELETE', '/v1/resource-definitions/data/snapshots/snap1')
        self.call('DELETE', '/v1/resource-definitions/data/snapshots/snap2')
        assert self.snapshots('data') == {}
        assert self.call('DELETE', '/v1/resource-definitions/data/snapshots/snap1')[0]['ret_code'] & 0xffff == 3000
        assert len(self.files()) == 2 * len(self.nodes), self.files()
        self.holds('data', 'fourth')
        self.drop('data')
        wait_for('nothing left', lambda: self.files() == [])

    def multi(self):
        self.make('left')
        self.make('right')
        self.fill('left', 'both')
        self.fill('right', 'both')
        bad = [{'resource_name': 'left', 'name': 'pair'}, {'resource_name': 'nosuch', 'name': 'pair'}]
        self.call('POST', '/v1/actions/snapshot/multi', {'snapshots': bad}, 301)
        assert self.snapshots('left') == {}
        good = [{'resource_name': 'left', 'name': 'pair'}, {'resource_name': 'right', 'name': 'pair'}]
        self.call('POST', '/v1/actions/snapshot/multi', {'snapshots': good})
        for name in ('left', 'right'):
            assert self.snapshots(name)['pair']['flags'] == ['SUCCESSFUL']
            self.call('DELETE', f'/v1/resource-definitions/{name}/snapshots/pair')
        self.drop('left', 'right')

    def offline(self):
        """A node that is away takes no part; a resource is not rolled back without it."""
        away = self.nodes[1]
        self.make('part')
        self.fill('part', 'one')
        self.cluster.kill(away)
        self.cluster.everybody_sees(away, False)  # the leader, too
        self.snapshot('part', 'snap1')
        assert self.snapshots('part')['snap1']['nodes'] == [self.nodes[0]]
        self.snapshot('part', 'snap2', nodes=[away], code=995)
        self.call('POST', '/v1/resource-definitions/part/snapshot-rollback/snap1', {}, 995)
        self.cluster.start(away)
        self.cluster.everybody_sees(away, True)
        self.call('DELETE', '/v1/resource-definitions/part/snapshots/snap1')
        self.drop('part')

    def reflink(self):
        """On XFS a snapshot shares blocks with its volume, which may be in use; what is made from one shares them as well, or none, for FILE."""
        if shutil.which('mkfs.xfs') is None:
            raise CannotRun('mkfs.xfs is not installed')
        image, top, node = self.cluster.dir / 'xfs.img', self.cluster.dir / 'xfs', self.nodes[0]
        top.mkdir()
        subprocess.run(['truncate', '-s', '400M', str(image)], check=True)
        subprocess.run(['mkfs.xfs', '-q', str(image)], check=True)
        if subprocess.run(['mount', '-o', 'loop', str(image), str(top)], capture_output=True).returncode != 0:
            raise CannotRun('XFS cannot be mounted')

        def shared(name):
            subprocess.run(['sync', '-f', str(top)], check=True)
            lines = subprocess.run(['filefrag', '-v', str(top / f'{name}.img')], check=True, capture_output=True, text=True).stdout
            return sum('shared' in line for line in lines.splitlines())
        try:
            for pool, kind in (('sharing', 'FILE_THIN'), ('solid', 'FILE')):
                self.call('POST', f'/v1/nodes/{node}/storage-pools', {
                    'storage_pool_name': pool, 'provider_kind': kind, 'props': {'StorDriver/StorPoolName': str(top)}})
                self.make(pool, nodes=[node], pool=pool)
                self.fill(pool, 'first')
                with open(self.devices(pool)[(node, 0)], 'rb'):
                    self.snapshot(pool, 'snap')
                assert shared(f'{pool}_00000') > 0 and shared(f'{pool}_00000_snap') > 0
                self.fill(pool, 'second')
                self.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': f'{pool}2'}})
                for what in ('volume-definition', 'resource'):
                    self.call('POST', f'/v1/resource-definitions/{pool}/snapshot-restore-{what}/snap', {'to_resource': f'{pool}2'})
                self.holds(f'{pool}2', 'first')
                self.holds(pool, 'second')
                assert (shared(f'{pool}2_00000') > 0) == (kind == 'FILE_THIN')
                if kind == 'FILE':
                    assert os.stat(top / f'{pool}2_00000.img').st_blocks * 512 >= SIZE_KIB * 1024
                self.call('DELETE', f'/v1/resource-definitions/{pool}/snapshots/snap')
                self.drop(pool, f'{pool}2')
                wait_for('nothing left', lambda: list(top.iterdir()) == [])
                self.call('DELETE', f'/v1/nodes/{node}/storage-pools/{pool}')
        finally:
            wait_for('the file system to be free', lambda: subprocess.run(['umount', str(top)], capture_output=True).returncode == 0)

    def kills(self, rounds):
        """Whoever dies in the midst: whole or not at all, and the next one works."""
        rng = random.Random(7)
        self.make('hurt')
        for i in range(rounds):
            victim = self.cluster.leader() if i % 2 == 0 else rng.choice(self.nodes)
            client = self.cluster.rest(next(c for c in self.cluster.controllers if c != victim))
            self.fill('hurt', f'round {i}')
            outcome = []

            def take(client=client, i=i):
                outcome.append(client.call('POST', '/v1/resource-definitions/hurt/snapshots', {'name': f'kill{i}'}))

            thread = threading.Thread(target=take)
            thread.start()
            time.sleep(rng.random() * 0.15)
            self.cluster.kill(victim)
            time.sleep(0.3)
            self.cluster.start(victim)
            thread.join()
            self.api = client

            def settled():
                left = self.snapshots('hurt')
                return all('SUCCESSFUL' in s['flags'] for s in left.values()) and all(
                    n['connection_status'] == 'ONLINE' for n in self.call('GET', '/v1/nodes') if n['type'] == 'SATELLITE')
            wait_for('the saga has ended', settled, 60)
            taken = f'kill{i}' in self.snapshots('hurt')
            print(f'        round {i}: {victim} killed, {"taken" if taken else "not taken"}, answer {outcome[0].status}')
            assert taken == (outcome[0].status == 201), (taken, outcome[0].text)
            self.fill('hurt', 'changed')
            if taken and len(self.snapshots('hurt')[f'kill{i}']['nodes']) == len(self.nodes):
                self.call('POST', f'/v1/resource-definitions/hurt/snapshot-rollback/kill{i}', {})
                self.holds('hurt', f'round {i}')
        for name in self.snapshots('hurt'):
            self.call('DELETE', f'/v1/resource-definitions/hurt/snapshots/{name}')
        self.drop('hurt')
        wait_for('nothing left', lambda: self.files() == [])


def main():
    suite = Suite()
    cluster = suite.check('the dev cluster comes up', Cluster, 3, 2)
    if cluster is None:
        suite.finish()
    try:
        tests = Tests(cluster)
        for name in ('take', 'restore', 'roll_back', 'clone', 'delete', 'multi', 'offline', 'reflink'):
            suite.check(name.replace('_', ' '), getattr(tests, name))
        suite.check('leader and satellites killed', tests.kills, 6)
        suite.check('all members have the same state', cluster.same_state)
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
