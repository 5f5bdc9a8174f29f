"""Cinder's own driver for LINSTOR, from the package cinder of PyPI, with LINSTOR's Python client; what the driver imports of Cinder and Oslo is
made by us below, in memory. A volume's life as cinder-volume has it, at one member. Skipped where the packages cannot be had."""
import os
import socket
import socketserver
import subprocess
import sys
import threading
import types
import uuid
import zipfile

import lib_e2e
from lib_e2e import BUILD, Cluster, Suite, skip

WHEELS = BUILD / 'cinder'


def get_driver():
    """The wheel without what it depends on; before the program enters its network namespace."""
    if not list(WHEELS.glob('cinder-*.whl')):
        done = subprocess.run([sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check', 'download', '--no-deps',
                               '--only-binary', ':all:', '-d', str(WHEELS), 'cinder'], capture_output=True, text=True)
        if done.returncode != 0:
            skip(f'Cinder cannot be had: {done.stderr.strip().splitlines()[-1:]}')


if os.environ.get('OUTRIGGER_E2E') != 'inside':
    get_driver()
lib_e2e.enter(['python-linstor'])

OPTIONS = {'linstor_default_storage_pool_name': 'pool1', 'linstor_volume_downsize_factor': 4096, 'linstor_controller_diskless': False,
           'volume_backend_name': 'linstor', 'reserved_percentage': 0, 'max_over_subscription_ratio': 20.0}


class Config:
    """Options by name, as Cinder's configuration of a backend and Oslo's CONF have them."""
    volume_name_template = 'volume-%s'

    def __init__(self, **values):
        self.__dict__.update(OPTIONS, **values)

    def register_opts(self, opts, group=None):
        for opt in opts:
            OPTIONS.setdefault(opt.name, opt.default)

    def append_config_values(self, opts):
        pass

    def safe_get(self, name):
        return getattr(self, name, None)


class Option:
    def __init__(self, name, default=None, help=''):
        self.name, self.default = name, default


class BackendError(Exception):
    def __init__(self, message=None, data=None):
        super().__init__(message or data)


class VolumeDriver:
    def __init__(self, *args, configuration=None, **kwargs):
        self.configuration = configuration

    def get_filter_function(self):
        return None

    get_goodness_function = get_filter_function


def module(name, **members):
    made = types.ModuleType(name)
    made.__dict__.update(members)
    sys.modules[name] = made
    if '.' in name:
        parent, _, last = name.rpartition('.')
        setattr(sys.modules[parent], last, made)


def load_driver():
    import logging
    kinds = {f'{k}Opt': Option for k in ('Str', 'Float', 'Int', 'Bool')}
    module('oslo_config', cfg=types.SimpleNamespace(CONF=Config(), **kinds))
    module('oslo_log', log=logging)
    module('oslo_utils', importutils=None, units=types.SimpleNamespace(Ki=1024, Mi=1 << 20, Gi=1 << 30))
    module('cinder')
    module('cinder.common', constants=types.SimpleNamespace(ISCSI='iSCSI', DRBD='DRBD'))
    module('cinder.exception', VolumeBackendAPIException=BackendError, VolumeDriverException=BackendError)
    module('cinder.i18n', _=lambda text: text)
    module('cinder.image', image_utils=None)
    module('cinder.interface', volumedriver=lambda c: c)
    module('cinder.volume', configuration=types.SimpleNamespace(SHARED_CONF_GROUP='shared'), volume_utils=None,
           driver=types.SimpleNamespace(VolumeDriver=VolumeDriver))
    wheel = sorted(WHEELS.glob('cinder-*.whl'))[-1]
    source = zipfile.ZipFile(wheel).read('cinder/volume/drivers/linstordrv.py')
    made = types.ModuleType('linstordrv')
    exec(compile(source, 'linstordrv.py', 'exec'), made.__dict__)  # noqa: S102 - the driver itself
    return made


