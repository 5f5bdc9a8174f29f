"""Satellites are killed in the midst of their work, restarted without any controller, and away while what they hold is
deleted and made anew; a leader that was paused goes on commanding; storage fails. In the end every node has exactly what
the cluster wants: images, loop devices, sizes, and no data of volumes that were deleted."""
import os
import pathlib
import random
import subprocess
import threading
import time

import lib_e2e
from lib_e2e import Cluster, Suite, wait_for

lib_e2e.enter()

SIZE_KIB = 4096
GROUP = 'restart'
OLD = b'data of a volume that was deleted'


def bound(cluster):
    """Path of the image below the cluster's directory -> its loop devices."""
    found = {}
    for path in pathlib.Path('/sys/block').glob('loop*/loop/backing_file'):
        try:
            backing = path.read_text().strip()
        except OSError:
            continue
        if backing.startswith(f'{cluster.dir}/'):
            found.setdefault(backing[len(str(cluster.dir)) + 1:], []).append(f'/dev/{path.parts[3]}')
    return found


def size_kib(device):
    return int(subprocess.check_output(['blockdev', '--getsize64', device])) // 1024


class Load(threading.Thread):
    """Makes, resizes and deletes resources of its own names until it is told to stop. Answers may fail while satellites
    die; a connection that breaks or an internal error may not."""

    def __init__(self, tests, number, stop):
        super().__init__()
        self.rest = tests.rest(tests.cluster.controllers[number % len(tests.cluster.controllers)])
        self.tests, self.number, self.stop, self.done, self.problem = tests, number, stop, 0, None

    def run(self):
        rng = random.Random(self.number)
        try:
            while not self.stop.is_set():
                name = f'load{self.number}x{rng.randrange(4)}'
                answer = rng.choice([self.tests.spawn, self.tests.spawn, self.tests.grow, self.tests.delete])(self.rest, name)
                if answer.status >= 500 and 'internal' in answer.text:
                    raise AssertionError(answer.text)
                self.done += 1
        except Exception as e:  # noqa: BLE001 - told by the check
            self.problem = repr(e)


