"""What the end-to-end tests share: a network namespace of their own, the dev cluster in it, REST calls, counting.

Each test is a program: `OUTRIGGER_BUILD=BUILD_DIR python3 tests/e2e/NAME.py`. Its last line is
"N passed, N failed, N skipped"; it exits 77 with a reason when this machine cannot run it."""
import concurrent.futures
import fcntl
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('OUTRIGGER_BUILD', TOP / 'build')).resolve()


def skip(reason):
    print(f'skipped: {reason}')
    sys.exit(77)


def enter(packages=()):
    """Puts the program into namespaces of its own, with a virtual environment that has the PyPI packages.

    Mounts too: what another test's mount namespace copies while it is mounted here stays in use there."""
    if os.geteuid() != 0:
        skip('needs root for namespaces and loop devices')
    if os.environ.get('OUTRIGGER_E2E') == 'inside':
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
        return
    python = sys.executable
    if packages:
        venv = BUILD / 'venv'
        python = str(venv / 'bin/python')
        marker = venv / ('have-' + '-'.join(packages))
        lock = open(BUILD / 'venv.lock', 'w')  # until exec: several programs begin at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not marker.exists():
            made = subprocess.run(['python3', '-m', 'venv', str(venv)], capture_output=True, text=True)
            if made.returncode == 0:
                made = subprocess.run([str(venv / 'bin/pip'), '-q', '--disable-pip-version-check', 'install', *packages],
                                      capture_output=True, text=True)
            if made.returncode != 0:
                skip(f'{" ".join(packages)} could not be installed: {made.stderr.strip().splitlines()[-1:]}')
            marker.touch()
    env = dict(os.environ, OUTRIGGER_E2E='inside', OUTRIGGER_BUILD=str(BUILD), PYTHONUNBUFFERED='1')
    os.execvpe('unshare', ['unshare', '--net', '--mount', python, *sys.argv], env)


class CannotRun(Exception):
    """This machine cannot do what a check needs: it is skipped, with this reason."""


class Suite:
    """Counts named checks; a check that raises has failed, and the next one still runs."""

    def __init__(self):
        self.passed, self.failed, self.skipped = 0, 0, 0

    def check(self, name, fn, *args):
        started = time.monotonic()
        try:
            result = fn(*args)
        except CannotRun as e:
            self.skipped += 1
            print(f'skipped: {name}: {e}')
            return None
        except Exception:  # noqa: BLE001 - whatever it is, it is this check's failure
            self.failed += 1
            print(f'FAILED  {name}')
            traceback.print_exc(file=sys.stdout)
            return None
        self.passed += 1
        print(f'ok      {name} ({time.monotonic() - started:.2f} s)')
        return result

    def finish(self):
        print(f'{self.passed} passed, {self.failed} failed, {self.skipped} skipped')
        sys.exit(1 if self.failed else 0)


