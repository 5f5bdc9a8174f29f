"""The call sequences of LINSTOR's integrations, with the bodies and headers that they send, each at another member: the Proxmox plugin,
linstor-csi (golinstor), Cinder's driver. Exact statuses, and the fields that these clients read. The dev cluster has no DRBD, so the resource
group, or the default group, asks for the layer STORAGE, as its administrator would."""
import http.client
import json
import os
import subprocess

import lib_e2e
from lib_e2e import Cluster, Suite, wait_for

lib_e2e.enter()


class Client:
    """Calls of one client: how it frames requests, and which status it expects."""

    def __init__(self, cluster, member, headers, keep):
        self.address, self.headers, self.keep, self.connection = cluster.address(member), headers, keep, None
        self.cluster = cluster

    def call(self, method, path, body=None, status=200):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.address, 3370, timeout=60)
        data = None if body is None else body if isinstance(body, (str, bytes)) else json.dumps(body)
        headers = dict(self.headers)
        if data is None and headers.pop('Content-Length-0', None):
            headers['Content-Length'] = '0'
        headers.pop('Content-Length-0', None)
        self.connection.request(method, path, data, headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        if not self.keep or answer.headers.get('Connection', '').lower() == 'close':
            self.connection.close()
            self.connection = None
        assert answer.status == status, (method, path, answer.status, text)
        if text:
            assert answer.headers['Content-Type'] == 'application/json', answer.headers
            assert 'null' not in text.replace('"null"', ''), text
        return json.loads(text) if text else None


def size_of(device):
    return int(subprocess.run(['blockdev', '--getsize64', device], check=True, capture_output=True, text=True).stdout)


# ---- the Proxmox plugin (Perl's REST::Client) ----

def proxmox(cluster):
    c = Client(cluster, 'c1', {'Connection': 'TE, close', 'TE': 'deflate,gzip;q=0.3', 'User-Agent': 'REST::Client/273',
                               'Content-Length-0': True}, False)
    c.call('GET', '/health')
    group = c.call('GET', '/v1/resource-groups/pve')
    assert group['select_filter']['place_count'] == 2
    spaces = c.call('POST', '/v1/queries/resource-groups/query-all-size-info', {'ignore_cache_older_than_sec': 30})
    space = spaces['result']['pve']['space_info']
    assert space['capacity_in_kib'] > 0 and space['available_size_in_kib'] > 0, space
    space = c.call('POST', '/v1/resource-groups/pve/query-size-info', {})['space_info']
    assert space['available_size_in_kib'] > 0
    name = 'pm-0123abcd'
    # alloc_image with a local node: definitions, a replica here, the others by the autoplacer
    c.call('POST', '/v1/resource-groups/pve/spawn', {
        'resource_definition_name': name, 'definitions_only': True, 'volume_sizes': [8192],
        'resource_definition_props': {'DrbdOptions/ExactSize': 'False', 'DrbdOptions/Net/allow-two-primaries': 'yes'}}, 201)
    c.call('POST', f'/v1/resource-definitions/{name}/resources/s1/make-available', {'diskful': True})
    c.call('POST', f'/v1/resource-definitions/{name}/autoplace', {}, 201)
    c.call('PUT', f'/v1/resource-definitions/{name}', {'override_props': {'Aux/pm/vmid': 100}})
    rd = [r for r in c.call('GET', '/v1/resource-definitions') if r['name'] == name][0]
    assert rd['props']['Aux/pm/vmid'] == '100' and rd['resource_group_name'] == 'pve', rd
    rscs = [r for r in c.call('GET', '/v1/view/resources') if r['name'] == name]
    assert len(rscs) == 2 and 's1' in [r['node_name'] for r in rscs], rscs
    for r in rscs:
        v = r['volumes'][0]
        assert v['provider_kind'] == 'FILE_THIN' and v['storage_pool_name'] == 'pool1' and v['state']['disk_state'], v
        assert r['state']['in_use'] is False and 'layer_object' in r, r
    only = c.call('GET', f'/v1/view/resources?resources={name}&nodes=s1')
    assert [r['node_name'] for r in only] == ['s1']
    # activate where it is, resize, snapshots, rollback, restore, free
    c.call('POST', f'/v1/resource-definitions/{name}/resources/s1/make-available', {'diskful': False})
    c.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 16384})
    assert size_of(only[0]['volumes'][0]['device_path']) == 16 << 20
    c.call('POST', f'/v1/resource-definitions/{name}/snapshots', {'name': 'snap_pm_one'}, 201)
    c.call('POST', f'/v1/resource-definitions/{name}/snapshot-rollback/snap_pm_one', '')
    copy = 'pm-0123abce'
    c.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': copy}}, 201)
    for part in ('volume-definition', 'resource'):
        c.call('POST', f'/v1/resource-definitions/{name}/snapshot-restore-{part}/snap_pm_one', {'to_resource': copy})
    c.call('DELETE', f'/v1/resource-definitions/{name}/snapshots/snap_pm_one')
    c.call('DELETE', f'/v1/resource-definitions/{name}/resources/s1?keep_tiebreaker=True')
    for rsc in (name, copy):
        c.call('DELETE', f'/v1/resource-definitions/{rsc}')
    assert not [r for r in c.call('GET', '/v1/view/resources') if r['name'].startswith('pm-')]


