"""LINSTOR's own CLI, unmodified, at our members: its verbs with what must come out of them, its exit codes, its machine-readable output, and a list
of members of which one is killed between and during commands. The CLI is in no package registry: OUTRIGGER_CLIENTS names a directory that has
its sources as `linstor-client`, and the test is skipped without it. The library below it is taken from PyPI."""
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import lib_e2e
from lib_e2e import Cluster, Suite, skip, wait_for

CLIENT = pathlib.Path(os.environ.get('OUTRIGGER_CLIENTS', '/nonexistent')) / 'linstor-client'
if not (CLIENT / 'scripts/linstor').exists():
    skip("LINSTOR's CLI: OUTRIGGER_CLIENTS names no directory with linstor-client in it")
lib_e2e.enter(['python-linstor'])

OK, API_ERROR, NO_CONTROLLER, USAGE = 0, 10, 20, 2


class Cli:
    def __init__(self, cluster):
        self.controllers = ','.join(f'http://{cluster.address(c)}:3370' for c in cluster.controllers)

    def run(self, *args, code=OK):
        """What it prints."""
        done = subprocess.run([sys.executable, str(CLIENT / 'scripts/linstor'), '--no-color', '--no-utf8', *args], capture_output=True,
                              text=True, timeout=150, stdin=subprocess.DEVNULL,
                              env=dict(os.environ, LS_CONTROLLERS=self.controllers, PYTHONPATH=str(CLIENT)))
        text = done.stdout + done.stderr
        assert 'Traceback' not in text, (args, text)
        assert done.returncode == code, (args, done.returncode, text)
        return text

    def json(self, *args, code=OK):
        return json.loads(self.run('-m', *args, code=code))

    def table(self, lines):
        """Each line: a command in words; then its exit code if it is not 0; then what must be in its output."""
        for words, *expect in lines:
            code = expect.pop(0) if expect and isinstance(expect[0], int) else OK
            text = self.run(*words.split(), code=code)
            for part in expect:
                assert part in text, (words, part, text)


def test_nodes(cluster, cli):
    cli.table([
        ('controller version', 'linstor controller'),
        ('controller which', '127.0.0.11'),
        ('node list', 's1', 'Online', 'SATELLITE'),
        ('node info', 'File/Thin'),
        ('node create spare 127.0.0.99', 'SUCCESS'),
        ('node create spare 127.0.0.98', API_ERROR, 'ERROR', 'exists'),
        ('node modify spare --node-type Combined', 'SUCCESS'),
        ('node interface create spare second 127.0.0.100', 'SUCCESS'),
        ('node interface modify spare second --ip 127.0.0.101', 'SUCCESS'),
        ('node interface list spare', '127.0.0.101'),
        ('node interface delete spare second', 'SUCCESS'),
        ('node describe s1', 'pool1'),
        ('node set-property s1 Aux/rack 7', 'SUCCESS'),
        ('node list-properties s1', 'Aux/rack', '7'),
        ('node set-property s1 Aux/rack', 'Removal'),
        ('node lost spare', 'SUCCESS'),
        ('node delete nonsuch', 'WARNING'),
        ('--warn-as-error node delete nonsuch', API_ERROR, 'WARNING'),
        ('node no-such-verb', USAGE),
        ('node-connection path create s1 s2 p1 default default', 'SUCCESS'),
        ('node-connection path list s1 s2', 'Paths/p1/s1'),
        ('node-connection path delete s1 s2 p1', 'SUCCESS'),
        ('node-connection list', 'Node A'),
    ])
    first = cli.json('node', 'list')[0][0]
    assert first['name'] == 's1' and first['connection_status'] == 'ONLINE', first
    old = cli.json('--output-version', 'v0', 'node', 'list')[0]['nodes'][0]
    assert old['connection_status'] == 2, old


