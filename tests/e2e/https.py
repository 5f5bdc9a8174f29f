"""HTTPS with client certificates, end to end: `raftctl client-cert` makes one where the command line client finds it;
without one, with an expired one, with that of a machine or of another cluster nobody gets in; plain HTTP goes on."""
import http.client
import json
import os
import pathlib
import ssl
import subprocess
import urllib.request
import warnings

import lib_e2e
from lib_e2e import BUILD, Cluster, Suite

lib_e2e.enter()
warnings.simplefilter('ignore', DeprecationWarning)  # of old TLS versions, which are tried on purpose


class Bench:
    """One cluster with a home directory for its user, and the CA of another one."""

    def __init__(self, cluster):
        self.cluster, self.dir = cluster, cluster.dir
        self.home = self.dir / 'home'
        self.home.mkdir()
        self.pki = self.dir / 'c1/pki'
        self.id = cluster.view('c1')['cluster']
        self.files = self.home / '.config/outrigger'

    def run(self, *command, home=None, env=None):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(('SUDO_', 'LS_'))}
        environment.update(HOME=str(home or self.home), **(env or {}))
        return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60, env=environment)

    def raftctl(self, *args, **kwargs):
        return self.run(BUILD / 'raftctl/raftctl', '--config', self.dir / 'c1/controller.conf', *args, **kwargs)

    def cli(self, controllers, *args, **kwargs):
        return self.run(BUILD / 'outrigger', '--controllers', controllers, '-m', *args, **kwargs)

    def make(self, name, pki=None, cluster=None, role='client', days_ago=0, days=30):
        """A certificate by the test's own hand."""
        prefix = self.dir / name
        subprocess.run([str(c) for c in (BUILD / 'tests/e2e/certificate', pki or self.pki, cluster or self.id, role, name,
                                         days_ago, days, prefix)], check=True)
        return f'{prefix}.crt', f'{prefix}.key'

    def get(self, path, pair=None, name='c1', verify=True, version=None):
        """Status of a GET over HTTPS; a refusal in the handshake raises ssl.SSLError or the like."""
        context = ssl.create_default_context(cafile=str(self.pki / 'ca.crt'))
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if pair:
            context.load_cert_chain(*map(str, pair))
        if version:
            context.minimum_version = context.maximum_version = version
        c = http.client.HTTPSConnection(self.cluster.address(name), 3371, context=context, timeout=10)
        try:
            c.request('GET', path)
            answer = c.getresponse()
            return answer.status, answer.read().decode()
        finally:
            c.close()


def client_certificate(b):
    made = b.raftctl('client-cert', 'alice')
    assert made.returncode == 0, made.stderr
    assert sorted(p.name for p in b.files.iterdir()) == ['ca.crt', 'client.crt', 'client.key']
    assert (b.files / 'client.key').stat().st_mode & 0o777 == 0o600
    assert b.files.stat().st_mode & 0o777 == 0o700
    out = b.dir / 'elsewhere'
    made = b.raftctl('client-cert', 'alice', '--out', out)
    assert made.returncode == 0, made.stderr
    assert sorted(p.name for p in out.iterdir()) == ['ca.crt', 'client.crt', 'client.key']
    for bad in (['client-cert'], ['client-cert', 'a b'], ['client-cert', '../x'], ['client-cert', 'a', 'b']):
        assert b.raftctl(*bad).returncode == 2, bad


def behind_sudo(b):
    """The files are the calling user's, in that user's home; root does not write through that user's links."""
    import pwd
    user = pwd.getpwnam('nobody')
    made = b.raftctl('client-cert', 'alice', env={'SUDO_UID': str(user.pw_uid)})
    assert made.returncode == 1, made  # nobody's home does not exist, and root does not make it
    assert user.pw_dir in made.stderr or 'home' in made.stderr, made.stderr


def cli_finds_it(b):
    for controllers in ('linstor+ssl://127.0.0.11', 'https://127.0.0.12', 'https://127.0.0.13:3371',
                        'https://localhost.invalid:3371,https://127.0.0.12'):
        done = b.cli(controllers, 'node', 'list')
        assert done.returncode == 0, (controllers, done.stderr)
        nodes = json.loads(done.stdout)
        assert json.dumps(nodes).count('"s1"') >= 1, nodes
    written = b.cli('https://127.0.0.12', 'resource-definition', 'create', 'over-tls')
    assert written.returncode == 0, written.stderr
    assert any(r['name'] == 'over-tls' for r in b.cluster.rest('c3').get('/v1/resource-definitions').ok().json)


def cli_without(b):
    empty = b.dir / 'empty'
    empty.mkdir()
    done = b.cli('linstor+ssl://127.0.0.11', 'node', 'list', home=empty)
    assert done.returncode == 20, done
    assert 'raftctl client-cert' in done.stderr, done.stderr
    files = ['--cafile', b.pki / 'ca.crt']
    done = b.run(BUILD / 'outrigger', *files, '--controllers', 'https://127.0.0.11', 'node', 'list', home=empty)
    assert done.returncode == 20 and 'raftctl client-cert' in done.stderr, done


