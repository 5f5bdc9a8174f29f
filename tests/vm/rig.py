"""Guests with real kernels for tests of real storage: QEMU without KVM, Debian's kernel, a bridge in the test's own network namespace.

A guest has a writable root in memory, fresh data disks, the programs under test at /opt/outrigger, and a channel for commands that
does not go over the network (guest/agent), so that cutting the network cuts nothing else. The image comes from tests/vm/image.
KVM is never used: where it exists inside a virtual machine it may start a guest and then fail it halfway."""
import base64
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'tests/e2e'))
from lib_e2e import BUILD, CannotRun, wait_for  # noqa: E402

CPU = 'qemu64,+aes,+ssse3,+sse4.1,+sse4.2,+popcnt,+pclmulqdq,+rdrand'  # what Debian's libraries like, and no more
HOST_ADDRESS = '10.99.0.1'
SATELLITE = '/opt/outrigger/outrigger-satellite'
BOOT_S, BOOTS, COMMAND_S = 240, 3, 600  # without KVM everything takes ten times as long, and more when the machine is busy
SLOW_S = None  # a guest that takes longer to boot says that this machine is too slow or too busy (run --boot-s)
ROOM_MIB, MEMORY_MIB = 3000, 1500  # what a run may need below /tmp, and of memory
DRBD_MODULES = None  # a directory with DRBD's modules for the image's kernel, to be used instead of the kernel's own (run --drbd-module)


class CommandFailed(AssertionError):
    pass


def make_bridge():
    for line in ('link add br0 type bridge', f'addr add {HOST_ADDRESS}/24 dev br0', 'link set br0 up'):
        subprocess.run(['ip', *line.split()], check=True)


def make_programs(path):
    """The disk with the programs under test, stripped, and what runs in the guest beside them: about 1 MB."""
    with_programs = path.parent / 'programs'
    with_programs.mkdir(parents=True, exist_ok=True)
    for name in ('outrigger-satellite', *(['tests/vm/writer'] if DRBD_MODULES else [])):
        subprocess.run(['strip', '-o', str(with_programs / pathlib.Path(name).name), str(BUILD / name)], check=True)
    for module in sorted(DRBD_MODULES.glob('*.ko')) if DRBD_MODULES else ():
        (with_programs / 'drbd').mkdir(exist_ok=True)
        shutil.copy(module, with_programs / 'drbd')
    for name in ('init', 'agent'):
        shutil.copy(TOP / 'tests/vm/guest' / name, with_programs / name)
    subprocess.run(['mksquashfs', str(with_programs), str(path), '-noappend', '-quiet', '-no-progress'], check=True,
                   stdout=subprocess.DEVNULL)


