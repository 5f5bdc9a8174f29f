"""LINSTOR's own Go library, as linstor-csi and others use it, from Go's module proxy: tests/e2e/golinstor/main.go is built against it and
run at three members, of which two are killed in turn. Skipped where there is no Go that is new enough for the library, or no proxy."""
import os
import re
import shutil
import subprocess

import lib_e2e
from lib_e2e import BUILD, TOP, Cluster, Suite, skip

VERSION, NEEDS = 'v0.64.1', (1, 25)
PROGRAM = BUILD / 'golinstor'


def build():
    """Before the program enters its network namespace, which has no way out."""
    go = shutil.which('go')
    if go is None:
        skip('golinstor: Go is not installed')
    env = dict(os.environ, GOTOOLCHAIN='local')
    said = subprocess.run([go, 'version'], capture_output=True, text=True, env=env).stdout
    found = re.search(r'go(\d+)\.(\d+)', said)
    if found is None or (int(found[1]), int(found[2])) < NEEDS:
        skip(f'golinstor {VERSION} needs Go {NEEDS[0]}.{NEEDS[1]}, here is: {said.strip()}')
    PROGRAM.mkdir(parents=True, exist_ok=True)
    shutil.copy(TOP / 'tests/e2e/golinstor/main.go', PROGRAM / 'main.go')
    if not (PROGRAM / 'go.sum').exists():
        (PROGRAM / 'go.mod').write_text(f'module outrigger.test/golinstor\n\ngo {NEEDS[0]}.{NEEDS[1]}.0\n\n'
                                        f'require github.com/LINBIT/golinstor {VERSION}\n')
        made = subprocess.run([go, 'mod', 'tidy'], cwd=PROGRAM, env=env, capture_output=True, text=True)
        if made.returncode != 0:
            (PROGRAM / 'go.sum').unlink(missing_ok=True)
            skip(f'golinstor cannot be had: {made.stderr.strip().splitlines()[-1:]}')
    made = subprocess.run([go, 'build', '-o', 'program', '.'], cwd=PROGRAM, env=env, capture_output=True, text=True)
    if made.returncode != 0:
        print(made.stderr)
        raise SystemExit('0 passed, 1 failed, 0 skipped')


if os.environ.get('OUTRIGGER_E2E') != 'inside':
    build()
lib_e2e.enter()


def main():
    suite, cluster = Suite(), Cluster()
    tool = cluster.dir / 'member'
    tool.write_text(f'#!/bin/sh\nexec {TOP}/contrib/devcluster "$@" --dir {cluster.dir} --build {BUILD}\n')
    tool.chmod(0o755)
    env = dict(os.environ, LS_CONTROLLERS=','.join(f'http://{cluster.address(c)}:3370' for c in cluster.controllers))
    try:
        cluster.all_online()
        done = subprocess.run([str(PROGRAM / 'program'), str(cluster.dir), str(tool)], env=env, capture_output=True, text=True,
                              timeout=400)

        def outcome(step):
            assert f'step {step}\n' in done.stdout, 'not reached'
            last = done.stdout.strip().splitlines()[-1]
            assert last != f'step {step}', done.stderr[max(done.stderr.find('panic:'), 0):][:1500]

        for step in ('nodes and pools', 'definitions', 'resources', 'snapshots', 'the rest', 'members killed', 'cleanup'):
            suite.check(step, outcome, step)
    finally:
        cluster.close()
    suite.finish()


main()
