// Drives a cluster with LINSTOR's own Go library: real_golinstor.py builds and runs it. Arguments: a directory for pools, a command
// that kills and starts members ("kill NAME", "start NAME"). LS_CONTROLLERS names all members.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	lapi "github.com/LINBIT/golinstor"
	"github.com/LINBIT/golinstor/client"
	"github.com/LINBIT/golinstor/clonestatus"
	"github.com/LINBIT/golinstor/devicelayerkind"
)

var ctx = context.Background()

func must(what string, err error) {
	if err != nil {
		panic(fmt.Sprintf("%s: %v", what, err))
	}
}

func claim(ok bool, what string, args ...interface{}) {
	if !ok {
		panic(fmt.Sprintf(what, args...))
	}
}

func notFound(what string, err error) {
	claim(errors.Is(err, client.NotFoundError), "%s: %v instead of not found", what, err)
}

func refused(what string, err error, code uint64) {
	claim(client.IsApiCallError(err, code), "%s: %v has not code %d", what, err, code&0x7fff)
}

func set(key, value string) client.GenericPropsModify {
	return client.GenericPropsModify{OverrideProps: client.OverrideProps{key: value}}
}

func nodes(c *client.Client, dir string) {
	v, err := c.Controller.GetVersion(ctx)
	must("version", err)
	claim(strings.HasPrefix(v.RestApiVersion, "1."), "REST version %s", v.RestApiVersion)
	all, err := c.Nodes.GetAll(ctx)
	must("nodes", err)
	claim(len(all) == 3, "%d nodes", len(all))
	for _, n := range all {
		claim(n.ConnectionStatus == "ONLINE", "%s is %s", n.Name, n.ConnectionStatus)
	}
	spare := client.Node{Name: "spare", Type: "SATELLITE", NetInterfaces: []client.NetInterface{{
		Name: "default", Address: net.ParseIP("127.0.0.99"), SatellitePort: 3366, SatelliteEncryptionType: "PLAIN"}}}
	must("node create", c.Nodes.Create(ctx, spare))
	refused("node again", c.Nodes.Create(ctx, spare), lapi.FailExistsNode)
	must("node modify", c.Nodes.Modify(ctx, "spare", client.NodeModify{GenericPropsModify: set("Aux/zone", "a")}))
	n, err := c.Nodes.Get(ctx, "SPARE")
	must("node get", err)
	claim(n.Name == "spare" && n.Props["Aux/zone"] == "a", "node: %v", n)
	must("interface", c.Nodes.CreateNetInterface(ctx, "spare", client.NetInterface{Name: "fast", Address: net.ParseIP("127.0.0.98")}))
	i, err := c.Nodes.GetNetInterface(ctx, "spare", "fast")
	must("interface get", err)
	claim(i.Address.String() == "127.0.0.98", "interface: %v", i)
	must("interface delete", c.Nodes.DeleteNetinterface(ctx, "spare", "fast"))
	must("node lost", c.Nodes.Lost(ctx, "spare"))
	_, err = c.Nodes.Get(ctx, "spare")
	notFound("lost node", err)
	for _, n := range all {
		sp := client.StoragePool{StoragePoolName: "gopool", ProviderKind: client.FILE_THIN,
			Props: map[string]string{"StorDriver/FileDir": dir + "/go-" + n.Name}}
		must("mkdir", os.MkdirAll(dir+"/go-"+n.Name, 0o700))
		must("pool", c.Nodes.CreateStoragePool(ctx, n.Name, sp))
	}
	notFound("pool nowhere", c.Nodes.CreateStoragePool(ctx, "nowhere", client.StoragePool{StoragePoolName: "gopool",
		ProviderKind: client.FILE_THIN}))
	pools, err := c.Nodes.GetStoragePoolView(ctx, &client.ListOpts{StoragePool: []string{"GOPOOL"}})
	must("pools", err)
	claim(len(pools) == 3, "%d pools", len(pools))
	for _, p := range pools {
		claim(p.FreeCapacity > 0 && p.TotalCapacity > 0 && p.SupportsSnapshots && p.Uuid != "", "pool: %v", p)
	}
	must("pool modify", c.Nodes.ModifyStoragePool(ctx, "s1", "gopool", set("Aux/kind", "ssd")))
	p, err := c.Nodes.GetStoragePool(ctx, "s1", "gopool")
	must("pool get", err)
	claim(p.Props["Aux/kind"] == "ssd", "pool: %v", p.Props)
}

