"""The whole cluster, real processes and real loop devices: volumes appear and vanish; the leader is killed in the midst of
it; satellites are paused, killed and away while something changes; a member leaves in order; the majority is lost and
found again; everything is stopped and started. --quick leaves out what takes longer than a few seconds."""
import argparse
import os
import pathlib
import signal
import subprocess
import threading
import time

import lib_e2e
from lib_e2e import Cluster, Rest, Suite, wait_for

lib_e2e.enter()

WARN_NOT_CONNECTED = 1002
SIZE_KIB = 16384


def loops(cluster):
    """Backing files below the cluster's directory to loop devices."""
    found = {}
    for path in pathlib.Path('/sys/block').glob('loop*/loop/backing_file'):
        try:
            backing = path.read_text().strip()
        except OSError:
            continue
        if backing.startswith(f'{cluster.dir}/'):
            found[backing[len(str(cluster.dir)) + 1:]] = f'/dev/{path.parts[3]}'
    return found


def images(cluster):
    return sorted(str(p.relative_to(cluster.dir)) for p in cluster.dir.glob('s*/pool1/*'))


def backing(node, rsc):
    return f'{node}/pool1/{rsc}_00000.img'


def codes(answer):
    return [abs(rc['ret_code']) & 0x7fff if rc['ret_code'] >= 0 else rc['ret_code'] & 0x7fff for rc in answer.json]


