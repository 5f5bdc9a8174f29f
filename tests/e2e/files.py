"""External files: made, changed, deployed, undeployed and deleted by REST and by both CLIs; on the nodes that need them and no others, in
allowed directories only, never over somebody's file; satellites killed, and away meanwhile."""
import base64
import os
import pathlib
import subprocess
import sys
import urllib.parse

import lib_e2e
from lib_e2e import BUILD, Cluster, Suite, wait_for

CLIENTS = os.environ.get('OUTRIGGER_CLIENTS')
lib_e2e.enter(['python-linstor'] if CLIENTS else [])


class Tests:
    def __init__(self, cluster):
        self.cluster = cluster
        self.api = cluster.rest('c1')
        self.dirs = {s: cluster.dir / f'etc-{s}' for s in cluster.satellites}

    def call(self, method, path, body=None):
        return self.api.call(method, path, body).ok().json

    @staticmethod
    def url(path):
        return f'/v1/files/{urllib.parse.quote(path, safe="")}'

    def put(self, path, text, **more):
        return self.call('PUT', self.url(path), {'content': base64.b64encode(text.encode()).decode(), **more})

    def deploy(self, path, rsc, method='POST'):
        return self.api.call(method, f'/v1/resource-definitions/{rsc}/files/{urllib.parse.quote(path, safe="")}')

    def make(self, name, nodes):
        self.call('POST', '/v1/resource-definitions', {'resource_definition': {'name': name, 'layer_data': [{'type': 'STORAGE'}]}})
        self.call('POST', f'/v1/resource-definitions/{name}/volume-definitions', {'volume_definition': {'size_kib': 4096}})
        for node in nodes:
            self.call('POST', f'/v1/resource-definitions/{name}/resources/{node}', {'resource': {'props': {'StorPoolName': 'pool1'}}})

    def text(self, name, node):
        file = self.dirs[node] / name
        return file.read_text() if file.exists() else None

    def start(self, node):
        """s2 has its setting from the environment."""
        if node == 's2':
            os.environ['LS_ALLOW_EXT_FILES'] = str(self.dirs[node])
        self.cluster.start(node)
        os.environ.pop('LS_ALLOW_EXT_FILES', None)

    # ---- checks ----

    def setting(self):
        """s1 and s2 allow a directory of their own, s3 none."""
        for node in ('s1', 's2', 's3'):
            self.dirs[node].mkdir()
            self.cluster.kill(node)
            conf = self.cluster.dir / node / 'satellite.conf'
            if node == 's1':
                conf.write_text(conf.read_text().replace('[satellite]', f'[satellite]\nallow_ext_files = {self.dirs[node]}'))
            self.start(node)
        self.cluster.all_online()
        self.make('one', ['s1'])
        self.make('two', ['s1'])

    def life(self):
        path = f'{self.dirs["s1"]}/app.toml'
        assert self.call('GET', '/v1/files') == []
        assert self.deploy(path, 'one').status == 404
        self.put(path, 'first\n')
        assert self.call('GET', '/v1/files') == [{'path': path}]
        assert base64.b64decode(self.call('GET', '/v1/files?content=true')[0]['content']) == b'first\n'
        assert base64.b64decode(self.call('GET', self.url(path))['content']) == b'first\n'
        assert self.text('app.toml', 's1') is None
        self.deploy(path, 'one').ok()  # and the file is there when the answer comes
        assert self.text('app.toml', 's1') == 'first\n'
        self.deploy(path, 'two').ok()
        self.put(path, 'second\n')
        assert self.text('app.toml', 's1') == 'second\n'
        wait_for('the status', lambda: self.call('GET', f'{self.url(path)}/status/s1') ==
                 {'actual_path': path, 'content_match': True})
        assert self.call('GET', f'{self.url(path)}/check/s1') == {'allowed': True}
        assert self.call('GET', f'{self.url(path)}/check/s2') == {'allowed': False}
        self.deploy(path, 'one', 'DELETE').ok()
        assert self.text('app.toml', 's1') == 'second\n'  # two still needs it
        self.call('DELETE', '/v1/resource-definitions/two')
        wait_for('the file to go', lambda: self.text('app.toml', 's1') is None)
        self.deploy(path, 'one').ok()
        assert self.text('app.toml', 's1') == 'second\n'
        self.call('DELETE', self.url(path))
        wait_for('the file to go', lambda: self.text('app.toml', 's1') is None)
        assert self.api.call('GET', self.url(path)).status == 404
        assert not any(k.startswith('files/') for k in self.call('GET', '/v1/resource-definitions/one').get('props', {}))

    def refused(self):
        """Bad names and sizes at once; what a node does not allow, and somebody's file, in the answer."""
        for path, word in (('etc/x', 'absolute'), ('/etc/../x', '..'), ('/etc/', 'directory')):
            answer = self.api.call('PUT', self.url(path), {'content': ''})
            assert answer.status >= 400 and word in answer.text, answer.text
        answer = self.api.call('PUT', self.url('/etc/x'), {'content': base64.b64encode(bytes(300 << 10)).decode()})
        assert answer.status >= 400 and 'at most' in answer.text, answer.text
        self.put('/etc/outrigger-test.conf', 'never')
        answer = self.deploy('/etc/outrigger-test.conf', 'one')
        assert 'allow_ext_files' in answer.text, answer.text
        assert not os.path.exists('/etc/outrigger-test.conf')
        self.call('DELETE', self.url('/etc/outrigger-test.conf'))
        path = f'{self.dirs["s1"]}/theirs.conf'
        pathlib.Path(path).write_text('somebody\'s')
        self.put(path, 'ours')
        answer = self.deploy(path, 'one')
        assert 'another content' in answer.text and pathlib.Path(path).read_text() == 'somebody\'s', answer.text
        os.unlink(path)
        self.put(path, 'ours again')
        assert pathlib.Path(path).read_text() == 'ours again'
        self.call('DELETE', self.url(path))

    def away(self):
        """A satellite that was killed, and what changed meanwhile."""
        path = f'{self.dirs["s2"]}/late.conf'
        self.make('far', ['s2'])
        self.put(path, 'one')
        self.deploy(path, 'far').ok()
        assert self.text('late.conf', 's2') == 'one'
        self.cluster.kill('s2')
        self.cluster.everybody_sees('s2', False)
        assert self.api.call('GET', f'{self.url(path)}/status/s2').status >= 400
        self.api.call('PUT', self.url(path), {'content': base64.b64encode(b'two').decode()})
        os.unlink(path)
        self.start('s2')
        wait_for('the new content', lambda: self.text('late.conf', 's2') == 'two')
        self.cluster.kill('s2')
        self.cluster.everybody_sees('s2', False)
        self.deploy(path, 'far', 'DELETE')
        assert self.text('late.conf', 's2') == 'two'
        self.start('s2')
        wait_for('the file to go', lambda: self.text('late.conf', 's2') is None)
        self.call('DELETE', self.url(path))

    def leaders(self):
        """Every member has it."""
        path = f'{self.dirs["s1"]}/kept.conf'
        self.put(path, 'kept')
        self.deploy(path, 'one').ok()
        leader = self.cluster.leader()
        self.cluster.kill(leader)
        other = next(c for c in self.cluster.controllers if c != leader)
        api = self.cluster.rest(other)
        wait_for('another leader', lambda: self.cluster.serves(other))
        assert base64.b64decode(api.call('GET', self.url(path)).ok().json['content']) == b'kept'
        api.call('PUT', self.url(path), {'content': base64.b64encode(b'changed').decode()}).ok()
        wait_for('the new content', lambda: self.text('kept.conf', 's1') == 'changed')
        self.cluster.start(leader)
        api.call('DELETE', self.url(path)).ok()
        wait_for('the file to go', lambda: self.text('kept.conf', 's1') is None)

    def log_level(self):
        """Of a satellite: changed at once, shown, and so after a restart."""
        def shown():
            return self.call('GET', '/v1/nodes/s1/config')['log']['level']
        before = shown()
        level = 'TRACE' if before != 'TRACE' else 'INFO'
        self.call('PUT', '/v1/nodes/s1/config', {'log': {'level_linstor': level}})
        wait_for('the level', lambda: shown() == level)
        self.cluster.kill('s1')
        self.cluster.start('s1')
        self.cluster.all_online()
        wait_for('the level', lambda: shown() == level)
        assert self.api.call('PUT', '/v1/nodes/s1/config', {'log': {'level': 'loud'}}).status == 500
        self.call('PUT', '/v1/nodes/s1/config', {'log': {'level': before}})
        wait_for('the level', lambda: shown() == before)

    def verbs(self, argv, env):
        """The same words for both CLIs."""
        path = f'{self.dirs["s1"]}/cli.conf'

        def run(*words, text=None):
            done = subprocess.run([*argv, *words], input=text or '', capture_output=True, text=True, env={**os.environ, **env}, timeout=120)
            assert done.returncode == 0, (words, done)
            return done.stdout
        run('file', 'modify', path, text='by hand\n')
        assert path in run('file', 'list')
        assert run('file', 'show', path) == 'by hand\n'
        run('f', 'dep', path, 'one')
        assert self.text('cli.conf', 's1') == 'by hand\n'
        run('f', 'm', path, text='again\n')
        assert self.text('cli.conf', 's1') == 'again\n'
        run('f', 'und', path, 'one')
        assert self.text('cli.conf', 's1') is None
        run('f', 'd', path)
        assert path not in run('f', 'l')


def main():
    suite = Suite()
    cluster = suite.check('the dev cluster comes up', Cluster, 3, 3)
    if cluster is None:
        suite.finish()
    try:
        tests = Tests(cluster)
        for name in ('setting', 'life', 'refused', 'away', 'log_level', 'leaders'):
            suite.check(name, getattr(tests, name))
        controllers = ','.join(f'http://{cluster.address(c)}:3370' for c in cluster.controllers)
        suite.check('outrigger file', tests.verbs, [str(BUILD / 'outrigger')], {'LS_CONTROLLERS': controllers})
        sources = pathlib.Path(CLIENTS or '/nonexistent') / 'linstor-client'
        if (sources / 'scripts/linstor').exists():
            suite.check('linstor file', tests.verbs,
                        [sys.executable, str(sources / 'scripts/linstor'), '--no-color', '--no-utf8'],
                        {'LS_CONTROLLERS': controllers, 'PYTHONPATH': str(sources)})
        else:
            suite.skipped += 1
            print('skipped: LINSTOR\'s own CLI: OUTRIGGER_CLIENTS names no directory with its sources')
    finally:
        suite.check('the dev cluster goes down', cluster.close)
    suite.finish()


main()
