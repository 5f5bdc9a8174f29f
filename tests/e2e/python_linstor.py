"""LINSTOR's own Python client from PyPI, unmodified, at one member and then at another: everything that this version
has is created, listed, changed and deleted, and real loop devices appear and disappear."""
import os
import subprocess

import lib_e2e
from lib_e2e import Cluster, Suite, wait_for

lib_e2e.enter(['python-linstor'])

import linstor  # noqa: E402 - lives in the environment that enter() made
from linstor import Linstor, ResourceData  # noqa: E402
from linstor.responses import StoragePoolDriver  # noqa: E402


def connect(cluster, name):
    client = Linstor(f'linstor://{cluster.address(name)}:3370', timeout=120)
    client.connect()
    return client


def done(replies):
    """Every reply is a success (or information); returns them."""
    assert replies, 'no reply'
    for reply in replies:
        assert not reply.is_error(), str(reply)
        if reply.is_warning():
            print(f'        warning: {reply}')
    return replies


def refused(replies, code):
    assert any(reply.is_error() and reply.ret_code & 0x7fff == code for reply in replies), [str(r) for r in replies]


def devices(cluster, client, resource):
    """node -> device path of volume 0, as the API shows it."""
    listed = client.volume_list_raise(filter_by_resources=[resource]).resources
    return {r.node_name: r.volumes[0].device_path for r in listed if r.volumes}


def check_device(path, size_kib):
    assert path and path.startswith('/dev/'), path
    real = int(subprocess.run(['blockdev', '--getsize64', path], check=True, capture_output=True, text=True).stdout)
    assert real >= size_kib * 1024, (path, real, size_kib)


def test_nodes(cluster, client):
    nodes = {n.name: n for n in client.node_list_raise().nodes}
    for name in cluster.satellites:
        assert nodes[name].connection_status == 'ONLINE', nodes[name].connection_status
    done(client.node_create('spare', 'Satellite', '127.0.0.99'))
    refused(client.node_create('SPARE', 'Satellite', '127.0.0.98'), 500)
    assert 'spare' in [n.name for n in client.node_list_raise().nodes]
    done(client.node_modify('spare', property_dict={'Aux/rack': '7'}))
    done(client.netinterface_create('spare', 'second', '127.0.0.100'))
    node = [n for n in client.node_list_raise().nodes if n.name == 'spare'][0]
    assert sorted(i.name for i in node.net_interfaces) == ['default', 'second'], node.net_interfaces
    done(client.netinterface_modify('spare', 'second', '127.0.0.101'))
    done(client.netinterface_delete('spare', 'second'))
    node = [n for n in client.node_list_raise().nodes if n.name == 'spare'][0]
    assert node.props['Aux/rack'] == '7', node.props
    done(client.node_modify('spare', delete_props=['Aux/rack']))
    done(client.node_lost('spare'))
    assert 'spare' not in [n.name for n in client.node_list_raise().nodes]


def test_pools(cluster, client, pool):
    for name in cluster.satellites:
        directory = cluster.dir / f'{pool}-{name}'
        directory.mkdir(exist_ok=True)
        done(client.storage_pool_create(name, pool, StoragePoolDriver.FILEThin, str(directory)))
    listed = client.storage_pool_list_raise(filter_by_stor_pools=[pool]).storage_pools
    assert len(listed) == len(cluster.satellites), listed
    for entry in listed:
        assert entry.free_space.free_capacity > 0 and entry.free_space.total_capacity > 0, entry
    refused(client.storage_pool_create('nowhere', pool, StoragePoolDriver.FILEThin, '/tmp'), 300)
    done(client.storage_pool_modify(cluster.satellites[0], pool, {'Aux/speed': 'fast'}))


def test_bad_pool(cluster, client):
    replies = client.storage_pool_create(cluster.satellites[0], 'badpool', StoragePoolDriver.FILEThin, '/nonexistent/place')
    assert any(r.is_error() or r.is_warning() for r in replies), [str(r) for r in replies]
    client.storage_pool_delete(cluster.satellites[0], 'badpool')


def test_groups(cluster, client, group, pool):
    done(client.resource_group_create(group, description='a group', place_count=2, storage_pool=[pool],
                                      layer_list=['storage']))
    refused(client.resource_group_create(group), 522)
    done(client.volume_group_create(group))
    assert [v.number for v in client.volume_group_list_raise(group).volume_groups] == [0]
    done(client.resource_group_modify(group, place_count=3))
    listed = client.resource_group_list_raise(filter_by_resource_groups=[group]).resource_groups
    assert listed[0].select_filter.place_count == 3 and listed[0].description == 'a group', listed[0]
    size = client.resource_group_query_size_info(group)
    assert size.space_info.max_vlm_size_in_kib > 0, size


