"""A newcomer with docs/operations.md: types what its blocks marked `<!-- tested: LABEL -->` say, on machines that have
nothing but what `make install` put there, and compares what comes out. Founds two controllers and a witness, kills each
in turn, loses a disk, replaces a machine, takes a backup, recovers from a lost majority, restores.

A machine: namespaces for network, mounts, processes and name; its own /etc/outrigger, /var/lib/outrigger, /run, /root and /srv.
`systemctl` there is a small program that obeys the installed units (ConditionPathExists, ExecStart, the exit code that
prevents a restart); everything else is the real thing."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import lib_e2e
from lib_e2e import BUILD, TOP, Suite, wait_for

lib_e2e.enter()

PAGE = TOP / 'docs/operations.md'
ADDRESSES = {'alpha': 1, 'beta': 2, 'pi': 3, 'gamma': 4, 'delta': 5, 'epsilon': 6, 'sat': 9, 'sat2': 10}
READS = ('raftctl status', 'outrigger node list', 'outrigger resource list')  # asked again until the answer is as in the page

SYSTEMCTL = r'''#!/bin/bash
# systemctl [enable --now|start|stop|restart] UNIT, by the unit file that was installed.
verb=$1; unit=${!#}; file=$UNITS/$unit.service; pidfile=/run/$unit.pid; log=/root/$unit.log
[ -e "$file" ] || { echo "Unit $unit.service not found."; exit 5; }
value() { sed -n "s/^$1=//p" "$file"; }
running() { [ -e $pidfile ] && [ -e "/proc/$(cat $pidfile)/exe" ]; }
stop() { running && kill "$(cat $pidfile)"; for _ in {1..600}; do running || return 0; sleep 0.05; done; echo "$unit does not end"; exit 1; }
ready() { # a unit of type notify has started when it says so: it logs that, too
        [ "$(value Type)" = notify ] || return 0
        for _ in {1..1200}; do
                tail -c +$(($1 + 1)) $log | grep -q ' runs as member ' && return
                running || break
                sleep 0.05
        done
        echo "$unit did not start"
        exit 1
}
start() {
        running && return
        [ -e "$(value ConditionPathExists)" ] || { echo "$unit: $(value ConditionPathExists) does not exist"; exit 1; }
        command=$(value ExecStart)
        [ -x "$INSTALLED${command%% *}" ] || { echo "$unit: ${command%% *}: no such program"; exit 1; }
        touch $log; before=$(stat -c %s $log)
        setsid $INSTALLED$command >>$log 2>&1 </dev/null &
        echo $! >$pidfile
        disown
        ready $before
}
case $verb in
enable) [ "$2" = --now ] && start ;;
start) start ;;
stop) stop ;;
restart) stop; start ;;
*) echo "systemctl $verb is not known here"; exit 1 ;;
esac
'''


class Machine:
    def __init__(self, lab, name):
        self.lab, self.name, self.home = lab, name, lab.base / name
        self.address = f'10.0.0.{ADDRESSES[name]}'
        places = {'etc': '/etc/outrigger', 'lib': '/var/lib/outrigger', 'run': '/run', 'root': '/root', 'srv': '/srv'}
        lines = ['set -e', 'mount -t proc proc /proc', f'hostname {name}', 'mount --make-rprivate /', 'mount -t tmpfs tmpfs /var/lib']
        for place, at in places.items():
            (self.home / place).mkdir(parents=True)
            if place == 'lib':
                continue  # a fresh machine has none: `raftctl init` and `join` make it
            lines.append(f'mkdir -p {at}; mount --bind {self.home / place} {at}' if place != 'etc' else
                         f'mount -t overlay overlay -o lowerdir=/etc,upperdir={self.home}/etc,workdir={self.home}/work /etc')
        (self.home / 'work').mkdir()
        lines += ['ip link set lo up', 'echo ready', 'sleep infinity & wait']  # bash is the first process there, and buries the dead ones
        self.holder = subprocess.Popen(['unshare', '--net', '--mount', '--uts', '--pid', '--fork', '--kill-child', 'bash', '-c',
                                        '\n'.join(lines)], stdout=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != 'ready\n':
            raise RuntimeError(f'{name} was not made')
        self.pid = int(subprocess.run(['pgrep', '-P', str(self.holder.pid)], capture_output=True, text=True, check=True).stdout.split()[0])
        link = f'v-{name}'
        for command in (f'ip link add {link} type veth peer name eth0 netns {self.pid}', f'ip link set {link} master br0 up'):
            subprocess.run(command.split(), check=True)
        self.plain(f'ip addr add {self.address}/24 dev eth0 && ip link set eth0 up')

    def plain(self, command, timeout_s=60):
        """Types a command; (exit code, what was printed)."""
        environment = {'PATH': f'{self.lab.base}/bin:{self.lab.installed}{self.lab.prefix}/sbin:'
                               f'{self.lab.installed}{self.lab.prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin',
                       'HOME': '/root', 'INSTALLED': str(self.lab.installed),
                       'UNITS': f'{self.lab.installed}{self.lab.prefix}/lib/systemd/system'}
        done = subprocess.run(['nsenter', '-t', str(self.pid), '-r', '-w', '-n', '-m', '-u', '-p', 'bash', '-c', f'cd /root; {command}'],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s, env=environment)
        return done.returncode, done.stdout

    def types(self, command):
        code, text = self.plain(command)
        if code != 0:
            raise AssertionError(f'{self.name}# {command}\n{text}[exit code {code}]')
        return text

    def kills(self):
        """kill -9 of its controller or witness; a machine runs one."""
        self.types('kill -9 $(pidof outrigger-controller)')

    def exit_code(self, options=''):
        """Of the daemon started by hand, which is expected to end."""
        return self.plain(f'timeout 50 outrigger-controller {options}')

    def status(self):
        return self.plain('raftctl status')[1]

    def close(self):
        self.holder.kill()
        self.holder.wait()


class Lab:
    """A bridge, the machines at it, and what `make install` installed."""

    def __init__(self):
        self.base, self.machines, self.token = pathlib.Path(tempfile.mkdtemp(prefix='outrigger-newcomer-')), {}, None
        self.installed = self.base / 'installed'
        done = subprocess.run(['make', '-s', 'install', f'DESTDIR={self.installed}'], cwd=BUILD, capture_output=True, text=True,
                              env={k: v for k, v in os.environ.items() if k not in ('MAKEFLAGS', 'MAKELEVEL', 'MFLAGS')})
        if done.returncode != 0:
            raise RuntimeError(f'make install: {done.stdout[-500:]}{done.stderr[-500:]}')
        self.prefix = '/' + str(next(self.installed.rglob('sbin/raftctl')).parent.parent.relative_to(self.installed))
        (self.base / 'bin').mkdir()
        (self.base / 'bin/systemctl').write_text(SYSTEMCTL)
        (self.base / 'bin/systemctl').chmod(0o755)
        for command in ('ip link add br0 type bridge', 'ip link set br0 up'):
            subprocess.run(command.split(), check=True)

    def __getitem__(self, name):
        if name not in self.machines:
            self.machines[name] = Machine(self, name)
        return self.machines[name]

    def cut(self, name, state):
        subprocess.run(['ip', 'link', 'set', f'v-{name}', state], check=True)

    def close(self):
        for m in self.machines.values():
            m.close()
        for image in self.base.rglob('srv/**/*.img'):
            for line in subprocess.run(['losetup', '-j', str(image)], capture_output=True, text=True).stdout.splitlines():
                subprocess.run(['losetup', '-d', line.split(':')[0]])
        if os.environ.get('OUTRIGGER_KEEP'):
            print(f'kept: {self.base}')
        else:
            shutil.rmtree(self.base, ignore_errors=True)


def missing():
    """Why this machine cannot run it; None when it can."""
    for program in ('ip', 'pgrep', 'nsenter', 'unshare', 'make'):
        if not shutil.which(program):
            return f'{program} is not installed'
    with tempfile.TemporaryDirectory(prefix='outrigger-newcomer-') as d:
        for name in ('upper', 'work', 'at'):
            os.mkdir(f'{d}/{name}')
        probe = ('mount --make-rprivate / && ip link add b0 type bridge && ip link add v0 type veth peer name v1 && mount -t overlay overlay '
                 f'-o lowerdir=/etc,upperdir={d}/upper,workdir={d}/work {d}/at && umount {d}/at')
        done = subprocess.run(['unshare', '--net', '--mount', '--uts', '--pid', '--fork', 'sh', '-c', probe], capture_output=True, text=True)
    return f'no bridge, veth or overlay here: {done.stderr.strip()[:200]}' if done.returncode else None


def blocks():
    """{label: [(machine, command, [expected lines])]} of the page, in its order."""
    found = {}
    for label, body in re.findall(r'^<!-- tested: (\w+) -->\n```\n(.*?)^```$', PAGE.read_text(), re.M | re.S):
        steps = found.setdefault(label, [])
        for line in body.splitlines():
            prompt = re.match(r'(\w+)# (.*)', line)
            if prompt:
                steps.append((prompt[1], prompt[2], []))
            else:
                steps[-1][2].append(line)
    return found


def shape(line):
    """What is the same on every run: no ids, numbers, times, and no widths of columns."""
    line = re.sub(r'\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b(?=[0-9a-f]*[0-9])[0-9a-f]{16}\b', 'ID', line)
    line = re.sub(r'\b\d{4}-\d\d-\d\d\b', 'DATE', line)
    line = re.sub(r'\d+\.\d+\.\d+\.\d+', lambda m: m[0].replace('.', '-'), line)  # addresses stay
    line = re.sub(r'(?<![\w-])\d[\d.]*(?![\w-])', '#', line)
    return ' '.join(re.sub(r'/dev/loop\d+', '/dev/loop#', line).split())


def differs(text, expected):
    """The first expected line that was not printed, or None."""
    printed = [shape(line) for line in text.splitlines()]
    for line in expected:
        want = shape(line)
        if want in ('', '...'):
            continue
        if want.endswith(' ...'):
            if not any(p.startswith(want[:-4]) for p in printed):
                return line
        elif want not in printed:
            return line
    return None


class Newcomer:
    def __init__(self, lab):
        self.lab, self.pages = lab, blocks()

    def follow(self, label, rename=()):
        """Types all blocks of that label, in order."""
        for name, command, expected in self.pages[label]:
            for old, new in rename:
                name = re.sub(rf'\b{old}\b', new, name)
                command = re.sub(rf'\b{re.escape(old)}\b', new, command)
                expected = [re.sub(rf'\b{re.escape(old)}\b', new, line) for line in expected]
            self.step(self.lab[name], command, expected)

    def step(self, machine, command, expected):
        command = re.sub(r'\bTOKEN\b', self.lab.token or 'TOKEN', command)
        refusal = any(line.startswith('raftctl:') for line in expected) or any('no quorum' in line for line in expected)
        deadline = time.monotonic() + (60 if command.startswith(READS) else 0)
        while True:
            code, text = machine.plain(command)
            wrong = differs(text, expected)
            if wrong is None and (code != 0) == refusal:
                break
            if time.monotonic() > deadline:
                raise AssertionError(f'{machine.name}# {command}\nexit code {code}; the page says: {wrong}\nit printed:\n{text}')
            time.sleep(0.2)
        if 'token create' in command:
            self.lab.token = text.strip()

    # ---- the walk ----
    def found(self):
        self.follow('found')

    def storage(self):
        self.follow('storage')
        self.follow('storage', [('sat', 'sat2'), ('10.0.0.9', '10.0.0.10')])
        self.follow('volume')

    def clients(self):
        self.follow('https')
        for name in ('client.crt', 'client.key', 'ca.crt'):
            target = self.lab['sat'].home / 'root/.config/outrigger'
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.lab['alpha'].home / 'root/admin' / name, target / name)
        self.follow('client')

    def reached(self, name):
        """It has reached both satellites: a controller that leads places on those only."""
        return self.lab[name].plain('outrigger --timeout 5 node list')[1].count('Online') == 2

    def write(self, machine, name, leader=None):
        """By that machine; leader: another one that may lead meanwhile."""
        for who in {machine, leader or machine}:
            wait_for(f'{who} has reached the satellites', lambda who=who: self.reached(who))
        self.lab[machine].types(f'outrigger resource-group spawn-resources demo {name} 4M')

    def lead(self, name):
        """Not every election ends as on the page: leadership is handed to the one that leads there."""
        wait_for('a leader', lambda: re.search(r'leader (?!none)\w+', self.lab[name].status()))
        self.lab[name].plain(f'raftctl transfer {name}')
        wait_for(f'{name} leads', lambda: f'leader {name}' in self.lab[name].status())

    def each_killed(self):
        """Page 2 and 3: each in turn; a write through another; started again."""
        self.lead('alpha')
        self.lab['alpha'].kills()
        self.write('beta', 'killed1')
        self.lead('beta')
        self.follow('dead')
        code, text = self.lab['alpha'].plain('outrigger node list')
        assert code == 20 and 'no controller runs on this machine' in text, text
        self.back('alpha', 'outrigger-controller')
        self.lab['beta'].kills()
        self.write('alpha', 'killed2')
        self.back('beta', 'outrigger-controller')
        self.lab['pi'].kills()
        self.write('beta', 'killed3', 'alpha')
        self.back('pi', 'outrigger-witness')

    def witness_disk(self):
        """Page 4, on the witness."""
        pi = self.lab['pi']
        pi.types('systemctl stop outrigger-witness; rm -r /var/lib/outrigger/controller/raft')
        code, text = pi.exit_code('--witness')
        assert code == 1 and 'raftctl rejoin' in text, text
        assert 'systemctl start outrigger-witness' in pi.types('raftctl rejoin')
        self.back('pi', 'outrigger-witness')

    def back(self, name, unit):
        self.lab[name].types(f'systemctl start {unit}')
        wait_for(f'all after {name}', lambda: not re.search('unreachable|candidate|stand-by|warning', self.lab['alpha'].status()))

    def disk_dead(self):
        """Page 4: heals by itself."""
        beta = self.lab['beta']
        self.lead('alpha')
        beta.types('systemctl stop outrigger-controller; rm -r /var/lib/outrigger/controller/raft')
        self.back('beta', 'outrigger-controller')
        assert 'comes back under a new id' in (beta.home / 'root/outrigger-controller.log').read_text()

    def no_certificates(self):
        """Page 13; and page 4 by hand (a while after the first time: one name comes back every 5 s at most)."""
        beta = self.lab['beta']
        beta.types('systemctl stop outrigger-controller; mv /var/lib/outrigger/controller/pki /root/pki')
        code, text = beta.exit_code()
        assert code == 1 and "token create --replaces beta" in text and 'raftctl init' not in text, text
        beta.types('mv /root/pki /var/lib/outrigger/controller/pki; rm -r /var/lib/outrigger/controller/raft')
        self.follow('rejoin')
        self.back('beta', 'outrigger-controller')

    def replaced(self):
        self.lead('alpha')
        self.lab['beta'].kills()
        wait_for('beta is missed', lambda: 'unreachable' in self.lab['alpha'].status())
        self.follow('replace')
        code, text = self.lab['beta'].exit_code()
        assert code == 71 and 'was removed from the cluster' in text, (code, text)
        self.write('gamma', 'replaced', 'alpha')

    def power(self):
        for name in ('alpha', 'gamma', 'pi'):
            self.lab[name].kills()
        self.lab['alpha'].types('systemctl start outrigger-controller')
        self.follow('power')
        code, text = self.lab['alpha'].plain('outrigger --timeout 1 node list')
        assert code == 21 and 'quorum' in text, (code, text)
        self.lab['gamma'].types('systemctl start outrigger-controller')
        wait_for('a leader', lambda: re.search('leader (alpha|gamma)', self.lab['alpha'].status()))
        self.back('pi', 'outrigger-witness')

    def network(self):
        """Page 8: the one that is cut off waits, the others serve; nothing is to be done afterwards."""
        self.lead('alpha')
        self.lab.cut('alpha', 'down')
        wait_for('no quorum', lambda: 'warning: no quorum' in self.lab['alpha'].status())
        self.write('gamma', 'cut')
        self.lab.cut('alpha', 'up')
        wait_for('all', lambda: not re.search('unreachable|candidate|warning', self.lab['alpha'].status()))

    def full(self):
        """Page 6: its file system shrinks to what is on it."""
        gamma, alpha = self.lab['gamma'], self.lab['alpha']
        self.lead('alpha')
        used = int(gamma.types('df --output=used -k /var/lib | tail -1'))
        gamma.types(f'mount -o remount,size={used + 256}k /var/lib')
        large = '"$(head -c 20000 /dev/urandom | base64 -w0)"'
        for i in range(40):
            alpha.types(f'outrigger resource-group create full{i} --description {large}')
            if 'is full' in gamma.status():
                break
        self.follow('full')
        alpha.types('outrigger resource-group delete full0')  # the cluster goes on
        gamma.types('mount -o remount,size=1g /var/lib')
        wait_for('room again', lambda: not re.search('full|unreachable', gamma.status()), 20)
        log = (gamma.home / 'root/outrigger-controller.log').read_text()
        assert 'takes no writes and leads no more' in log and 'there is room again' in log, log[-600:]

    def timing(self):
        """Page 14, on a member with settings that are too tight."""
        alpha, conf = self.lab['alpha'], '/etc/outrigger/controller.conf'
        alpha.types(f"cp {conf} /root/conf; printf '[raft]\\nelection_ms = 60\\nheartbeat_ms = 20\\n' >>{conf}")
        alpha.types('systemctl restart outrigger-controller')
        wait_for('a link', lambda: 'round trip' in alpha.plain('raftctl check-timing')[1])
        self.follow('timing')
        alpha.types(f'cp /root/conf {conf}')
        self.follow('calmer')
        assert 'warning' not in alpha.types('raftctl check-timing')
        alpha.types(f'cp /root/conf {conf}')
        self.back('alpha', 'outrigger-controller')

    def hands(self):
        """Page 15."""
        self.lead('alpha')
        self.follow('hands')
        self.lab['gamma'].kills()
        wait_for('gamma is missed', lambda: 'unreachable' in self.lab['alpha'].status())
        self.follow('refused')
        self.back('gamma', 'outrigger-controller')

    def standby(self):
        """Page 16, with less patience than a minute."""
        alpha, conf = self.lab['alpha'], '/etc/outrigger/controller.conf'
        alpha.types(f"printf '[raft]\\npromote_after_s = 3\\n' >>{conf}; systemctl restart outrigger-controller")
        self.lead('alpha')
        self.follow('standby')
        self.lab['gamma'].kills()
        wait_for('epsilon takes over', lambda: 'took over the vote' in alpha.status(), 30)
        self.lab['gamma'].types('systemctl start outrigger-controller')
        self.follow('tookover')
        alpha.types('raftctl remove epsilon')
        wait_for('epsilon is out', lambda: 'epsilon' not in alpha.status())
        code, text = self.lab['epsilon'].exit_code()
        assert code == 71, (code, text)
        alpha.types(f'cp /root/conf {conf}; systemctl restart outrigger-controller')

    def zones(self):
        """Page 17."""
        alpha = self.lab['alpha']
        self.lead('alpha')
        self.follow('zones')
        assert 'the loss of one zone would lose the quorum' in (alpha.home / 'root/outrigger-controller.log').read_text()
        for name in ('alpha', 'gamma', 'pi'):
            alpha.types(f"raftctl set-zone {name} ''")

    def majority_lost(self):
        """Page 9."""
        self.lead('alpha')
        for name in ('gamma', 'pi'):
            self.lab[name].kills()
        wait_for('no quorum', lambda: 'warning: no quorum' in self.lab['alpha'].status())
        for name in ('monday.backup', 'passphrase'):
            shutil.copy(self.lab['beta'].home / 'root' / name, self.lab['alpha'].home / 'root' / name)
        code, text = self.lab['alpha'].plain('raftctl check /var/lib/outrigger/controller')
        assert code == 1 and 'stop the controller' in text and 'busy' not in text, text
        self.follow('survivor')
        wait_for('alpha leads', lambda: 'leader alpha' in self.lab['alpha'].status())
        code, text = self.lab['gamma'].exit_code()
        assert code == 71 and 'belongs to the past' in text, (code, text)
        code, text = self.lab['pi'].exit_code('--witness')
        assert code == 71, (code, text)

    def again(self):
        """Page 12's and 18's ways back: gamma joins anew, and pi as a witness without a disk, which restarts."""
        self.follow('again')
        wait_for('gamma votes', lambda: re.search(r'gamma.*voter +follower', self.lab['alpha'].status()))
        self.lab['pi'].types('mv /var/lib/outrigger/controller /var/lib/outrigger/controller.old')
        self.follow('volatile')
        self.volatile_votes()
        assert sorted(self.lab['pi'].types('ls /var/lib/outrigger/controller').split()) == ['identity', 'pki']
        self.lab['pi'].kills()
        self.lab['pi'].types('systemctl start outrigger-witness')
        self.volatile_votes()
        self.write('gamma', 'volatile', 'alpha')
        self.lab['alpha'].kills()
        self.write('gamma', 'survives')

    def volatile_votes(self):
        wait_for('pi votes', lambda: re.search(r'pi .*voter +follower', self.lab['alpha'].status()))

    def restored(self):
        """Page 11: all are lost; what was there at the backup is there."""
        for name in ('gamma', 'pi'):
            self.lab[name].kills()
        for name in ('monday.backup', 'passphrase'):
            shutil.copy(self.lab['beta'].home / 'root' / name, self.lab['delta'].home / 'root' / name)
        self.follow('restore')
        text = self.lab['delta'].types('outrigger resource list')
        assert 'vol1' in text and 'killed3' in text and 'replaced' not in text, text


def main():
    suite = Suite()
    why = missing()
    if why:
        lib_e2e.skip(why)
    lab = suite.check('a lab with what make install installs', Lab)
    if lab is None:
        suite.finish()
    try:
        n = Newcomer(lab)
        steps = (('page 1: two controllers and a witness', n.found), ('page 1: storage nodes and a volume', n.storage),
                 ('page 1: a client elsewhere, over HTTPS', n.clients), ('pages 2, 3: each is killed in turn', n.each_killed),
                 ('page 4: a disk is lost', n.disk_dead), ("page 4: the witness's", n.witness_disk), ('page 10: a backup', lambda: n.follow('backup')),
                 ('pages 13, 4: the certificates are lost; a rejoin by hand', n.no_certificates), ('page 5: a machine is replaced', n.replaced),
                 ('page 7: the power failed everywhere', n.power), ('page 8: the network is cut', n.network),
                 ('page 6: a disk is full', n.full), ('page 14: times that are too tight', n.timing), ('page 15: by hand', n.hands),
                 ('page 16: a stand-by takes over', n.standby), ('page 17: zones', n.zones),
                 ('page 9: a majority is lost for good', n.majority_lost),
                 ('pages 12, 18: joining anew, and without a disk', n.again), ('page 11: restore', n.restored))
        for name, step in steps:
            before = suite.failed
            suite.check(name, step)
            if suite.failed > before:  # each goes on from the one before
                for m in lab.machines.values():
                    for log in sorted((m.home / 'root').glob('*.log')):
                        print(f'--- {m.name} {log.name}: {log.read_text()[-1500:]}')
                break
    finally:
        suite.check('the lab is taken down', lab.close)
    suite.finish()


if __name__ == '__main__':
    sys.exit(main())
