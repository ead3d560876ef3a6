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
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// Longest entry that is read, and the most bytes of all of them.
const (
	maxEntry   = 16 << 20
	maxEntries = 2 << 30
)

func main() {
	dir := flag.String("dir", "", "the log's directory")
	file := flag.String("entries", "", "file of entries, each behind its length as a big-endian u32")
	seconds := flag.Float64("seconds", 10, "length of the window")
	warm := flag.Float64("warm", 2, "seconds before the window")
	inFlight := flag.Int("in-flight", 4096, "entries that are added and not yet integrated")
	batch := flag.Uint("batch", 1024, "entries that Tessera integrates at a time")
	age := flag.Duration("age", 50*time.Millisecond, "longest that Tessera lets an entry wait for others")
	flag.Parse()
	if err := run(*dir, *file, *seconds, *warm, *inFlight, *batch, *age); err != nil {
		fmt.Fprintln(os.Stderr, "tessera:", err)
		os.Exit(1)
	}
}

func run(dir, file string, seconds, warm float64, inFlight int, batch uint, age time.Duration) error {
	entries, err := readEntries(file)
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
		WithPushback(uint(2 * inFlight * pieces(entries))).WithCheckpointInterval(time.Second)
	appender, _, _, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return fmt.Errorf("open the log in %s: %w", dir, err)
	}
	begin := time.Now().Add(time.Duration(warm * float64(time.Second)))
	end := begin.Add(time.Duration(seconds * float64(time.Second)))
	var acks, bytes, next atomic.Int64
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	for range inFlight {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for time.Now().Before(end) && failed.Load() == nil {
				entry := entries[int(next.Add(1))%len(entries)]
				if err := add(ctx, appender, entry); err != nil {
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
