#!/bin/sh
# The seeds of make check.
exec "${SIM:-./tests/sim/sim}" --seeds "${SIM_SEEDS:-3000}" --seconds 8 --jobs "${SIM_JOBS:-2}"
