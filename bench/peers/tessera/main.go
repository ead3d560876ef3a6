// Command tessera adds entries to a Tessera log on a POSIX file system and counts those that are integrated.
//
// Tessera is a library, so this one program is log and load: so many entries are in flight at a time, and one counts
// when its future gives an index, which is when it is sequenced and integrated and its files are synced, within the
// window that begins after the warm-up. Entries of more than 65,535 bytes, Tessera's limit, are cut into as few as they
// need; the entry counts with its last piece. Prints one JSON object.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"indelible.dev/bench/peers/load"
)

func main() {
	dir := flag.String("dir", "", "the log's directory")
	window := load.Flags(4096)
	batch := flag.Uint("batch", 1024, "entries that Tessera integrates at a time")
	age := flag.Duration("age", 50*time.Millisecond, "longest that Tessera lets an entry wait for others")
	flag.Parse()
	if err := run(*dir, window, *batch, *age); err != nil {
		fmt.Fprintln(os.Stderr, "tessera:", err)
		os.Exit(1)
	}
}

func run(dir string, window *load.Window, batch uint, age time.Duration) error {
	entries, err := window.Entries()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	key, _, err := note.GenerateKey(rand.Reader, "bench.invalid/tessera")
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(key)
	if err != nil {
		return err
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return err
	}
	options := tessera.NewAppendOptions().WithCheckpointSigner(signer).WithBatching(batch, age).
		WithPushback(uint(2 * window.InFlight * pieces(entries))).WithCheckpointInterval(time.Second)
	appender, _, _, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return fmt.Errorf("open the log in %s: %w", dir, err)
	}
	return window.Run(entries, func(_ int, _ int64, entry []byte) error {
		return add(ctx, appender, entry)
	})
}

// add adds an entry, in pieces where it is too long for one, and waits until all of it is integrated.
func add(ctx context.Context, appender *tessera.Appender, entry []byte) error {
	var futures []tessera.IndexFuture
	for {
		piece := entry[:min(len(entry), tessera.DefaultEntrySizeLimit)]
		futures = append(futures, appender.Add(ctx, tessera.NewEntry(piece)))
		if entry = entry[len(piece):]; len(entry) == 0 {
			break
		}
	}
	for _, future := range futures {
		if _, err := future(); err != nil {
			return err
		}
	}
	return nil
}

// pieces is how many an entry is cut into at most.
func pieces(entries [][]byte) int {
	longest := 1
	for _, entry := range entries {
		longest = max(longest, (len(entry)+tessera.DefaultEntrySizeLimit-1)/tessera.DefaultEntrySizeLimit)
	}
	return longest
}
