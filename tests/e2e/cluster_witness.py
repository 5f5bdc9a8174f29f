"""Two controllers and a witness: any one of them may die, and writes go on. A witness that is elected hands over at once
and never answers by itself."""
import pathlib
import subprocess
import tempfile
import time

import lib_e2e
from lib_e2e import Cluster, Suite, wait_for

lib_e2e.enter()


class WitnessCluster(Cluster):
    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='outrigger-e2e-'))
        self.controllers, self.satellites = ['c1', 'c2'], ['s1']
        self.devcluster('up', '--controllers', '2', '--witnesses', '1', '--satellites', '1')


def write(cluster, member, value):
    started = time.monotonic()
    answer = cluster.rest(member).call('PUT', '/v1/key-value-store/witness', {'override_props': {'value': value}})
    assert answer.status == 200, answer.text
    return time.monotonic() - started


def voters_are_back(cluster):
    """Everybody follows one leader, and that is a controller."""
    def calm():
        views = [cluster.raft(c) for c in cluster.controllers]
        return all(views) and len({v['leader'] for v in views}) == 1 and views[0]['leader'] in cluster.controllers
    wait_for('a controller that leads', calm)
    cluster.same_state()


def leader_dies(cluster):
    pauses = []
    for i in range(6):
        leader = cluster.leader()
        other = 'c2' if leader == 'c1' else 'c1'
        cluster.kill(leader)
        pauses.append(write(cluster, other, f'leader{i}'))
        cluster.start(leader)
        voters_are_back(cluster)
    assert max(pauses) < 5, pauses
    print(f'        pauses {", ".join(f"{p * 1000:.0f}" for p in pauses)} ms')


def witness_dies(cluster):
    cluster.kill('w1')
    for c in cluster.controllers:
        write(cluster, c, c)
    cluster.start('w1')
    voters_are_back(cluster)


def witness_serves_nobody(cluster):
    done = subprocess.run(['ss', '-Hltn', 'src', cluster.address('w1')], capture_output=True, text=True)
    ports = {line.split()[3].rpartition(':')[2] for line in done.stdout.splitlines()}
    assert ports == {'3372'}, done.stdout


def everybody_ends_well(cluster):
    cluster.devcluster('down')
    for log in cluster.dir.glob('*/log'):
        text = log.read_text(errors='replace')
        for bad in ('Sanitizer', 'runtime error', 'Assertion', 'ERROR '):
            assert bad not in text, f'{log.parent.name}: {text[-1500:]}'


suite = Suite()
cluster = suite.check('two controllers, a witness and a satellite come up', WitnessCluster)
if cluster is not None:
    cluster.address = lambda name: f'127.0.0.{dict(c=10, s=20, w=30)[name[0]] + int(name[1:])}'
    for check in (witness_serves_nobody, leader_dies, witness_dies, everybody_ends_well):
        suite.check(check.__name__.replace('_', ' '), check, cluster)
    cluster.close()
suite.finish()
