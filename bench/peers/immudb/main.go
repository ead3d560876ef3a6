// Command immudb sets entries in immudb, each a transaction of its own, and counts what the server acknowledges.
//
// So many transactions are in flight at a time, over a number of sessions; an acknowledgement counts when it comes in
// within the window that begins after the warm-up. The server is one that syncs before it answers (--synced). Prints one
// JSON object.
package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/codenotary/immudb/pkg/api/schema"
	"github.com/codenotary/immudb/pkg/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"indelible.dev/bench/peers/load"
)

func main() {
	port := flag.Int("port", 3322, "port of the server on 127.0.0.1")
	state := flag.String("state", "", "directory for the client's state")
	window := load.Flags(1000)
	sessions := flag.Int("connections", 8, "sessions that share them")
	flag.Parse()
	if err := run(*port, *state, window, *sessions); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(port int, state string, window *load.Window, sessions int) error {
	entries, err := window.Entries()
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
	settings := &schema.DatabaseNullableSettings{MaxConcurrency: &schema.NullableUint32{Value: uint32(window.InFlight)}}
	if _, err := first.CreateDatabaseV2(ctx, "bench", settings); err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	clients := make([]client.ImmuClient, sessions)
	for i := range clients {
		if clients[i], err = open("bench"); err != nil {
			return err
		}
	}
	return window.Run(entries, func(worker int, n int64, entry []byte) error {
		key := binary.BigEndian.AppendUint64(nil, uint64(n))
		_, err := clients[worker%len(clients)].Set(ctx, key, entry)
		return err
	})
}
