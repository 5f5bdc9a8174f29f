"""Disks of members: small loop file systems that can be full, and tests/fuse/lossyfs, which forgets what was not synced."""
import os
import shutil
import socket
import subprocess
import time


class Plain:
    """A folder; nothing can be done to it but emptying it."""
    can_fill = can_lose = False

    def __init__(self, member):
        self.member = member

    def wipe(self):
        """Everything but the mount is gone; the process must not run."""
        for entry in self.member.data.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()


class Loop(Plain):
    """ext4 in a file."""
    can_fill = True

    def __init__(self, member, mib=512):
        super().__init__(member)
        image = member.dir / 'image'
        with open(image, 'wb') as f:
            f.truncate(mib << 20)
        run('mkfs.ext4', '-q', '-F', image)
        run('mount', '-o', 'loop', image, member.data)
        shutil.rmtree(member.data / 'lost+found', ignore_errors=True)
        self.filler = member.data / '.filler'

    def fill(self):
        """Nothing is left."""
        with open(self.filler, 'ab') as f:
            for step in (1 << 20, 4096):
                try:
                    while True:
                        os.posix_fallocate(f.fileno(), f.seek(0, 2), step)
                        f.seek(0, 2)
                except OSError:
                    continue

    def free(self):
        self.filler.unlink(missing_ok=True)


class Lossy(Plain):
    can_fill = can_lose = True

    def __init__(self, member, program):
        super().__init__(member)
        self.program = program
        self.backing, self.socket = member.dir / 'backing', member.dir / 'lossy.sock'
        self.backing.mkdir()
        self.mount()

    def mount(self):
        self.socket.unlink(missing_ok=True)
        with open(self.member.dir / 'lossy.log', 'ab') as log:
            self.process = subprocess.Popen([str(self.program), str(self.backing), str(self.member.data), str(self.socket)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 20
        while not (os.path.ismount(self.member.data) and self.socket.exists()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f'lossyfs of {self.member.name} did not mount')
            time.sleep(0.02)

    def command(self, text):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(str(self.socket))
            s.sendall(f'{text}\n'.encode())
            return s.recv(200).decode().strip()

    def crash(self, mode, seed):
        """What was not synced is lost, by that mode of lossyfs; the member must not run."""
        try:
            self.command(f'crash {mode} {seed}')
        except OSError:
            pass  # it ends in the middle of the answer
        self.process.wait(20)
        subprocess.run(['umount', '-l', str(self.member.data)], capture_output=True)
        self.mount()

    def fill(self):
        self.command('room 1')

    def free(self):
        self.command('room 0')

    def stall(self, milliseconds):
        self.command(f'stall {milliseconds}')


def run(*args):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f'{args[0]}: {done.stderr.strip()[-300:]}')


def kinds(what, voters, lossyfs):
    """Which disk each voter gets: plain, lossy (all), or mixed; {name: class}."""
    fuse = lossyfs.exists() and os.path.exists('/dev/fuse')
    if what == 'plain' or not fuse and what == 'lossy':
        return {}
    cycle = ['lossy'] if what == 'lossy' else ['lossy', 'loop', 'lossy', 'plain', 'loop']
    chosen = {name: cycle[i % len(cycle)] for i, name in enumerate(voters)}
    return {n: k for n, k in chosen.items() if k != 'plain' and (fuse or k != 'lossy')}


def make(kind, member, lossyfs):
    if kind == 'lossy':
        return Lossy(member, lossyfs)
    return Loop(member) if kind == 'loop' else Plain(member)