def test_pools_and_groups(cluster, cli):
    (cluster.dir / 'more').mkdir()
    cli.table([
        (f'storage-pool create filethin s1 more {cluster.dir}/more', 'SUCCESS'),
        ('storage-pool create diskless s1 dless', 'SUCCESS'),
        ('storage-pool create filethin s9 more /x', API_ERROR, "'s9'"),
        ('storage-pool set-property s1 more MaxOversubscriptionRatio 3', 'SUCCESS'),
        ('storage-pool list-properties s1 more', 'MaxOversubscriptionRatio'),
        ('storage-pool list -n s1 -s more', 'FILE_THIN', 'Ok'),
        ('storage-pool delete s1 more', 'SUCCESS'),
        ('resource-group create web --place-count 2 -l storage --storage-pool pool1 --description hello', 'SUCCESS'),
        ('resource-group create WEB', API_ERROR, 'exists'),
        ('resource-group modify web --description other', 'SUCCESS'),
        ('resource-group list', 'PlaceCount: 2', 'other', "StoragePool(s): pool1"),
        ('resource-group set-property web Aux/foo 1', 'SUCCESS'),
        ('resource-group drbd-options web --max-buffers 8000', 'SUCCESS'),
        ('resource-group list-properties web', 'Aux/foo', 'DrbdOptions/Net/max-buffers'),
        ('resource-group drbd-options web --unset-max-buffers', 'Removal'),
        ('volume-group create web', 'SUCCESS'),
        ('volume-group create web --vlmnr 5 --gross', 'SUCCESS'),
        ('volume-group list web', '5', 'GROSS_SIZE'),
        ('volume-group delete web 5', 'SUCCESS'),
        ('resource-group query-max-volume-size web', 'pool1'),
        ('resource-group query-size-info web', 'pool1 on '),
        ('resource-group spawn web r1 64M', 'SUCCESS', "'r1' on node"),
        ('resource-group spawn web r1 64M', API_ERROR, 'exists'),
        ('resource-group spawn web r3 10M 20M', API_ERROR, '1 volume groups'),
        ('resource-group spawn web rdef 10M --definition-only', 'INFO'),
        ('resource-group adjust web', 'SUCCESS'),
        ('resource-definition list', 'r1', 'rdef', 'STORAGE'),
    ])


def test_resources(cluster, cli):
    cli.table([
        ('resource-definition create r4 -l storage', 'SUCCESS'),
        ('resource-definition create r4', API_ERROR, 'exists'),
        ('resource-definition set-property r4 Aux/mine 7', 'SUCCESS'),
        ('resource-definition set-property r4 foo/bar x', API_ERROR, "'foo/bar'"),
        ('resource-definition list --show-props Aux/mine', '7'),
        ('volume-definition create r4 20M', 'SUCCESS'),
        ('volume-definition create r4 0', API_ERROR, 'size'),
        ('volume-definition set-property r4 0 Aux/q 1', 'SUCCESS'),
        ('volume-definition list-properties r4 0', 'Aux/q'),
        ('resource create s1 s2 r4 --storage-pool pool1', "'s1' created", "'s2' created"),
        ('resource create s1 r4 --storage-pool nonsuch', API_ERROR, 'ERROR'),
        ('resource create r4 --auto-place 9', API_ERROR, 'Not enough available nodes'),
        ('resource create r4 --auto-place +1', "'s3' created"),
        ('resource make-available s3 r4', 'available'),
        ('resource set-property s1 r4 Aux/p 1', 'SUCCESS'),
        ('resource list-properties s1 r4', 'Aux/p'),
        ('volume set-property s1 r4 0 Aux/p 1', 'SUCCESS'),
        ('resource deactivate s1 r4', 'SUCCESS'),
        ('resource list -r r4', 'INACTIVE', 'Created'),
        ('resource activate s1 r4', 'SUCCESS'),
        ('resource list --faulty', 'ResourceName'),
        ('resource list-volumes -r r4', '/dev/loop', 'pool1', 'Created'),
        ('volume-definition set-size r4 0 40M', 'SUCCESS'),
        ('volume-definition list -r r4', '40 MiB'),
        ('resource-definition wait-sync r4', ''),
        ('resource-connection list r4', 's1', 's2'),
        ('resource-connection set-property s1 s2 r4 Aux/k v', 'SUCCESS'),
        ('resource-connection list-properties s1 s2 r4', 'Aux/k'),
        ('resource-connection drbd-peer-options s1 s2 r4 --ping-timeout 5', 'SUCCESS'),
        ('advise resource', 'r4'),
        ('advise maintenance s1', 'Resource'),
    ])
    view = cli.json('resource', 'list', '-r', 'r4')[0]
    assert sorted(r['node_name'] for r in view) == ['s1', 's2', 's3'], view
    assert all(os.path.exists(r['volumes'][0]['device_path']) for r in view), view
    again = cli.json('resource-definition', 'create', 'r4')  # the exit code is 0 there, as the reader sees the code
    assert again[0]['ret_code'] < 0 and again[0]['ret_code'] & 0xffff == 501, again


