package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checked is what was found true of a log.
type Checked struct {
	Origin      string
	Size        uint64
	Checkpoints int
	// Witnessed is the size of the largest checkpoint that the policy's quorum has cosigned.
	Witnessed uint64
}

// Check checks a log by all that it shows and by the checkpoints that somebody has kept elsewhere (`seen`, by name):
//
//   - its newest checkpoint is signed by a log of the policy, and it or an earlier one, which the result names, is cosigned
//     by the policy's quorum of witnesses;
//   - every other checkpoint is signed by it as well, and the log is an extension of each;
//   - all entries, tiles and the root follow from one another (Tessera's fsck);
//   - each single entry is included, by a proof of its own;
//   - every batch's body is what its session signed, record by record; they are added to `records`.
func Check(ctx context.Context, policy Policy, source Source, seen map[string][]byte, records *Records) (Checked, error) {
	newest, err := source.ReadCheckpoint(ctx)
	if err != nil {
		return Checked{}, err
	}
	origin, _, _ := strings.Cut(string(newest), "\n")
	verifier, known := policy.logs[origin]
	if !known {
		return Checked{}, fmt.Errorf("log %q is none of the policy's", origin)
	}
	checked := Checked{Origin: origin}
	tree, err := signed(newest, origin, verifier)
	if err != nil {
		return checked, fmt.Errorf("its checkpoint: %w", err)
	}
	checked.Size = uint64(tree.N)
	notes, err := source.Kept(ctx)
	if err != nil {
		return checked, err
	}
	for name, note := range seen {
		if strings.HasPrefix(string(note), origin+"\n") {
			notes[name] = note
		}
	}
	source = pinned{source, newest}
	hashes := tlog.TileHashReader(tree, &tiles{ctx: ctx, source: source, read: make(map[tlog.Tile][]byte)})
	if checked.Checkpoints, err = consistent(notes, origin, verifier, tree, hashes); err != nil {
		return checked, err
	}
	// A log's newest checkpoint is public before its witnesses have seen it; with their lines it is among the kept ones.
	notes["checkpoint"] = newest
	witnessed := false
	for _, note := range notes {
		if policy.quorum.Satisfied(note) {
			old, err := signed(note, origin, verifier)
			if err != nil {
				return checked, err
			}
			witnessed, checked.Witnessed = true, max(checked.Witnessed, uint64(old.N))
		}
	}
	if !witnessed {
		return checked, errors.New("none of its checkpoints has the cosignatures that the policy asks for")
	}
	if err := fsck.New(origin, verifier, source, leafHashes, fsck.Opts{N: 2}).Check(ctx); err != nil {
		return checked, fmt.Errorf("tessera's fsck: %w", err)
	}
	if err := included(ctx, source, tree, hashes); err != nil {
		return checked, err
	}
	if records == nil {
		return checked, nil
	}
	return checked, framed(ctx, source, tree, hashes, records)
}

// signed opens a signed checkpoint of a log.
func signed(text []byte, origin string, verifier note.Verifier) (tlog.Tree, error) {
	checkpoint, _, _, err := log.ParseCheckpoint(text, origin, verifier)
	if err != nil {
		return tlog.Tree{}, err
	}
	if len(checkpoint.Hash) != tlog.HashSize || checkpoint.Size > 1<<62 {
		return tlog.Tree{}, fmt.Errorf("size %d with a root of %d bytes is no tree", checkpoint.Size, len(checkpoint.Hash))
	}
	return tlog.Tree{N: int64(checkpoint.Size), Hash: tlog.Hash(checkpoint.Hash)}, nil
}

// consistent checks that a tree extends what other checkpoints of its log say; gives how many there are.
func consistent(notes map[string][]byte, origin string, v note.Verifier, tree tlog.Tree, hashes tlog.HashReader) (int, error) {
	names := make([]string, 0, len(notes))
	for name := range notes {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		old, err := signed(notes[name], origin, v)
		switch {
		case err != nil:
			return 0, fmt.Errorf("%s: %w", name, err)
		case old.N > tree.N:
			// Kept before it is made public; or the log has lost what it had signed.
			return 0, fmt.Errorf("%s: the log signed %d leaves, and shows %d", name, old.N, tree.N)
		case old.N == 0:
			if !bytes.Equal(old.Hash[:], rfc6962.DefaultHasher.EmptyRoot()) {
				return 0, fmt.Errorf("%s: no leaves have another root", name)
			}
			continue
		}
		proof, err := tlog.ProveTree(tree.N, old.N, hashes)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
			return 0, fmt.Errorf("%s: the log is no extension of it: %w", name, err)
		}
	}
	return len(names), nil
}

// included checks each entry by a proof of its own.
func included(ctx context.Context, source Source, tree tlog.Tree, hashes tlog.HashReader) error {
	size := uint64(tree.N)
	for first := uint64(0); first < size; first += layout.EntryBundleWidth {
		bundle, err := client.GetEntryBundle(ctx, source.ReadEntryBundle, first/layout.EntryBundleWidth, size)
		if err != nil {
			return err
		}
		for n, entry := range bundle.Entries {
			index := int64(first) + int64(n)
			if index == tree.N {
				break // a full bundle in place of a partial one
			}
			proof, err := tlog.ProveRecord(tree.N, index, hashes)
			if err != nil {
				return fmt.Errorf("entry %d: %w", index, err)
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
				return fmt.Errorf("entry %d is not what the log signed: %w", index, err)
			}
		}
	}
	return nil
}

// framed checks what is stored with the leaves: the leaves themselves once more, as they are beside their bodies.
func framed(ctx context.Context, source Source, tree tlog.Tree, hashes tlog.HashReader, records *Records) error {
	index := int64(0)
	err := source.Frames(ctx, uint64(tree.N), func(f frame) error {
		stored, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
		if err == nil && stored[0] != tlog.RecordHash(f.leaf) {
			err = errors.New("it is not what the log signed")
		}
		if err == nil {
			err = records.add(f)
		}
		if err != nil {
			return fmt.Errorf("leaf %d: %w", index, err)
		}
		index++
		return nil
	})
	if err == nil && index < tree.N {
		err = fmt.Errorf("leaf %d is not there", index)
	}
	return err
}

// leafHashes gives the leaf hashes of a bundle, for fsck.
func leafHashes(bundle []byte) ([][]byte, error) {
	var entries api.EntryBundle
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	hashes := make([][]byte, 0, len(entries.Entries))
	for _, entry := range entries.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

// tiles lets tlog read a source's tiles, each once. tlog authenticates them by the tree's root before it uses them.
type tiles struct {
	ctx    context.Context
	source Source
	read   map[tlog.Tile][]byte
}

func (t *tiles) Height() int { return layout.TileHeight }

func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(wanted))
	for n, tile := range wanted {
		if data[n] = t.read[tile]; data[n] != nil {
			continue
		}
		hashes, err := t.source.ReadTile(t.ctx, uint64(tile.L), uint64(tile.N), uint8(tile.W%layout.TileWidth))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tile.Path(), err)
		}
		// A server may give the full tile in place of a partial one.
		if want := tile.W * tlog.HashSize; len(hashes) > want {
			hashes = hashes[:want]
		}
		data[n] = hashes
	}
	return data, nil
}

func (t *tiles) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for n, tile := range tiles {
		t.read[tile] = data[n]
	}
}
