"""The faults of the jepsen-like run. Each is a class with begin(world) -> text and end(world); `world` has the cluster, the
random numbers of the episode, and what the names below need. Links are healed by the episode itself, for all faults together.

FAULTS maps names to classes; ok(world) says whether a fault is possible in this cluster."""
import random

FAULTS = {}


def fault(cls):
    FAULTS[cls.name] = cls
    return cls


class Fault:
    name = None
    late = False
    destructive = False  # a voter's memory is gone: one at a time
    restarts = False  # voters start anew: those that are volatile have lost their memory

    @classmethod
    def ok(cls, world):
        return True

    def begin(self, world):
        raise NotImplementedError

    def end(self, world):
        pass


def leader_or_any(world):
    return world.cluster.leader() or world.random.choice(world.voters())


# ---- processes ----
class Killed(Fault):
    restarts = True

    def targets(self, world):
        raise NotImplementedError

    def begin(self, world):
        self.down = [n for n in self.targets(world) if world.cluster[n].running()]
        for name in self.down:
            world.cluster[name].kill()
        return f'kill -9 {" ".join(self.down)}'

    def end(self, world):
        for name in self.down:
            world.cluster[name].start()


@fault
class KillLeader(Killed):
    name = 'kill-leader'

    def targets(self, world):
        return [leader_or_any(world)]


@fault
class KillOne(Killed):
    name = 'kill-one'

    def targets(self, world):
        return [world.random.choice(world.voters())]


