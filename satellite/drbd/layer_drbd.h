/* What the DRBD layer (layer_drbd.c) has for other parts: holding I/O for snapshots.
 *
 * Threads: drbd_layer_init() before any other thread starts. */
#ifndef SATELLITE_DRBD_LAYER_DRBD_H
#define SATELLITE_DRBD_LAYER_DRBD_H

void drbd_layer_init(void);

#endif
