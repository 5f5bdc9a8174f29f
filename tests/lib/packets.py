"""Packets of hosts (net_hosts.py) that are late, or overtake each other: tests/jepsen-like/switch.c between hosts and bridge.

    switch = packets.Switch(net, BUILD / 'tests/jepsen-like/switch', ['c1', 'c2', 'c3'], seed)
    switch.insert()                                    # from now on these hosts' cables go through the program
    switch.link('c1', 'c2', delay_ms=80, jitter_ms=40) # of one directed link; per_mille and hold_ms: so many are overtaken
    switch.clear(); switch.remove()                    # the cables are at the bridge again

A link is special where at least one of its two hosts goes through the program. The processes on the hosts notice nothing.
For one thread at a time."""
import json
import subprocess
import time

from net_hosts import BRIDGE, _run


class Switch:
    def __init__(self, net, program, names, seed):
        self.net, self.program, self.names, self.seed = net, program, list(names), seed
        self.process, self.plain = None, False
        self.totals = {'passed': 0, 'delayed': 0, 'held': 0, 'dropped': 0}

    def insert(self):
        if not self.plain:  # single packets, not what a card would cut into packets
            for name in self.names:
                self.net.plain_frames(name)
            self.plain = True
        for name in self.names:
            _run('ip', 'link', 'add', f'u-{name}', 'type', 'veth', 'peer', 'name', f'x-{name}')
            _run('ip', 'link', 'set', f'x-{name}', 'master', BRIDGE, 'up')
            _run('ip', 'link', 'set', f'u-{name}', 'up')
        for name in self.names:
            self._forwards(f'x-{name}')
        command = [str(self.program), '--seed', str(self.seed)]
        for name in self.names:
            host = self.net.hosts[name]
            _run('ip', 'link', 'set', host.port, 'nomaster')
            command.append(f'{host.address},{host.port},u-{name}')
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.stats()  # it answers when all cables are connected

    @staticmethod
    def _forwards(port):
        """Waits: a port with a new link is not used by the bridge at once, for up to a second."""
        deadline = time.monotonic() + 10
        while json.loads(_run('ip', '-d', '-j', 'link', 'show', port))[0]['linkinfo']['info_slave_data']['state'] != 'forwarding':
            if time.monotonic() > deadline:
                raise RuntimeError(f'the bridge does not forward to {port}')
            time.sleep(0.01)

    def ask(self, text):
        self.process.stdin.write(f'{text}\n')
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def link(self, source, to, delay_ms=0.0, jitter_ms=0.0, per_mille=0, hold_ms=0.0):
        hosts = self.net.hosts
        delay, jitter, hold = (round(x * 1000) for x in (delay_ms, jitter_ms, hold_ms))
        self.ask(f'link {hosts[source].address} {hosts[to].address} {delay} {jitter} {per_mille} {hold}')

    def clear(self):
        self.ask('clear')

    def stats(self):
        """Counted since the last call; also added to the totals."""
        counts = self.ask('stats')
        for k, n in counts.items():
            self.totals[k] += n
        return counts

    def remove(self):
        """What it still holds is sent at once. RuntimeError if the program had ended by itself."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.communicate(timeout=20)
        for name in self.names:
            _run('ip', 'link', 'delete', f'u-{name}')
            _run('ip', 'link', 'set', self.net.hosts[name].port, 'master', BRIDGE)
        if process.returncode != 0:
            raise RuntimeError(f'switch: exit code {process.returncode}')
