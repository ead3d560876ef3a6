// Package evidence checks logs with implementations that Indelible's authors did not write: Tessera's client and fsck,
// and golang.org/x/mod/sumdb's note and tlog. What is here only brings the bytes to them: it reads a data directory, or
// asks a running collector, and decides nothing about them.
package evidence

import (
	"context"
	"errors"

	"github.com/transparency-dev/tessera/fsck"
)

// Source is a log as one place shows it: the C2SP tlog-tiles resources, and the checkpoints that are kept beside them.
type Source interface {
	fsck.Fetcher
	// Kept gives the signed checkpoints that the source keeps, by a name for people.
	Kept(ctx context.Context) (map[string][]byte, error)
	// Frames shows the first `size` leaves in order, each with its body as it is stored.
	Frames(ctx context.Context, size uint64, see func(frame) error) error
}

// frame is a leaf with its body.
type frame struct {
	leaf  []byte
	codec byte
	body  []byte
}

// Most bytes of one thing that is read, from a file or from a server.
const (
	maxCheckpointBytes = 1 << 20
	maxBundleBytes     = 256 * (2 + 1<<16)
	maxFrameBytes      = 4 << 20
	maxCheckpoints     = 100_000
)

var errTooLarge = errors.New("it is larger than anything of its kind")

// pinned shows a log that may grow as it was when its checkpoint was read.
type pinned struct {
	Source
	checkpoint []byte
}

func (p pinned) ReadCheckpoint(context.Context) ([]byte, error) { return p.checkpoint, nil }
