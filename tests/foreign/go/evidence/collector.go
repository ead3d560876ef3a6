package evidence

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/transparency-dev/tessera/client"
)

// Collector is a running collector. Tessera's own client reads its tiles; the list of kept checkpoints is Indelible's.
type Collector struct {
	*client.HTTPFetcher
	http *http.Client
	base string
}

// OpenCollector asks a collector which log it has. `ca` names a file of PEM certificates, `token` one with a reader's
// token; either may be empty.
func OpenCollector(ctx context.Context, base, ca, token string) (*Collector, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificates in it", ca)
		}
	}
	reader := reader{next: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
	if token != "" {
		text, err := os.ReadFile(token)
		if err != nil {
			return nil, err
		}
		reader.token = strings.TrimSpace(string(text))
	}
	c := &Collector{http: &http.Client{Transport: reader, Timeout: time.Minute}, base: strings.TrimSuffix(base, "/")}
	var about struct{ Origin string }
	if err := c.json(ctx, "/v1/log", &about); err != nil {
		return nil, err
	}
	root, err := url.Parse(fmt.Sprintf("%s/logs/%x/", c.base, sha256.Sum256([]byte(about.Origin))))
	if err != nil {
		return nil, err
	}
	c.HTTPFetcher, err = client.NewHTTPFetcher(root, c.http)
	return c, err
}

// Kept gives the checkpoints that the collector lists.
func (c *Collector) Kept(ctx context.Context) (map[string][]byte, error) {
	kept := make(map[string][]byte)
	for after := uint64(0); ; {
		var sizes []uint64
		if err := c.json(ctx, fmt.Sprintf("/v1/checkpoints?after=%d", after), &sizes); err != nil {
			return nil, err
		}
		before := len(kept)
		for _, size := range sizes {
			name := fmt.Sprintf("checkpoints/%d", size)
			if kept[name] != nil {
				continue
			}
			note, err := c.get(ctx, "/v1/"+name, maxCheckpointBytes)
			if err != nil {
				return nil, err
			}
			kept[name], after = note, max(after, size)
		}
		if len(kept) == before {
			return kept, nil
		}
		if len(kept) > maxCheckpoints {
			return nil, fmt.Errorf("%s/v1/checkpoints: %w", c.base, errTooLarge)
		}
	}
}

// Frames asks for the leaves with their bodies: u64 index | u16 leaf_len | leaf | u8 codec | u32 body_len | body.
func (c *Collector) Frames(ctx context.Context, size uint64, see func(frame) error) error {
	for next := uint64(0); next < size; {
		before := next
		answer, err := c.open(ctx, fmt.Sprintf("/v1/frames?from=%d&to=%d", next, size))
		if err != nil {
			return err
		}
		from := bufio.NewReader(answer.Body)
		for err == nil && next < size {
			var f frame
			if f, err = readFrame(from, next); err == nil {
				next++
				err = see(f)
			}
		}
		answer.Body.Close()
		if err != nil && (!errors.Is(err, io.EOF) || next == before) {
			return fmt.Errorf("%s/v1/frames, leaf %d: %w", c.base, next, err)
		}
	}
	return nil
}

func readFrame(from io.Reader, index uint64) (f frame, err error) {
	var head [10]byte
	if _, err = io.ReadFull(from, head[:]); err != nil {
		return f, err
	}
	if got := binary.BigEndian.Uint64(head[:]); got != index {
		return f, fmt.Errorf("leaf %d came instead", got)
	}
	rest := make([]byte, int(binary.BigEndian.Uint16(head[8:]))+5)
	if _, err = io.ReadFull(from, rest); err != nil {
		return f, fmt.Errorf("a leaf: %w", err)
	}
	f.leaf, f.codec = rest[:len(rest)-5], rest[len(rest)-5]
	length := binary.BigEndian.Uint32(rest[len(rest)-4:])
	if length > maxFrameBytes {
		return f, errTooLarge
	}
	f.body = make([]byte, length)
	if _, err = io.ReadFull(from, f.body); err != nil {
		return f, fmt.Errorf("a body: %w", err)
	}
	return f, nil
}

func (c *Collector) json(ctx context.Context, path string, into any) error {
	text, err := c.get(ctx, path, maxCheckpointBytes)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s%s: %w", c.base, path, err)
	}
	return nil
}

func (c *Collector) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	answer, err := c.open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return bounded(answer.Body, c.base+path, limit)
}

func (c *Collector) open(ctx context.Context, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(request)
	if err == nil && answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, fmt.Errorf("%s%s: %s", c.base, path, answer.Status)
	}
	return answer, err
}

// reader adds a reader's token to each request.
type reader struct {
	next  http.RoundTripper
	token string
}

func (r reader) RoundTrip(request *http.Request) (*http.Response, error) {
	if r.token != "" {
		request = request.Clone(request.Context())
		request.Header.Set("Indelible-Token", r.token)
	}
	return r.next.RoundTrip(request)
}