class Tests:
    def __init__(self, cluster):
        self.cluster = cluster
        self.nodes, self.controllers = cluster.satellites, cluster.controllers

    def rest(self, name=None):
        return self.cluster.rest(name or self.cluster.controllers[1])

    def spawn(self, rest, name):
        return rest.call('POST', '/v1/resource-groups/smoke/spawn',
                         {'resource_definition_name': name, 'volume_sizes': [SIZE_KIB]})

    def delete(self, name, rest=None):
        return (rest or self.rest()).call('DELETE', f'/v1/resource-definitions/{name}')

    def assert_devices(self, name, nodes=None, timeout_s=60):
        nodes = nodes or self.nodes
        wait_for(f'devices of {name}', lambda: all(backing(n, name) in loops(self.cluster) for n in nodes), timeout_s)

    def assert_no_devices(self, name, timeout_s=60):
        def gone():
            return not any(f'/{name}_' in p for p in [*loops(self.cluster), *images(self.cluster)])
        wait_for(f'nothing left of {name}', gone, timeout_s)

    def status_of(self, node, member):
        listed = {n['name']: n for n in self.rest(member).get('/v1/nodes').ok().json}
        return listed[node]['connection_status']

    # ---- checks ----
    def everything_is_up(self):
        lines = self.cluster.devcluster('status').splitlines()[1:]
        assert len(lines) == len(self.cluster.controllers) + len(self.nodes), lines
        assert sum(' leader ' in line for line in lines) == 1, lines
        assert sum('ONLINE' in line for line in lines) == len(self.nodes), lines
        assert 'LS_CONTROLLERS=http://127.0.0.11:3370' in self.cluster.devcluster('env')
        for member in self.cluster.controllers:
            for node in self.nodes:
                assert self.status_of(node, member) == 'ONLINE', (member, node)
            pools = [p for p in self.rest(member).get('/v1/view/storage-pools').ok().json
                     if p['storage_pool_name'] == 'pool1']
            assert len(pools) == len(self.nodes)
            for p in pools:
                assert p['free_capacity'] > 0 and p['total_capacity'] >= p['free_capacity'], p

    def group(self):
        rest = self.rest()
        answer = rest.call('POST', '/v1/resource-groups', {'name': 'smoke', 'select_filter': {
            'place_count': len(self.nodes), 'storage_pool': 'pool1', 'layer_stack': ['STORAGE']}})
        assert answer.status == 201, answer.text
        assert rest.call('POST', '/v1/resource-groups/smoke/volume-groups', {}).status == 201

    def volume_appears_and_vanishes(self):
        answer = self.spawn(self.rest(), 'vol')
        assert answer.status == 201, answer.text
        found = loops(self.cluster)  # at once: the answer waits for the satellites
        for node in self.nodes:
            device = found[backing(node, 'vol')]
            size = int(subprocess.check_output(['blockdev', '--getsize64', device]))
            assert size == SIZE_KIB * 1024, size
        for member in self.cluster.controllers:
            def listed(member=member):
                return self.rest(member).get('/v1/view/resources?resources=vol').ok().json
            if member != self.controllers[1]:  # the one that was asked has waited; each member hears from the satellites by itself
                wait_for(f'{member} to hear of it', lambda: all(r['volumes'][0].get('device_path') for r in listed()))
            assert len(listed()) == len(self.nodes)
            for r in listed():
                assert r['volumes'][0]['device_path'] == found[backing(r['node_name'], 'vol')], r
                assert r['volumes'][0]['state']['disk_state'] == 'Created', r
        answer = self.delete('vol')
        assert answer.status == 200, answer.text
        assert not any('/vol_' in p for p in loops(self.cluster)), 'the answer came before the devices went'
        self.assert_no_devices('vol')
        assert self.spawn(self.rest(), 'vol').status == 201  # the name is free again
        self.assert_devices('vol')
        self.delete('vol').ok()
        self.assert_no_devices('vol')

    def data_survives_growing(self):
        self.spawn(self.rest(), 'grow').ok()
        device = loops(self.cluster)[backing(self.nodes[0], 'grow')]
        pattern = os.urandom(65536)
        with open(device, 'r+b', buffering=0) as f:
            f.write(pattern)
            os.fsync(f.fileno())
        answer = self.rest().call('PUT', '/v1/resource-definitions/grow/volume-definitions/0',
                                  {'size_kib': 2 * SIZE_KIB})
        assert answer.status == 200, answer.text
        wait_for('the larger device', lambda: int(subprocess.check_output(
            ['blockdev', '--getsize64', device])) == 2 * SIZE_KIB * 1024)
        with open(device, 'rb') as f:
            assert f.read(65536) == pattern
        self.delete('grow').ok()
        self.assert_no_devices('grow')

    def leader_is_killed_meanwhile(self):
        leader = self.cluster.leader()
        others = [c for c in self.cluster.controllers if c != leader]
        answers, problems = {}, []

        def spawn_some(worker):
            rest = self.rest(others[worker % len(others)])
            for i in range(8):
                name = f'k{worker}x{i}'
                try:
                    answers[name] = self.spawn(rest, name)
                except Exception as e:  # noqa: BLE001 - told below
                    problems.append(f'{name}: {e!r}')
        workers = [threading.Thread(target=spawn_some, args=(w,)) for w in range(4)]
        for w in workers:
            w.start()
        wait_for('some answers', lambda: len(answers) > 3 or problems)
        self.cluster.kill(leader)
        for w in workers:
            w.join(90)
        assert not problems, problems
        assert len(answers) == 32
        for name, answer in answers.items():
            assert answer.status == 201, f'{name}: {answer.text}'
        for name in answers:
            self.assert_devices(name)
        self.cluster.start(leader)
        self.cluster.same_state()
        for name in answers:
            self.delete(name, self.rest(leader)).ok()
        for name in answers:
            self.assert_no_devices(name)
        self.cluster.same_state()

    def satellite_is_silent_meanwhile(self):
        node = self.nodes[0]
        self.cluster.devcluster('pause', node)
        try:
            for member in self.cluster.controllers:
                wait_for(f'{member} sees that {node} is silent',
                         lambda m=member: self.status_of(node, m) != 'ONLINE', 30)  # after 5 s of silence
            started = time.monotonic()
            self.rest().call('POST', '/v1/resource-definitions', {'resource_definition': {'name': 'away'}}).ok()
            self.rest().call('POST', '/v1/resource-definitions/away/volume-definitions',
                             {'volume_definition': {'size_kib': SIZE_KIB}}).ok()
            answer = self.rest().call('POST', '/v1/resource-definitions/away/resources', [
                {'resource': {'node_name': node, 'props': {'StorPoolName': 'pool1'}}, 'layer_list': ['STORAGE']}])
            assert answer.status == 201, answer.text
            assert WARN_NOT_CONNECTED in codes(answer), answer.text
            assert time.monotonic() - started < 5
        finally:
            self.cluster.devcluster('resume', node)
        self.assert_devices('away', [node])
        self.cluster.everybody_sees(node, True)

    def satellite_is_dead_meanwhile(self):
        node = self.nodes[0]
        self.cluster.kill(node)
        assert backing(node, 'away') in loops(self.cluster)  # devices do not need it
        self.cluster.everybody_sees(node, False)
        answer = wait_for('a deletion', lambda: self.delete('away'))
        assert answer.status == 200, answer.text
        assert WARN_NOT_CONNECTED in codes(answer), answer.text
        assert backing(node, 'away') in images(self.cluster)
        self.cluster.start(node)
        self.assert_no_devices('away')
        # Its name may be used again, and the satellite does not confuse the two.
        self.cluster.kill(node)
        self.rest().call('POST', '/v1/resource-definitions', {'resource_definition': {'name': 'away'}}).ok()
        self.cluster.start(node)
        self.cluster.everybody_sees(node, True)
        self.delete('away').ok()

    def member_leaves_in_order(self):
        leader = self.cluster.leader()
        term = self.cluster.view(leader)['term']
        rest = self.rest([c for c in self.cluster.controllers if c != leader][0])
        pid, started = int((self.cluster.dir / leader / 'pid').read_text().split()[0]), time.monotonic()
        os.kill(pid, signal.SIGTERM)
        wait_for(f'the end of {leader}', lambda: not self.cluster.running(leader), every_s=0.01)
        took_s = time.monotonic() - started
        assert took_s < 4, f'{took_s:.1f} s'
        rest.call('POST', '/v1/key-value-store/unused', None)
        answer = rest.call('PUT', '/v1/key-value-store/smoke', {'override_props': {'a': 'b'}})
        assert answer.status == 200, answer.text
        log = (self.cluster.dir / leader / 'log').read_text()
        assert 'leadership is handed over' in log, log[-800:]
        assert log.endswith('has left in order\n'), log[-800:]
        assert answer.term > term
        self.cluster.start(leader)
        self.cluster.same_state()

    def majority_is_lost_and_found(self):
        keep, *lose = self.cluster.controllers
        for c in lose:
            self.cluster.kill(c)

        def health():
            try:
                return Rest(self.cluster.address(keep), timeout_s=3).get('/health').status
            except ConnectionRefusedError:
                return 'refused'
        wait_for('/health is bad', lambda: health() not in (200, 'refused'), 12)
        wait_for('the listener is closed', lambda: health() == 'refused', 25)
        for c in lose:
            self.cluster.start(c)
        wait_for('/health is good again', lambda: health() == 200, 20)
        assert self.spawn(self.rest(keep), 'after').status == 201
        self.assert_devices('after')

    def everything_restarts(self):
        before = images(self.cluster)
        self.cluster.devcluster('down')
        assert loops(self.cluster) == {}, 'down leaves no loop devices'
        assert images(self.cluster) == before
        self.cluster.devcluster('up')
        self.assert_devices('after')
        self.delete('after').ok()
        self.assert_no_devices('after')
        assert images(self.cluster) == []

    def everybody_ends_well(self):
        self.cluster.devcluster('down')
        for log in self.cluster.dir.glob('*/log'):
            text = log.read_text(errors='replace')
            for bad in ('Sanitizer', 'runtime error', 'Assertion', 'ERROR '):
                assert bad not in text, f'{log.parent.name}: ' + text[text.index(bad) - 200:][:1500]
            if log.parent.name[0] == 'c':
                assert text.endswith('has left in order\n'), f'{log.parent.name}: {text[-500:]}'


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--quick', action='store_true')
    args = p.parse_args()
    suite = Suite()
    cluster = suite.check('three controllers and three satellites come up', Cluster)
    if cluster is None:
        suite.finish()
    t = Tests(cluster)
    try:
        checks = [t.everything_is_up, t.group, t.volume_appears_and_vanishes, t.data_survives_growing,
                  t.leader_is_killed_meanwhile]
        if not args.quick:
            checks += [t.satellite_is_silent_meanwhile, t.satellite_is_dead_meanwhile, t.member_leaves_in_order,
                       t.majority_is_lost_and_found, t.everything_restarts]
        for check in checks:
            suite.check(check.__name__.replace('_', ' '), check)
        suite.check('everybody ends well', t.everybody_ends_well)
    finally:
        if suite.failed:
            for log in sorted(cluster.dir.glob('*/log')):
                print(f'---- {log.parent.name}\n{"".join(log.open().readlines()[-12:])}')
        cluster.close()
    suite.finish()


main()
