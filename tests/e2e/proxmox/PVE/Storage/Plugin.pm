# The base class of storage plugins, as far as the plugin calls it: ours, for real_proxmox.py.
package PVE::Storage::Plugin;
use strict;
use warnings;

sub cluster_lock_storage {
    my ( $class, $storeid, $shared, $timeout, $func, @param ) = @_;
    return $func->(@param);
}

1;
