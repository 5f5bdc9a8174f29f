# What the plugin takes of Proxmox: ours, for real_proxmox.py.
package PVE::Storage;
use strict;
use warnings;

use constant APIVER => 11;
use constant APIAGE => 2;

sub config { return { ids => {} }; }

1;
