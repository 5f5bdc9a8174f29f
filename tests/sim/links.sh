#!/bin/sh
# How long writes stand still when the leader dies or is not heard any more, and with links cut in every shape: all graphs
# of three members, a sample of those of five, each with each leader.
sim=${SIM:-./tests/sim/sim}
"$sim" --failover 200 && "$sim" --graphs "${SIM_GRAPHS:-40}"
