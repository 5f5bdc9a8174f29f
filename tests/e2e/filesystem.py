"""File systems by properties, on real loop devices: made once, when the answer comes they can be mounted; with options and owner; never
over data, never a second time, not on what is restored or cloned; the satellite killed at any moment."""
import random
import shutil
import subprocess
import threading
import time

import lib_e2e
from lib_e2e import Cluster, Suite, wait_for

lib_e2e.enter()

if not shutil.which('mkfs.ext4'):
    lib_e2e.skip('mkfs.ext4 is not installed')


class Tests:
    def __init__(self, cluster):
        self.cluster, self.nodes = cluster, cluster.satellites
        self.api = cluster.rest('c1')
        self.mount = cluster.dir / 'mnt'
        self.mount.mkdir()

    def call(self, method, path, body=None):
        return self.api.call(method, path, body).ok().json

    def make(self, name, props, mib=16, vd_props=None, nodes=None):
        self.call('POST', '/v1/resource-definitions', {'resource_definition': {
            'name': name, 'props': props, 'layer_data': [{'type': 'STORAGE'}]}})
        self.call('POST', f'/v1/resource-definitions/{name}/volume-definitions', {'volume_definition': {
            'size_kib': mib * 1024, 'props': vd_props or {}}})
        return [self.api.call('POST', f'/v1/resource-definitions/{name}/resources/{node}', {
            'resource': {'props': {'StorPoolName': 'pool1'}}}) for node in nodes or self.nodes]

    def devices(self, name):
        return [r['volumes'][0].get('device_path') for r in self.call('GET', f'/v1/view/resources?resources={name}')]

    def drop(self, name):
        self.call('DELETE', f'/v1/resource-definitions/{name}')

    @staticmethod
    def kind(device):
        return subprocess.run(['blkid', '-p', '-o', 'value', '-s', 'TYPE', device], capture_output=True, text=True).stdout.strip()

    @staticmethod
    def uuid(device):
        return subprocess.run(['blkid', '-p', '-o', 'value', '-s', 'UUID', device], capture_output=True, text=True).stdout.strip()

    def mounted(self, device, fn):
        subprocess.run(['mount', device, str(self.mount)], check=True)
        try:
            return fn(self.mount)
        finally:
            subprocess.run(['umount', str(self.mount)], check=True)

    def not_in_use(self, name):
        wait_for('not in use', lambda: not any(
            r['state'].get('in_use') for r in self.call('GET', f'/v1/view/resources?resources={name}')))

    # ---- checks ----

    def ext4(self):
        """Mounted as soon as the answer is there; options and owner; a restart does nothing to it."""
        for answer in self.make('data', {'FileSystem/Type': 'ext4', 'FileSystem/MkfsParams': '-L label -m 0',
                                         'FileSystem/User': '12', 'FileSystem/Group': '34'}):
            answer.ok()
        for device in self.devices('data'):
            assert self.kind(device) == 'ext4', device
            stat = self.mounted(device, lambda m: (m / 'file').write_text('kept') and m.stat())
            assert (stat.st_uid, stat.st_gid) == (12, 34), stat
        self.not_in_use('data')
        before = [self.uuid(d) for d in self.devices('data')]
        self.cluster.kill('s1')
        self.cluster.start('s1')
        self.cluster.all_online()
        self.call('PUT', '/v1/resource-definitions/data', {'override_props': {'FileSystem/MkfsParams': '-L other'}})
        self.call('PUT', '/v1/resource-definitions/data/volume-definitions/0', {'size_kib': 24 * 1024})
        assert [self.uuid(d) for d in self.devices('data')] == before
        assert self.mounted(self.devices('data')[0], lambda m: (m / 'file').read_text()) == 'kept'

    def copies(self):
        """A snapshot's file system is the source's."""
        self.not_in_use('data')
        self.call('POST', '/v1/resource-definitions/data/snapshots', {'name': 'snap'})
        self.call('POST', '/v1/resource-definitions', {'resource_definition': {
            'name': 'copy', 'props': {'FileSystem/Type': 'ext4'}}})
        for part in ('volume-definition', 'resource'):
            self.call('POST', f'/v1/resource-definitions/data/snapshot-restore-{part}/snap', {'to_resource': 'copy'})
        answer = self.call('POST', '/v1/resource-definitions/data/clone', {'name': 'clone'})
        wait_for('the clone', lambda: self.call('GET', answer['location'])['status'] == 'COMPLETE')
        for name in ('copy', 'clone'):
            assert sorted(self.uuid(d) for d in self.devices(name)) == sorted(self.uuid(d) for d in self.devices('data')), name
            assert self.mounted(self.devices(name)[0], lambda m: (m / 'file').read_text()) == 'kept'
            self.drop(name)
        self.call('DELETE', '/v1/resource-definitions/data/snapshots/snap')

    def never_twice(self):
        """Emptied by its owner: it stays so."""
        device = self.devices('data')[0]
        subprocess.run(['dd', 'if=/dev/zero', f'of={device}', 'bs=1M', 'count=16', 'conv=fsync'], check=True, capture_output=True)
        for name in self.nodes:
            self.cluster.kill(name)
            self.cluster.start(name)
        self.cluster.all_online()
        self.call('PUT', '/v1/resource-definitions/data', {'override_props': {'Aux/poke': '1'}})
        assert self.kind(self.devices('data')[0]) == ''
        self.drop('data')

    def never_over_data(self):
        """Asked for later, when somebody uses the volume without a file system."""
        for answer in self.make('raw', {}):
            answer.ok()
        used, empty = self.devices('raw')
        with open(used, 'r+b', buffering=0) as f:
            f.write(b'something'.ljust(4096, b'.'))
        self.call('PUT', '/v1/resource-definitions/raw', {'override_props': {'FileSystem/Type': 'ext4'}})
        wait_for('the one that is empty', lambda: self.kind(empty) == 'ext4')
        with open(used, 'rb') as f:
            assert f.read(9) == b'something'
        self.drop('raw')

    def refused(self):
        """What cannot be done is said in the answer, and done when it is mended."""
        for params, word in (('-F /dev/null', 'file or a device'), ('--nonsense', 'mkfs.ext4')):
            answer = self.make('bad', {'FileSystem/Type': 'ext4', 'FileSystem/MkfsParams': params}, nodes=['s1'])[0]
            assert any(rc['ret_code'] < 0 for rc in answer.json) and word in answer.text, answer.text
            self.call('PUT', '/v1/resource-definitions/bad', {'delete_props': ['FileSystem/MkfsParams']})
            wait_for('the file system', lambda: self.kind(self.devices('bad')[0]) == 'ext4')
            self.drop('bad')

    def xfs(self):
        for answer in self.make('big', {}, 320, {'FileSystem/Type': 'xfs', 'FileSystem/User': 'root', 'FileSystem/Group': '7'},
                                ['s1']):
            answer.ok()
        assert self.kind(self.devices('big')[0]) == 'xfs'
        stat = self.mounted(self.devices('big')[0], lambda m: m.stat())
        assert (stat.st_uid, stat.st_gid) == (0, 7), stat
        self.not_in_use('big')
        self.drop('big')

    def kills(self):
        rng = random.Random(3)
        for i in range(4):
            thread = threading.Thread(target=self.make, args=(f'hurt{i}', {'FileSystem/Type': 'ext4'}, 16, None, ['s1']))
            thread.start()
            time.sleep(rng.random() * 0.3)
            self.cluster.kill('s1')
            self.cluster.start('s1')
            thread.join()
            device = wait_for('the device', lambda i=i: (self.devices(f'hurt{i}') or [None])[0])
            wait_for('the file system', lambda device=device: self.kind(device) == 'ext4')
            check = subprocess.run(['e2fsck', '-n', '-f', device], capture_output=True, text=True)
            assert check.returncode == 0, check
            self.drop(f'hurt{i}')


def main():
    suite = Suite()
    cluster = suite.check('the dev cluster comes up', Cluster, 1, 2)
    if cluster is None:
        suite.finish()
    try:
        tests = Tests(cluster)
        for name in ('ext4', 'copies', 'never_twice', 'never_over_data', 'refused', 'kills'):
            suite.check(name.replace('_', ' '), getattr(tests, name))
        if shutil.which('mkfs.xfs'):
            suite.check('xfs', tests.xfs)
        else:
            suite.skipped += 1
            print('skipped: xfs: mkfs.xfs is not installed')
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
