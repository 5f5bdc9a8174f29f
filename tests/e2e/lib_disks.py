"""A cluster of real processes on disks of ours: each member's data directory lies on tests/fuse/lossyfs, which loses, tears and
fails on command, or on a small file system on a loop device."""
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

import lib_e2e
from lib_e2e import BUILD, Cluster, wait_for

CLONE_NEWNS = 0x20000


def enter():
    """Network and mount namespaces of our own: what is mounted here goes with us."""
    lib_e2e.enter()
    if not os.path.exists('/dev/fuse'):
        lib_e2e.skip('this machine has no /dev/fuse')
    if not (BUILD / 'tests/fuse/lossyfs').exists():
        lib_e2e.skip('tests/fuse/lossyfs is not built: libfuse3-dev is missing')
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        lib_e2e.skip(f'no mount namespace of our own: {os.strerror(ctypes.get_errno())}')
    run('mount', '--make-rprivate', '/')


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f'{" ".join(map(str, command))}: {done.stderr or done.stdout}')
    return done.stdout


class Disk:
    """What a member's directory lies on. Logs and sockets stay outside: they are bound over it."""

    def __init__(self, cluster, name):
        self.name, self.mounted = name, cluster.dir / name
        self.side = cluster.dir / f'{name}.side'
        self.side.mkdir()
        (self.side / 'log').touch()
        (self.side / 'run').mkdir()

    def bind(self):
        for what in ('run', 'log'):
            run('mount', '--bind', self.side / what, self.mounted / what)

    def unbind(self):
        for what in ('run', 'log'):
            run('umount', '-l', self.mounted / what)


class Lossy(Disk):
    def __init__(self, cluster, name):
        super().__init__(cluster, name)
        self.backing = cluster.dir / f'{name}.backing'
        self.socket = f'/tmp/outrigger-disk-{os.getpid()}-{name}'
        self.mounted.rename(self.backing)
        (self.backing / 'log').touch()
        self.mounted.mkdir()
        self.mount()

    def mount(self):
        self.process = subprocess.Popen([str(BUILD / 'tests/fuse/lossyfs'), str(self.backing), str(self.mounted), self.socket],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(f'the file system of {self.name}', lambda: os.path.ismount(self.mounted))
        self.bind()

    def order(self, text):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(self.socket)
            s.sendall(text.encode())
            return s.recv(400).decode().strip()

    def command(self, text):
        answer = self.order(text)
        assert answer == 'ok', f'{text}: {answer}'

    def counts(self):
        words = self.order('count').split()
        return {words[i]: int(words[i + 1]) for i in range(0, len(words), 2)}

    def crash(self, mode, seed):
        """The power of this disk goes; it is back at once, with what had reached it."""
        assert self.order(f'crash {mode} {seed}') == 'crashed'
        self.process.wait(20)
        run('umount', '-l', self.mounted)  # and what is bound over it
        self.mount()

    def close(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)
        subprocess.run(['umount', '-l', str(self.mounted)], capture_output=True)
        if os.path.exists(self.socket):
            os.unlink(self.socket)


class Loop(Disk):
    """ext4 on a loop device; goes back to a plain directory at the end."""

    def __init__(self, cluster, name, mib):
        super().__init__(cluster, name)
        self.image, self.away = cluster.dir / f'{name}.image', cluster.dir / f'{name}.away'
        run('truncate', '-s', f'{mib}M', self.image)
        run('mkfs.ext4', '-q', '-m', '0', self.image)
        self.mounted.rename(self.away)
        self.mounted.mkdir()
        run('mount', '-o', 'loop', self.image, self.mounted)
        run('cp', '-a', f'{self.away}/.', self.mounted)
        (self.mounted / 'log').touch()
        self.bind()

    def fill(self):
        """Not one block is left."""
        filler = self.mounted / 'filler'
        with open(filler, 'ab', buffering=0) as f:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        f.write(b'x' * size)
                except OSError:
                    pass
            os.fsync(f.fileno())

    def clear(self):
        (self.mounted / 'filler').unlink()

    def close(self):
        self.unbind()
        shutil.rmtree(self.away)
        run('cp', '-a', f'{self.mounted}/.', self.away)
        run('umount', self.mounted)
        self.mounted.rmdir()
        self.away.rename(self.mounted)
        self.image.unlink()
        shutil.copy(self.side / 'log', self.mounted / 'log')
        shutil.rmtree(self.side)


class DiskCluster(Cluster):
    """Members are children of this program, so that it sees how they end."""

    def __init__(self, controllers, settings=()):
        super().__init__(controllers, 0, settings)
        for name in self.controllers:
            self.devcluster('stop', name)
        self.processes, self.disks = {}, {}

    def start(self, name):
        home = self.dir / name
        with open(home / 'log', 'ab') as log:
            p = subprocess.Popen([str(BUILD / 'outrigger-controller'), '--config', str(home / 'controller.conf')],
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd='/')
        self.processes[name] = p

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait(20)

    def stop(self, name):
        self.processes[name].terminate()
        return self.processes[name].wait(120)

    def ended(self, name, timeout_s=120):
        """The exit code of a member that stops by itself."""
        return self.processes[name].wait(timeout_s)

    def all_serve(self, names=None, timeout_s=120):
        for name in names or self.controllers:
            wait_for(f'{name} serves', lambda name=name: self.serves(name), timeout_s, 0.05)

    def close(self):
        for p in self.processes.values():
            if p.poll() is None:
                p.kill()
                p.wait(20)
        for disk in self.disks.values():
            disk.close()
        super().close()


class Load(threading.Thread):
    """Creates definitions through some members until it is stopped; keeps what was acknowledged."""

    count = 0
    running = []

    @classmethod
    def end_all(cls):
        """Of a check that failed before it ended its load: the next ones need a cluster that comes to rest."""
        for load in cls.running:
            load.ending = True
        while cls.running:
            cls.running.pop().join(120)

    def __init__(self, cluster, members):
        super().__init__(daemon=True)
        Load.count += 1
        Load.running.append(self)
        self.cluster, self.members, self.prefix = cluster, members, f'l{Load.count}'
        self.acknowledged, self.problem, self.ending = [], None, False
        self.start()

    def run(self):
        rests = {m: self.cluster.rest(m, timeout_s=20) for m in self.members}
        i = 0
        while not self.ending:
            member = self.members[i % len(self.members)]
            name = f'{self.prefix}x{i}'
            i += 1
            try:
                answer = rests[member].call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name}})
            except Exception:  # noqa: BLE001 - its member is gone, or the answer broke off: the outcome is not known
                time.sleep(0.02)
                continue
            if answer.status == 201:
                self.acknowledged.append(name)
            elif answer.status < 500:
                self.problem = f'{name}: {answer.status} {answer.text[:300]}'
                return

    def await_more(self, n, timeout_s=120):
        target = len(self.acknowledged) + n
        wait_for(f'{n} more acknowledged writes', lambda: self.problem or len(self.acknowledged) >= target, timeout_s, 0.02)
        assert self.problem is None, self.problem

    def finish(self):
        self.ending = True
        self.join(120)
        assert self.problem is None, self.problem
        return self.acknowledged