# ---- linstor-csi ----

def csi(cluster):
    c = Client(cluster, 'c2', {'Accept': 'application/json', 'Accept-Encoding': 'identity', 'Content-Type': 'application/json',
                               'User-Agent': 'linstor-csi/1.10.0'}, True)
    nodes = c.call('GET', '/v1/nodes')
    assert all(n['connection_status'] == 'ONLINE' and n['net_interfaces'][0]['address'] for n in nodes), nodes
    pools = c.call('GET', '/v1/view/storage-pools?cached=true')
    assert {p['storage_pool_name'] for p in pools} >= {'pool1'} and all('props' in p for p in pools)
    vol, group = 'pvc-1b2c', 'sc-7f3d'
    # CreateVolume: nothing is there
    c.call('GET', f'/v1/resource-definitions/{vol}', status=404)
    assert not [r for r in c.call('GET', '/v1/resource-definitions?with_volume_definitions=true') if r['name'] == vol]
    c.call('GET', f'/v1/resource-groups/{group}', status=404)
    wanted = {'name': group, 'props': {'Aux/csi': 'yes'}, 'select_filter': {
        'place_count': 2, 'storage_pool': 'pool1', 'storage_pool_list': ['pool1'], 'layer_stack': ['STORAGE'],
        'replicas_on_different': ['Aux/zone']}}
    c.call('POST', '/v1/resource-groups', wanted, 201)
    got = c.call('GET', f'/v1/resource-groups/{group}')
    for key, value in wanted['select_filter'].items():
        assert got['select_filter'].get(key) == value, (key, got)  # else each CreateVolume would modify the group
    assert got['props'] == wanted['props'], got
    again = c.call('POST', '/v1/resource-groups', wanted, 500)
    assert again[0]['ret_code'] & 0xffff == 522
    c.call('POST', '/v1/resource-definitions', {'resource_definition': {
        'name': vol, 'resource_group_name': group, 'props': {'Aux/csi-volume-annotations': '{"name":"x"}'}}}, 201)
    again = c.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': vol, 'resource_group_name': group}}, 500)
    assert again[0]['ret_code'] & 0xffff == 501
    c.call('GET', f'/v1/resource-definitions/{vol}/volume-definitions/0', status=404)
    c.call('POST', f'/v1/resource-definitions/{vol}/volume-definitions', {'volume_definition': {
        'volume_number': 0, 'size_kib': 16384, 'props': {'FileSystem/Type': 'ext4'}}})
    c.call('POST', f'/v1/resource-definitions/{vol}/autoplace', {'select_filter': {'node_name_list': ['s2'], 'additional_place_count': 1}}, 201)
    c.call('POST', f'/v1/resource-definitions/{vol}/autoplace', {}, 201)
    rscs = c.call('GET', f'/v1/view/resources?resources={vol}&cached=true')
    assert len(rscs) == 2 and 's2' in [r['node_name'] for r in rscs] and all(r['layer_object'] for r in rscs), rscs
    c.call('PUT', f'/v1/resource-definitions/{vol}', {'override_props': {
        'Aux/csi-provisioning-completed-by': 'linstor-csi/test', 'Aux/csi.storage.k8s.io/pvc/name': 'claim'}})
    assert c.call('GET', f'/v1/resource-definitions/{vol}')['props']['Aux/csi.storage.k8s.io/pvc/name'] == 'claim'
    too_many = c.call('POST', f'/v1/resource-definitions/{vol}/autoplace', {'select_filter': {'place_count': 9}}, 500)
    assert any(rc['ret_code'] & 0xffff == 996 for rc in too_many), too_many
    # Publish: the device is there, with the file system that the node service expects
    c.call('POST', f'/v1/resource-definitions/{vol}/resources/s2/make-available', {'diskful': False})
    device = [r for r in c.call('GET', f'/v1/view/resources?resources={vol}') if r['node_name'] == 's2'][0]['volumes'][0]['device_path']
    assert os.path.exists(device) and size_of(device) >= 16 << 20
    kind = subprocess.run(['blkid', '-p', '-o', 'value', '-s', 'TYPE', device], capture_output=True, text=True).stdout.strip()
    assert kind == 'ext4', kind
    # Snapshot, restore, clone, expand
    assert c.call('GET', f'/v1/view/snapshots?resources={vol}') == []
    c.call('GET', '/v1/remotes')
    c.call('GET', '/v1/key-value-store/csi-backup-mapping', status=404)
    c.call('POST', '/v1/actions/snapshot/multi', {'snapshots': [{'resource_name': vol, 'name': 'snapshot-1'}]}, 201)
    snap = c.call('GET', f'/v1/view/snapshots?resources={vol}')[0]
    assert snap['flags'] == ['SUCCESSFUL'] and snap['snapshots'][0]['create_timestamp'] > 0, snap
    assert snap['volume_definitions'][0]['size_kib'] == 16384 and sorted(snap['nodes']) == sorted(r['node_name'] for r in rscs), snap
    c.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': 'pvc-copy', 'resource_group_name': group}}, 201)
    c.call('POST', f'/v1/resource-definitions/{vol}/snapshot-restore-volume-definition/snapshot-1', {'to_resource': 'pvc-copy'})
    c.call('POST', f'/v1/resource-definitions/{vol}/snapshot-restore-resource/snapshot-1', {'to_resource': 'pvc-copy', 'nodes': ['s2']})
    assert c.call('GET', '/v1/resource-definitions/pvc-copy/volume-definitions/0')['size_kib'] == 16384
    c.call('GET', f'/v1/resource-definitions/{vol}/clone/pvc-clone', status=404)
    started = c.call('POST', f'/v1/resource-definitions/{vol}/clone', {'name': 'pvc-clone'}, 201)
    wait_for('the clone', lambda: c.call('GET', started['location'])['status'] == 'COMPLETE')
    c.call('PUT', f'/v1/resource-definitions/{vol}/volume-definitions/0', {'size_kib': 32768})
    assert c.call('GET', f'/v1/resource-definitions/{vol}/volume-definitions/0')['size_kib'] == 32768
    # Delete
    c.call('DELETE', f'/v1/resource-definitions/{vol}/snapshots/snapshot-1')
    c.call('DELETE', f'/v1/resource-definitions/{vol}/snapshots/snapshot-1')  # again: a warning, not an error
    left = c.call('DELETE', f'/v1/resource-groups/{group}', status=500)
    assert left[0]['ret_code'] & 0xffff == 501, left
    for rsc in (vol, 'pvc-copy', 'pvc-clone'):
        c.call('PUT', f'/v1/resource-definitions/{rsc}', {'override_props': {'BalanceResourcesEnabled': 'false'}})
        for r in c.call('GET', f'/v1/view/resources?resources={rsc}'):
            c.call('DELETE', f'/v1/resource-definitions/{rsc}/resources/{r["node_name"]}?keep_tiebreaker=true')
        c.call('DELETE', f'/v1/resource-definitions/{rsc}/volume-definitions/0')
        assert c.call('GET', f'/v1/view/resources?resources={rsc}') == []
        c.call('DELETE', f'/v1/resource-definitions/{rsc}')
    c.call('DELETE', f'/v1/resource-groups/{group}')
    c.call('GET', f'/v1/resource-definitions/{vol}', status=404)


