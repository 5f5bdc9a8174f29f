/* Every version number that outlives a process or crosses a link, in one place. docs/upgrades.md says for each
 * who checks it and what happens to older and newer ones; tests/unit/test_level.c compares the two.
 *
 * The rule: a release reads what the release before it wrote, and writes nothing that the release before it cannot
 * read until the cluster's feature level (row cluster.feature_level) says that nobody runs that any more. So
 * numbers other than the levels hardly ever move.
 *
 * Threads: constants. */
#ifndef WIRE_DEF_VERSIONS_H
#define WIRE_DEF_VERSIONS_H

#include "config.h" /* PACKAGE_VERSION */
#include "wire/codec/schema.h"

/* The feature levels at which this release can take part. A release adds at most one level, and drops the lowest one
 * when nobody can come from it directly any more. */
#define LEVEL_MIN LEVEL_FIRST
#ifdef NEXT_LEVEL /* ./configure --enable-next-level: what the next release could be, for the tests */
#define LEVEL_MAX 2
#define SOFTWARE_VERSION PACKAGE_VERSION "+next"
#else
#define LEVEL_MAX 1
#define SOFTWARE_VERSION PACKAGE_VERSION
#endif

/* ---- files ---- */
#define MEMBER_FORMAT 1    /* DIR/raft/member.mdb, row "format" of meta (raftctl/member_rows.c) */
#define SAT_STATE_FORMAT 1 /* the last character of the magic of satellite.state (satellite/state.c) */
/* ---- the log and the state ---- */
#define WRITESET_VERSION 1 /* writeset.version: command entries of the log (state/writeset.c) */
#define CONF_VERSION \
        1 /* first byte of an encoded configuration: change entries, snapshots (raftctl/conf.c) */
#define SNAPSHOT_VERSION 1 /* last byte of the header of a snapshot stream (raftctl/snapshot.c) */
/* ---- links ---- */
#define TRANSPORT_VERSION_MIN 1 /* peer_hello: frames between members (raftctl/transport_hello.c) */
#define TRANSPORT_VERSION 1

#endif
