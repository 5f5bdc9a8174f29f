# The node that the plugin believes to run on: ours, for real_proxmox.py.
package PVE::INotify;
use strict;
use warnings;

sub nodename { return $ENV{PVE_NODE} || 's1'; }

1;