func definitions(c *client.Client) {
	sf := client.AutoSelectFilter{PlaceCount: 2, StoragePoolList: []string{"gopool"}, LayerStack: []string{"STORAGE"},
		NotPlaceWithRscRegex: "^never"}
	must("group", c.ResourceGroups.Create(ctx, client.ResourceGroup{Name: "gogroup", SelectFilter: sf, Props: map[string]string{"Aux/a": "b"}}))
	g, err := c.ResourceGroups.Get(ctx, "gogroup")
	must("group get", err)
	claim(g.SelectFilter.PlaceCount == 2 && len(g.SelectFilter.StoragePoolList) == 1 && g.SelectFilter.LayerStack[0] == "STORAGE" &&
		g.SelectFilter.NotPlaceWithRscRegex == "^never" && g.Props["Aux/a"] == "b", "group: %v", g)
	refused("group again", c.ResourceGroups.Create(ctx, g), lapi.FailExistsRscGrp)
	must("volume group", c.ResourceGroups.CreateVolumeGroup(ctx, "gogroup", client.VolumeGroup{}))
	must("spawn", c.ResourceGroups.Spawn(ctx, "gogroup", client.ResourceGroupSpawn{ResourceDefinitionName: "spawned", VolumeSizes: []int64{8192}}))
	must("definition", c.ResourceDefinitions.Create(ctx, client.ResourceDefinitionCreate{ResourceDefinition: client.ResourceDefinition{
		Name: "gores", ResourceGroupName: "gogroup", Props: map[string]string{"Aux/csi-volume-name": "pvc-1"}}}))
	refused("definition again", c.ResourceDefinitions.Create(ctx, client.ResourceDefinitionCreate{ResourceDefinition: client.ResourceDefinition{
		Name: "GORES"}}), lapi.FailExistsRscDfn)
	_, err = c.ResourceDefinitions.GetVolumeDefinition(ctx, "gores", 0)
	notFound("no volume yet", err)
	must("volume", c.ResourceDefinitions.CreateVolumeDefinition(ctx, "gores", client.VolumeDefinitionCreate{
		VolumeDefinition: client.VolumeDefinition{SizeKib: 16384}}))
	must("place", c.Resources.Autoplace(ctx, "gores", client.AutoPlaceRequest{}))
	must("place again", c.Resources.Autoplace(ctx, "gores", client.AutoPlaceRequest{}))
	err = c.Resources.Autoplace(ctx, "gores", client.AutoPlaceRequest{SelectFilter: client.AutoSelectFilter{PlaceCount: 9}})
	refused("too many", err, lapi.FailNotEnoughNodes)
	rds, err := c.ResourceDefinitions.GetAll(ctx, client.RDGetAllRequest{WithVolumeDefinitions: true})
	must("definitions", err)
	for _, rd := range rds {
		claim(len(rd.VolumeDefinitions) == 1 && *rd.VolumeDefinitions[0].VolumeNumber == 0, "definition: %v", rd)
	}
	claim(len(rds) == 2, "%d definitions", len(rds))
}

func device(c *client.Client, name string) string {
	view, err := c.Resources.GetResourceView(ctx, &client.ListOpts{Resource: []string{name}})
	must("view", err)
	claim(len(view) >= 1, "no resource %s", name)
	claim(view[0].LayerObject != nil && view[0].LayerObject.Type == devicelayerkind.Storage, "layers of %s: %v", name, view[0].LayerObject)
	claim(view[0].State != nil && view[0].State.InUse != nil && !*view[0].State.InUse, "state of %s", name)
	claim(view[0].CreateTimestamp != nil && time.Since(view[0].CreateTimestamp.Time) < time.Hour, "time of %s", name)
	path := view[0].Volumes[0].DevicePath
	st, err := os.Stat(path)
	must("device", err)
	claim(st.Mode()&os.ModeDevice != 0, "%s is no device", path)
	return path
}

