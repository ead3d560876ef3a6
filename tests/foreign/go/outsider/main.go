// Outsider checks the logs of a pool without any program of Indelible's: `go run ./outsider -policy FILE SOURCE...`.
//
// A source is a collector's data directory, also a copy from a dead machine, or a running collector's URL. It says what
// it found of each log, and at the end `verified`, with exit code 0; or what does not hold, with 1; or 2 for usage.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"indelible.dev/tests/foreign/evidence"
	"k8s.io/klog/v2"
)

func main() {
	policy := flag.String("policy", "", "a tlog-policy `file`: the logs and witnesses to believe")
	seen := flag.String("seen", "", "a `directory` of checkpoints that were kept elsewhere, one a file")
	ca := flag.String("ca", "", "a `file` of PEM certificates that running collectors are known by")
	token := flag.String("token", "", "a `file` with a reader's token for running collectors")
	flag.Parse()
	if *policy == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: outsider -policy FILE [-seen DIR] [-ca FILE] [-token FILE] SOURCE...")
		os.Exit(2)
	}
	// Tessera tells of its progress; what it finds comes back as an error.
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	if err := run(context.Background(), *policy, *seen, *ca, *token, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "NOT verified:", err)
		os.Exit(1)
	}
	fmt.Println("verified")
}

func run(ctx context.Context, policyFile, seenDir, ca, token string, names []string) error {
	text, err := os.ReadFile(policyFile)
	if err != nil {
		return err
	}
	policy, err := evidence.ParsePolicy(text)
	if err != nil {
		return fmt.Errorf("%s: %w", policyFile, err)
	}
	seen, err := notes(seenDir)
	if err != nil {
		return err
	}
	records, err := evidence.NewRecords()
	if err != nil {
		return err
	}
	unseen := make(map[string]bool)
	for _, origin := range policy.Logs() {
		unseen[origin] = true
	}
	for _, name := range names {
		source, err := open(ctx, name, ca, token)
		if err != nil {
			return err
		}
		log, err := evidence.Check(ctx, policy, source, seen, records)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Printf("%s: %d entries, each included; %d other checkpoints, all extended; every tile as computed\n",
			log.Origin, log.Size, log.Checkpoints)
		if log.Witnessed < log.Size {
			fmt.Printf("%s: witnesses have seen the first %d of these entries\n", log.Origin, log.Witnessed)
		}
		delete(unseen, log.Origin)
	}
	if len(unseen) > 0 {
		logs := slices.Sorted(maps.Keys(unseen))
		return fmt.Errorf("the policy names logs that are not among the sources: %s", strings.Join(logs, ", "))
	}
	count, chains, err := records.Whole()
	if err != nil {
		return err
	}
	fmt.Printf("%d records in %d chains, each signed and linked to the one before it, none missing between them\n", count, chains)
	return nil
}

func open(ctx context.Context, name, ca, token string) (evidence.Source, error) {
	if strings.Contains(name, "://") {
		return evidence.OpenCollector(ctx, name, ca, token)
	}
	return evidence.OpenDirectory(name)
}

// notes reads the checkpoints of a directory.
func notes(dir string) (map[string][]byte, error) {
	if dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	notes := make(map[string][]byte)
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		if notes[name], err = os.ReadFile(name); err != nil {
			return nil, err
		}
	}
	return notes, nil
}
