// Command nats publishes entries to a JetStream stream and counts what the server acknowledges.
//
// So many publishes are in flight at a time, over a number of connections; an acknowledgement counts when it comes in
// within the window that begins after the warm-up. Prints one JSON object.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Longest entry that is read, and the most bytes of all of them.
const (
	maxEntry   = 16 << 20
	maxEntries = 2 << 30
)

func main() {
	server := flag.String("server", "nats://127.0.0.1:4222", "address of the server")
	file := flag.String("entries", "", "file of entries, each behind its length as a big-endian u32")
	seconds := flag.Float64("seconds", 10, "length of the window")
	warm := flag.Float64("warm", 2, "seconds before the window")
	inFlight := flag.Int("in-flight", 1000, "publishes that wait for their acknowledgement")
	connections := flag.Int("connections", 4, "connections that share them")
	flag.Parse()
	if err := run(*server, *file, *seconds, *warm, *inFlight, *connections); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(server, file string, seconds, warm float64, inFlight, connections int) error {
	entries, err := readEntries(file)
	if err != nil {
		return err
	}
	clients := make([]jetstream.JetStream, connections)
	for i := range clients {
		connection, err := nats.Connect(server)
		if err != nil {
			return fmt.Errorf("connect to %s: %w", server, err)
		}
		defer connection.Close()
		if clients[i], err = jetstream.New(connection); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := clients[0].CreateStream(ctx, jetstream.StreamConfig{
		Name: "bench", Subjects: []string{"bench"}, Storage: jetstream.FileStorage,
	}); err != nil {
		return fmt.Errorf("create the stream: %w", err)
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
				entry := entries[int(next.Add(1))%len(entries)]
				if err := publish(client, entry); err != nil {
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

// publish hands an entry to the stream and waits until the stream has it.
func publish(client jetstream.JetStream, entry []byte) error {
	future, err := client.PublishMsgAsync(&nats.Msg{Subject: "bench", Data: entry})
	if err != nil {
		return err
	}
	select {
	case <-future.Ok():
		return nil
	case err := <-future.Err():
		return err
	case <-time.After(30 * time.Second):
		return errors.New("no acknowledgement within 30 s")
	}
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
