package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tm "tidemark"
	"tidemark/internal/exchange"
)

// chatFile is the sample, or the file that the environment names.
func chatFile() string {
	if name := os.Getenv("TIDEMARK_CHAT"); name != "" {
		return name
	}
	return filepath.Join("..", "..", "testdata", "irc-sample.jsonl.gz")
}

// A whole file of real chat is imported twice: the second time, everything is a
// duplicate and nothing new is there. The export equals the input, message by
// message, and can be imported again.
func TestChat(t *testing.T) {
	c := start(t, 3)
	input := readLines(t, chatFile())

	first := c.cli("", "import", chatFile())
	t.Log(strings.TrimSpace(first))
	wantSummary(t, first, len(input), 0)
	heads := c.cli("", "timelines", "-o", "jsonl")

	second := c.cli("", "import", chatFile())
	t.Log(strings.TrimSpace(second))
	wantSummary(t, second, len(input), len(input))
	if again := c.cli("", "timelines", "-o", "jsonl"); again != heads {
		t.Errorf("the second import changed the heads:\n%s\nwere\n%s", again, heads)
	}

	exported := filepath.Join(c.dir, "export.jsonl.gz")
	t.Log(strings.TrimSpace(c.cli("", "export", exported)))
	wantSameMessages(t, input, readLines(t, exported))

	// The export is an import: the messages are there already.
	wantSummary(t, c.cli("", "import", exported), len(input), len(input))

	// An empty cluster takes it too, and gives every message the same SeqId.
	other := start(t, 1)
	other.cli("", "import", exported)
	again := filepath.Join(other.dir, "export.jsonl")
	other.cli("", "export", again)
	wantSameMessages(t, input, readLines(t, again))
	c.stopAll()
	checkStopped(t, c.Nodes...)
}

func wantSummary(t *testing.T, summary string, messages, duplicates int) {
	t.Helper()
	if want := fmt.Sprintf("imported %d messages, %d of them there before, 0 lines rejected", messages, duplicates); !strings.HasPrefix(summary, want) {
		t.Errorf("got %q, want %q", summary, want)
	}
}

// readLines reads the whole file.
func readLines(t *testing.T, name string) []tm.Draft {
	t.Helper()
	lines, err := exchange.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	var drafts []tm.Draft
	for {
		draft, _, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return drafts
		}
		if err != nil {
			t.Fatal(err)
		}
		drafts = append(drafts, draft)
	}
}

// wantSameMessages compares the messages of each timeline in order. Timelines may
// stand in another order.
func wantSameMessages(t *testing.T, want, got []tm.Draft) {
	t.Helper()
	wanted, held := byTimeline(want), byTimeline(got)
	if len(wanted) != len(held) || len(want) != len(got) {
		t.Fatalf("%d messages in %d timelines, want %d in %d", len(got), len(held), len(want), len(wanted))
	}
	for timeline, drafts := range wanted {
		if len(held[timeline]) != len(drafts) {
			t.Fatalf("%s has %d messages, want %d", timeline, len(held[timeline]), len(drafts))
		}
		for i := range drafts {
			a, b := drafts[i], held[timeline][i]
			if a.ID != b.ID || a.Hash(tm.HashPayload(a.Payload)) != b.Hash(tm.HashPayload(b.Payload)) {
				t.Fatalf("%s, message %d is %+v, want %+v", timeline, i+1, b, a)
			}
		}
	}
}

func byTimeline(drafts []tm.Draft) map[tm.TimelineID][]tm.Draft {
	timelines := map[tm.TimelineID][]tm.Draft{}
	for _, draft := range drafts {
		timelines[draft.Timeline] = append(timelines[draft.Timeline], draft)
	}
	return timelines
}
