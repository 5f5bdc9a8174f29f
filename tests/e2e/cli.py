"""The CLI as a user meets it: help, every verb of the table, short forms, wrong input, machine-readable answers, a list of controllers whose
first is dead; and snapshots from taking to cloning, on real loop devices."""
import json
import os
import re
import subprocess

import lib_e2e
from lib_e2e import BUILD, Cluster, Suite, wait_for

lib_e2e.enter()

SIZE = 4 << 20


class Cli:
    def __init__(self, cluster):
        self.cluster = cluster
        self.env = dict(os.environ, LS_CONTROLLERS='http://127.0.0.1:1,' + cluster.address('c1'), LC_ALL='C.UTF-8')

    def run(self, line, code=0, stdin=None):
        """Standard output of `outrigger LINE`; code is the exit code that it must have."""
        words = line.split() if isinstance(line, str) else line
        done = subprocess.run([str(BUILD / 'outrigger'), *words], capture_output=True, text=True, timeout=60, env=self.env,
                              input=stdin)
        assert done.returncode == code, (line, done.returncode, done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stdout + done.stderr

    def rows(self, line):
        """A table as a list of {column: cell}; cells are cut where the headers begin."""
        lines = self.run('-p ' + line).splitlines()
        starts = [m.start() for m in re.finditer(r'\S+(?: \S+)*', lines[0])]
        names = re.findall(r'\S+(?: \S+)*', lines[0])
        if names == [lines[0]]:
            names = lines[0].split()
        return [{n: row[a:b].strip() for n, a, b in zip(names, starts, starts[1:] + [None])} for row in lines[1:]]

    def json(self, line):
        return json.loads(self.run('-m ' + line))


def help_texts(cli):
    """Every object and every verb that the help names has a help of its own, by long and short names."""
    text = cli.run('help')
    assert text == cli.run('--help')
    objects = re.findall(r'^ {2}([a-z-]+(?: [a-z-]+)?)  +((?:[a-z]+)(?: [a-z]+)?) +\S', text.split('objects:\n')[1], re.M)
    assert len(objects) > 12, objects
    verbs = 0
    for name, short in objects:
        if name in ('help', 'completion'):
            continue
        listed = cli.run(f'help {name}')
        assert listed == cli.run(f'{name} --help') == cli.run(f'{name} help'), name
        for verb, letter in re.findall(r'^ {2}([a-z-]+) +([a-z]+) +\S', listed, re.M):
            shown = cli.run(f'{short} {letter} -h')
            assert verbs % 8 or shown == cli.run(f'help {name} {verb}') == cli.run(f'{name} {verb} --help'), (name, verb)
            assert shown.startswith(f'usage: outrigger {name} {verb}') and f'outrigger {short} {letter})' in shown, shown
            verbs += 1
    print(f'        {len(objects)} objects, {verbs} verbs')
    assert verbs > 80


def completion(cli):
    script = cli.run('completion bash') + r'''
t() { COMP_WORDS=(outrigger "$@"); COMP_CWORD=$#; _outrigger; echo "${COMPREPLY[*]}"; }
t sn; t s rest; t snapshot res; t s r ''; t snapshot resource rst --from-s; t help s c; t r c --stor; t help sn'''
    done = subprocess.run(['bash', '-c', script], capture_output=True, text=True)
    assert done.stdout.splitlines() == ['snapshot', '', 'resource', 'restore', '--from-snapshot', 'create create-multiple',
                                        '--storage-pool', 'snapshot'], done


def wrong_input(cli):
    for line, word in (('', 'usage'), ('nonsense', 'nonsense'), ('node', 'usage'), ('node nonsense', 'nonsense'),
                       ('n c', 'missing'), ('s rst --fr a', 'no verb'), ('s r rst --fr a --fs b', '--to-resource'),
                       ('s cm snap', '--resource_names'), ('s rb a b --zfs-rollback-strategy quickly', 'quickly'),
                       ('vd c res ten', 'ten'), ('r l --no', '--nodes'), ('rg c g --replicas-on x', 'may be'), ('rd cln a', 'name'),
                       ('--timeout soon n l', 'soon'), ('--output-version v7 n l', 'v7'), ('n l --nonsense', '--nonsense')):
        assert word in cli.run(line, 2), (line, cli.run(line, 2))
    assert 'nowhere' in cli.run('s c nowhere snap', 10)
    assert 'WARNING' in cli.run('rd d nowhere')
    cli.run('--warn-as-error rd d nowhere', 10)
    assert json.loads(cli.run('-m s c nowhere snap', 10))[0]['ret_code'] < 0
    for controllers, code in (('127.0.0.1:1', 20), ('ftp://x', 20), ('127.0.0.1:99999', 20), ('127.0.0.1:x', 20), ('http://[::1]:', 20)):
        done = subprocess.run([str(BUILD / 'outrigger'), '--controllers', controllers, 'n', 'l'], capture_output=True, text=True,
                              env={k: v for k, v in cli.env.items() if k != 'LS_CONTROLLERS'})
        assert done.returncode == code and done.stderr, done


def lists(cli):
    """Each list has a table and a JSON form, of nothing as well."""
    for line in ('n l', 'n i l s1', 'sp l', 'spd l', 'rg l', 'vg l DfltRscGrp', 'rd l', 'vd l', 'r l', 'r lv', 'v l', 's l', 'kv l', 'err l',
                 'c lp', 'c v', 'e s', 'n lp s1', 'sp lp s1 pool1', 'rg lp DfltRscGrp', 'n i', 'rg qsi DfltRscGrp'):
        table = cli.run(line)
        assert table.splitlines(), line
        found = json.loads(cli.run('-m ' + line))
        assert isinstance(found, list), line
    assert {r['Node'] for r in cli.rows('n l')} == {'s1', 's2'}
    assert [r['Node'] for r in cli.rows('n l -n s1')] == ['s1']
    assert len(cli.rows('n l -n s1 s2')) == 2
    assert cli.json('n l --no s2')[0][0]['name'] == 's2'
    assert 'curl -X GET' in cli.run('--curl n l')


def devices(cli, name):
    return {r['Node']: r['DeviceName'] for r in cli.rows(f'r lv -r {name}')}


def fill(cli, name, text):
    for device in devices(cli, name).values():
        with open(device, 'r+b', buffering=0) as f:
            f.write(text.encode().ljust(4096, b'.'))


def holds(cli, name, text):
    found = devices(cli, name)
    assert found and all(found.values()), found
    for device in found.values():
        with open(device, 'rb') as f:
            assert f.read(len(text)) == text.encode(), (name, device)


def snapshots(cli):
    for name in ('one', 'two'):
        cli.run(f'rd c {name} -l storage')
        cli.run(f'vd c {name} 4M')
        cli.run(f'r c s1 s2 {name} -s pool1')
        fill(cli, name, 'first')
    assert 'SUCCESS' in cli.run('s c one snap1')
    assert 'SUCCESS' in cli.run('snapshot create s1 one snap2')
    row, other = cli.rows('s l')
    assert (row['ResourceName'], row['SnapshotName'], row['NodeNames'], row['Volumes'], row['State']) == (
        'one', 'snap1', 's1, s2', '0: 4.00 MiB', 'Successful') and row['CreatedOn'], row
    assert other['NodeNames'] == 's1', other
    assert [r['SnapshotName'] for r in cli.rows('s l -n s2')] == ['snap1']
    assert cli.json('s l -r one')[0][0]['flags'] == ['SUCCESSFUL']
    cli.run('s sp one snap1 --aux why test')
    assert cli.rows('s lp one snap1') == [{'Key': 'Aux/why', 'Value': 'test'}]
    fill(cli, 'one', 'second')
    cli.run('rd c copy')
    cli.run('s vd rst --fr one --fs snap1 --tr copy')
    assert 'nosuch' in cli.run('s r rst --fr one --fs nosuch --tr copy', 10)
    cli.run('s r rst --from-resource one --from-snapshot snap1 --to-resource copy')
    holds(cli, 'copy', 'first')
    cli.run('rd d copy')
    cli.run('s rb one snap1')
    holds(cli, 'one', 'first')
    cli.run('s cm both -r one two')
    assert [(r['ResourceName'], r['State']) for r in cli.rows('s l') if r['SnapshotName'] == 'both'] == [
        ('one', 'Successful'), ('two', 'Successful')]
    assert 'SUCCESS' in cli.run('rd clone one clone1')
    holds(cli, 'clone1', 'first')  # it was waited for
    cli.run('rd cln one clone2 --no-wait')
    cli.run('rd ws one')
    wait_for('the clone', lambda: all(devices(cli, 'clone2').values()) and len(devices(cli, 'clone2')) == 2)
    cli.run('rd cln one clone1', 10)
    wait_for('nobody clones any more', lambda: 'CLONING' not in cli.run('rd l'))
    cli.run('s d one snap1 --nodes s1')
    assert [r['NodeNames'] for r in cli.rows('s l -r one') if r['SnapshotName'] == 'snap1'] == ['s2']
    for line in ('one snap1', 'one snap2', 'one both', 'two both'):
        cli.run(f's d {line}')
    assert cli.rows('s l') == []
    for name in ('one', 'two', 'clone1', 'clone2'):
        cli.run(f'rd d {name}')
    left = [p.name for s in cli.cluster.satellites for p in (cli.cluster.dir / s / 'pool1').iterdir()]
    assert left == [], left


def main():
    suite = Suite()
    cluster = suite.check('the dev cluster comes up', Cluster, 1, 2)
    if cluster is None:
        suite.finish()
    cli = Cli(cluster)
    try:
        for name, fn in (('help', help_texts), ('completion', completion), ('wrong input', wrong_input), ('lists', lists),
                         ('snapshots', snapshots)):
            suite.check(name, fn, cli)
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
