"""Two of five members, the leader and a follower, are stopped for 17 s under load: longer than every timer of the others, and until the
log that they lack is gone. Requests wait in their sockets meanwhile. When they go on, nobody answers from the past, each request is
carried out once or not at all, and both have the others' state again within seconds, under the ids that they had. 35 s.

--seconds N: how long; --rounds N: how often (1)."""
import argparse
import threading
import time

import lib_e2e
from lib_e2e import Cluster, Suite, wait_for

lib_e2e.enter()
SETTINGS = ['raft.snapshot_entries=256']
RECOVERY_S = 40  # on a machine that is busy otherwise, too


class Load(threading.Thread):
    """Definitions through one member, one after the other; in between values that only make the log longer."""

    def __init__(self, cluster, member, label):
        super().__init__(daemon=True)
        self.rest, self.label = cluster.rest(member, timeout_s=60), label
        self.acknowledged, self.problem, self.ending, self.longest_s = [], None, False, 0
        self.start()

    def run(self):
        i = 0
        while not self.ending:
            name = f'{self.label}x{i}'
            began = time.monotonic()
            try:
                if i % 4 == 0:
                    answer = self.rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name}})
                else:
                    answer = self.rest.call('PUT', f'/v1/key-value-store/{self.label}', {'override_props': {f'k{i % 50}': str(i)}})
            except OSError as e:
                self.problem = f'{name}: {e}'
                return
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            if answer.status >= 400:
                self.problem = f'{name}: {answer.status} {answer.text[:300]}'
                return
            if i % 4 == 0:
                self.acknowledged.append(name)
            i += 1


class Waiting(threading.Thread):
    """One request that a stopped member has in its socket."""

    def __init__(self, cluster, member, name):
        super().__init__(daemon=True)
        self.rest, self.name, self.status = cluster.rest(member, timeout_s=60), name, None
        self.start()

    def run(self):
        try:
            self.status = self.rest.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': self.name}}).status
        except OSError:
            pass  # its outcome is not known


class Tests:
    def __init__(self, cluster, seconds):
        self.cluster, self.seconds, self.acknowledged, self.n = cluster, seconds, set(), 0

    def listed(self, member, timeout_s=30):
        answer = self.cluster.rest(member, timeout_s=timeout_s).get('/v1/resource-definitions')
        return [d['name'] for d in answer.ok().json]

    def silence(self):
        c, self.n = self.cluster, self.n + 1
        leader = c.leader()
        follower = next(m for m in c.controllers if m != leader)
        stopped, present = (leader, follower), [m for m in c.controllers if m not in (leader, follower)]
        before = {m: c.view(m) for m in stopped}
        loads = [Load(c, m, f's{self.n}{m}{i}') for i in range(2) for m in present]
        time.sleep(0.5)
        for m in stopped:
            c.devcluster('pause', m)
        waiting = [Waiting(c, m, f'w{self.n}{m}{i}') for m in stopped for i in range(3)]
        time.sleep(self.seconds)

        def log_is_gone():
            first = [v['snapshot_index'] for v in map(c.raft, present) if v and v['state'] == 'leader']
            return first and all(first[0] > before[m]['last_index'] for m in stopped)
        wait_for('the log that they lack to be gone', log_is_gone)
        sure = {name for load in loads for name in load.acknowledged}
        began = time.monotonic()
        for m in stopped:
            c.devcluster('resume', m)
        for m in stopped:  # the first answer that it gives
            lost = (self.acknowledged | sure) - set(wait_for(f'an answer of {m}', lambda m=m: self.answer(m), RECOVERY_S))
            assert not lost, f'{m} answers without {len(lost)} writes that were acknowledged before: {sorted(lost)[:3]}'
        served = time.monotonic() - began
        for load in loads:
            load.ending = True
        for thread in (*loads, *waiting):
            thread.join(60)
            assert not thread.is_alive()
        for load in loads:
            assert load.problem is None, load.problem
            self.acknowledged.update(load.acknowledged)
        self.acknowledged.update(w.name for w in waiting if w.status == 201)
        c.same_state(RECOVERY_S)
        for m in stopped:
            assert c.view(m)['raft_id'] == before[m]['raft_id'], f'{m} came back as another one'
        for m in c.controllers:
            names = self.listed(m)
            assert len(names) == len(set(names))
            assert not self.acknowledged - set(names), f'{m} lost {sorted(self.acknowledged - set(names))[:5]}'
        print(f'        {leader} (the leader) and {follower} stopped for {self.seconds} s, {len(sure)} definitions meanwhile, longest wait '
              f'{max(load.longest_s for load in loads):.2f} s; both answered again after {served:.2f} s; of their {len(waiting)} waiting '
              f'requests {sum(w.status == 201 for w in waiting)} were carried out, {sum(w.status is None for w in waiting)} are unknown')

    def answer(self, member):
        try:
            return self.listed(member, 5)
        except (OSError, AssertionError):
            return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--seconds', type=float, default=17)
    parser.add_argument('--rounds', type=int, default=1)
    args = parser.parse_args()
    suite = Suite()
    cluster = suite.check('five members come up', Cluster, 5, 0, SETTINGS)
    if cluster is None:
        suite.finish()
    try:
        tests = Tests(cluster, args.seconds)
        for _ in range(args.rounds):
            suite.check('the leader and a follower are silent for long', tests.silence)
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
