#!/bin/sh
# The scenarios of script.c.
exec "${SIM:-./tests/sim/sim}" --scripts "${SIM_SCRIPTS:-60}"
