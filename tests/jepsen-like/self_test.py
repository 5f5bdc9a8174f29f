#!/usr/bin/env python3
"""Can the judges fail? Hand-made histories, good and bad, for Porcupine's model and for the index checker; and a real cluster
whose clients read stale on purpose.

usage: OUTRIGGER_BUILD=BUILD tests/jepsen-like/self_test.py"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get('OUTRIGGER_BUILD', TOP / 'build')).resolve()
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import index_check  # noqa: E402
import judging  # noqa: E402


def op(what, value, start, end, index, result='ok', key='kv1', client=1, term=2):
    """One line of a history; end None: the outcome is unknown."""
    line = {'c': client, 'm': 1, 'k': key[:2], 'key': key, 'op': what, 'v': value, 's': start, 'r': result, 'i': index,
            't': term, 'n': 1}
    if end is None:
        line['r'] = 'unknown'
    else:
        line['e'] = end
    return line


W, R, C, D = 'write', 'read', 'create', 'delete'

# name, history, does Porcupine object, does the index checker object
CASES = [
    ('writes and reads in order', [op(W, 1, 0, 10, 5), op(R, 1, 11, 20, 5), op(W, 2, 21, 30, 6), op(R, 2, 31, 40, 6)], 0, 0),
    ('a read beside a write sees either',
     [op(W, 1, 0, 10, 5), op(W, 2, 20, 40, 6), op(R, 1, 25, 30, 5), op(R, 2, 31, 35, 6)], 0, 0),
    ('two writes of one batch, one wins', [op(W, 1, 0, 10, 5), op(W, 2, 0, 10, 5), op(R, 1, 11, 20, 5), op(R, 1, 30, 40, 5)], 0, 0),
    ('an unknown write that happened', [op(W, 1, 0, 10, 5), op(W, 2, 11, None, 0), op(R, 1, 20, 30, 5), op(R, 2, 40, 50, 6)], 0, 0),
    ('an unknown write that did not happen', [op(W, 1, 0, 10, 5), op(W, 2, 11, None, 0), op(R, 1, 20, 30, 5)], 0, 0),
    ('created, exists, deleted, absent',
     [op(C, 1, 0, 10, 5, key='rd1'), op(C, 2, 11, 20, 5, 'exists', 'rd1'), op(D, 0, 21, 30, 6, key='rd1'),
      op(R, 0, 31, 40, 6, 'absent', 'rd1'), op(D, 0, 41, 50, 6, 'absent', 'rd1')], 0, 0),
    ('an unknown deletion that happened',
     [op(C, 1, 0, 10, 5, key='rd1'), op(D, 0, 11, None, 0, key='rd1'), op(R, 0, 31, 40, 6, 'absent', 'rd1')], 0, 0),

    ('stale read, told by its index', [op(W, 1, 0, 10, 5), op(W, 2, 20, 30, 6), op(R, 1, 31, 40, 5)], 1, 1),
    ('stale read under a new index', [op(W, 1, 0, 10, 5), op(W, 2, 20, 30, 6), op(R, 1, 31, 40, 6)], 1, 1),
    ('stale read of another key', [op(W, 1, 0, 10, 5), op(W, 2, 20, 30, 6), op(R, 0, 31, 40, 5, 'absent', 'kv2')], 0, 1),
    ('lost write', [op(W, 1, 0, 10, 5), op(R, 0, 31, 40, 6, 'absent')], 1, 1),
    ('lost write, seen once', [op(W, 1, 0, 10, 5), op(W, 2, 11, 20, 6), op(R, 2, 21, 30, 6), op(R, 1, 31, 40, 7)], 1, 1),
    ('double effect: an overwritten value is back',
     [op(W, 1, 0, 10, 5), op(R, 1, 11, 20, 5), op(W, 2, 21, 30, 6), op(R, 2, 31, 40, 6), op(R, 1, 41, 50, 7)], 1, 1),
    ('double effect of an unknown write',
     [op(W, 1, 0, None, 0), op(R, 1, 11, 20, 5), op(W, 2, 21, 30, 6), op(R, 2, 31, 40, 6), op(R, 1, 41, 50, 7)], 1, 1),
    ('double effect of a creation: deleted, and there again',
     [op(C, 1, 0, 10, 5, key='rd1'), op(D, 0, 11, 20, 6, key='rd1'), op(R, 1, 21, 30, 7, key='rd1')], 1, 1),
    ('a creation is told that its own effect exists',
     [op(C, 1, 0, 10, 5, 'exists', 'rd1'), op(R, 0, 11, 20, 5, 'absent', 'rd1')], 1, 0),
    ('created twice without a deletion', [op(C, 1, 0, 10, 5, key='rd1'), op(C, 2, 11, 20, 6, key='rd1')], 1, 0),
    ('a refused write is seen', [op(W, 1, 0, 10, 5), op(W, 2, 11, 20, 0, 'fail'), op(R, 2, 21, 30, 6)], 1, 1),
    ('a value that nobody wrote', [op(W, 1, 0, 10, 5), op(R, -2, 21, 30, 6)], 1, 1),
    ('a read before the write began', [op(R, 1, 0, 10, 5), op(W, 1, 20, 30, 6)], 1, 1),
    ('an index given twice in real time', [op(W, 1, 0, 10, 5), op(W, 2, 11, 20, 5), op(R, 2, 21, 30, 5)], 0, 1),
    ('an older term under a higher index', [op(W, 1, 0, 10, 5, term=4), op(W, 2, 11, 20, 6, term=3)], 0, 1),
    ('an answer that was kept for long has no term', [op(W, 1, 0, 10, 5, term=4), op(W, 2, 5, 20, 4, term=0)], 0, 0),
    ('a read without a term', [op(W, 1, 0, 10, 5, term=4), op(R, 1, 11, 20, 5, term=0)], 0, 1),
    ('an old answer under the term of today', [op(W, 1, 0, 10, 5, term=4), op(W, 2, 5, 20, 4, term=6)], 0, 1),
    ('two reads of one index differ',
     [op(W, 1, 0, None, 0), op(R, 1, 10, 20, 5), op(R, 0, 10, 20, 5, 'absent')], 0, 1),
]


class Count:
    passed = failed = skipped = 0

    @classmethod
    def check(cls, name, right):
        if right:
            cls.passed += 1
        else:
            cls.failed += 1
            print(f'FAILED  {name}')


def objects(program, history, path):
    path.write_text(''.join(json.dumps(line) + '\n' for line in history))
    done = subprocess.run([str(program), str(path)], capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    return done.returncode == 1


def stale_reads_are_found():
    """Clients with ?consistency=stale while members are cut off: a run that must fail, by both judges."""
    done = subprocess.run([sys.executable, str(HERE / 'run'), '--episodes', '4', '--seed', '7', '--stale', '--rate', '600',
                           '--faults', 'isolate-leader', '--build', str(BUILD)],
                          capture_output=True, text=True, timeout=300)
    if done.returncode == 77:
        Count.skipped += 1
        print(done.stdout.strip().splitlines()[-1])
        return
    Count.check(f'stale reads of a real cluster: exit code\n{done.stdout}{done.stderr}', done.returncode == 1)
    Count.check('stale reads of a real cluster: the index checker', 'index: ' in done.stdout and 'violations' in done.stdout)
    if 'skipped: Porcupine' not in done.stdout:
        Count.check('stale reads of a real cluster: Porcupine', 'not linearizable' in done.stdout)
    for line in done.stdout.splitlines():
        if line.startswith('kept: '):
            shutil.rmtree(line[6:], ignore_errors=True)


def main():
    directory = pathlib.Path(tempfile.mkdtemp(prefix='outrigger-judge-'))
    try:
        program, why = directory / 'judge', judging.build(directory / 'judge')
        if why:
            program = None
            Count.skipped += 1
            print(f'skipped: {why}')
        for name, history, by_porcupine, by_index in CASES:
            Count.check(f'index checker: {name}: {index_check.check(history)}', bool(index_check.check(history)) == bool(by_index))
            if program:
                Count.check(f'Porcupine: {name}', objects(program, history, directory / 'history') == bool(by_porcupine))
        stale_reads_are_found()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(f'{Count.passed} passed, {Count.failed} failed, {Count.skipped} skipped')
    sys.exit(1 if Count.failed else 0)


main()
