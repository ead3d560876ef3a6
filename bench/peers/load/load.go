// Package load keeps so many entries in flight to a peer, and counts what it acknowledges within a window.
package load

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Longest entry that is read, and the most bytes of all of them.
const (
	maxEntry   = 16 << 20
	maxEntries = 2 << 30
)

// Window is when acknowledgements count, and how many entries wait for theirs at a time.
type Window struct {
	File     string
	Seconds  float64
	Warm     float64
	InFlight int
}

// Flags are those that every peer's program takes. They have their values after flag.Parse.
func Flags(inFlight int) *Window {
	window := &Window{}
	flag.StringVar(&window.File, "entries", "", "file of entries, each behind its length as a big-endian u32")
	flag.Float64Var(&window.Seconds, "seconds", 10, "length of the window")
	flag.Float64Var(&window.Warm, "warm", 2, "seconds before the window")
	flag.IntVar(&window.InFlight, "in-flight", inFlight, "entries that wait for their acknowledgement")
	return window
}

// Run has each of the workers put one entry after the other, until the window is over or one fails. An acknowledgement
// counts when it comes in within the window, which begins after the warm-up. Prints one JSON object.
//
// Workers are counted from 0, entries from 1.
func (window *Window) Run(entries [][]byte, put func(worker int, n int64, entry []byte) error) error {
	begin := time.Now().Add(time.Duration(window.Warm * float64(time.Second)))
	end := begin.Add(time.Duration(window.Seconds * float64(time.Second)))
	var acks, bytes, next atomic.Int64
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	for worker := range window.InFlight {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for time.Now().Before(end) && failed.Load() == nil {
				n := next.Add(1)
				entry := entries[int(n)%len(entries)]
				if err := put(worker, n, entry); err != nil {
					failed.Store(&err)
					return
				}
				if now := time.Now(); !now.Before(begin) && now.Before(end) {
					acks.Add(1)
					bytes.Add(int64(len(entry)))
				}
			}
		}()
	}
	workers.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"acks": acks.Load(), "bytes": bytes.Load(), "seconds": window.Seconds,
	})
}

// Entries reads the window's file.
func (window *Window) Entries() ([][]byte, error) {
	whole, err := os.Open(window.File)
	if err != nil {
		return nil, err
	}
	defer whole.Close()
	all, err := io.ReadAll(io.LimitReader(whole, maxEntries))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(all) > 0 {
		if len(all) < 4 {
			return nil, fmt.Errorf("%s ends within a length", window.File)
		}
		length := binary.BigEndian.Uint32(all)
		if length > maxEntry || int(length) > len(all)-4 {
			return nil, fmt.Errorf("%s has an entry of %d bytes, and not as many follow", window.File, length)
		}
		entries = append(entries, all[4:4+length])
		all = all[4+length:]
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%s has no entries", window.File)
	}
	return entries, nil
}
