"""All members are killed under load and started again: every acknowledged write is there, and each restart serves within
a second."""
import threading
import time

import lib_e2e
from lib_e2e import Cluster, Suite, in_parallel, wait_for

lib_e2e.enter()


class Load(threading.Thread):
    """Writes until its member dies; keeps what was acknowledged."""

    def __init__(self, cluster, member, prefix):
        super().__init__()
        self.rest, self.prefix = cluster.rest(member, timeout_s=10), prefix
        self.acknowledged, self.problem = [], None

    def run(self):
        i = 0
        while True:
            name = f'{self.prefix}x{i}'
            i += 1
            try:
                answer = self.rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name}})
            except OSError:
                return
            except Exception:  # noqa: BLE001 - the connection broke in the middle of an answer
                return
            if answer.status != 201:
                self.problem = f'{name}: {answer.status} {answer.text[:200]}'
                return
            self.acknowledged.append(name)


def kill_all(cluster, number):
    loads = [Load(cluster, member, f'r{number}{member}t{t}') for member in cluster.controllers for t in range(4)]
    for load in loads:
        load.start()
    wait_for('some acknowledged writes', lambda: sum(len(x.acknowledged) for x in loads) > 300)
    in_parallel([lambda m=m: cluster.kill(m) for m in cluster.controllers])
    for load in loads:
        load.join(20)
        assert load.problem is None, load.problem
    return [name for load in loads for name in load.acknowledged]


def restart(cluster):
    """Seconds from the first start to a linearizable answer of every member."""
    started = time.monotonic()
    in_parallel([lambda m=m: cluster.start(m) for m in cluster.controllers])

    for member in cluster.controllers:
        wait_for(f'{member} serves', lambda member=member: cluster.serves(member), 20, 0.02)
    return time.monotonic() - started


def check_names(cluster, names):
    cluster.same_state()
    for member in cluster.controllers:
        listed = {d['name'] for d in cluster.rest(member).get('/v1/resource-definitions').ok().json}
        lost = set(names) - listed
        assert not lost, f'{member} lost {len(lost)} acknowledged writes: {sorted(lost)[:5]}'


def main():
    suite = Suite()
    cluster = suite.check('the dev cluster comes up', Cluster, 3, 0)
    if cluster is None:
        suite.finish()
    names = []
    try:
        for number in range(3):
            names += suite.check(f'round {number + 1}: all members killed under load', kill_all, cluster, number) or []
            took = suite.check(f'round {number + 1}: restarted', restart, cluster)
            if took is not None:
                print(f'        {took:.2f} s from the first start to an answer of each member')
            suite.check(f'round {number + 1}: {len(names)} acknowledged writes are there', check_names, cluster, names)
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