@fault
class KillMajority(Killed):
    name = 'kill-majority'

    def targets(self, world):
        voters = world.voters()
        return sorted(world.random.sample(voters, len(voters) // 2 + 1))


@fault
class KillAll(Killed):
    name = 'kill-all'

    def targets(self, world):
        return world.voters()


@fault
class KillAgain(Fault):
    """Killed and started again at once, several times."""
    name = 'kill-again'
    restarts = True

    def begin(self, world):
        name = leader_or_any(world)
        times = world.random.randint(2, 4)
        for _ in range(times):
            if world.cluster[name].running():
                world.cluster[name].kill()
            world.cluster[name].start()
            world.sleep(world.random.uniform(0.05, 0.8))
        return f'kill -9 {name} {times} times, started at once'


@fault
class Restart(Fault):
    name = 'restart'
    restarts = True

    def begin(self, world):
        name = leader_or_any(world)
        if world.cluster[name].running():
            world.cluster[name].stop()
        world.cluster[name].start()
        return f'SIGTERM {name}, started again'


class Paused(Fault):
    def targets(self, world):
        raise NotImplementedError

    def begin(self, world):
        self.still = [n for n in self.targets(world) if world.cluster[n].running()]
        for name in self.still:
            world.cluster[name].pause()
        return f'SIGSTOP {" ".join(self.still)}'

    def end(self, world):
        for name in self.still:
            if world.cluster[name].running():
                world.cluster[name].resume()


@fault
class PauseLeader(Paused):
    name = 'pause-leader'

    def targets(self, world):
        return [leader_or_any(world)]


@fault
class PauseOne(Paused):
    name = 'pause-one'

    def targets(self, world):
        return [world.random.choice(world.voters())]


@fault
class PauseMajority(Paused):
    name = 'pause-majority'

    def targets(self, world):
        voters = world.voters()
        return sorted(world.random.sample(voters, len(voters) // 2 + 1))


@fault
class PauseAgain(Fault):
    """Stopped and continued every few hundred milliseconds: about as long as an election takes."""
    name = 'pause-again'

    def begin(self, world):
        name = leader_or_any(world)
        times = world.random.randint(3, 6)
        for _ in range(times):
            if not world.cluster[name].running():
                break
            world.cluster[name].pause()
            world.sleep(world.random.uniform(0.1, 0.9))
            world.cluster[name].resume()
            world.sleep(world.random.uniform(0.05, 0.3))
        return f'SIGSTOP, SIGCONT {name} {times} times'


# ---- links ----
@fault
class IsolateLeader(Fault):
    name = 'isolate-leader'

    def begin(self, world):
        leader = leader_or_any(world)
        world.cluster.net.split([leader], [v for v in world.voters() if v != leader])
        return f'{leader} | the others'


@fault
class Unplug(Fault):
    """The cable is out: the member's clients and satellites do not reach it either."""
    name = 'unplug'

    def begin(self, world):
        self.at = leader_or_any(world)
        world.cluster.net.plug(self.at, False)
        return f'cable of {self.at} pulled'

    def end(self, world):
        world.cluster.net.plug(self.at, True)


@fault
class Halves(Fault):
    """Two sides of any sizes; the larger one may hold the leader or not."""
    name = 'halves'

    def begin(self, world):
        voters = world.voters()
        side = world.random.sample(voters, world.random.randint(1, len(voters) - 1))
        world.cluster.net.split(side, [v for v in voters if v not in side])
        return f'{" ".join(sorted(side))} | {" ".join(v for v in voters if v not in side)}'


@fault
class Shatter(Fault):
    name = 'shatter'

    def begin(self, world):
        world.cluster.net.split(*[[v] for v in world.voters()])
        return 'each voter alone'


@fault
class Ring(Fault):
    """Each voter sees a majority, but no two the same one (five voters); with three each sends to the next one only."""
    name = 'ring'

    def begin(self, world):
        voters = world.voters()
        world.random.shuffle(voters)
        n, edges = len(voters), set()
        for i, v in enumerate(voters):
            edges.add((v, voters[(i + 1) % n]))
            if n > 3:
                edges.add((voters[(i + 1) % n], v))
        world.cluster.net.set_graph(edges, voters)
        return 'ring ' + (' - ' if n > 3 else ' > ').join(voters)


@fault
class OneWay(Fault):
    name = 'one-way'

    def begin(self, world):
        a, b = world.random.sample(world.voters(), 2)
        world.cluster.net.cut_one_way(a, b)
        return f'{a} > {b} cut'


@fault
class Deaf(Fault):
    """The leader is heard but hears nobody, or the other way round."""
    name = 'deaf'

    def begin(self, world):
        leader = leader_or_any(world)
        others = [v for v in world.voters() if v != leader]
        mute = world.random.random() < 0.5
        for o in others:
            world.cluster.net.cut_one_way(*((leader, o) if mute else (o, leader)))
        return f'{leader} {"is not heard" if mute else "hears nobody"}'


@fault
class Bridge(Fault):
    """Two members do not reach each other; everybody else reaches both."""
    name = 'bridge'

    def begin(self, world):
        leader = leader_or_any(world)
        other = world.random.choice([v for v in world.voters() if v != leader])
        world.cluster.net.cut(leader, other)
        return f'{leader} - {other} cut'


@fault
class LongSilence(Fault):
    """A follower hears nobody for long while clients write as fast as they can: its requests arrive, the answers do not.
    It asks again with the same ids when thousands of other requests have been answered since."""
    name = 'long-silence'

    def begin(self, world):
        leader = leader_or_any(world)
        follower = world.random.choice([m.name for m in world.cluster.controllers if m.name != leader])
        seconds = world.random.uniform(10, 16)
        world.rate(0)
        for v in world.voters():
            if v != follower:
                world.cluster.net.cut_one_way(v, follower)
        world.sleep(seconds)
        return f'{follower} hears nobody for {seconds:.0f} s, load without limit'


@fault
class RandomGraph(Fault):
    name = 'graph'

    def begin(self, world):
        voters = world.voters()
        edges = {(a, b) for a in voters for b in voters if a != b and world.random.random() < 0.6}
        world.cluster.net.set_graph(edges, voters)
        return 'links ' + ' '.join(f'{a}>{b}' for a, b in sorted(edges))


@fault
class Flapping(Fault):
    name = 'flapping'

    def begin(self, world):
        leader = leader_or_any(world)
        others = [v for v in world.voters() if v != leader]
        times = world.random.randint(3, 6)
        for _ in range(times):
            world.cluster.net.split([leader], others)
            world.sleep(world.random.uniform(0.1, 1.0))
            world.cluster.net.heal()
            world.sleep(world.random.uniform(0.05, 0.4))
        return f'{leader} cut off and back {times} times'


@fault
class Loss(Fault):
    name = 'loss'

    def begin(self, world):
        voters = world.voters()
        per_mille = world.random.choice([10, 50, 150, 300])
        world.cluster.net.lose([(a, b) for a in voters for b in voters if a != b], per_mille)
        return f'{per_mille / 10:g} % of the packets between voters lost'


@fault
class Resets(Fault):
    name = 'resets'

    def begin(self, world):
        a, b = world.random.sample(world.voters(), 2)
        world.cluster.net.refuse([(a, b)])
        return f'TCP resets for what {a} sends to {b}'


class Packets(Fault):
    """The voters' cables go through a switch of ours (switch.c)."""

    def links(self, world):
        """Some directed links, and what they are called."""
        leader, voters = leader_or_any(world), world.voters()
        others = [v for v in voters if v != leader]
        which = world.random.randrange(5)
        if which == 0:
            return [(a, b) for a in voters for b in voters if a != b], 'between voters'
        if which == 1:
            return [(leader, o) for o in others], f'from {leader}'
        if which == 2:
            return [(o, leader) for o in others], f'to {leader}'
        if which == 3:
            other = world.random.choice(others)
            return [(leader, other), (other, leader)], f'between {leader} and {other}'
        hosts = [*voters, *world.satellites(), world.clients()]
        return [(a, b) for a in hosts for b in hosts if a != b], 'between all hosts'

    def strike(self, world, links):
        raise NotImplementedError

    def begin(self, world):
        self.switch = world.switch_in()
        links, where = self.links(world)
        return f'{self.strike(world, links)} {where}'

    def end(self, world):
        world.switch_out()


@fault
class Delay(Packets):
    name = 'delay'

    def strike(self, world, links):
        delay = world.random.choice([5, 20, 60, 120, 250])
        jitter = delay * world.random.random()
        for a, b in links:
            self.switch.link(a, b, delay_ms=delay, jitter_ms=jitter)
        return f'packets late by {delay} to {delay + jitter:.0f} ms'


@fault
class Reorder(Packets):
    name = 'reorder'

    def strike(self, world, links):
        per_mille, hold = world.random.choice([30, 100, 300]), world.random.choice([5, 20, 60, 150])
        for a, b in links:
            self.switch.link(a, b, delay_ms=1, jitter_ms=2, per_mille=per_mille, hold_ms=hold)
        return f'{per_mille / 10:g} % of the packets held back for {hold} ms, others overtake them,'


# ---- disks ----
def with_disk(world, what, prefer=None):
    """A voter whose disk can do that; prefer, if it can."""
    able = [v for v in world.voters() if getattr(world.disks[v], what)]
    return prefer if prefer in able else world.random.choice(able)


class NeedsDisk(Fault):
    needs = None

    @classmethod
    def ok(cls, world):
        return any(getattr(d, cls.needs) for d in world.disks.values())


@fault
class FullDisk(NeedsDisk):
    name, needs = 'full-disk', 'can_fill'

    def begin(self, world):
        self.at = with_disk(world, self.needs, leader_or_any(world))
        world.disks[self.at].fill()
        return f'disk of {self.at} full'

    def end(self, world):
        world.disks[self.at].free()


@fault
class SlowSync(NeedsDisk):
    name, needs = 'slow-sync', 'can_lose'

    def begin(self, world):
        self.at = with_disk(world, self.needs, leader_or_any(world))
        milliseconds = world.random.choice([50, 150, 300])
        world.disks[self.at].stall(milliseconds)
        return f'each sync of {self.at} takes {milliseconds} ms'

    def end(self, world):
        world.disks[self.at].stall(0)


@fault
class Power(NeedsDisk):
    """Killed, and what was not synced is lost or torn."""
    name, needs = 'power', 'can_lose'
    restarts = True

    def targets(self, world):
        return [with_disk(world, self.needs, leader_or_any(world))]

    def begin(self, world):
        self.down = [n for n in self.targets(world) if world.cluster[n].running()]
        for name in self.down:
            world.cluster[name].kill()
        modes = []
        for name in self.down:
            if world.disks[name].can_lose:
                modes.append(world.random.choice(['drop', 'torn512', 'torn4096', 'keep']))
                world.disks[name].crash(modes[-1], world.random.randrange(1 << 30))
        return f'power of {" ".join(self.down)} lost: {" ".join(modes)}'

    def end(self, world):
        for name in self.down:
            world.cluster[name].start()


@fault
class PowerAll(Power):
    name = 'power-all'

    def targets(self, world):
        return world.voters()


# ---- clocks ----
class NeedsClock(Fault):
    @classmethod
    def ok(cls, world):
        return bool(world.clocks)

    def end(self, world):
        for name in self.at:
            world.clocks[name].set(1.0, 0)


@fault
class ClockJump(NeedsClock):
    name = 'clock-jump'

    def begin(self, world):
        self.at = world.random.sample(world.voters(), world.random.randint(1, len(world.voters())))
        texts = []
        for name in self.at:
            seconds = world.random.choice([-86400, -3600, -10, -0.7, 0.7, 10, 3600, 86400])
            world.clocks[name].set(1.0, seconds)
            texts.append(f'{name} {seconds:+g} s')
        return f'clocks jump: {", ".join(texts)}'


@fault
class ClockDrift(NeedsClock):
    """All clocks of a member, the monotonic ones too, go too slow or too fast; a lease by clocks would break here."""
    name = 'clock-drift'

    def begin(self, world):
        self.at = world.voters()
        texts = []
        for name in self.at:
            rate = world.random.choice([0.3, 0.7, 1.0, 1.5, 3.0])
            world.clocks[name].set(rate)
            texts.append(f'{name} {rate:g}')
        return f'clocks run at: {", ".join(texts)}'


# ---- members ----
@fault
class Replace(Fault):
    """A member's machine is lost; another one takes its place by a token."""
    name = 'replace'
    late = destructive = True  # its end needs a quorum: after the other fault's end

    def begin(self, world):
        self.name_ = world.random.choice(world.voters())
        world.lose_machine(self.name_)
        return f'machine of {self.name_} lost, replaced'

    def end(self, world):
        world.replace_machine(self.name_)


@fault
class Rejoin(Fault):
    """A member's database is gone; it comes back by its certificate under a new id."""
    name = 'rejoin'
    late = destructive = True

    def begin(self, world):
        self.name_ = world.random.choice([v for v in world.voters() if v not in world.volatiles()])
        if world.cluster[self.name_].running():
            world.cluster[self.name_].kill()
        for path in (world.cluster[self.name_].data / 'raft').glob('*'):
            path.unlink()
        return f'database of {self.name_} lost, it rejoins'

    def end(self, world):
        world.rejoin(self.name_)


@fault
class VolatileReboot(Fault):
    """A witness without a disk reboots: it knows nothing of before, and asks to be taken in under a new identity."""
    name = 'volatile-reboot'
    restarts = True

    @classmethod
    def ok(cls, world):
        return bool(world.volatiles())

    def begin(self, world):
        name, times = world.random.choice(world.volatiles()), world.random.choice([1, 1, 2, 3])
        away = []
        for _ in range(times):
            if world.cluster[name].running():
                world.cluster[name].kill()
            away.append(world.random.uniform(0, 3))
            world.sleep(away[-1])
            world.cluster[name].start()
            world.sleep(world.random.uniform(0.1, 3))
        return f'{name} rebooted, away for {", ".join(f"{s:.1f}" for s in away)} s'


@fault
class Transfer(Fault):
    name = 'transfer'

    def begin(self, world):
        leader = leader_or_any(world)
        to = world.random.choice([m.name for m in world.cluster.controllers if m.name != leader])
        try:
            world.cluster[leader].raftctl('transfer', to)
        except Exception as e:  # noqa: BLE001 - refused is an answer, too
            return f'transfer to {to} was refused: {" ".join(str(e).split())[:90]}'
        return f'leadership transferred to {to}'


@fault
class Upgrade(Fault):
    """Every member and every satellite in turn is started from the other build: an upgrade, and the next time a downgrade."""
    name = 'upgrade'
    restarts = True

    @classmethod
    def ok(cls, world):
        return world.args.other_build is not None

    def begin(self, world):
        to = world.turn_builds()
        order = world.voters() + world.satellites()
        world.random.shuffle(order)
        for name in order:
            m = world.cluster[name]
            if m.running():
                m.stop()
            m.build = world.build_now
            m.start()
            world.sleep(world.random.uniform(0.2, 1.5))
        return f'one by one started from {to}: {" ".join(order)}'


# ---- satellites ----
@fault
class KillSatellite(Killed):
    name = 'kill-satellite'
    restarts = False  # no voter

    def targets(self, world):
        return [world.random.choice([s.name for s in world.cluster.of_kind('satellite')])]


@fault
class DeposedLeader(Fault):
    """The leader is cut off from the voters only, again and again: it still reaches satellites."""
    name = 'deposed'

    def begin(self, world):
        cut = []
        for _ in range(3):
            leader = leader_or_any(world)
            world.cluster.net.heal()
            world.cluster.net.split([leader], [v for v in world.voters() if v != leader])
            cut.append(leader)
            world.sleep(world.random.uniform(0.8, 2))
        return f'cut off from the voters, one after the other: {" ".join(cut)}'


def parse(text):
    """"a,b+c" -> [["a"], ["b", "c"]]; raises ValueError with the names that exist."""
    chosen = [part.split('+') for part in text.split(',') if part]
    for name in (n for part in chosen for n in part):
        if name not in FAULTS:
            raise ValueError(f'no fault "{name}"; there are: {", ".join(FAULTS)}')
    return chosen


def goes_together(pair, volatile):
    """One voter without memory at a time, or the cluster's is gone for good; a volatile one loses it at each start."""
    destructive = sum(FAULTS[n].destructive for n in pair)
    return destructive == 0 or destructive == 1 and not (volatile and any(FAULTS[n].restarts for n in pair))


def schedule(world_ok, rng, chosen=None, volatile=False):
    """An endless sequence of episodes: each fault alone, shuffled; then as many random pairs; and again."""
    if chosen:
        while True:
            yield from (list(part) for part in chosen)
    names = [n for n, cls in FAULTS.items() if world_ok(cls)]
    while True:
        alone = [[n] for n in names]
        pairs = [pair for pair in (rng.sample(names, 2) for _ in names) if goes_together(pair, volatile)]
        mixed = alone + pairs
        rng.shuffle(mixed)
        yield from mixed


def seeded(seed):
    return random.Random(seed)