func resources(c *client.Client) {
	path := device(c, "gores")
	data := []byte("what stands in the snapshot")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_SYNC, 0)
	must("open", err)
	_, err = f.WriteAt(append(data, make([]byte, 4096-len(data))...), 0)
	must("write", err)
	must("close", f.Close())
	must("grow", c.ResourceDefinitions.ModifyVolumeDefinition(ctx, "gores", 0, client.VolumeDefinitionModify{SizeKib: 32768}))
	vd, err := c.ResourceDefinitions.GetVolumeDefinition(ctx, "gores", 0)
	must("volume get", err)
	claim(vd.SizeKib == 32768, "size: %d", vd.SizeKib)
	all, err := c.Resources.GetAll(ctx, "gores")
	must("resources", err)
	claim(len(all) == 2, "%d resources", len(all))
	must("available", c.Resources.MakeAvailable(ctx, "gores", all[0].NodeName, client.ResourceMakeAvailable{}))
	must("modify", c.Resources.Modify(ctx, "gores", all[0].NodeName, set("Aux/x", "1")))
	r, err := c.Resources.Get(ctx, "gores", all[0].NodeName)
	must("resource get", err)
	claim(r.Props["Aux/x"] == "1", "resource: %v", r.Props)
	_, err = c.Resources.Get(ctx, "gores", "nowhere")
	notFound("resource nowhere", err)
	must("deactivate", c.Resources.Deactivate(ctx, "gores", all[0].NodeName))
	must("activate", c.Resources.Activate(ctx, "gores", all[0].NodeName))
}

