# What the plugin takes of Proxmox: ours, for real_proxmox.py.
package PVE::Tools;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(trim);

sub trim {
    my ($text) = @_;
    $text =~ s/^\s+|\s+$//g if defined $text;
    return $text;
}

1;