def wait_for(what, fn, timeout_s=120, every_s=0.05):
    """Until fn() is true; its value. Says what was waited for when it never came. The limit is for a machine that is slow or busy: what
    is to be quick is measured where that is what a test is about."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = fn()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f'{what}: not within {timeout_s} s')
        time.sleep(every_s)


class Answer:
    def __init__(self, status, headers, text):
        self.status, self.headers, self.text = status, headers, text
        self.index = int(headers.get('X-Outrigger-Index', 0))
        self.term = int(headers.get('X-Outrigger-Term', 0))

    @property
    def json(self):
        return json.loads(self.text)

    def ok(self):
        if self.status >= 400:
            raise AssertionError(f'{self.status}: {self.text[:500]}')
        return self


class Rest:
    """One keep-alive connection to one member."""

    def __init__(self, address, port=3370, timeout_s=120):
        self.address, self.port, self.timeout_s = address, port, timeout_s
        self.connection = None

    def call(self, method, path, body=None, headers=None):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.address, self.port, timeout=self.timeout_s)
        data = None if body is None else json.dumps(body)
        try:
            self.connection.request(method, path, data, {'Content-Type': 'application/json', **(headers or {})})
            answer = self.connection.getresponse()
            text = answer.read().decode()
        except Exception:
            self.close()
            raise
        if answer.headers.get('Connection', '').lower() == 'close':
            self.close()
        return Answer(answer.status, answer.headers, text)

    def get(self, path):
        return self.call('GET', path)

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


class Cluster:
    """contrib/devcluster in a directory of its own."""

    def __init__(self, controllers=3, satellites=3, settings=(), net=0):
        if net:
            self.address = lambda name: Cluster.address(name, net)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='outrigger-e2e-'))
        self.controllers = [f'c{i + 1}' for i in range(controllers)]
        self.satellites = [f's{i + 1}' for i in range(satellites)]
        try:
            self.devcluster('up', '--controllers', str(controllers), '--satellites', str(satellites), '--net', str(net),
                            *(f'--set={s}' for s in settings))
        except BaseException:  # nothing of it goes on beside the tests that follow
            subprocess.run([str(TOP / 'contrib/devcluster'), 'down', '--dir', str(self.dir)], capture_output=True)
            raise

    def devcluster(self, *args, build=BUILD):
        done = subprocess.run([str(TOP / 'contrib/devcluster'), *args, '--dir', str(self.dir), '--build', str(build)],
                              capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise RuntimeError(f'devcluster {" ".join(args)}: {done.stdout[-1500:]}{done.stderr[-1500:]}')
        return done.stdout

    @staticmethod
    def address(name, net=0):
        return f'127.0.{net}.{(10 if name[0] == "c" else 20) + int(name[1:])}'

    def rest(self, name, **kwargs):
        return Rest(self.address(name), **kwargs)

    def kill(self, name):
        self.devcluster('kill', name)

    def start(self, name, build=BUILD):
        self.devcluster('start', name, build=build)

    def serves(self, name):
        """Does that member give a linearizable answer?"""
        try:
            return self.rest(name, timeout_s=5).get('/v1/stats/nodes').status == 200
        except (OSError, http.client.HTTPException):
            return False

    def raftctl(self, name, *args, ok=True):
        """What the program prints on that member's machine; with ok=False it must fail, and that is what it says."""
        done = subprocess.run([str(BUILD / 'raftctl/raftctl'), '--config', str(self.dir / name / 'controller.conf'), *args],
                              capture_output=True, text=True, timeout=60)
        if (done.returncode == 0) != ok:
            raise AssertionError(f'raftctl {args[0]} on {name}: exit code {done.returncode}: {done.stdout}{done.stderr}')
        return (done.stdout if ok else done.stderr).strip()

    def raft(self, name):
        """That member's own view: the JSON of raftctl status, asked at its local socket."""
        try:
            done = subprocess.run([str(BUILD / 'raftctl/raftctl'), '--config', str(self.dir / name / 'controller.conf'),
                                   'status', '--json'],
                                  capture_output=True, text=True, timeout=20)
        except subprocess.TimeoutExpired:
            return None
        return json.loads(done.stdout) if done.stdout.startswith('{') else None

    def view(self, name):
        """The same of a member that answers, be it late."""
        return wait_for(f'a view of {name}', lambda: self.raft(name))

    def all_online(self):
        """Each member dials each satellite by itself, and one that was away not at once."""
        def online():
            return all(n['connection_status'] == 'ONLINE' for c in self.controllers
                       for n in self.rest(c).get('/v1/nodes').ok().json)
        wait_for('every member to reach every satellite', online)

    def everybody_sees(self, node, online):
        """Whoever leads decides by its own connection to a satellite, and each member has one of its own: what one of them shows says
        nothing about the others."""
        def all_do():
            return all((n['connection_status'] == 'ONLINE') == online for c in self.controllers if self.running(c)
                       for n in self.rest(c).get('/v1/nodes').ok().json if n['name'] == node)
        wait_for(f'{node} to be {"ONLINE" if online else "away"} for every member', all_do)

    def roles(self, name='c1'):
        """{member: role} as that member sees it; {} when it does not answer."""
        view = self.raft(name)
        return {m['name']: m['role'] for m in view['members']} if view else {}

    def log(self, name):
        return (self.dir / name / 'log').read_text(errors='replace')

    def running(self, name):
        try:
            return os.path.exists(f'/proc/{(self.dir / name / "pid").read_text().split()[0]}/exe')
        except OSError:
            return False

    def leader(self, timeout_s=120):
        def find():
            for name in self.controllers:
                view = self.raft(name)
                if view and view['state'] == 'leader':
                    return name
            return None
        return wait_for('a leader', find, timeout_s)

    def same_state(self, timeout_s=120):
        """All members applied the same index and have the same hash; returns it."""
        def equal():
            views = [self.raft(name) for name in self.controllers]
            if any(v is None for v in views):
                return None
            seen = {(v['hash_index'], v['state_hash']) for v in views}
            return seen.pop() if len(seen) == 1 else None
        return wait_for('equal state hashes on all members', equal, timeout_s, 0.2)

    def close(self):
        try:
            self.devcluster('down')
        finally:
            if os.environ.get('OUTRIGGER_KEEP'):
                print(f'kept: {self.dir}')
            else:
                shutil.rmtree(self.dir, ignore_errors=True)


def in_parallel(fns):
    """Runs them side by side; returns their results in order, raises the first failure."""
    with concurrent.futures.ThreadPoolExecutor(len(fns)) as pool:
        return [f.result() for f in [pool.submit(fn) for fn in fns]]
