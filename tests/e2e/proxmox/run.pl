# Runs calls of LINSTOR's Proxmox plugin as pvesm would: each line of the input is a JSON list [method, arguments...]; for each, one line of
# JSON comes out: {"result": [...]} or {"error": "..."}. Arguments: the plugin's directory. real_proxmox.py starts it.
use strict;
use warnings;
use JSON::XS;

my ( $dir, $controller ) = @ARGV;
unshift @INC, $dir;
require "$dir/LINSTORPlugin.pm";
my $plugin = 'PVE::Storage::Custom::LINSTORPlugin';
my $store  = 'drbdstorage';
my $json   = JSON::XS->new->allow_nonref->canonical;
open my $out, '>&', \*STDOUT or die;
open STDOUT, '>&', \*STDERR or die;    # the plugin prints notices
$out->autoflush(1);

my %order = (
    alloc_image      => sub { my ( $s, @a ) = @_; return ( $store, $s, @a ) },
    free_image       => sub { my ( $s, @a ) = @_; return ( $store, $s, @a ) },
    list_images      => sub { my ( $s, @a ) = @_; return ( $store, $s, $a[0], undef, {} ) },
    status           => sub { my ( $s, @a ) = @_; return ( $store, $s, {} ) },
    map_volume       => sub { my ( $s, @a ) = @_; return ( $store, $s, @a ) },
    activate_volume  => sub { my ( $s, @a ) = @_; return ( $store, $s, @a ) },
    deactivate_volume => sub { my ( $s, @a ) = @_; return ( $store, $s, @a ) },
    volume_has_feature => sub { my ( $s, @a ) = @_; return ( $s, $a[0], $store, $a[1] ) },
);

while ( my $line = <STDIN> ) {
    my ( $method, @args ) = @{ $json->decode($line) };
    my $scfg = { controller => $controller, resourcegroup => 'pve', statuscache => 0, preferlocal => 'yes' };
    my @real = $order{$method} ? $order{$method}->( $scfg, @args ) : ( $scfg, $store, @args );
    my @result = eval { $plugin->$method(@real) };
    print $out $json->encode( $@ ? { error => "$@" } : { result => \@result } ), "\n";
}