func snapshots(c *client.Client) {
	must("snapshot", c.Resources.CreateSnapshot(ctx, client.Snapshot{Name: "snap1", ResourceName: "gores"}))
	refused("snapshot again", c.Resources.CreateSnapshot(ctx, client.Snapshot{Name: "snap1", ResourceName: "gores"}), lapi.FailExistsSnapshotDfn)
	must("several", c.Resources.CreateSnapshots(ctx, client.Snapshot{Name: "both", ResourceName: "gores"},
		client.Snapshot{Name: "both", ResourceName: "spawned"}))
	view, err := c.Resources.GetSnapshotView(ctx, &client.ListOpts{Resource: []string{"gores"}})
	must("snapshots", err)
	claim(len(view) == 2, "%d snapshots", len(view))
	for _, s := range view {
		claim(s.Snapshots[0].CreateTimestamp != nil && len(s.Nodes) == 2 && s.VolumeDefinitions[0].SizeKib == 32768, "snapshot: %v", s)
		claim(strings.Join(s.Flags, " ") == lapi.FlagSuccessful, "flags: %v", s.Flags)
	}
	must("restored", c.ResourceDefinitions.Create(ctx, client.ResourceDefinitionCreate{ResourceDefinition: client.ResourceDefinition{
		Name: "restored", ResourceGroupName: "gogroup"}}))
	conf := client.SnapshotRestore{ToResource: "restored"}
	must("restore volumes", c.Resources.RestoreVolumeDefinitionSnapshot(ctx, "gores", "snap1", conf))
	must("restore", c.Resources.RestoreSnapshot(ctx, "gores", "snap1", conf))
	text := make([]byte, 27)
	f, err := os.Open(device(c, "restored"))
	must("open", err)
	_, err = f.ReadAt(text, 0)
	must("read", err)
	must("close", f.Close())
	claim(string(text) == "what stands in the snapshot", "restored: %q", text)
	must("rollback", c.Resources.RollbackSnapshot(ctx, "gores", "snap1"))
	started, err := c.ResourceDefinitions.Clone(ctx, "gores", client.ResourceDefinitionCloneRequest{Name: "cloned"})
	must("clone", err)
	claim(started.Location != "" && started.Messages != nil && len(*started.Messages) > 0, "clone: %v", started)
	for {
		st, err := c.ResourceDefinitions.CloneStatus(ctx, "gores", "cloned")
		must("clone status", err)
		claim(st.Status != clonestatus.Failed, "clone failed")
		if st.Status == clonestatus.Complete {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	device(c, "cloned")
	all, err := c.Resources.GetAll(ctx, "gores")
	must("resources", err)
	must("replica of a snapshotted one", c.Resources.Delete(ctx, "gores", all[1].NodeName))
	refused("with snapshots", c.ResourceDefinitions.Delete(ctx, "gores"), lapi.FailExistsSnapshotDfn)
	for _, s := range []string{"snap1", "both"} {
		must("snapshot delete", c.Resources.DeleteSnapshot(ctx, "gores", s))
	}
	_, err = c.Resources.GetSnapshot(ctx, "gores", "snap1")
	notFound("deleted snapshot", err)
	must("snapshot delete", c.Resources.DeleteSnapshot(ctx, "spawned", "both"))
}

func others(c *client.Client) {
	_, err := c.KeyValueStore.Get(ctx, "gokv")
	notFound("key-value store", err)
	must("kv", c.KeyValueStore.CreateOrModify(ctx, "gokv", set("a/b", "c")))
	kv, err := c.KeyValueStore.Get(ctx, "gokv")
	must("kv get", err)
	claim(kv.Props["a/b"] == "c", "kv: %v", kv)
	must("kv delete", c.KeyValueStore.Delete(ctx, "gokv"))
	must("properties", c.Controller.Modify(ctx, set("Aux/go", "1")))
	props, err := c.Controller.GetProps(ctx)
	must("properties", err)
	claim(props["Aux/go"] == "1", "properties: %v", props)
	must("property", c.Controller.DeleteProp(ctx, "Aux/go"))
	_, err = c.Controller.GetConfig(ctx)
	must("configuration", err)
	_, err = c.Controller.GetErrorReports(ctx)
	must("error reports", err)
	_, err = c.ResourceGroups.QuerySizeInfo(ctx, "gogroup", client.QuerySizeInfoRequest{})
	must("size info", err)
	_, err = c.Resources.QueryMaxVolumeSize(ctx, client.AutoSelectFilter{PlaceCount: 2})
	must("max volume size", err)
	_, err = c.Remote.GetAll(ctx)
	must("remotes", err)
	_, err = c.Nodes.GetPhysicalStorageView(ctx)
	must("disks", err)
	must("node reconnect", c.Nodes.Reconnect(ctx, "s1"))
	until, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	stream, err := c.Events.DRBDPromotion(until, "current")
	must("events", err)
	stream.Close()
}

// A member is killed and comes back while one client reads and writes, first the one that the library prefers.
func failover(c *client.Client, tool string) {
	run := func(args ...string) {
		out, err := exec.Command(tool, args...).CombinedOutput()
		claim(err == nil, "%v: %s", args, out)
	}
	for i, name := range []string{"c1", "c2"} {
		run("kill", name)
		for j := 0; j < 5; j++ {
			_, err := c.Nodes.GetAll(ctx)
			must("read without "+name, err)
			must("write without "+name, c.KeyValueStore.CreateOrModify(ctx, "gokv", set("k", fmt.Sprint(i, j))))
			kv, err := c.KeyValueStore.Get(ctx, "gokv")
			must("what was written", err)
			claim(kv.Props["k"] == fmt.Sprint(i, j), "read %v after write %d %d", kv.Props, i, j)
		}
		run("start", name)
		if i == 0 {
			time.Sleep(2 * time.Second)
		}
	}
}

func cleanup(c *client.Client) {
	for _, name := range []string{"gores", "spawned", "restored", "cloned"} {
		must("definition delete", c.ResourceDefinitions.Delete(ctx, name))
		_, err := c.ResourceDefinitions.Get(ctx, name)
		notFound("deleted definition", err)
	}
	must("group delete", c.ResourceGroups.Delete(ctx, "gogroup"))
	for _, n := range []string{"s1", "s2", "s3"} {
		must("pool delete", c.Nodes.DeleteStoragePool(ctx, n, "gopool"))
	}
}

func main() {
	c, err := client.NewClient()
	must("client", err)
	steps := []struct {
		name string
		run  func()
	}{
		{"nodes and pools", func() { nodes(c, os.Args[1]) }},
		{"definitions", func() { definitions(c) }},
		{"resources", func() { resources(c) }},
		{"snapshots", func() { snapshots(c) }},
		{"the rest", func() { others(c) }},
		{"members killed", func() { failover(c, os.Args[2]) }},
		{"cleanup", func() { cleanup(c) }},
	}
	for _, s := range steps {
		fmt.Printf("step %s\n", s.name)
		s.run()
	}
	fmt.Println("done")
}
