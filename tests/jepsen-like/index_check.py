"""Checks a history against the indexes in the answers, in time linear in its length (but for sorting).

Every answer names a log index: that of the write's entry, or the one that a read's view is of. So the order of all
operations is known, and each read can be compared with what had been written by then:

  real time   an operation that began after another one had ended has no lower index; a write a higher one
  terms       entries of higher indexes have no lower terms (an answer that was kept until its entry had left the log has none)
  contents    a read at index i sees the last acknowledged write with an index <= i, or one of unknown outcome
  one place   a value is seen in one unbroken stretch of indexes, none before its own; reads at one index agree

Writes of one batch have one index; which of those to one key was last is not known, but it is one of them.
check(lines) returns the violations, as text; lines are what load writes (load.c)."""
import bisect
import collections
import json

ABSENT = 0
EFFECT = ('write', 'create', 'delete')


def read_history(path):
    with open(path) as f:
        return [json.loads(line) for line in f]


def _indexed(op):
    """Does its answer carry an index that binds it? Refusals of writes leave no entry."""
    return op['r'] == 'ok' or (op['op'] == 'read' and op['r'] == 'absent')


def _describe(op):
    return f"{op['op']} {op['key']} value {op['v']} by client {op['c']} at c{op['m']}: {op['r']}, index {op['i']}, term {op['t']}"


def _real_time(ops, bad):
    """By time: the highest index of all that ended before an operation began."""
    events = []
    for op in ops:
        events.append((op['s'], 0, op))
        events.append((op['e'], 1, op))
    events.sort(key=lambda e: (e[0], e[1]))
    highest, witness, floor = 0, None, {}
    for _, ended, op in events:
        if not ended:
            floor[id(op)] = (highest, witness)
            continue
        least, other = floor.pop(id(op))
        least += op['op'] in EFFECT and least > 0
        if op['i'] < least:
            bad.append(f'real time: {_describe(op)}, though before it began had ended: {_describe(other)}')
        if op['i'] > highest:
            highest, witness = op['i'], op


def _terms(ops, bad):
    last = None
    for op in sorted((o for o in ops if o['op'] in EFFECT and o['t'] > 0), key=lambda o: o['i']):
        if last and op['t'] < last['t']:
            bad.append(f'terms: {_describe(op)}, but a lower index has a higher term: {_describe(last)}')
        last = op


def _value_after(op):
    return ABSENT if op['op'] == 'delete' else op['v']


def _contents(key, acknowledged, unknown, reads, bad):
    written = collections.defaultdict(list)  # index -> values that acknowledged writes of it left
    by_value = {}
    for op in acknowledged:
        written[op['i']].append(_value_after(op))
        if op['op'] != 'delete':
            by_value[op['v']] = op
    indexes = sorted(written)
    perhaps = {op['v']: op for op in unknown if op['op'] != 'delete'}
    deletions = [op for op in unknown if op['op'] == 'delete']
    for op in reads:
        at = bisect.bisect_right(indexes, op['i']) - 1
        allowed = written[indexes[at]] if at >= 0 else [ABSENT]
        value = op['v']
        if value in allowed:
            continue
        if value == ABSENT:
            if not any(d['s'] < op['e'] for d in deletions):
                bad.append(f'contents: {_describe(op)}, but these were written last: {allowed}')
        elif value in perhaps:
            if perhaps[value]['s'] > op['e']:
                bad.append(f'contents: {_describe(op)}, before that value was written')
        elif value in by_value:
            bad.append(f'contents: {_describe(op)}, but these were written last: {allowed}; that one was '
                       f'{_describe(by_value[value])}')
        else:
            bad.append(f'contents: {_describe(op)}: nobody wrote that')
    _one_place(key, indexes, reads, perhaps, bad)


def _one_place(key, indexes, reads, perhaps, bad):
    """Reads by index: a value does not come back, and those of one index agree."""
    gone, last = set(), None
    for op in sorted(reads, key=lambda o: o['i']):
        if last is not None and op['v'] != last['v']:
            if op['i'] == last['i']:
                bad.append(f'one place: two reads of one index: {_describe(last)}; {_describe(op)}')
            if last['v'] != ABSENT:
                gone.add(last['v'])
            if op['v'] in gone:
                bad.append(f'one place: {_describe(op)}, a value that had been overwritten: {_describe(last)}')
        elif last is not None and op['v'] in perhaps:
            # The same value of unknown outcome twice: no acknowledged write may lie between.
            if bisect.bisect_right(indexes, op['i']) != bisect.bisect_right(indexes, last['i']):
                bad.append(f'one place: {_describe(op)}, a value that was read before an acknowledged write: {_describe(last)}')
        last = op


def check(lines):
    """lines: dictionaries. Violations, as text."""
    bad = []
    bound = [op for op in lines if _indexed(op)]
    for op in bound:
        if op['i'] <= 0 or (op['t'] <= 0 and op['op'] not in EFFECT):
            bad.append(f'no index or term: {_describe(op)}')
    _real_time(bound, bad)
    _terms(bound, bad)
    keys = collections.defaultdict(lambda: ([], [], []))
    for op in lines:
        acknowledged, unknown, reads = keys[op['key']]
        if op['r'] == 'unknown':
            unknown.append(op)
        elif op['op'] == 'read':
            reads.append(op)
        elif op['r'] == 'ok':
            acknowledged.append(op)
    for key, (acknowledged, unknown, reads) in keys.items():
        _contents(key, acknowledged, unknown, reads, bad)
    return bad