def refused(b, what, pair, **kwargs):
    """In the handshake, or by 401 or 403: but never an answer of the API."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        try:
            status, text = b.get('/v1/nodes', pair, version=version, **kwargs)
        except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
            continue
        assert status in (401, 403), (what, status, text)
        assert '"s1"' not in text, text


def good_one(b):
    pair = b.files / 'client.crt', b.files / 'client.key'
    for name in b.cluster.controllers:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            status, text = b.get('/v1/nodes', pair, name, version=version)
            assert status == 200 and '"s1"' in text, (name, version, status, text)
    for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        try:
            b.get('/v1/nodes', pair, version=old)
        except (ssl.SSLError, ConnectionError, ValueError):
            continue
        raise AssertionError(f'{old} was taken')


def foreign_cluster(b):
    there = b.dir / 'other'
    founded = b.raftctl('init', '--name', 'c1', '--address', '127.0.0.11', '--dir', there)
    assert founded.returncode == 0, founded.stderr
    identity = json.loads((there / 'identity').read_text())['cluster']
    b.other = b.make('foreign', there / 'pki', identity)
    refused(b, 'another cluster', b.other)
    refused(b, 'another CA that names this cluster', b.make('liar', there / 'pki', b.id))
    refused(b, 'a self-made one', (there / 'pki/ca.crt', there / 'pki/ca.key'))
    # and the other way round: the client does not talk to a server of another CA
    home = b.dir / 'foreign-home'
    files = home / '.config/outrigger'
    files.mkdir(parents=True)
    for name, source in (('client.crt', b.other[0]), ('client.key', b.other[1]), ('ca.crt', there / 'pki/ca.crt')):
        (files / name).write_bytes(pathlib.Path(source).read_bytes())
    (files / 'client.key').chmod(0o600)
    done = b.cli('https://127.0.0.11', 'node', 'list', home=home)
    assert done.returncode == 20 and 'raftctl client-cert' in done.stderr, done
    kept = b.raftctl('client-cert', 'alice', home=home)
    assert kept.returncode == 1 and 'another cluster' in kept.stderr, kept


def expired(b):
    assert b.get('/v1/nodes', b.make('fresh'))[0] == 200  # the helper's certificates are good ones
    refused(b, 'expired', b.make('expired', days_ago=40, days=30))
    home = b.dir / 'expired-home'
    files = home / '.config/outrigger'
    files.mkdir(parents=True)
    for name, source in (('client.crt', b.dir / 'expired.crt'), ('client.key', b.dir / 'expired.key'),
                         ('ca.crt', b.pki / 'ca.crt')):
        (files / name).write_bytes(source.read_bytes())
    (files / 'client.key').chmod(0o600)
    done = b.cli('https://127.0.0.11', 'node', 'list', home=home)
    assert done.returncode != 0 and 'expired' in done.stderr, done


def machines(b):
    refused(b, 'a satellite', (b.dir / 's1/pki/node.crt', b.dir / 's1/pki/node.key'))
    refused(b, 'a controller', (b.dir / 'c2/pki/node.crt', b.dir / 'c2/pki/node.key'))


def plain(b):
    for name in b.cluster.controllers:
        assert b.cluster.rest(name).get('/v1/nodes').ok().json[0]['name'] == 's1'
    with urllib.request.urlopen('http://127.0.0.11:3370/v1/nodes', timeout=10) as answer:
        assert answer.status == 200
    try:
        import requests
    except ImportError:
        print('        (requests is not installed here: urllib only)')
        return
    assert requests.get('http://127.0.0.12:3370/v1/nodes', timeout=10).json()[0]['name'] == 's1'


def switched_off(b):
    """https.enabled = false closes the port and nothing else."""
    conf = b.dir / 'c3/controller.conf'
    text = conf.read_text()
    conf.write_text(text.replace('[https]\n', '[https]\nenabled = false\n'))
    b.cluster.devcluster('stop', 'c3')
    b.cluster.start('c3')
    lib_e2e.wait_for('c3 answers', lambda: b.cluster.serves('c3'), 20)
    try:
        b.get('/v1/nodes', (b.files / 'client.crt', b.files / 'client.key'), 'c3')
        raise AssertionError('HTTPS answers')
    except ConnectionRefusedError:
        pass


def main():
    suite = Suite()
    cluster = suite.check('the dev cluster comes up, with HTTPS', Cluster, 3, 1)
    if cluster is None:
        suite.finish()
    try:
        b = Bench(cluster)
        suite.check('raftctl client-cert puts the files where they are looked for', client_certificate, b)
        suite.check('behind sudo it is the home of the caller', behind_sudo, b)
        suite.check('a client with its certificate is let in, by TLS 1.2 and newer', good_one, b)
        suite.check('the command line client finds it: linstor+ssl:// and https://', cli_finds_it, b)
        suite.check('without a certificate it says what is missing', cli_without, b)
        suite.check('no certificate: refused', refused, b, 'none', None)
        suite.check('certificates of another cluster: refused, both ways', foreign_cluster, b)
        suite.check('an expired certificate: refused', expired, b)
        suite.check('certificates of machines: refused', machines, b)
        suite.check('plain HTTP on the loopback goes on', plain, b)
        suite.check('https.enabled = false', switched_off, b)
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
