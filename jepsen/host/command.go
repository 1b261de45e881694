//go:build linux

package host

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

func (n *node) Run(ctx context.Context, args ...string) (string, error) {
	n.mu.Lock()
	binary, env := n.binary, n.environment()
	n.mu.Unlock()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = &out, &out
	err := n.host.network.start(n.id, cmd)
	if err == nil {
		err = cmd.Wait()
	}
	text := strings.TrimSpace(out.String())
	if err != nil {
		return text, fmt.Errorf("%s on the machine of %s: %w: %s", args[0], n.id, err, text)
	}
	return text, nil
}
