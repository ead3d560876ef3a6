package evidence

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/transparency-dev/tessera"
	"golang.org/x/mod/sumdb/note"
)

// Policy is whom to believe: a C2SP tlog-policy. Tessera reads its witnesses, groups and quorum.
type Policy struct {
	logs   map[string]note.Verifier
	quorum tessera.WitnessGroup
}

// ParsePolicy reads a policy file.
func ParsePolicy(text []byte) (Policy, error) {
	policy := Policy{logs: make(map[string]note.Verifier)}
	var rest bytes.Buffer
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) > 1 && fields[0] == "log":
			verifier, err := note.NewVerifier(fields[1])
			if err != nil {
				return policy, fmt.Errorf("log key %s: %w", fields[1], err)
			}
			policy.logs[verifier.Name()] = verifier
		case len(fields) == 3 && fields[0] == "witness":
			// A witness needs no address; Tessera, which would ask it, insists on one.
			fmt.Fprintln(&rest, strings.TrimSpace(line), "https://unknown.invalid/")
		default:
			rest.WriteString(line)
		}
	}
	var err error
	policy.quorum, err = tessera.NewWitnessGroupFromPolicy(rest.Bytes())
	return policy, err
}

// Logs gives the names of the logs that it trusts.
func (p Policy) Logs() []string {
	var names []string
	for name := range p.logs {
		names = append(names, name)
	}
	return names
}
