// Witness is a C2SP tlog-witness made of transparency-dev/witness, which Indelible's authors did not write: it cosigns
// the logs of a policy over HTTP on loopback, and keeps what it has seen in memory, as long as it runs.
// It prints `listening <url>` and then its line for a policy.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	f_note "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/witness/persistence/inmemory"
	"github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	policy := flag.String("policy", "", "a tlog-policy `file`: the logs to cosign")
	name := flag.String("name", "foreign.example/witness", "the witness' `name`")
	flag.Parse()
	if err := run(*policy, *name); err != nil {
		log.Fatal(err)
	}
}

func run(policy, name string) error {
	secret, public, err := note.GenerateKey(nil, name)
	if err != nil {
		return err
	}
	signer, err := f_note.NewSignerForCosignatureV1(secret)
	if err != nil {
		return err
	}
	vkey, err := f_note.VKeyToCosignatureV1(public)
	if err != nil {
		return err
	}
	w, err := witness.New(context.Background(), witness.Opts{
		Persistence: inmemory.New(),
		Signers:     []note.Signer{signer},
		VerifierForLog: func(_ context.Context, origin string) (note.Verifier, bool, error) {
			// Read anew each time: logs may be added while it runs.
			logs, err := logs(policy)
			return logs[origin], logs[origin] != nil, err
		},
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", witness.NewHTTPHandler(w).AddCheckpoint)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second}
	fmt.Printf("listening http://%[1]s\nwitness %[2]s %[3]s http://%[1]s\n", listener.Addr(), name, vkey)
	return server.Serve(listener)
}

// logs reads the keys of a policy's logs.
func logs(policy string) (map[string]note.Verifier, error) {
	text, err := os.ReadFile(policy)
	if err != nil {
		return nil, err
	}
	logs := make(map[string]note.Verifier)
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "log" {
			verifier, err := note.NewVerifier(fields[1])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", fields[1], err)
			}
			logs[verifier.Name()] = verifier
		}
	}
	return logs, nil
}