def test_spawn(cluster, client, group, name):
    done(client.resource_group_spawn(group, name, ['16M']))
    placed = devices(cluster, client, name)
    assert len(placed) == 3, placed
    for path in placed.values():
        check_device(path, 16 * 1024)
    refused(client.resource_group_spawn(group, name, ['16M']), 501)
    done(client.volume_dfn_modify(name, 0, size=32 * 1024))
    for path in devices(cluster, client, name).values():
        wait_for(f'{path} grown', lambda path=path: os.path.exists(path) and int(subprocess.run(
            ['blockdev', '--getsize64', path], check=True, capture_output=True, text=True).stdout) == 32 << 20)
    done(client.resource_dfn_modify(name, {'Aux/owner': 'me'}))
    definition = [d for d in client.resource_dfn_list_raise().resource_definitions if d.name == name][0]
    assert definition.properties['Aux/owner'] == 'me', definition.properties


def test_by_hand(cluster, client, name, pool):
    done(client.resource_dfn_create(name, layer_list=['storage']))
    done(client.volume_dfn_create(name, 8 * 1024))
    first = cluster.satellites[0]
    done(client.resource_create([ResourceData(first, name, storage_pool=pool)]))
    check_device(devices(cluster, client, name)[first], 8 * 1024)
    done(client.resource_auto_place(name, 2, storage_pool=[pool]))
    placed = devices(cluster, client, name)
    assert len(placed) == 2, placed
    path = placed[first]
    backing = subprocess.run(['losetup', '-n', '-O', 'BACK-FILE', path], check=True, capture_output=True, text=True).stdout.strip()
    assert os.path.exists(backing), backing
    done(client.resource_delete(first, name))
    assert first not in devices(cluster, client, name)
    assert not os.path.exists(backing), f'{backing} is still there'
    refused(client.resource_create([ResourceData('nowhere', name)]), 300)
    done(client.resource_make_available(next(n for n in placed if n != first), name))


def test_no_drbd(cluster, client, pool):
    """The default layers need DRBD, which these satellites lack: refused with the reason, nothing half-made."""
    done(client.resource_dfn_create('withdrbd'))
    done(client.volume_dfn_create('withdrbd', 8 * 1024))
    refused(client.resource_auto_place('withdrbd', 2), 996)
    assert not devices(cluster, client, 'withdrbd')
    done(client.resource_dfn_delete('withdrbd'))


def test_key_values(client):
    done(client.keyvaluestore_modify('Store', {'a/b': '1', 'c': '2'}))
    store = client.keyvaluestore_list('Store')
    assert store.properties['a/b'] == '1' and store.properties['c'] == '2', store.properties
    done(client.keyvaluestore_modify('Store', delete_props=['a/b', 'c']))
    assert client.keyvaluestores().instance('Store') is None or not client.keyvaluestores().instance('Store').properties


def test_properties(client):
    done(client.controller_set_prop('Aux/site', 'here'))
    assert client.controller_props()[0].properties['Aux/site'] == 'here'
    refused(client.controller_set_prop('No/Such/Property', 'x'), 213)
    done(client.controller_del_prop('Aux/site'))


def write_all(cluster, client, name, text):
    for path in devices(cluster, client, name).values():
        with open(path, 'r+b', buffering=0) as f:
            f.write(text.encode().ljust(4096, b'.'))


def check_all(cluster, client, name, text):
    placed = devices(cluster, client, name)
    assert placed and all(placed.values()), placed
    for path in placed.values():
        with open(path, 'rb') as f:
            assert f.read(len(text)) == text.encode(), (name, path)


