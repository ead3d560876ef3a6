// Command nats publishes entries to a JetStream stream and counts what the server acknowledges.
//
// So many publishes are in flight at a time, over a number of connections; an acknowledgement counts when it comes in
// within the window that begins after the warm-up. Prints one JSON object.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"indelible.dev/bench/peers/load"
)

func main() {
	server := flag.String("server", "nats://127.0.0.1:4222", "address of the server")
	window := load.Flags(1000)
	connections := flag.Int("connections", 4, "connections that share them")
	flag.Parse()
	if err := run(*server, window, *connections); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(server string, window *load.Window, connections int) error {
	entries, err := window.Entries()
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
	return window.Run(entries, func(worker int, _ int64, entry []byte) error {
		return publish(clients[worker%len(clients)], entry)
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
