package evidence

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/mod/sumdb/tlog"
)

// Directory is a collector's data directory. Full tiles are files in it. What is at a log's right edge a collector serves
// from memory, so here it is made from the leaves, which are in the segments:
//
//	u32 length (of the rest) | u32 crc32c | u16 leaf_len | leaf | u8 codec | body        leaf_len 0 is no leaf
//
// Entries always come from the segments: they are the evidence, and tile/entries must agree with them.
type Directory struct {
	root   string
	leaves [][]byte
}

// OpenDirectory reads all leaves of a data directory.
func OpenDirectory(root string) (*Directory, error) {
	d := &Directory{root: root}
	err := d.walk(func(f frame) error {
		d.leaves = append(d.leaves, bytes.Clone(f.leaf))
		return nil
	})
	return d, err
}

// Frames shows the leaves with their bodies.
func (d *Directory) Frames(_ context.Context, size uint64, see func(frame) error) error {
	index := uint64(0)
	return d.walk(func(f frame) error {
		index++
		if index > size {
			return nil
		}
		return see(f)
	})
}

// walk shows the frames of all segments in order.
func (d *Directory) walk(see func(frame) error) error {
	names, err := filepath.Glob(filepath.Join(d.root, "segments", "*.seg"))
	if err != nil || len(names) == 0 {
		return fmt.Errorf("%s: no segments, so no data directory of a collector", d.root)
	}
	next := uint64(0)
	for _, name := range names { // sorted, and named by their first leaf in 20 digits
		first, err := strconv.ParseUint(filepath.Base(name[:len(name)-len(".seg")]), 10, 63)
		if err != nil {
			return fmt.Errorf("%s: its name is not the index of a leaf", name)
		}
		if first != next {
			return fmt.Errorf("%s: leaf %d should come next", name, next)
		}
		segment, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for f, rest, ok := cut(segment); ok; f, rest, ok = cut(rest) {
			if len(f.leaf) == 0 {
				continue
			}
			next++
			if err := see(f); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// cut cuts the first frame off a segment. There is none at the end: room for more, or what was not written whole; whether
// a leaf is missing, the checkpoint tells.
func cut(segment []byte) (f frame, rest []byte, ok bool) {
	if len(segment) < 11 {
		return f, nil, false
	}
	length := uint64(binary.BigEndian.Uint32(segment)) + 4
	leaf := uint64(binary.BigEndian.Uint16(segment[8:]))
	if length > maxFrameBytes || length > uint64(len(segment)) || 11+leaf > length {
		return f, nil, false
	}
	return frame{segment[10 : 10+leaf], segment[10+leaf], segment[11+leaf : length]}, segment[length:], true
}

// ReadCheckpoint gives the newest signed checkpoint.
func (d *Directory) ReadCheckpoint(context.Context) ([]byte, error) {
	return d.file(layout.CheckpointPath, maxCheckpointBytes)
}

// Kept gives those below checkpoints/.
func (d *Directory) Kept(context.Context) (map[string][]byte, error) {
	entries, err := os.ReadDir(filepath.Join(d.root, "checkpoints"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(entries) > maxCheckpoints {
		return nil, fmt.Errorf("%s/checkpoints: %w", d.root, errTooLarge)
	}
	kept := make(map[string][]byte)
	for _, entry := range entries {
		if _, err := strconv.ParseUint(entry.Name(), 10, 63); err != nil {
			continue // what a crash left under another name was never made public
		}
		name := "checkpoints/" + entry.Name()
		if kept[name], err = d.file(name, maxCheckpointBytes); err != nil {
			return nil, err
		}
	}
	return kept, nil
}

// ReadEntryBundle gives the bundle of the leaves [256i, 256i+p), all 256 if p is 0.
func (d *Directory) ReadEntryBundle(_ context.Context, i uint64, p uint8) ([]byte, error) {
	from, to := i*layout.EntryBundleWidth, i*layout.EntryBundleWidth+width(p)
	if to > uint64(len(d.leaves)) {
		return nil, fmt.Errorf("leaf %d is not in the segments: %w", len(d.leaves), fs.ErrNotExist)
	}
	var bundle []byte
	for _, leaf := range d.leaves[from:to] {
		bundle = append(binary.BigEndian.AppendUint16(bundle, uint16(len(leaf))), leaf...)
	}
	if p == 0 {
		path := layout.EntriesPath(i, 0)
		stored, err := d.file(path, maxBundleBytes)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(stored, bundle) {
			return nil, fmt.Errorf("%s: its leaves are not those of the segments", path)
		}
	}
	return bundle, nil
}

// ReadTile gives p hashes of a level, all 256 if p is 0.
func (d *Directory) ReadTile(ctx context.Context, level, i uint64, p uint8) ([]byte, error) {
	if p == 0 {
		return d.file(layout.TilePath(level, i, 0), tlog.HashSize*layout.TileWidth)
	}
	var tile []byte
	for n := i * layout.TileWidth; n < i*layout.TileWidth+width(p); n++ {
		hash, err := d.hash(ctx, level, n)
		if err != nil {
			return nil, err
		}
		tile = append(tile, hash[:]...)
	}
	return tile, nil
}

// hash gives hash n of a level: of a leaf, or the root of a full tile of the level below.
func (d *Directory) hash(ctx context.Context, level, n uint64) (tlog.Hash, error) {
	if level == 0 {
		if n >= uint64(len(d.leaves)) {
			return tlog.Hash{}, fmt.Errorf("leaf %d is not in the segments: %w", n, fs.ErrNotExist)
		}
		return tlog.RecordHash(d.leaves[n]), nil
	}
	tile, err := d.ReadTile(ctx, level-1, n, 0)
	if err != nil {
		return tlog.Hash{}, err
	}
	if len(tile) != tlog.HashSize*layout.TileWidth {
		return tlog.Hash{}, fmt.Errorf("%s: %d bytes are no full tile", layout.TilePath(level-1, n, 0), len(tile))
	}
	row := make([]tlog.Hash, layout.TileWidth)
	for k := range row {
		row[k] = tlog.Hash(tile[k*tlog.HashSize:])
	}
	for len(row) > 1 {
		for k := range len(row) / 2 {
			row[k] = tlog.NodeHash(row[2*k], row[2*k+1])
		}
		row = row[:len(row)/2]
	}
	return row[0], nil
}

func (d *Directory) file(path string, limit int64) ([]byte, error) {
	file, err := os.Open(filepath.Join(d.root, path))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return bounded(file, path, limit)
}

// bounded reads to the end, up to a limit.
func bounded(from io.Reader, name string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: %w", name, errTooLarge)
	}
	return data, err
}

// width is how many things a full or partial tile holds.
func width(p uint8) uint64 {
	if p == 0 {
		return layout.TileWidth
	}
	return uint64(p)
}