def test_snapshots(cluster, client, turn, pool):
    """Taken, listed, restored, rolled back, cloned, deleted; data are compared."""
    name, other, copy, clone = f'snapped{turn}', f'beside{turn}', f'restored{turn}', f'cloned{turn}'
    for rsc in (name, other):
        done(client.resource_dfn_create(rsc, layer_list=['storage']))
        done(client.volume_dfn_create(rsc, 8 * 1024))
        done(client.resource_auto_place(rsc, 2, storage_pool=[pool]))
    nodes = sorted(devices(cluster, client, name))
    write_all(cluster, client, name, 'first')
    done(client.snapshot_create([], name, 'snap1'))
    refused(client.snapshot_create([], name, 'snap1'), 514)
    refused(client.snapshot_create([], 'nosuch', 'snap1'), 301)
    done(client.snapshot_create([nodes[0]], name, 'snap2'))
    snaps = {s.name: s for s in client.snapshot_dfn_list_raise(filter_by_resources=[name]).snapshots}
    assert sorted(snaps['snap1'].nodes) == nodes and snaps['snap2'].nodes == [nodes[0]], snaps
    assert snaps['snap1'].flags == ['SUCCESSFUL'] and snaps['snap1'].snapshots[0].create_datetime, snaps['snap1']
    assert [v.size for v in snaps['snap1'].snapshot_volume_definitions] == [8 * 1024]
    done(client.snapshot_dfn_modify(name, 'snap1', {'Aux/why': 'test'}))
    done(client.snapshot_create_multi([], [name, other], 'both'))
    write_all(cluster, client, name, 'second')
    done(client.resource_dfn_create(copy))
    done(client.snapshot_volume_definition_restore(name, 'snap1', copy))
    done(client.snapshot_resource_restore([], name, 'snap1', copy))
    check_all(cluster, client, copy, 'first')
    check_all(cluster, client, name, 'second')
    started = client.resource_dfn_clone(name, clone)
    assert started.clone_name == clone and started.source_name == name, started
    assert client.resource_dfn_clone_wait_complete(name, clone, wait_interval=0.1, timeout=120)
    check_all(cluster, client, clone, 'second')
    assert client.resource_dfn_sync_status(clone).synced_on_all
    done(client.snapshot_rollback(name, 'snap1'))
    check_all(cluster, client, name, 'first')
    refused(client.resource_dfn_delete(name), 514)
    done(client.snapshot_delete(name, 'snap1', [nodes[0]]))
    for rsc, snap in ((name, 'snap1'), (name, 'snap2'), (name, 'both'), (other, 'both')):
        done(client.snapshot_delete(rsc, snap))
    assert client.snapshot_delete(name, 'snap1')[0].is_warning()
    assert not client.snapshot_dfn_list_raise(filter_by_resources=[name, other]).snapshots
    for rsc in (name, other, copy, clone):
        done(client.resource_dfn_delete(rsc))


def test_encryption(client, turn):
    """The master passphrase is the cluster's: the second member goes on where the first one has left it."""
    first, second = f'a good passphrase {turn}', f'a good passphrase {turn + 1}'
    if turn == 0:
        assert client.crypt_status()[0].status == 'unset'
        done(client.crypt_create_passphrase(first))
    assert client.crypt_status()[0].status == 'unlocked'
    refused(client.crypt_create_passphrase(first), 512)
    done(client.crypt_enter_passphrase(first))
    refused(client.crypt_enter_passphrase('wrong'), 216)
    refused(client.crypt_modify_passphrase('wrong', second), 216)
    done(client.crypt_modify_passphrase(first, second))
    refused(client.crypt_enter_passphrase(first), 216)


def test_delete(cluster, client, group, pool, names):
    for name in names:
        backing = [subprocess.run(['losetup', '-n', '-O', 'BACK-FILE', p], check=True, capture_output=True,
                                  text=True).stdout.strip() for p in devices(cluster, client, name).values()]
        done(client.resource_dfn_delete(name))
        assert name not in [d.name for d in client.resource_dfn_list_raise().resource_definitions]
        for path in backing:
            wait_for(f'{path} removed', lambda path=path: not os.path.exists(path))
    assert client.resource_dfn_delete('nevermade')[0].is_warning()
    done(client.resource_group_delete(group))
    for node in cluster.satellites:
        done(client.storage_pool_delete(node, pool))


def main():
    suite = Suite()
    cluster = suite.check('the dev cluster comes up', Cluster)
    if cluster is None:
        suite.finish()
    try:
        print(f'python-linstor {linstor.__file__}')
        for turn, name in enumerate(cluster.controllers[:2]):
            client = suite.check(f'{name}: connect', connect, cluster, name)
            if client is None:
                continue
            group, pool = f'group{turn}', f'thin{turn}'
            suite.check(f'{name}: nodes', test_nodes, cluster, client)
            suite.check(f'{name}: storage pools', test_pools, cluster, client, pool)
            suite.check(f'{name}: a pool whose directory is missing', test_bad_pool, cluster, client)
            suite.check(f'{name}: resource groups', test_groups, cluster, client, group, pool)
            suite.check(f'{name}: spawn, grow, properties', test_spawn, cluster, client, group, f'spawned{turn}')
            suite.check(f'{name}: resources by hand and by autoplacer', test_by_hand, cluster, client, f'made{turn}', pool)
            suite.check(f'{name}: DRBD is missing', test_no_drbd, cluster, client, pool)
            suite.check(f'{name}: key-value store', test_key_values, client)
            suite.check(f'{name}: controller properties', test_properties, client)
            suite.check(f'{name}: snapshots, restore, rollback, clone', test_snapshots, cluster, client, turn, pool)
            suite.check(f'{name}: master passphrase', test_encryption, client, turn)
            suite.check(f'{name}: delete', test_delete, cluster, client, group, pool, [f'spawned{turn}', f'made{turn}'])
            client.disconnect()
        suite.check('all members have the same state', cluster.same_state)
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