class Forward(socketserver.BaseRequestHandler):
    """The driver asks some of its questions at localhost, whatever its configuration says."""
    to = None

    def handle(self):
        with socket.create_connection((self.to, 3370)) as member:
            back = threading.Thread(target=self.copy, args=(member, self.request), daemon=True)
            back.start()
            self.copy(self.request, member)
            back.join()

    @staticmethod
    def copy(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def resolve_localhost():
    """Also on a machine whose hosts file lacks the name."""
    ask = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *more, **named: ask('127.0.0.1' if host == 'localhost' else host, *more, **named)


class Localhost(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True


def volume(size):
    return {'id': str(uuid.uuid4()), 'size': size, 'migration_status': None}


def device(driver, v):
    path = driver.create_export(None, v, None)['data']['device_path']
    assert path.startswith('/dev/'), path
    return path


def size_of(path):
    return int(subprocess.run(['blockdev', '--getsize64', path], check=True, capture_output=True, text=True).stdout)


def names(cluster):
    return sorted(rd['name'] for rd in cluster.rest('c1').get('/v1/resource-definitions').ok().json)


def test_stats(cluster, driver, state):
    driver.check_for_setup_error()
    pool = driver.get_volume_stats(True)['pools'][0]
    assert pool['total_capacity_gb'] >= pool['free_capacity_gb'] > 0, pool
    assert pool['backend_state'] == 'up' and pool['total_volumes'] == 0, pool


def test_volume(cluster, driver, state):
    v = state['volume'] = volume(1)
    driver.create_volume(v)
    assert names(cluster) == [f'CV_{v["id"]}']
    assert size_of(device(driver, v)) >= (1 << 30) - (4 << 20)
    assert driver.initialize_connection(v, {'host': driver.host_name})['data']['device_path'] == device(driver, v)
    driver.terminate_connection(v, {'host': driver.host_name})
    driver.extend_volume(v, 2)
    assert size_of(device(driver, v)) >= (2 << 30) - (4 << 20)
    assert driver.get_volume_stats(True)['pools'][0]['total_volumes'] == 1
    try:
        driver.create_volume(v)
    except BackendError:
        return
    raise AssertionError('made twice')


def test_snapshot(cluster, driver, state):
    v, copy, clone = state['volume'], volume(3), volume(2)
    with open(device(driver, v), 'r+b', buffering=0) as f:
        f.write(b'in the snapshot'.ljust(4096, b'.'))
        os.fsync(f.fileno())
    snapshot = {'id': str(uuid.uuid4()), 'volume_id': v['id'], 'volume_size': 2}
    driver.create_snapshot(snapshot)
    driver.create_volume_from_snapshot(copy, snapshot)
    driver.create_cloned_volume(clone, {'id': v['id'], 'size': 2})
    assert size_of(device(driver, copy)) >= (3 << 30) - (4 << 20)
    for made in (copy, clone):
        with open(device(driver, made), 'rb') as f:
            assert f.read(15) == b'in the snapshot', made
        driver.delete_volume(made)
    state['snapshot'] = snapshot


def test_delete(cluster, driver, state):
    """Resources go although there is a snapshot, the definition stays for it, and goes with it. Of what was placed automatically the
    library deletes the snapshots first."""
    driver.delete_volume(state['volume'])
    if not driver.ap_count:
        assert names(cluster) == [f'CV_{state["volume"]["id"]}']
        driver.delete_snapshot(state['snapshot'])
    assert names(cluster) == []


def main():
    suite, cluster, state = Suite(), Cluster(), {}
    socket.gethostname = lambda: 's1'  # cinder-volume runs on a node of the cluster
    try:
        cluster.all_online()
        cluster.rest('c1').call('PUT', '/v1/resource-groups/DfltRscGrp', {'select_filter': {'layer_stack': ['STORAGE']}}).ok()
        Forward.to = cluster.address('c3')
        resolve_localhost()
        threading.Thread(target=Localhost(('127.0.0.1', 3370), Forward).serve_forever, daemon=True).start()
        linstordrv = load_driver()
        # without DRBD a volume is used where a replica is: two replicas are kept to two nodes, of which cinder-volume's is one
        for count, who in ((0, 'every node'), (2, 'two replicas')):
            if count:
                cluster.rest('c1').call('PUT', '/v1/nodes/s3', {'override_props': {'AutoplaceTarget': 'false'}}).ok()
            driver = linstordrv.LinstorDrbdDriver(configuration=Config(linstor_default_uri=f'linstor://{cluster.address("c2")}:3370',
                                                                       linstor_autoplace_count=count))
            for test in (test_stats, test_volume, test_snapshot, test_delete):
                suite.check(f'{test.__name__[5:]}, {who}', test, cluster, driver, state)
    finally:
        cluster.close()
    suite.finish()


main()