class Tests:
    def __init__(self, cluster):
        self.cluster, self.nodes = cluster, cluster.satellites

    def rest(self, name=None):
        return self.cluster.rest(name or self.cluster.controllers[0])

    @staticmethod
    def spawn(rest, name):
        return rest.call('POST', f'/v1/resource-groups/{GROUP}/spawn',
                         {'resource_definition_name': name, 'volume_sizes': [SIZE_KIB]})

    @staticmethod
    def grow(rest, name):
        return rest.call('PUT', f'/v1/resource-definitions/{name}/volume-definitions/0',
                         {'size_kib': SIZE_KIB * random.randint(2, 4)})

    @staticmethod
    def delete(rest, name):
        return rest.call('DELETE', f'/v1/resource-definitions/{name}')

    def wanted(self):
        """Image -> size, as the cluster says."""
        rest, result = self.rest(self.cluster.leader()), {}
        for r in rest.get('/v1/view/resources').ok().json:
            for v in r.get('volumes', []):
                vd = rest.get(f'/v1/resource-definitions/{r["name"]}/volume-definitions/{v["volume_number"]}').ok().json
                result[f'{r["node_name"]}/pool1/{r["name"]}_{v["volume_number"]:05}.img'] = vd['size_kib']
        return result

    def differences(self):
        wanted, devices = self.wanted(), bound(self.cluster)
        there = {str(p.relative_to(self.cluster.dir)): p.stat().st_size // 1024 for p in self.cluster.dir.glob('s*/pool1/*')}
        wrong = [f'{p}: {there.get(p)} KiB, wanted {wanted.get(p)}' for p in sorted({*wanted, *there})
                 if wanted.get(p) != there.get(p)]
        wrong += [f'{p}: {len(devices.get(p, []))} devices' for p in sorted({*wanted, *devices})
                  if len(devices.get(p, [])) != (1 if p in wanted else 0)]
        return wrong or [f'{p}: device has {size_kib(devices[p][0])} KiB' for p in wanted
                         if size_kib(devices[p][0]) != wanted[p]]

    def assert_settled(self, timeout_s=60, besides=lambda: True):
        last = ['nothing seen']

        def same():
            try:
                last[:] = self.differences() or ([] if besides() else ['all but what is awaited besides'])
            except (OSError, KeyError, subprocess.SubprocessError, AssertionError) as e:  # gone between two looks
                last[:] = [repr(e)]
            return not last
        try:
            wait_for('what is wanted', same, timeout_s, 0.2)
        except TimeoutError:
            raise AssertionError(f'not as wanted: {last[:12]}')

    def device(self, node, name, number=0):
        return bound(self.cluster)[f'{node}/pool1/{name}_{number:05}.img'][0]

    def write(self, node, name, data, number=0):
        with open(self.device(node, name, number), 'r+b', buffering=0) as f:
            f.write(data.ljust(4096, b'.'))
            os.fsync(f.fileno())

    def starts_with(self, node, name, data, number=0):
        with open(self.device(node, name, number), 'rb') as f:
            return f.read(len(data)) == data

    def make(self, rest, name, nodes, pool='pool1'):
        """Placed by hand: on nodes that are away, too."""
        rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name}}).ok()
        rest.call('POST', f'/v1/resource-definitions/{name}/volume-definitions', {'volume_definition': {
            'size_kib': SIZE_KIB}}).ok()
        return rest.call('POST', f'/v1/resource-definitions/{name}/resources', [
            {'resource': {'node_name': n, 'props': {'StorPoolName': pool}}, 'layer_list': ['STORAGE']} for n in nodes])

    # ---- checks ----
    def group(self):
        rest = self.rest()
        rest.call('POST', '/v1/resource-groups', {'name': GROUP, 'select_filter': {
            'place_count': len(self.nodes), 'storage_pool': 'pool1', 'layer_stack': ['STORAGE']}}).ok()
        rest.call('POST', f'/v1/resource-groups/{GROUP}/volume-groups', {}).ok()

    def killed_under_load(self):
        stop = threading.Event()
        loads = [Load(self, i, stop) for i in range(6)]
        for x in loads:
            x.start()
        rng = random.Random(1)
        for _ in range(12):
            node = rng.choice(self.nodes)
            time.sleep(rng.random() * 0.4)
            self.cluster.kill(node)
            self.cluster.start(node)
        stop.set()
        for x in loads:
            x.join(60)
            assert not x.is_alive() and x.problem is None, x.problem
        assert sum(x.done for x in loads) > 30, [x.done for x in loads]
        self.assert_settled()

    def reboot_without_controllers(self):
        """Volumes come up from what the satellites have on their disks."""
        self.cluster.all_online()
        rest = self.rest()
        for i in range(4):
            self.spawn(rest, f'kept{i}').ok()
        self.assert_settled()
        for node in self.nodes:
            self.write(node, 'kept1', f'kept on {node}'.encode())
        before = {p: len(d) for p, d in bound(self.cluster).items()}
        for host in [*self.cluster.controllers, *self.nodes]:
            self.cluster.kill(host)
        for devices in bound(self.cluster).values():
            subprocess.run(['losetup', '-d', *devices], check=True)
        wait_for('released devices', lambda: not bound(self.cluster))
        for node in self.nodes:
            self.cluster.start(node)
        wait_for('the same devices', lambda: {p: len(d) for p, d in bound(self.cluster).items()} == before)
        for node in self.nodes:
            assert self.starts_with(node, 'kept1', f'kept on {node}'.encode())
        for c in self.cluster.controllers:
            self.cluster.start(c)
        self.cluster.leader()
        self.assert_settled()

    def away_while_names_are_used_again(self):
        self.cluster.all_online()
        rest, away = self.rest(), self.nodes[2]
        for name in ('again', 'vol', 'gone', 'bigger'):
            self.spawn(rest, name).ok()
        rest.call('POST', '/v1/resource-definitions/vol/volume-definitions', {'volume_definition': {'size_kib': SIZE_KIB}}).ok()
        self.assert_settled()
        for node in self.nodes:
            for name, number in (('again', 0), ('vol', 0), ('vol', 1), ('bigger', 0)):
                self.write(node, name, OLD, number)
        self.cluster.kill(away)
        for name in ('again', 'gone'):
            self.delete(rest, name).ok()
        self.make(rest, 'again', self.nodes).ok()
        rest.call('DELETE', '/v1/resource-definitions/vol/volume-definitions/1').ok()
        rest.call('POST', '/v1/resource-definitions/vol/volume-definitions', {
            'volume_definition': {'volume_number': 1, 'size_kib': SIZE_KIB}}).ok()
        rest.call('PUT', '/v1/resource-definitions/bigger/volume-definitions/0', {'size_kib': 2 * SIZE_KIB}).ok()
        assert self.starts_with(away, 'vol', OLD, 1)  # nobody could tell it yet
        self.cluster.start(away)
        self.assert_settled(besides=lambda: not self.starts_with(away, 'vol', OLD, 1))
        for node in self.nodes:
            assert not self.starts_with(node, 'again', OLD), f'{node} shows the data of the deleted resource'
            assert not self.starts_with(node, 'vol', OLD, 1), f'{node} shows the data of the deleted volume'
            assert self.starts_with(node, 'vol', OLD, 0), f'{node} has lost the volume that stayed'
            assert self.starts_with(node, 'bigger', OLD), f'{node} has lost the volume that grew'

    def paused_leader_does_not_command(self):
        self.cluster.all_online()
        rest, old = self.rest(), self.cluster.leader()
        self.spawn(rest, 'fence').ok()
        term = self.cluster.view(old)['term']
        others = [c for c in self.cluster.controllers if c != old]
        self.cluster.devcluster('pause', old)
        try:
            def other_leads():
                views = [self.cluster.raft(c) for c in others]
                return any(v and v['state'] == 'leader' and v['term'] > term for v in views)
            wait_for('another leader', other_leads)
            rest = self.rest(others[0])
            self.delete(rest, 'fence').ok()
            self.spawn(rest, 'fence2').ok()
            self.grow(rest, 'bigger').ok()
            for node in self.nodes[:2]:  # sessions from scratch: the old leader has to dial again
                self.cluster.kill(node)
                self.cluster.start(node)
        finally:
            self.cluster.devcluster('resume', old)
        self.assert_settled()
        time.sleep(1.5)
        self.assert_settled()
        self.cluster.same_state()

    def failures_are_reported(self):
        """A directory that takes nothing new, and one that is full: each becomes one error report."""
        self.cluster.all_online()
        rest, node = self.rest(), self.nodes[0]
        pool, small = self.cluster.dir / node / 'pool1', self.cluster.dir / node / 'small'
        small.mkdir()
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=16m', 'none', small], check=True)
        subprocess.run(['chattr', '+i', pool], check=True)
        try:
            self.spawn(rest, 'locked')
            rest.call('POST', f'/v1/nodes/{node}/storage-pools', {
                'storage_pool_name': 'small', 'provider_kind': 'FILE', 'props': {'StorDriver/FileDir': str(small)}}).ok()
            self.make(rest, 'fits', [node], 'small').ok()
            (small / 'filler').write_bytes(bytes(9 << 20))  # the cluster hears of that later
            self.make(rest, 'full', [node], 'small')

            def reports():
                found = [r for r in rest.get('/v1/error-reports').ok().json if r['node_name'] == node]
                return [rest.get(f'/v1/error-reports/{r["filename"]}').ok().json[0]['text'] for r in found]

            def both():
                texts = reports()
                return [t for t in texts if 'locked' in t] and [t for t in texts if 'full' in t]
            wait_for('error reports', both)
            time.sleep(1)
            for name, cause in (('locked', 'Operation not permitted'), ('full', 'No space left')):
                texts = [t for t in reports() if f'resource {name} ' in t]
                assert len(texts) == 1 and cause in texts[0] and 'Correction:' in texts[0], texts
            self.delete(rest, 'full').ok()
            self.delete(rest, 'fits').ok()
            rest.call('DELETE', f'/v1/nodes/{node}/storage-pools/small').ok()
        finally:
            subprocess.run(['chattr', '-i', pool], check=True)
            subprocess.run(['umount', '-l', small], check=True)
        self.assert_settled(30)

    def nothing_is_left(self):
        rest = self.rest()
        for r in rest.get('/v1/resource-definitions').ok().json:
            self.delete(rest, r['name']).ok()
        self.assert_settled()
        assert bound(self.cluster) == {}
        assert [*self.cluster.dir.glob('s*/pool1/*')] == []
        assert [*self.cluster.dir.glob('s*/*.damaged*')] == []
        orphans = [r for r in rest.get('/v1/view/resources').ok().json]
        assert orphans == [], orphans


def main():
    suite = Suite()
    cluster = suite.check('three controllers and three satellites come up', Cluster)
    if cluster is None:
        suite.finish()
    t = Tests(cluster)
    try:
        for check in (t.group, t.killed_under_load, t.reboot_without_controllers, t.away_while_names_are_used_again,
                      t.paused_leader_does_not_command, t.failures_are_reported, t.nothing_is_left):
            suite.check(check.__name__.replace('_', ' '), check)
    finally:
        if suite.failed:
            for log in sorted(cluster.dir.glob('*/log')):
                print(f'---- {log.parent.name}\n{"".join(log.open(errors="replace").readlines()[-12:])}')
        cluster.close()
    suite.finish()


main()
