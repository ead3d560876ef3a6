// Command immudb sets entries in immudb, each a transaction of its own, and counts what the server acknowledges.
//
// So many transactions are in flight at a time, over a number of sessions; an acknowledgement counts when it comes in
// within the window that begins after the warm-up. The server is one that syncs before it answers (--synced). Prints one
// JSON object.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codenotary/immudb/pkg/api/schema"
	"github.com/codenotary/immudb/pkg/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Longest entry that is read, and the most bytes of all of them.
const (
	maxEntry   = 16 << 20
	maxEntries = 2 << 30
)

func main() {
	port := flag.Int("port", 3322, "port of the server on 127.0.0.1")
	state := flag.String("state", "", "directory for the client's state")
	file := flag.String("entries", "", "file of entries, each behind its length as a big-endian u32")
	seconds := flag.Float64("seconds", 10, "length of the window")
	warm := flag.Float64("warm", 2, "seconds before the window")
	inFlight := flag.Int("in-flight", 1000, "transactions that wait for their acknowledgement")
	sessions := flag.Int("connections", 8, "sessions that share them")
	flag.Parse()
	if err := run(*port, *state, *file, *seconds, *warm, *inFlight, *sessions); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(port int, state, file string, seconds, warm float64, inFlight, sessions int) error {
	entries, err := readEntries(file)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	open := func(database string) (client.ImmuClient, error) {
		options := client.DefaultOptions().WithAddress("127.0.0.1").WithPort(port).WithDir(state).
			WithMaxRecvMsgSize(32 << 20).WithDisableIdentityCheck(true).
			WithDialOptions([]grpc.DialOption{
				grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(32 << 20)),
			})
		opened := client.NewClient().WithOptions(options)
		if err := opened.OpenSession(ctx, []byte("immudb"), []byte("immudb"), database); err != nil {
			return nil, fmt.Errorf("open a session on port %d: %w", port, err)
		}
		return opened, nil
	}
	first, err := open("defaultdb")
	if err != nil {
		return err
	}
	// A database takes 30 transactions at a time unless it is told otherwise.
	settings := &schema.DatabaseNullableSettings{MaxConcurrency: &schema.NullableUint32{Value: uint32(inFlight)}}
	if _, err := first.CreateDatabaseV2(ctx, "bench", settings); err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	clients := make([]client.ImmuClient, sessions)
	for i := range clients {
		if clients[i], err = open("bench"); err != nil {
			return err
		}
	}
	begin := time.Now().Add(time.Duration(warm * float64(time.Second)))
	end := begin.Add(time.Duration(seconds * float64(time.Second)))
	var acks, bytes, next atomic.Int64
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	for i := range inFlight {
		workers.Add(1)
		go func() {
			defer workers.Done()
			client := clients[i%len(clients)]
			for time.Now().Before(end) && failed.Load() == nil {
				n := next.Add(1)
				entry := entries[int(n)%len(entries)]
				key := binary.BigEndian.AppendUint64(nil, uint64(n))
				if _, err := client.Set(ctx, key, entry); err != nil {
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
		"acks": acks.Load(), "bytes": bytes.Load(), "seconds": seconds,
	})
}

func readEntries(path string) ([][]byte, error) {
	whole, err := os.Open(path)
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
			return nil, fmt.Errorf("%s ends within a length", path)
		}
		length := binary.BigEndian.Uint32(all)
		if length > maxEntry || int(length) > len(all)-4 {
			return nil, fmt.Errorf("%s has an entry of %d bytes, and not as many follow", path, length)
		}
		entries = append(entries, all[4:4+length])
		all = all[4+length:]
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%s has no entries", path)
	}
	return entries, nil
}
