package evidence

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// The parts of a batch's commitment, by where they begin:
//
//	u8 version | u8 flags | session[32] | chain[32] | u64 first_seq | u32 count | prev_link[32] | last_link[32]
//	| i64 first_time | i64 last_time | u32 body_len | signature[64]
const (
	atSession, atChain, atFirst, atCount, atPrev, atLast, atBodyLen, atSignature, commitmentBytes = 2, 34, 66, 74, 78, 110, 158, 162, 226

	maxBodyBytes   = 1 << 20
	recordOverhead = 8 + 1 + 1 + 4
)

type digest = [sha256.Size]byte

// Records are the records of all logs of a pool, joined: each chain's links by their positions.
type Records struct {
	sessions map[digest]ed25519.PublicKey
	chains   map[digest]map[uint64]digest
	unpack   *zstd.Decoder
}

// NewRecords begins with none.
func NewRecords() (*Records, error) {
	unpack, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxBodyBytes))
	return &Records{make(map[digest]ed25519.PublicKey), make(map[digest]map[uint64]digest), unpack}, err
}

// add takes the next leaf of a log. A session comes before its batches; of a batch signature and every link must hold.
func (r *Records) add(f frame) error {
	if len(f.leaf) < 2 || f.leaf[0] != 1 {
		return errors.New("no leaf of version 1")
	}
	content := f.leaf[2:]
	switch f.leaf[1] {
	case 1:
		return r.addSession(content)
	case 3:
		if len(content) < commitmentBytes {
			return errors.New("a batch without a whole commitment")
		}
		return r.addBatch(content[:commitmentBytes], f)
	default: // what the collector or others say: under the log's signature, and no record
		return nil
	}
}

// addSession reads `u8 version | public_key[32] | 9 × (u16 length | text) | i64 started_at`.
func (r *Records) addSession(content []byte) error {
	end := 33
	for range 9 {
		if len(content) < end+2 {
			return errors.New("a session that is cut off")
		}
		end += 2 + int(binary.BigEndian.Uint16(content[end:]))
	}
	if end += 8; len(content) < end {
		return errors.New("a session that is cut off")
	}
	r.sessions[tagged("session", content[:end])] = ed25519.PublicKey(content[1:33])
	return nil
}

func (r *Records) addBatch(commitment []byte, f frame) error {
	key, known := r.sessions[digest(commitment[atSession:])]
	if !known {
		return errors.New("a batch of a session that was not introduced")
	}
	message := tagged("batch", commitment[:atSignature])
	if !ed25519.Verify(key, message[:], commitment[atSignature:]) {
		return errors.New("a batch that its session did not sign")
	}
	body, err := r.body(f)
	if err != nil {
		return err
	}
	if len(body) != int(binary.BigEndian.Uint32(commitment[atBodyLen:])) {
		return errors.New("a body of another length than was signed")
	}
	chain, first := digest(commitment[atChain:]), binary.BigEndian.Uint64(commitment[atFirst:])
	link := digest(commitment[atPrev:])
	if first == 0 && link != chain {
		return errors.New("a chain that does not begin with its own name")
	}
	if first > 0 {
		if err := r.put(chain, first-1, link); err != nil {
			return err
		}
	}
	seq := first
	for ; len(body) > 0; seq++ {
		if len(body) < recordOverhead || len(body)-recordOverhead < int(binary.BigEndian.Uint32(body[10:])) {
			return errors.New("a record that is cut off")
		}
		end := recordOverhead + int(binary.BigEndian.Uint32(body[10:]))
		content := tagged("content", []byte{0}, body[recordOverhead:end])
		link = tagged("link", chain[:], binary.BigEndian.AppendUint64(nil, seq), link[:], body[:recordOverhead], content[:])
		if err := r.put(chain, seq, link); err != nil {
			return err
		}
		body = body[end:]
	}
	if seq-first != uint64(binary.BigEndian.Uint32(commitment[atCount:])) || link != digest(commitment[atLast:]) {
		return fmt.Errorf("records %d to %d of chain %x are not those that were signed", first, seq-1, chain)
	}
	return nil
}

func (r *Records) body(f frame) ([]byte, error) {
	switch f.codec {
	case 0:
		return f.body, nil
	case 1:
		body, err := r.unpack.DecodeAll(f.body, nil)
		if err != nil {
			return nil, fmt.Errorf("a body that cannot be unpacked: %w", err)
		}
		return body, nil
	case 254:
		return nil, errors.New("a body that is not given out to this reader")
	case 255:
		return nil, errors.New("a body that was removed")
	default:
		return nil, fmt.Errorf("a body of codec %d, which is not read here", f.codec)
	}
}

func (r *Records) put(chain digest, seq uint64, link digest) error {
	links := r.chains[chain]
	if links == nil {
		links = make(map[uint64]digest)
		r.chains[chain] = links
	}
	if other, known := links[seq]; known && other != link {
		return fmt.Errorf("record %d of chain %x has two contents, or two pasts", seq, chain)
	}
	links[seq] = link
	return nil
}

// Whole checks that no position of a chain is missing; gives how many records and chains there are.
func (r *Records) Whole() (records, chains int, err error) {
	for chain, links := range r.chains {
		if last := slices.Max(slices.Collect(maps.Keys(links))); last != uint64(len(links))-1 {
			missing := uint64(0)
			for _, there := links[missing]; there; _, there = links[missing] {
				missing++
			}
			return 0, 0, fmt.Errorf("record %d of chain %x is missing", missing, chain)
		}
		records += len(links)
	}
	return records, len(r.chains), nil
}

// tagged is the format's hash: SHA-256, with the tag's hash twice before what is hashed.
func tagged(tag string, parts ...[]byte) digest {
	name := sha256.Sum256([]byte("indelible/" + tag + "/v1"))
	hash := sha256.New()
	for _, part := range append([][]byte{name[:], name[:]}, parts...) {
		hash.Write(part)
	}
	return digest(hash.Sum(nil))
}