# ---- Cinder's driver (python-linstor: no Content-Type, a new connection and the version for each call) ----

def cinder(cluster):
    c = Client(cluster, 'c3', {'Accept-Encoding': 'identity', 'User-Agent': 'PythonLinstor/1.27.1 (API1.0.4)'}, False)

    def call(*args, **kwargs):
        version = c.call('GET', '/v1/controller/version')
        assert version['rest_api_version'].startswith('1.')
        return c.call(*args, **kwargs)
    pools = call('GET', '/v1/view/storage-pools?limit=0&offset=0')
    assert all(p['uuid'] and p['free_space_mgr_name'] for p in pools), pools
    configured = [p for p in pools if p['storage_pool_name'] == 'pool1']
    assert len(configured) == 2 and all(p['free_capacity'] > 0 and p['total_capacity'] > 0 for p in configured), configured
    call('PUT', '/v1/resource-groups/DfltRscGrp', {'select_filter': {'layer_stack': ['storage']}})
    name = 'CV_5a1c'
    call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name, 'props': {}}, 'drbd_port': None}, status=201)
    call('POST', f'/v1/resource-definitions/{name}/volume-definitions', {'volume_definition': {'size_kib': 8192}})
    call('POST', f'/v1/resource-definitions/{name}/resources', [
        {'resource': {'node_name': node, 'props': {'StorPoolName': 'pool1'}}} for node in ('s1', 's2')], status=201)
    rd = [r for r in call('GET', '/v1/resource-definitions') if r['name'] == name][0]
    assert rd['uuid'] and rd['props'] == {}, rd
    view = call('GET', f'/v1/view/resources?resources={name}')
    assert all(os.path.exists(r['volumes'][0]['device_path']) for r in view)
    call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0', {'size_kib': 12288})
    call('POST', f'/v1/resource-definitions/{name}/snapshots', {'name': 'SN_77', 'nodes': []}, status=201)
    assert [s['name'] for s in call('GET', f'/v1/view/snapshots?resources={name}')] == ['SN_77']
    refused = call('DELETE', f'/v1/resource-definitions/{name}', status=500)
    assert refused[0]['ret_code'] & 0xffff == 514, refused
    copy = 'CV_5a1d'
    call('POST', '/v1/resource-definitions', {'resource_definition': {'name': copy}}, status=201)
    for part in ('volume-definition', 'resource'):
        call('POST', f'/v1/resource-definitions/{name}/snapshot-restore-{part}/SN_77', {'to_resource': copy, 'nodes': []})
    # the member that answered may have heard of the copy before the leader has
    cluster.rest('c3').call('DELETE', f'/v1/resource-definitions/{name}/snapshots/SN_77').ok()
    call('POST', '/v1/resource-definitions', {'resource_definition': {'name': 'CV_auto'}}, status=201)
    call('POST', '/v1/resource-definitions/CV_auto/volume-definitions', {'volume_definition': {'size_kib': 8192}})
    call('POST', '/v1/resource-definitions/CV_auto/autoplace', {'diskless_on_remaining': False, 'select_filter': {
        'place_count': 1, 'storage_pool': 'pool1'}}, status=201)
    for rsc in (name, copy, 'CV_auto'):
        for r in call('GET', f'/v1/view/resources?resources={rsc}'):
            call('DELETE', f'/v1/resource-definitions/{rsc}/resources/{r["node_name"]}')
        call('DELETE', f'/v1/resource-definitions/{rsc}/volume-definitions/0')
        call('DELETE', f'/v1/resource-definitions/{rsc}')
    gone = call('DELETE', f'/v1/resource-definitions/{name}')
    assert gone[0]['ret_code'] & 0xffff == 3000, gone


def prepare(cluster):
    rest = cluster.rest('c1')
    for i, node in enumerate(cluster.satellites):
        rest.call('PUT', f'/v1/nodes/{node}', {'override_props': {'Aux/zone': f'zone{i}'}}).ok()
    rest.call('POST', '/v1/resource-groups', {'name': 'pve', 'select_filter': {'place_count': 2, 'layer_stack': ['STORAGE']}}).ok()
    rest.call('POST', '/v1/resource-groups/pve/volume-groups', {}).ok()


def main():
    suite = Suite()
    cluster = suite.check('the dev cluster comes up', Cluster, 3, 2)
    if cluster is None:
        suite.finish()
    try:
        prepare(cluster)
        for name, fn in (('the Proxmox plugin', proxmox), ('linstor-csi', csi), ('Cinder', cinder)):
            suite.check(name, fn, cluster)
        left = [p.name for s in cluster.satellites for p in (cluster.dir / s / 'pool1').iterdir()]
        suite.check('nothing is left', lambda: left == [] or (_ for _ in ()).throw(AssertionError(left)))
        suite.check('all members have the same state', cluster.same_state)
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