class Guest:
    """One guest: number 1.. is its place on the network (10.99.0.1N, MAC, tap)."""

    def __init__(self, work, image, number, disks=('2G', '2G'), memory_mib=640, extra=()):
        """extra: further files of the image, as read-only disks by their names."""
        self.name, self.number = f'n{number}', number
        self.address = f'10.99.0.{10 + number}'
        self.dir, self.image, self.memory_mib = pathlib.Path(work) / f'n{number}', pathlib.Path(image), memory_mib
        self.programs = pathlib.Path(work) / 'programs.squashfs'
        self.extra = [self.image / name for name in extra]
        self.dir.mkdir(parents=True, exist_ok=True)
        self.process, self.channel, self.requests, self.pending, self.started = None, None, 0, b'', 0.0
        self.lock = threading.Lock()
        self.disks = []
        for i, size in enumerate(disks):
            path = self.dir / f'disk{i}'
            path.unlink(missing_ok=True)  # of an earlier scenario
            subprocess.run(['truncate', '-s', size, str(path)], check=True)
            self.disks.append(path)
        self.tap = f'tap{number}'
        subprocess.run(['ip', 'tuntap', 'add', 'dev', self.tap, 'mode', 'tap'], check=True)
        subprocess.run(['ip', 'link', 'set', self.tap, 'master', 'br0', 'up'], check=True)

    # ---- power ----
    def command_line(self):
        agent = self.dir / 'agent'
        agent.unlink(missing_ok=True)
        line = ['qemu-system-x86_64', '-name', self.name, '-accel', 'tcg,thread=multi', '-cpu', CPU, '-smp', '1', '-M', 'q35',
                '-m', str(self.memory_mib), '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
                '-kernel', str(self.image / 'vmlinux'), '-initrd', str(self.image / 'initrd'), '-append',
                f'console=ttyS0 panic=-1 quiet mitigations=off nokaslr audit=0 net.ifnames=0 vm.name={self.name} vm.ip={self.address}',
                '-chardev', f'file,id=console,path={self.dir / "console"},append=on', '-serial', 'chardev:console',
                '-device', 'virtio-serial-pci', '-chardev', f'socket,id=agent,path={agent},server=on,wait=off',
                '-device', 'virtserialport,chardev=agent,name=agent', '-device', 'virtio-rng-pci',
                '-netdev', f'tap,id=net,ifname={self.tap},script=no,downscript=no',
                '-device', f'virtio-net-pci,netdev=net,mac=52:54:00:99:00:{self.number:02x},romfile=']
        drives = [(self.image / 'root.squashfs', 'root', 'readonly=on'), (self.programs, 'outrigger', 'readonly=on')]
        drives += [(path, f'data{i}', 'cache=unsafe,discard=unmap') for i, path in enumerate(self.disks)]
        drives += [(path, path.stem, 'readonly=on') for path in self.extra]
        for path, serial, options in drives:
            line += ['-drive', f'file={path},format=raw,if=none,id={serial},{options}',
                     '-device', f'virtio-blk-pci,drive={serial},serial={serial}']
        return line

    def start(self):
        with open(self.dir / 'qemu.log', 'ab') as log:
            self.process = subprocess.Popen(self.command_line(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.channel, self.pending = None, b''
        self.started = time.monotonic()

    def wait_ready(self):
        def answers():
            if self.process.poll() is not None:
                raise AssertionError(f'{self.name} ended: {(self.dir / "qemu.log").read_text()[-1000:]}')
            try:
                return self.run('true', timeout_s=5) == ''
            except (OSError, TimeoutError):
                return False
        for left in reversed(range(BOOTS)):  # a boot that hangs says nothing about what is tested: this alone is repeated
            try:
                wait_for(f'{self.name} to boot', answers, BOOT_S, 0.3)
                break
            except (TimeoutError, AssertionError) as e:
                if isinstance(e, AssertionError):
                    print(f'        {e} {(self.dir / "console").read_text(errors="replace")[-300:]}')
                if left == 0:
                    raise CannotRun(f'a guest did not boot, {BOOTS} times: {e}') from e
                print(f'        {self.name} does not boot; once more')
                self.kill()
                self.start()
        took_s = time.monotonic() - self.started
        if SLOW_S is not None and took_s > SLOW_S:
            raise CannotRun(f'a guest took {took_s:.0f} s to boot, more than {SLOW_S:.0f}: this machine is too slow, or too busy')

    def kill(self):
        """As if the plug were pulled. Disks keep what was written."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        if self.channel is not None:
            self.channel.close()
        self.process = self.channel = None

    def remove(self):
        self.kill()
        subprocess.run(['ip', 'link', 'del', self.tap], check=False)

    def link(self, up):
        subprocess.run(['ip', 'link', 'set', self.tap, 'up' if up else 'down'], check=True)

    def isolated(self, on):
        """Guests that are do not see one another; this machine they do."""
        subprocess.run(['bridge', 'link', 'set', 'dev', self.tap, 'isolated', 'on' if on else 'off'], check=True)

    # ---- commands ----
    def connect(self):
        self.channel = socket.socket(socket.AF_UNIX)
        self.channel.connect(str(self.dir / 'agent'))
        self.pending = b''

    def answer(self, number, deadline):
        """The answer to request `number`; late ones to requests that timed out are dropped."""
        while True:
            while b'\n' in self.pending:
                line, self.pending = self.pending.split(b'\n', 1)
                parts = line.split()
                if len(parts) >= 2 and parts[0] == str(number).encode():
                    return int(parts[1]), base64.b64decode(parts[2] if len(parts) > 2 else b'').decode(errors='replace')
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f'{self.name}: no answer')
            self.channel.settimeout(left)
            data = self.channel.recv(1 << 16)
            if not data:
                raise ConnectionResetError(f'{self.name}: the channel closed')
            self.pending += data

    def try_run(self, script, timeout_s=COMMAND_S):
        """Status and output (both streams) of a bash script. One at a time: several threads share the channel."""
        with self.lock:
            if self.channel is None:
                self.connect()
            self.requests += 1
            try:
                self.channel.settimeout(timeout_s)
                self.channel.sendall(f'{self.requests} {base64.b64encode(script.encode()).decode()}\n'.encode())
                return self.answer(self.requests, time.monotonic() + timeout_s)
            except (OSError, TimeoutError):
                if self.channel is not None:  # kill() closes it, too
                    self.channel.close()
                    self.channel = None
                raise

    def run(self, script, timeout_s=COMMAND_S):
        status, output = self.try_run(script, timeout_s)
        if status != 0:
            raise CommandFailed(f'{self.name}: {script!r} ended with {status}: {output[-2000:]}')
        return output

    def put(self, local, remote):
        """Copies a directory into the guest."""
        tar = subprocess.run(['tar', '-C', str(local), '-cz', '.'], stdout=subprocess.PIPE, check=True).stdout
        # power may be lost soon
        self.run(f'mkdir -p {remote} && base64 -d <<END | tar -C {remote} -xz && sync -f {remote}\n{base64.b64encode(tar).decode()}\nEND')


TRACE = os.environ.get('OUTRIGGER_VM_TRACE')  # a file
STAMP = '{ getline now < "/proc/uptime"; close("/proc/uptime"); sub(/ .*/, "", now); print now, $0; fflush() }'


class Satellite:
    """A satellite in a guest. It joins on the host, where the members can be reached, and its directory is copied in."""
    DIR = '/run/outrigger/satellite'

    def __init__(self, guest):
        self.guest = guest

    def join(self, cluster):
        directory = self.guest.dir / 'satellite'
        shutil.rmtree(directory, ignore_errors=True)
        token = cluster.raftctl('c1', 'token', 'create', '--role', 'satellite', '--name', self.guest.name).split()[-1]
        subprocess.run([str(BUILD / 'outrigger-satellite'), '--config', '/dev/null', '--dir', str(directory),
                        '--node-name', self.guest.name, 'join', token], check=True, stdout=subprocess.DEVNULL)
        self.guest.put(directory, self.DIR)

    def start(self, inject=None):
        option = '--allow-fault-injection' if inject else ''
        variable = f'OUTRIGGER_INJECT={inject}' if inject else ''
        if TRACE:  # every program that it runs, with the guest's time
            variable += ' LS_LOG_LEVEL=DEBUG'
            self.guest.run(f'[ -p /run/trace ] || mkfifo /run/trace; mawk -W interactive \'{STAMP}\' </run/trace >>/run/satellite.log 2>&1 &')
        self.guest.run(f'{variable} setsid {SATELLITE} --config /dev/null --dir {self.DIR} {option} --listen {self.guest.address}:3366 '
                       f'>>{"/run/trace" if TRACE else "/run/satellite.log"} 2>&1 </dev/null & echo $! >/run/satellite.pid')

    def running(self):
        return self.guest.try_run('kill -0 $(cat /run/satellite.pid)')[0] == 0

    def stop(self, signal_name='TERM'):
        self.guest.try_run(f'kill -{signal_name} $(cat /run/satellite.pid)')
        wait_for('the satellite to end', lambda: not self.running(), 300, 0.3)

    def log(self):
        return self.guest.try_run('cat /run/satellite.log')[1]

    def keep_trace(self):
        """Into the file that OUTRIGGER_VM_TRACE names, and the guest's name."""
        if TRACE and self.guest.process is not None:
            pathlib.Path(f'{TRACE}.{self.guest.name}').write_text(self.log() + self.guest.try_run('dmesg')[1])


def programs_missing():
    """Why guests cannot run here, or None."""
    for program in ('qemu-system-x86_64', 'mksquashfs', 'ip'):
        if shutil.which(program) is None:
            return f'{program} is not installed'
    if os.geteuid() != 0:
        return 'needs root'
    if not os.path.exists('/dev/net/tun'):
        return '/dev/net/tun is missing'
    if shutil.disk_usage(tempfile.gettempdir()).free >> 20 < ROOM_MIB:
        return f'there are less than {ROOM_MIB} MiB of room in {tempfile.gettempdir()}'
    with open('/proc/meminfo') as f:
        available = next(int(line.split()[1]) >> 10 for line in f if line.startswith('MemAvailable'))
    if available < MEMORY_MIB:
        return f'there are less than {MEMORY_MIB} MiB of memory available'
    if subprocess.run(['unshare', '--net', 'true'], capture_output=True).returncode != 0:
        return 'network namespaces are not permitted'
    return None
