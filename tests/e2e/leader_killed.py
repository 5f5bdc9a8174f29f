"""The leader is killed again and again while clients write through the other members: every request gets an answer,
none an error, each definition exists exactly once on every member, all state hashes are equal. --kills N (3)."""
import argparse
import statistics
import threading
import time

import lib_e2e
from lib_e2e import Cluster, Suite, wait_for

lib_e2e.enter()


class Writer(threading.Thread):
    """Creates definitions one after the other through one member; keeps every answer and the time it took."""

    def __init__(self, cluster, member, prefix, count):
        super().__init__()
        self.rest, self.prefix, self.count = cluster.rest(member), prefix, count
        self.answers, self.problem = [], None

    def run(self):
        try:
            for i in range(self.count):
                name = f'{self.prefix}x{i}'
                started = time.monotonic()
                answer = self.rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name}})
                self.answers.append((name, answer.status, time.monotonic() - started, answer.text))
        except Exception as e:  # noqa: BLE001 - told by the main thread
            self.problem = f'{self.prefix}: after {len(self.answers)} answers: {e!r}'


def round_of(cluster, number, total):
    leader = cluster.leader()
    others = [c for c in cluster.controllers if c != leader]
    writers = [Writer(cluster, others[i % len(others)], f'r{number}w{i}', total // 4) for i in range(4)]
    for w in writers:
        w.start()
    wait_for('a tenth of the answers', lambda: sum(len(w.answers) for w in writers) > total // 10)
    cluster.kill(leader)
    for w in writers:
        w.join(120)
        assert not w.is_alive(), 'a writer got no answer within 120 s'
        assert w.problem is None, w.problem
    for w in writers:
        for name, status, _, text in w.answers:
            assert status == 201, f'{name}: {status} {text[:300]}'
    names = [a[0] for w in writers for a in w.answers]
    pause = max(a[2] for w in writers for a in w.answers)
    cluster.start(leader)
    wait_for(f'{leader} serves again', lambda: cluster.serves(leader))
    return names, pause


def check_all(cluster, names):
    cluster.same_state()
    for member in cluster.controllers:
        listed = [d['name'] for d in cluster.rest(member).get('/v1/resource-definitions').ok().json]
        assert len(listed) == len(set(listed)), f'{member}: twice: {[n for n in listed if listed.count(n) > 1][:5]}'
        missing = set(names) - set(listed)
        extra = set(listed) - set(names)
        assert not missing and not extra, f'{member}: missing {sorted(missing)[:5]}, extra {sorted(extra)[:5]}'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--kills', type=int, default=3)
    parser.add_argument('--writes', type=int, default=500)
    args = parser.parse_args()
    suite = Suite()
    cluster = suite.check('the dev cluster comes up', Cluster, 3, 0)
    if cluster is None:
        suite.finish()
    names, pauses = [], []
    try:
        for number in range(args.kills):
            result = suite.check(f'kill {number + 1}: {args.writes} writes through the others', round_of, cluster, number, args.writes)
            if result is not None:
                names += result[0]
                pauses.append(result[1])
                print(f'        pause {result[1] * 1000:.0f} ms')
        suite.check('each definition exists exactly once on every member', check_all, cluster, names)
        if pauses:
            pauses.sort()
            print(f'pause over {len(pauses)} kills: median {statistics.median(pauses) * 1000:.0f} ms, '
                  f'p99 {pauses[min(len(pauses) - 1, int(len(pauses) * 0.99))] * 1000:.0f} ms, max {pauses[-1] * 1000:.0f} ms')
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
