"""Hosts of a test: network namespaces that a bridge joins, and faults of the links between them.

    import net_hosts
    net_hosts.enter()                        # first of all: runs the program again in namespaces of its own
    net = net_hosts.Net(['c1', 'c2', 'c3'])  # 10.99.0.1 and up, in this order
    p = net.hosts['c1'].popen([...])         # a process on that host
    net.cut_one_way('c1', 'c2')              # what c1 sends does not reach c2
    net.set_graph({('c1', 'c2'), ('c2', 'c1')})   # these directed links carry, the other ones do not
    net.heal()

enter() makes namespaces for network, mounts and processes. The names of hosts and interfaces exist in there only, so runs
side by side never meet, and whatever ends the program (SIGKILL too), the kernel ends its processes and removes the
hosts, links, mounts and loop devices that `mount -o loop` made. Nothing has to be cleaned up, and nothing can be forgotten.

Faults are nftables rules at the receiver's door: a rule of c2 drops what comes from c1. ARP is not touched. All calls are
for one thread, or for several under Net.lock (taken by each call)."""
import array
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading

PREFIX = '10.99.0'
BRIDGE = 'br0'


def missing():
    """Why this machine cannot run such tests; None when it can."""
    if os.geteuid() != 0:
        return 'needs root for network namespaces'
    for program in ('ip', 'nft', 'nsenter', 'unshare'):
        if shutil.which(program) is None:
            return f'{program} is not installed'
    probe = ('ip link add name b0 type bridge && ip link add v0 type veth peer name v1 && nft add table inet t && '
             'nft add chain inet t c "{ type filter hook input priority 0; }" && '
             'nft add rule inet t c ip saddr 10.99.0.1 numgen random mod 1000 "<" 5 drop')
    done = subprocess.run(['unshare', '--net', 'sh', '-c', probe], capture_output=True, text=True)
    return f'this kernel has no bridge, veth or nftables: {done.stderr.strip()[:200]}' if done.returncode else None


def enter():
    """Runs the program again in namespaces of its own; returns in there. Exits 77 with the reason where that is not possible."""
    if os.environ.get('OUTRIGGER_NET_HOSTS') == 'inside':
        _prepare()
        return
    why = missing()
    if why:
        print(f'skipped: {why}')
        sys.exit(77)
    env = dict(os.environ, OUTRIGGER_NET_HOSTS='inside', PYTHONUNBUFFERED='1')
    # The shell is process 1 there: it reaps orphans, and when it ends everything ends.
    os.execvpe('unshare', ['unshare', '--net', '--mount', '--pid', '--fork', '--kill-child=SIGKILL', '--mount-proc',
                           'sh', '-c', '"$@"; exit $?', 'sh', sys.executable, *sys.argv], env)


def _prepare():
    os.makedirs('/run/netns', exist_ok=True)
    _run('mount', '-t', 'tmpfs', 'tmpfs', '/run/netns')  # ours only: the mount namespace is private
    _run('ip', 'link', 'set', 'lo', 'up')


def _run(*args, stdin=None):
    done = subprocess.run(args, input=stdin, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f'{" ".join(args)}: {done.stderr.strip()}')
    return done.stdout


class Host:
    """One network namespace with the interface eth0."""

    def __init__(self, name, address):
        self.name, self.address = name, address
        self.port = f'v-{name}'  # the bridge's end of the cable

    def argv(self, command):
        """The command line that runs it there. It becomes that process itself: its id is the one of the command."""
        return ['nsenter', f'--net=/run/netns/{self.name}', '--', *[str(c) for c in command]]

    def run(self, *command, stdin=None):
        return _run(*self.argv(command), stdin=stdin)

    def popen(self, command, **kwargs):
        return subprocess.Popen(self.argv(command), **kwargs)