def test_snapshots(cluster, cli):
    cli.table([
        ('snapshot create r4 sn1', 'SUCCESS'),
        ('snapshot create r4 sn1', API_ERROR, 'sn1'),
        ('snapshot create-multiple both -r r4 r1', 'SUCCESS'),
        ('snapshot list -r r4', 'sn1', 'both', 'Successful'),
        ('snapshot set-property r4 sn1 Aux/z 1', 'SUCCESS'),
        ('snapshot list-properties r4 sn1', 'Aux/z'),
        ('resource-definition create r5 -l storage', 'SUCCESS'),
        ('snapshot volume-definition restore --fr r4 --fs sn1 --tr r5', 'SUCCESS'),
        ('snapshot resource restore --fr r4 --fs sn1 --tr r5 s1', "'r5' on node 's1' created"),
        ('snapshot rollback r4 sn1', 'SUCCESS'),
        ('resource-definition clone r4 r6', 'Completed cloning'),
        ('resource delete s2 r4', 'SUCCESS'),  # its snapshot stays on that node
        ('resource delete s2 r4', 'WARNING'),
        ('resource-definition delete r4', API_ERROR, 'snapshots'),
        ('snapshot delete r4 sn1', 'SUCCESS'),
        ('snapshot delete r4 both', 'SUCCESS'),
        ('snapshot delete r4 nonsuch', 'WARNING'),
        ('resource-definition delete r4 r5 r6', 'SUCCESS'),
    ])


def test_the_rest(cluster, cli):
    cli.table([
        ('key-value-store modify inst k v', 'SUCCESS'),
        ('key-value-store show inst', 'k', 'v'),
        ('key-value-store list', 'inst'),
        ('key-value-store modify inst k', 'Removal'),
        ('encryption create-passphrase -p secret', 'SUCCESS'),
        ('encryption enter-passphrase -p wrong', API_ERROR, 'wrong'),
        ('encryption modify-passphrase --old-passphrase secret --new-passphrase other', 'SUCCESS'),
        ('controller set-property Aux/c 1', 'SUCCESS'),
        ('controller list-properties', 'Aux/c'),
        ('controller drbd-options --max-buffers 8000', 'SUCCESS'),
        ('controller drbd-options --unset-max-buffers', 'Removal'),
        ('controller query-max-volume-size 2', 'StoragePool'),
        ('controller set-log-level INFO', 'SUCCESS'),
        ('space-reporting query', 'pool1', 'GiB'),
        ('error-reports list', 'Id'),
        ('error-reports show nonsuch', API_ERROR, 'nonsuch'),
        ('error-reports delete', API_ERROR),
        ('physical-storage list', 'Rotational'),
        ('remote list', 'Name'), ('schedule list', 'Name'), ('file list', 'Path'),
        ('node evacuate s2', 'SUCCESS'),
        ('node restore s2', 'SUCCESS'),
        ('list-commands', 'node (n)'),
        ('--curl node list', 'curl -X GET http://127.0.0.11:3370/v1/nodes'),
    ])


def test_members_die(cluster, cli):
    """Members that refuse connections are passed over; a command that waits for its answer at one that dies fails, and its repetition says
    what became of it."""
    dead = Cli(cluster)
    dead.controllers = 'http://127.0.0.77:3370'
    dead.run('node', 'list', code=NO_CONTROLLER)
    cluster.kill('c1')
    cli.table([('controller which', '127.0.0.12'), ('resource-group spawn web after 8M', 'SUCCESS'), ('resource list -r after', 'after')])
    outcome = []

    def spawn_many():
        for i in range(6):
            try:
                cli.run('resource-group', 'spawn', 'web', f'n{i}', '8M')
                outcome.append(True)
            except AssertionError:
                outcome.append(False)
    writer = threading.Thread(target=spawn_many)
    writer.start()
    wait_for('the first one', lambda: outcome)
    cluster.start('c1')
    wait_for('c1 to answer', lambda: cluster.serves('c1'))
    time.sleep(0.2)
    cluster.kill('c2')
    writer.join()
    cluster.start('c2')
    names = {r['name'] for r in cli.json('resource', 'list')[0]}
    for i, done in enumerate(outcome):
        assert not done or f'n{i}' in names, (outcome, names)
    assert sum(outcome) >= 5, outcome  # one of them may have been at c2 when it died
    for i in range(6):
        cli.run('resource-definition', 'delete', f'n{i}')


def main():
    suite, cluster = Suite(), Cluster()
    cli = Cli(cluster)
    try:
        cluster.all_online()
        for test in (test_nodes, test_pools_and_groups, test_resources, test_snapshots, test_the_rest, test_members_die):
            suite.check(test.__name__[5:].replace('_', ' '), test, cluster, cli)
    finally:
        cluster.close()
    suite.finish()


main()
