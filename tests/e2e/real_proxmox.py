"""LINSTOR's plugin for Proxmox itself, unmodified, with the few modules of Proxmox that it takes made by us (tests/e2e/proxmox): what pvesm and a
backup do with a disk, at a list of members of which the first ones die. OUTRIGGER_CLIENTS names a directory that has the plugin's
sources as `linstor-proxmox`; the test is skipped without it. Resources have the layer STORAGE, so the plugin finds their devices by the API."""
import json
import os
import pathlib
import subprocess

import lib_e2e
from lib_e2e import TOP, Cluster, Suite, skip, wait_for

PLUGIN = pathlib.Path(os.environ.get('OUTRIGGER_CLIENTS', '/nonexistent')) / 'linstor-proxmox'
CACHE = pathlib.Path('/var/cache/linstor-proxmox')  # the plugin's own place
FAKES = TOP / 'tests/e2e/proxmox'
if not (PLUGIN / 'LINSTORPlugin.pm').exists():
    skip('the Proxmox plugin: OUTRIGGER_CLIENTS names no directory with linstor-proxmox in it')
if subprocess.run(['perl', '-MREST::Client', '-MJSON::XS', '-MUUID', '-MTypes::Serialiser', '-e', '1'], capture_output=True).returncode != 0:
    skip('the Proxmox plugin: needs librest-client-perl, libjson-xs-perl, libtypes-serialiser-perl, libuuid-perl')
lib_e2e.enter()


class Refused(Exception):
    pass


class Pve:
    """One process of the plugin, on one node, with its list of members."""

    def __init__(self, cluster, node='s1'):
        names = ','.join(cluster.address(c) for c in cluster.controllers)
        self.process = subprocess.Popen(['perl', '-I', str(FAKES), str(FAKES / 'run.pl'), str(PLUGIN), names], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=dict(os.environ, PVE_NODE=node))

    def __getattr__(self, method):
        def call(*args):
            self.process.stdin.write(json.dumps([method, *args]) + '\n')
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            answer = json.loads(line)
            if 'error' in answer:
                raise Refused(answer['error'])
            return answer['result']
        return call

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


def resources(cluster, name):
    return {r['node_name']: r for r in cluster.rest('c3').get('/v1/view/resources').ok().json if r['name'] == name}


def device(cluster, name, node='s1'):
    return resources(cluster, name)[node]['volumes'][0]['device_path']


def read(path):
    with open(path, 'rb') as f:
        return f.read(16)


def write(path, text):
    with open(path, 'r+b', buffering=0) as f:
        f.write(text.ljust(4096, b'.'))
        os.fsync(f.fileno())


def test_disk(cluster, pve, state):
    total, free, used, active = pve.status()
    assert active == 1 and total > free > 0 and used == total - free, (total, free, used, active)
    disk = state['disk'] = pve.alloc_image(100, 'raw', '', 20480)[0]
    name = state['name'] = disk.split('_')[0]
    assert disk == f'{name}_100' and name.startswith('pm-'), disk
    placed = resources(cluster, name)
    assert len(placed) == 2 and 's1' in placed, placed.keys()  # it prefers the node that it runs on
    pve.activate_volume(disk)
    pve.activate_volume(disk)
    assert pve.map_volume(disk)[0] == device(cluster, name), 'device'
    images = [i for i in pve.list_images(100)[0] if i['volid'].endswith(disk)]
    assert len(images) == 1 and images[0]['vmid'] in (100, '100'), images
    assert pve.volume_has_feature('snapshot', disk) == [1]
    rd = cluster.rest('c3').get(f'/v1/resource-definitions/{name}').ok().json
    assert rd['props']['Aux/pm/vmid'] == '100' and rd['props']['DrbdOptions/Net/allow-two-primaries'] == 'yes', rd


def test_refused(cluster, pve, state):
    for what, args in (('alloc_image', (100, 'raw', state['disk'], 20480)), ('alloc_image', (100, 'raw', '', 1 << 50)),
                       ('volume_snapshot_rollback', (state['disk'], 'nonsuch'))):
        try:
            getattr(pve, what)(*args)
        except Refused as e:
            assert 'already exists' in str(e) or 'API Return-Code' in str(e), e
            continue
        raise AssertionError(f'{what} {args} was not refused')
    # What could not be placed leaves a definition behind, as with LINSTOR; nothing of it is on a node.
    for rd in cluster.rest('c3').get('/v1/resource-definitions').ok().json:
        if rd['name'] != state['name']:
            cluster.rest('c3').call('DELETE', f'/v1/resource-definitions/{rd["name"]}').ok()


def test_resize(cluster, pve, state):
    pve.volume_resize(state['disk'], 48 << 20, 0)
    size = int(subprocess.run(['blockdev', '--getsize64', device(cluster, state['name'])], check=True, capture_output=True, text=True).stdout)
    assert size >= 48 << 20, size


def test_snapshots(cluster, pve, state):
    disk, name = state['disk'], state['name']
    write(device(cluster, name), b'before')
    pve.volume_snapshot(disk, 'one')
    write(device(cluster, name), b'after')
    pve.volume_snapshot_rollback(disk, 'one')
    assert read(device(cluster, name)).startswith(b'before'), read(device(cluster, name))
    # A backup of a container activates its snapshot: a resource is restored, which goes with the snapshot.
    pve.activate_volume(disk, 'one')
    restored = f'snap_{name}_one'
    where = next(iter(resources(cluster, restored)))
    assert read(device(cluster, restored, where)).startswith(b'before')
    pve.volume_snapshot_delete(disk, 'one')
    assert resources(cluster, restored) == {}
    assert cluster.rest('c3').get(f'/v1/resource-definitions/{name}/snapshots').ok().json == []


def test_members_die(cluster, pve, state):
    """The plugin asks /health of one member after the other, with each call anew."""
    cluster.kill('c1')
    disk = pve.alloc_image(101, 'raw', '', 8192)[0]
    pve.activate_volume(disk)
    pve.volume_snapshot(disk, 'x')
    cluster.start('c1')
    wait_for('c1 to answer', lambda: cluster.serves('c1'))
    cluster.kill(cluster.leader())
    pve.volume_snapshot_delete(disk, 'x')
    pve.free_image(disk, 0)
    for c in cluster.controllers:
        cluster.start(c)
        wait_for(f'{c} to answer', lambda: cluster.serves(c))
    assert resources(cluster, disk.split('_')[0]) == {}


def test_free(cluster, pve, state):
    pve.rename_volume(state['disk'], 200)
    pve.deactivate_volume(f'{state["name"]}_200')
    pve.free_image(f'{state["name"]}_200', 0)
    assert resources(cluster, state['name']) == {}
    assert cluster.rest('c3').get(f'/v1/resource-definitions/{state["name"]}').status == 404


def main():
    suite, cluster, state = Suite(), Cluster(), {}
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / 'sizeinfos').unlink(missing_ok=True)  # of another cluster
    try:
        cluster.all_online()
        rest = cluster.rest('c2')
        rest.call('POST', '/v1/resource-groups', {'name': 'pve', 'select_filter': {'place_count': 2, 'layer_stack': ['STORAGE']}}).ok()
        rest.call('POST', '/v1/resource-groups/pve/volume-groups', {}).ok()
        pve = Pve(cluster)
        for test in (test_disk, test_refused, test_resize, test_snapshots, test_members_die, test_free):
            suite.check(test.__name__[5:].replace('_', ' '), test, cluster, pve, state)
        pve.close()
    finally:
        cluster.close()
        (CACHE / 'sizeinfos').unlink(missing_ok=True)
    suite.finish()


main()