class Net:
    def __init__(self, names, first=1):
        self.lock = threading.RLock()
        self.rules = {}  # (from, to): 'drop', 'reset' or a loss of so many in 1000
        self.hosts = {}
        _run('ip', 'link', 'add', 'name', BRIDGE, 'type', 'bridge')
        _run('ip', 'link', 'set', BRIDGE, 'up')
        for i, name in enumerate(names):
            self.add(name, f'{PREFIX}.{first + i}')

    def add(self, name, address=None):
        """Another host; its address is the next free one unless it is given."""
        if address is None:
            used = {h.address for h in self.hosts.values()}
            address = next(a for a in (f'{PREFIX}.{i}' for i in range(1, 250)) if a not in used)
        host = Host(name, address)
        _run('ip', 'netns', 'add', name)
        _run('ip', 'link', 'add', host.port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
        _run('ip', 'link', 'set', host.port, 'master', BRIDGE, 'up')
        host.run('ip', 'link', 'set', 'lo', 'up')
        host.run('ip', 'address', 'add', f'{address}/24', 'dev', 'eth0')
        host.run('ip', 'link', 'set', 'eth0', 'up')
        self.hosts[name] = host
        return host

    # ---- faults of links ----
    def _apply(self, receivers):
        for to in receivers:
            lines = []
            for (source, target), what in sorted(self.rules.items()):
                if target != to:
                    continue
                address = self.hosts[source].address
                if what == 'drop':
                    lines.append(f'ip saddr {address} drop')
                elif what == 'reset':
                    lines.append(f'ip saddr {address} meta l4proto tcp reject with tcp reset')
                else:
                    lines.append(f'ip saddr {address} numgen random mod 1000 < {what} drop')
            text = 'table inet faults\ndelete table inet faults\n'
            if lines:
                text += ('table inet faults { chain door { type filter hook input priority 0; policy accept; '
                         + '; '.join(lines) + '\n}\n}\n')
            self.hosts[to].run('nft', '-f', '-', stdin=text)

    def _set(self, links, what):
        with self.lock:
            for link in links:
                if what is None:
                    self.rules.pop(link, None)
                else:
                    self.rules[link] = what
            self._apply({to for _, to in links})

    def cut_one_way(self, source, to):
        self._set([(source, to)], 'drop')

    def cut(self, a, b):
        self._set([(a, b), (b, a)], 'drop')

    def split(self, *groups):
        """No packet passes from one group of hosts to another; hosts in no group keep all their links."""
        self._set([(a, b) for g in groups for h in groups if g is not h for a in g for b in h], 'drop')

    def lose(self, links, per_mille):
        """So many packets of 1000 are lost on these directed links."""
        self._set(list(links), int(per_mille))

    def refuse(self, links):
        """TCP packets on these directed links are answered by a reset."""
        self._set(list(links), 'reset')

    def set_graph(self, edges, among=None):
        """Of the directed links between the hosts `among` (all) exactly these carry."""
        names = list(among or self.hosts)
        with self.lock:
            for a in names:
                for b in names:
                    if a == b:
                        continue
                    if (a, b) in edges:
                        self.rules.pop((a, b), None)
                    else:
                        self.rules[a, b] = 'drop'
            self._apply(names)

    def heal(self):
        with self.lock:
            touched = {to for _, to in self.rules}
            self.rules.clear()
            self._apply(touched)

    def plug(self, name, inserted):
        """The cable of a host: out, and nobody's packets pass, not even ARP's."""
        _run('ip', 'link', 'set', self.hosts[name].port, 'up' if inserted else 'down')

    # ---- for switches of ours between a host and the bridge ----
    def plain_frames(self, name):
        """The host's card makes no frames larger than Ethernet's, with complete checksums: a program can pass them on."""
        host = self.hosts[name]
        code = ('import sys; sys.path.insert(0, sys.argv[1]); import net_hosts; net_hosts.no_offload("eth0")')
        host.run(sys.executable, '-c', code, os.path.dirname(os.path.abspath(__file__)))


def no_offload(interface):
    """Switches off segmentation and checksum offload of an interface of the current network namespace."""
    ethtool_stso, ethtool_sgso, ethtool_stxcsum, ethtool_ssg = 0x1f, 0x24, 0x17, 0x19
    siocethtool = 0x8946
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for command in (ethtool_stso, ethtool_sgso, ethtool_ssg, ethtool_stxcsum):
            data = array.array('B', struct.pack('II', command, 0))
            request = struct.pack('16sP', interface.encode(), data.buffer_info()[0]).ljust(40, b'\0')
            try:
                fcntl.ioctl(s, siocethtool, request)
            except OSError:
                if command == ethtool_stxcsum:
                    raise
