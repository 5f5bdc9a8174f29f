"""Whoever begins to lead has not reached the satellites yet: what depends on them is held until it has tried each one, and
nobody hears that a satellite is not online because the leader is another one since a moment. What does not depend on them is
not held, and a satellite that is really away is refused."""
import time

import lib_e2e
from lib_e2e import Cluster, Suite, in_parallel, wait_for

lib_e2e.enter()

GROUP = 'placed'
KILLS, RESTARTS = 4, 3


class Tests:
    def __init__(self, cluster):
        self.cluster, self.number = cluster, 0

    def group(self):
        rest = self.cluster.rest(self.cluster.controllers[0])
        rest.call('POST', '/v1/resource-groups', {'name': GROUP, 'select_filter': {
            'place_count': len(self.cluster.satellites), 'storage_pool': 'pool1', 'layer_stack': ['STORAGE']}}).ok()
        rest.call('POST', f'/v1/resource-groups/{GROUP}/volume-groups', {}).ok()
        self.spawn(self.cluster.controllers[0]).ok()

    def spawn(self, member):
        self.number += 1
        return self.cluster.rest(member).call('POST', f'/v1/resource-groups/{GROUP}/spawn', {
            'resource_definition_name': f'p{self.number}', 'volume_sizes': [4096]})

    def autoplace(self, member):
        """Defined first, so that the placement itself is what comes right after the change of leaders."""
        self.number += 1
        name, rest = f'p{self.number}', self.cluster.rest(member)
        rest.call('POST', '/v1/resource-definitions', {'resource_definition': {
            'name': name, 'resource_group_name': GROUP}}).ok()
        rest.call('POST', f'/v1/resource-definitions/{name}/volume-definitions', {
            'volume_definition': {'size_kib': 4096}}).ok()
        return lambda m: self.cluster.rest(m).call('POST', f'/v1/resource-definitions/{name}/autoplace', {})

    def leader_killed(self):
        """The next leader; and the one that was killed leads again, with a process that has just started."""
        for n in range(KILLS):
            old = self.cluster.leader()
            others = [c for c in self.cluster.controllers if c != old]
            place = self.autoplace(others[0])
            self.cluster.kill(old)
            place(others[n % 2]).ok()
            self.cluster.start(old)
            wait_for(f'{old} serves', lambda: self.cluster.serves(old))
            leader = self.cluster.leader()
            if leader != old:
                self.cluster.raftctl(leader, 'transfer', old)
            self.spawn(others[n % 2]).ok()

    def all_restarted(self):
        """One satellite is slow to answer: it goes on only when the requests are there."""
        members, slow = self.cluster.controllers, self.cluster.satellites[0]
        for n in range(RESTARTS):
            places = [self.autoplace(members[0]) for _ in members]
            in_parallel([lambda m=m: self.cluster.kill(m) for m in members])
            self.cluster.devcluster('pause', slow)
            answers = in_parallel([lambda m=m: self.cluster.start(m) for m in members]
                                  + [lambda m=m, p=p: self.as_soon_as_it_listens(m, p) for m, p in zip(members, places)]
                                  + [lambda: (time.sleep(1.5), self.cluster.devcluster('resume', slow))])
            for answer, seconds in answers[len(members):-1]:
                answer.ok()
                print(f'        round {n + 1}: placed {seconds:.2f} s after the request')

    def sizes(self):
        """Asked right after a member's start, it knows of each satellite whether it can be reached; so what fits is what fitted before."""
        def fits(m):
            found = self.cluster.rest(m).get(f'/v1/resource-groups/{GROUP}/query-max-volume-size').ok().json['candidates']
            return [(sorted(c['node_names']), c['max_volume_size_kib'] > 0) for c in found]
        members, slow = self.cluster.controllers, self.cluster.satellites[1]
        wanted = fits(members[0])
        assert wanted, 'nothing fits'
        for m in members:
            self.cluster.kill(m)
            self.cluster.devcluster('pause', slow)
            answers = in_parallel([lambda: self.cluster.start(m), lambda: self.as_soon_as_it_listens(m, fits),
                                   lambda: (time.sleep(1), self.cluster.devcluster('resume', slow))])
            assert answers[1][0] == wanted, f'{m} says {answers[1][0]} instead of {wanted}'

    @staticmethod
    def as_soon_as_it_listens(member, place):
        deadline = time.monotonic() + 120
        while True:
            began = time.monotonic()
            try:
                return place(member), time.monotonic() - began
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, f'{member} does not listen'
                time.sleep(0.002)

    def what_is_held(self):
        """A satellite that is away: other requests are not held, and the refusal says that it is not online."""
        away, members = self.cluster.satellites[0], self.cluster.controllers
        self.cluster.kill(away)
        old = self.cluster.leader()
        others = [c for c in members if c != old]
        self.cluster.kill(old)
        began = time.monotonic()
        self.cluster.rest(others[0]).call('POST', '/v1/resource-definitions', {'resource_definition': {'name': 'free'}}).ok()
        took = time.monotonic() - began
        answer = self.spawn(others[1])
        assert answer.status == 500 and 'not online' in answer.text, answer.text[:500]
        print(f'        a definition took {took:.2f} s, the refusal came after {time.monotonic() - began:.2f} s')
        self.cluster.start(away)
        self.cluster.start(old)


def main():
    suite = Suite()
    cluster = Cluster(3, 3)
    try:
        tests = Tests(cluster)
        suite.check('a group that needs every satellite', tests.group)
        suite.check(f'the leader is killed {KILLS} times: placement at once is not refused', tests.leader_killed)
        suite.check(f'all members are killed and started {RESTARTS} times: placement at once is not refused', tests.all_restarted)
        suite.check('what fits, asked right after the start of each member', tests.sizes)
        suite.check('what does not depend on a satellite that is away is not held', tests.what_is_held)
    finally:
        cluster.close()
    suite.finish()


main()
