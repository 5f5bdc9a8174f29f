// The judge: is a history linearizable? Porcupine decides, for each key alone (linearizability is local).
//
// usage: judge [-timeout SECONDS] [-html DIR] HISTORY...
//
// Reads the lines that load writes (load.c says what is in them). Prints one JSON line: keys, operations, how many unknown
// outcomes were given, bad keys, undecided keys. Exit 0: all linearizable; 1: some are not (DIR/KEY.html draws them); 2: trouble.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

type line struct {
	Client int    `json:"c"`
	Kind   string `json:"k"`
	Key    string `json:"key"`
	Op     string `json:"op"`
	Value  int64  `json:"v"`
	Start  int64  `json:"s"`
	End    *int64 `json:"e"`
	Result string `json:"r"`
}

type input struct {
	op    string
	value int64
}

// absent is the state of what does not exist; values of writes begin at 1.
const absent = int64(0)

// What the operation does to a key of that state, and the answer that its client must get.
func carryOut(kind string, state int64, in input) (int64, string) {
	switch in.op {
	case "read":
		if state == absent {
			return state, "absent"
		}
		return state, "ok"
	case "create":
		if state != absent {
			return state, "exists"
		}
		return in.value, "ok"
	case "write":
		if kind == "rd" && state == absent {
			return state, "absent"
		}
		return in.value, "ok"
	case "delete":
		if state == absent {
			return state, "absent"
		}
		return absent, "ok"
	}
	panic("no such operation: " + in.op)
}

func model(kind string) porcupine.Model {
	return porcupine.Model{
		Init: func() interface{} { return absent },
		Step: func(state, in, out interface{}) (bool, interface{}) {
			i := in.(input)
			next, answer := carryOut(kind, state.(int64), i)
			if out.(string) == "unknown" {
				return true, next
			}
			legal := answer == out.(string)
			if i.op == "read" && answer == "ok" && state.(int64) != i.value {
				legal = false
			}
			return legal, next
		},
		DescribeOperation: func(in, out interface{}) string {
			i := in.(input)
			return fmt.Sprintf("%s(%d) -> %s", i.op, i.value, out.(string))
		},
	}
}

type history struct {
	kind string
	ops  []porcupine.Operation
	seen map[int64]bool
}

func load(paths []string) (map[string]*history, error) {
	keys := map[string]*history{}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		scan := bufio.NewScanner(f)
		for n := 1; scan.Scan(); n++ {
			var l line
			if err := json.Unmarshal(scan.Bytes(), &l); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", path, n, err)
			}
			if l.Result != "fail" { // that one never happened: a read that saw it is illegal
				add(keys, l)
			}
		}
		if err := scan.Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		f.Close()
	}
	return keys, nil
}

func add(keys map[string]*history, l line) {
	h := keys[l.Key]
	if h == nil {
		h = &history{kind: l.Kind, seen: map[int64]bool{}}
		keys[l.Key] = h
	}
	end := int64(math.MaxInt64)
	if l.Result != "unknown" && l.End != nil {
		end = *l.End
	}
	if l.Op == "read" {
		h.seen[l.Value] = true
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: l.Client, Input: input{l.Op, l.Value}, Call: l.Start,
		Output: l.Result, Return: end})
}

// A write of unknown outcome that nobody ever read can be taken to be the last thing that happened, whatever else
// happened. Leaving it out changes no verdict, but spares the judge much work. Creations and deletions stay: others
// see them in the answers that they get.
func (h *history) withoutUnseen() []porcupine.Operation {
	var ops []porcupine.Operation
	for _, o := range h.ops {
		in := o.Input.(input)
		if o.Output.(string) == "unknown" && in.op == "write" && !h.seen[in.value] {
			continue
		}
		ops = append(ops, o)
	}
	return ops
}

type verdicts struct {
	Keys       int      `json:"keys"`
	Operations int      `json:"operations"`
	Unknown    int      `json:"unknown"`
	Bad        []string `json:"bad"`
	Undecided  []string `json:"undecided"`
}

func judge(keys map[string]*history, timeout time.Duration, html string, workers int) verdicts {
	v := verdicts{Keys: len(keys), Bad: []string{}, Undecided: []string{}}
	names := make(chan string)
	var lock sync.Mutex
	var all sync.WaitGroup
	for i := 0; i < workers; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for name := range names {
				h := keys[name]
				result, info := porcupine.CheckOperationsVerbose(model(h.kind), h.withoutUnseen(), timeout)
				lock.Lock()
				if result == porcupine.Illegal {
					v.Bad = append(v.Bad, name)
					if html != "" {
						path := filepath.Join(html, name+".html")
						if err := porcupine.VisualizePath(model(h.kind), info, path); err != nil {
							fmt.Fprintln(os.Stderr, "judge:", err)
						}
					}
				} else if result == porcupine.Unknown {
					v.Undecided = append(v.Undecided, name)
				}
				lock.Unlock()
			}
		}()
	}
	for name, h := range keys {
		v.Operations += len(h.ops)
		for _, o := range h.ops {
			if o.Output.(string) == "unknown" {
				v.Unknown++
			}
		}
		names <- name
	}
	close(names)
	all.Wait()
	sort.Strings(v.Bad)
	sort.Strings(v.Undecided)
	return v
}

func main() {
	timeout := flag.Duration("timeout", 60*time.Second, "for each key; what takes longer is undecided")
	html := flag.String("html", "", "folder for drawings of bad keys")
	workers := flag.Int("workers", 2, "keys side by side")
	flag.Parse()
	keys, err := load(flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(2)
	}
	v := judge(keys, *timeout, *html, *workers)
	text, _ := json.Marshal(v)
	fmt.Println(string(text))
	if len(v.Bad) > 0 {
		os.Exit(1)
	}
}
