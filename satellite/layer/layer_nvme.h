/* The layer NVME (satellite/layer/layer.h). Threads: nvme_layer_init() before any other thread starts. */
#ifndef SATELLITE_LAYER_LAYER_NVME_H
#define SATELLITE_LAYER_LAYER_NVME_H

/* dir: the satellite's. */
void nvme_layer_init(const char *dir);

#endif
