"""A cluster whose members and satellites are processes on hosts of their own (net_hosts.py).

    net_hosts.enter()
    cluster = NetCluster(['c1', 'c2', 'w1', 's1'], directory, build)   # founds it; k1 is a host for clients
    cluster['c1'].kill(); cluster['c1'].start()

By the first letter: c a controller, w a witness, v a volatile one, s a satellite. Every member keeps its data in DIRECTORY/NAME/data, which
a test may put a file system of its own on (before found(), with prepare)."""
import json
import os
import pathlib
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

import net_hosts

POOL = 'pool1'


class Trouble(Exception):
    pass


def until(what, fn, timeout_s=30, every_s=0.05):
    """The first true value of fn(); says what was waited for, and what went wrong last, when it never came."""
    deadline, last = time.monotonic() + timeout_s, None
    while True:
        try:
            value = fn()
            if value:
                return value
        except (Trouble, OSError, ValueError, subprocess.SubprocessError) as e:
            last = e
        if time.monotonic() > deadline:
            raise Trouble(f'{what}: not within {timeout_s} s{f" ({last})" if last else ""}')
        time.sleep(every_s)


class Member:
    """A process on a host: controller, witness or satellite."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.kind = {'c': 'controller', 'w': 'witness', 'v': 'witness', 's': 'satellite'}[name[0]]
        self.host = cluster.net.hosts[name]
        self.address = self.host.address
        self.dir = cluster.dir / name
        self.data, self.run_dir, self.log = self.dir / 'data', self.dir / 'run', self.dir / 'log'
        self.conf = self.dir / ('satellite.conf' if self.kind == 'satellite' else 'controller.conf')
        self.build = cluster.build
        self.environment = {}  # more of it, for the next start
        self.options = {'w': ['--witness'], 'v': ['--volatile']}.get(name[0], [])
        self.options_of_join = ['--volatile'] if name[0] == 'v' else []
        self.settings = list(cluster.settings)
        self.process = None
        self.paused = False
        self.starts = 0

    # ---- process ----
    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        if self.running():
            return
        self.run_dir.mkdir(parents=True, exist_ok=True)
        program = 'outrigger-satellite' if self.kind == 'satellite' else 'outrigger-controller'
        command = [self.build / program, '--config', self.conf, *self.options]
        with open(self.log, 'ab') as log:
            log.write(f'--- start {self.starts} of {self.name}\n'.encode())
            log.flush()
            self.process = self.host.popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd='/',
                                           env={**os.environ, **self.environment})
        self.starts += 1
        self.paused = False

    def signal(self, number):
        if not self.running():
            raise Trouble(f'{self.name} is not running. Its log:\n{self.tail()}')
        self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait(10)

    def pause(self):
        self.signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        self.signal(signal.SIGCONT)
        self.paused = False

    def stop(self, grace_s=10):
        if not self.running():
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise Trouble(f'{self.name} did not end within {grace_s} s. Its log:\n{self.tail()}')

    def tail(self, lines=15):
        try:
            return ''.join(open(self.log, errors='replace').readlines()[-lines:])
        except OSError:
            return '(no log)'

    # ---- configuration ----
    def write_conf(self):
        self.data.mkdir(parents=True, exist_ok=True)
        self.run_dir.mkdir(parents=True, exist_ok=True)
        if self.kind == 'satellite':
            text = (f'[satellite]\nnode_name = {self.name}\ndir = {self.data}\n'
                    f'log_level = DEBUG\n[net]\nlisten = {self.address}:3366 {self.address}:3367\n')
        else:
            text = (f'[controller]\ndir = {self.data}\nrun_dir = {self.run_dir}\n'
                    f'[http]\nlisten = {self.address}:3370\n[https]\nenabled = false\n')
            text += ''.join(f'[{s}]\n{k} = {v}\n' for s, k, v in self.settings)
        self.conf.write_text(text)

    # ---- what it says of itself ----
    def raftctl(self, *args, timeout_s=30):
        command = self.host.argv([self.build / 'raftctl/raftctl', '--config', self.conf, *args])
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
        if done.returncode != 0 and not done.stdout.startswith('{'):  # status --json says so when there is no quorum
            raise Trouble(f'raftctl {args[0]} on {self.name}: {(done.stderr or done.stdout).strip()}')
        return done.stdout.strip()

    def raft(self):
        """Its own view, asked at its local socket; None when it does not answer."""
        try:
            return json.loads(self.raftctl('status', '--json', timeout_s=10))
        except (Trouble, ValueError, subprocess.SubprocessError):
            return None

    def rest(self, method, path, body=None, timeout_s=60):
        """JSON of an answer below 400, else Trouble. Sent from the host k1."""
        return self.cluster.inside.call(f'http://{self.address}:3370{path}', method, body, timeout_s)

    def serves(self):
        """Does it give a linearizable answer?"""
        try:
            self.rest('GET', '/v1/stats/nodes', timeout_s=3)
            return True
        except (Trouble, OSError, ValueError):
            return False


class Inside:
    """HTTP from the client's host: a thread that has entered its network namespace does the calls of all threads."""

    def __init__(self, host):
        import concurrent.futures
        self.host = host
        self.pool = concurrent.futures.ThreadPoolExecutor(8, initializer=self._enter)

    def _enter(self):
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f'/run/netns/{self.host.name}') as f:
            if libc.setns(f.fileno(), 0x40000000) != 0:  # CLONE_NEWNET, of this thread only
                raise OSError(ctypes.get_errno(), 'setns')

    def call(self, url, method, body, timeout_s):
        return self.pool.submit(self._call, url, method, body, timeout_s).result()

    @staticmethod
    def _call(url, method, body, timeout_s):
        request = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode(),
                                         headers={'Content-Type': 'application/json'})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout_s) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as e:
            raise Trouble(f'{method} {url}: {e.code} {e.read().decode(errors="replace")[:600]}')


