"""Limits of bandwidth and operations (sys/fs/blkio_throttle_*) on real loop devices: at every level, changed and taken back while the
volume is in use, after a restart again, gone with the resource. s2 writes into control groups of the test's own, s1 into the machine's,
where the kernel then keeps to them."""
import os
import pathlib
import subprocess
import time

import lib_e2e
from lib_e2e import Cluster, Suite, wait_for

lib_e2e.enter()

READ = 'sys/fs/blkio_throttle_read'
REAL = pathlib.Path('/sys/fs/cgroup/blkio')
FILES = {READ: 'blkio.throttle.read_bps_device', 'sys/fs/blkio_throttle_write': 'blkio.throttle.write_bps_device',
         'sys/fs/blkio_throttle_read_iops': 'blkio.throttle.read_iops_device',
         'sys/fs/blkio_throttle_write_iops': 'blkio.throttle.write_iops_device'}


class Tests:
    def __init__(self, cluster):
        self.cluster = cluster
        self.api = cluster.rest('c1')
        self.fake = cluster.dir / 'cgroup'
        (self.fake / 'blkio').mkdir(parents=True)
        for name in FILES.values():
            (self.fake / 'blkio' / name).touch()

    def call(self, method, path, body=None):
        return self.api.call(method, path, body).ok().json

    def set(self, path, value, key=READ, method='PUT'):
        self.call(method, path, {'override_props': {key: str(value)}} if value else {'delete_props': [key]})

    def device(self, node):
        return next(r['volumes'][0]['device_path'] for r in self.call('GET', '/v1/view/resources') if r['node_name'] == node)

    def held(self, node, key=READ):
        """The kernel's file has a line for each device; the test's own one keeps all that were written, the last one counts."""
        st = os.stat(self.device(node)).st_rdev
        root = self.fake / 'blkio' if node == 's2' else REAL
        lines = [line.split() for line in (root / FILES[key]).read_text().splitlines()]
        values = [int(v) for dev, v in lines if dev == f'{os.major(st)}:{os.minor(st)}']
        return values[-1] if values else 0

    def wait(self, node, value, key=READ):
        wait_for(f'{key} of {value} on {node}, not {self.held(node, key)}', lambda: self.held(node, key) == value)

    # ---- checks ----

    def setting(self):
        self.cluster.kill('s2')
        conf = self.cluster.dir / 's2/satellite.conf'
        conf.write_text(conf.read_text().replace('[satellite]', f'[satellite]\ncgroup_dir = {self.fake}'))
        self.cluster.start('s2')
        self.cluster.all_online()
        self.call('POST', '/v1/resource-groups', {'name': 'grp'})
        self.call('POST', '/v1/resource-groups/grp/volume-groups', {})
        self.call('POST', '/v1/resource-definitions', {'resource_definition': {
            'name': 'rr', 'resource_group_name': 'grp', 'layer_data': [{'type': 'STORAGE'}]}})
        self.call('POST', '/v1/resource-definitions/rr/volume-definitions', {'volume_definition': {'size_kib': 16384}})
        for node in ('s1', 's2'):
            self.call('POST', f'/v1/resource-definitions/rr/resources/{node}', {'resource': {'props': {'StorPoolName': 'pool1'}}})

    def levels(self):
        """From the farthest to the nearest; then back again."""
        rd = '/v1/resource-definitions/rr'
        levels = [('/v1/controller/properties', 'POST'), ('/v1/nodes/s2', 'PUT'), ('/v1/storage-pool-definitions/pool1', 'PUT'),
                  ('/v1/nodes/s2/storage-pools/pool1', 'PUT'), ('/v1/resource-groups/grp', 'PUT'), (rd, 'PUT'),
                  (f'{rd}/resources/s2', 'PUT'), ('/v1/resource-groups/grp/volume-groups/0', 'PUT'),
                  (f'{rd}/volume-definitions/0', 'PUT'), (f'{rd}/resources/s2/volumes/0', 'PUT')]
        for i, (path, method) in enumerate(levels):
            self.set(path, 1000000 + i, method=method)
            self.wait('s2', 1000000 + i)
        for i in reversed(range(len(levels))):
            self.set(levels[i][0], None, method=levels[i][1])
            self.wait('s2', 1000000 + i - 1 if i else 0)
        for i, key in enumerate(FILES):
            self.set(rd, 77000 + i, key)
        for i, key in enumerate(FILES):
            self.wait('s2', 77000 + i, key)
            self.set(rd, None, key)
            self.wait('s2', 0, key)

    def kernel(self):
        """3 MiB at 1 MiB/s, and then without a limit."""
        def read():
            started = time.monotonic()
            subprocess.run(['dd', f'if={self.device("s1")}', 'of=/dev/null', 'bs=256k', 'count=12', 'iflag=direct'],
                           check=True, capture_output=True)
            return time.monotonic() - started
        self.set('/v1/resource-definitions/rr', 1048576)
        self.wait('s1', 1048576)
        took = read()
        assert took > 1.9, took
        self.set('/v1/resource-definitions/rr', None)
        self.wait('s1', 0)
        assert min(read() for _ in range(5)) < 1.5

    def restarts(self):
        """What was changed while the satellite was away; a limit that somebody else has set stays."""
        self.set('/v1/resource-definitions/rr', 5000)
        self.set('/v1/resource-definitions/rr', 6000, 'sys/fs/blkio_throttle_write')
        self.wait('s2', 5000)
        self.wait('s2', 6000, 'sys/fs/blkio_throttle_write')
        self.cluster.kill('s2')
        self.cluster.everybody_sees('s2', False)
        self.set('/v1/resource-definitions/rr', None)
        self.set('/v1/resource-definitions/rr', 7000, 'sys/fs/blkio_throttle_write')
        st = os.stat(self.device('s2')).st_rdev
        with open(self.fake / 'blkio' / FILES['sys/fs/blkio_throttle_read_iops'], 'a', encoding='utf-8') as f:
            f.write(f'{os.major(st)}:{os.minor(st)} 123\n')
        self.cluster.start('s2')
        self.cluster.all_online()
        self.wait('s2', 0)
        self.wait('s2', 7000, 'sys/fs/blkio_throttle_write')
        assert self.held('s2', 'sys/fs/blkio_throttle_read_iops') == 123

    def without(self):
        """A node without control groups says so; the volume is there nevertheless."""
        self.fake.rename(self.fake.with_name('elsewhere'))
        self.set('/v1/resource-definitions/rr', 8000)

        def reports():
            r = next(r for r in self.call('GET', '/v1/view/resources') if r['node_name'] == 's2')
            return [rc for rc in r['volumes'][0].get('reports', []) if 'neither the blkio controller' in rc.get('cause', '')]
        assert wait_for('the warning', reports)[0]['ret_code'] < 0
        self.fake.with_name('elsewhere').rename(self.fake)
        self.set('/v1/resource-definitions/rr', 9000)
        self.wait('s2', 9000)
        wait_for('no warning', lambda: not reports())

    def gone(self):
        """Its device's number may soon be another one's."""
        st = os.stat(self.device('s2')).st_rdev
        self.call('DELETE', '/v1/resource-definitions/rr')
        file = self.fake / 'blkio' / FILES[READ]
        wait_for('the limit to go', lambda: file.read_text().splitlines()[-1] == f'{os.major(st)}:{os.minor(st)} 0')


def main():
    suite = Suite()
    cluster = suite.check('the dev cluster comes up', Cluster, 1, 2)
    if cluster is None:
        suite.finish()
    try:
        tests = Tests(cluster)
        for name in ('setting', 'levels', 'kernel', 'restarts', 'without', 'gone'):
            if name != 'kernel' or os.access(REAL / FILES[READ], os.W_OK):
                suite.check(name, getattr(tests, name))
            else:
                suite.skipped += 1
                print(f'skipped: {name}: {REAL} cannot be written')
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