class NetCluster:
    def __init__(self, names, directory, build, settings=(), prepare=None):
        """prepare(member), if given, is called for each member when its folders exist and nothing is in them."""
        self.dir, self.build, self.settings = pathlib.Path(directory), pathlib.Path(build), list(settings)
        self.net = net_hosts.Net([*names, 'k1'])
        self.inside = Inside(self.net.hosts['k1'])
        self.lock = threading.Lock()
        self.members = {}
        self.prepare = prepare
        for name in names:
            self.add(name)
        self.found()

    def __getitem__(self, name):
        return self.members[name]

    def add(self, name):
        """Another member with a host; it is neither configured nor started."""
        if name not in self.net.hosts:
            self.net.add(name)
        self.members[name] = Member(self, name)
        return self.members[name]

    def of_kind(self, *kinds):
        return [m for m in self.members.values() if m.kind in kinds]

    @property
    def controllers(self):
        return self.of_kind('controller')

    @property
    def voters(self):
        """Controllers and witnesses."""
        return self.of_kind('controller', 'witness')

    def found(self):
        for m in self.members.values():
            m.write_conf()
            if self.prepare:
                self.prepare(m)
        first = self.controllers[0]
        first.raftctl('init', '--name', first.name, '--address', first.address)
        first.start()
        until(f'{first.name} to lead', lambda: (first.raft() or {}).get('state') == 'leader')
        for m in self.members.values():
            if m is not first:
                self.join(m, first)
        for m in self.voters:
            until(f'{m.name} to be a voter', lambda m=m: self.is_voter(m.name, first), 60)
        for m in self.controllers:
            until(f'{m.name} to serve', m.serves)
        self.register()

    def join(self, m, through):
        """Token and join, as a user does it; then starts it."""
        token = through.raftctl('token', 'create', '--role', m.kind, '--name', m.name).split()[-1]
        if m.kind == 'satellite':
            m.host.run(m.build / 'outrigger-satellite', '--config', m.conf, 'join', token)
        else:
            m.raftctl('join', token, '--name', m.name, '--address', m.address, *m.options_of_join)
        m.start()

    @staticmethod
    def is_voter(name, through):
        view = through.raft() or {'members': []}
        return any(m['name'] == name and m['role'] == 'voter' for m in view['members'])

    def register(self):
        rest = self.controllers[0].rest
        for s in self.of_kind('satellite'):
            rest('POST', '/v1/nodes', {'name': s.name, 'type': 'SATELLITE', 'net_interfaces': [
                {'name': 'default', 'address': s.address, 'satellite_port': 3366,
                 'satellite_encryption_type': 'PLAIN'}]})
        for s in self.of_kind('satellite'):
            until(f'{s.name} to be ONLINE', lambda s=s: any(
                n['name'] == s.name and n.get('connection_status') == 'ONLINE' for n in rest('GET', '/v1/nodes')))
            (s.dir / POOL).mkdir(exist_ok=True)
            rest('POST', f'/v1/nodes/{s.name}/storage-pools', {
                'storage_pool_name': POOL, 'provider_kind': 'FILE_THIN',
                'props': {'StorDriver/FileDir': str(s.dir / POOL)}})

    # ---- what the cluster is doing ----
    def leader(self):
        """Name of the member that leads in the highest term; None when nobody says so."""
        best = None
        for m in self.voters:
            if not m.running() or m.paused:
                continue
            view = m.raft()
            if view and view['state'] == 'leader' and (best is None or view['term'] > best[0]):
                best = (view['term'], m.name)
        return best[1] if best else None

    def calm(self, timeout_s=30):
        """All controllers run and give linearizable answers; Trouble if that does not come."""
        for m in self.controllers:
            until(f'{m.name} to serve', m.serves, timeout_s, 0.05)

    def same_state(self, timeout_s=30):
        """All controllers have applied the same index and have the same hash; returns both."""
        def equal():
            views = [m.raft() for m in self.controllers]
            if not all(views):
                return None
            seen = {(v['hash_index'], v['state_hash']) for v in views}
            if len(seen) > 1 and len({v['hash_index'] for v in views}) == 1:
                raise Trouble(f'different state hashes: {seen}')
            return seen.pop() if len(seen) == 1 else None
        return until('equal state hashes on all members', equal, timeout_s, 0.2)

    def stop(self):
        """Ends all processes; those that did not end well are named in the Trouble."""
        problems = []
        for m in self.members.values():
            if m.running():
                m.process.send_signal(signal.SIGCONT)
                m.process.send_signal(signal.SIGTERM)
        for m in self.members.values():
            try:
                m.stop()
            except Trouble as e:
                problems.append(str(e))
        if problems:
            raise Trouble('; '.join(problems))
