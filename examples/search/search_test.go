package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/search"

	"tidemark"
	"tidemark/client"
	"tidemark/internal/exchange"
	"tidemark/internal/localcluster"
)

// words are what is searched for: frequent, rare, of other alphabets than ASCII, and one that is not there.
var words = []string{"ubuntu", "kernel", "sudo", "panic", "привет", "nobodysaysthis"}

// source is a file of chat, recounted without the index.
type source struct {
	// of are the messages with each of the words, by timeline and message id.
	of    map[string]map[string]bool
	total int
}

// TestSearch imports chat into three processes while an index follows them, kills the leader
// when a third is indexed, and the indexing itself twice, which goes on from what it has
// written. In the end each word finds what a recount of the file finds, and no message is
// missing from the index or in it twice.
func TestSearch(t *testing.T) {
	input := os.Getenv("TIDEMARK_CHAT")
	if input == "" {
		input = "../../testdata/irc-sample.jsonl.gz"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	dir := t.TempDir()
	want := recount(t, input)
	binary := build(t, dir)
	cluster := startCluster(ctx, t, binary, dir)
	c, err := client.New(cluster.Endpoints())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	imported := make(chan error, 1)
	go func() {
		out, err := exec.CommandContext(ctx, binary, "import", input, "--endpoints", strings.Join(cluster.Endpoints(), ",")).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		imported <- err
	}()
	begin, path := time.Now(), filepath.Join(dir, "index")
	at := indexUntil(ctx, t, c, path, want.total/3)
	leader := killLeader(ctx, t, c, cluster)
	t.Logf("%5.1fs  %s, the leader, was killed; the index has %d of %d messages", time.Since(begin).Seconds(), leader.ID, at, want.total)
	if at == want.total {
		t.Fatal("everything was indexed before the leader was killed")
	}
	at = indexUntil(ctx, t, c, path, want.total*2/3)
	t.Logf("%5.1fs  the index has %d", time.Since(begin).Seconds(), at)
	if err := <-imported; err != nil {
		t.Fatalf("import: %v", err)
	}
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
	index, err := OpenIndex(path)
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	if err := index.Follow(ctx, c, true); err != nil {
		t.Fatal(err)
	}
	t.Logf("%5.1fs  caught up", time.Since(begin).Seconds())
	compare(ctx, t, index, want)

	testRevisions(ctx, t, index, c)

	// What is trimmed and deleted is found no more.
	timeline := tidemark.TimelineID(firstTimeline(ctx, t, index))
	before, _ := index.Count()
	head, err := c.Timeline(ctx, timeline)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct {
		name string
		do   func() error
		gone uint64
	}{
		{"trim", func() error { _, err := c.Trim(ctx, timeline, 11); return err }, 10},
		{"delete", func() error { _, err := c.DeleteTimeline(ctx, timeline); return err }, head.Count},
	} {
		if err := change.do(); err != nil {
			t.Fatal(err)
		}
		if err := index.Follow(ctx, c, true); err != nil {
			t.Fatal(err)
		}
		if count, err := index.Count(); err != nil || count != before-change.gone {
			t.Errorf("after a %s the index has %d messages of %d, want %d less; %v", change.name, count, before, change.gone, err)
		}
	}
}

// testRevisions edits and redacts what is indexed: the new words are found, the old ones not.
func testRevisions(ctx context.Context, t *testing.T, index *Index, c *client.Client) {
	t.Helper()
	const timeline = "revised/1"
	follow := func() {
		t.Helper()
		if err := index.Follow(ctx, c, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, body := range []string{"oldfirstword", "oldsecondword"} {
		if _, err := c.Append(ctx, client.Draft{Timeline: timeline, Sender: "alice", Payload: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	follow()
	if _, err := c.Revise(ctx, timeline, 1, client.Content{Payload: []byte("newfirstword")}, client.RevisedBy("bob")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Redact(ctx, timeline, 2); err != nil {
		t.Fatal(err)
	}
	follow()
	for word, want := range map[string]uint64{"oldfirstword": 0, "newfirstword": 1, "oldsecondword": 0} {
		hits, total, err := index.Search(ctx, word, 10)
		if err != nil || total != want {
			t.Errorf("%q is found %d times, %v; want %d", word, total, err, want)
		}
		if len(hits) == 1 && (hits[0].Sender != "alice" || hits[0].SeqID != 1) {
			t.Errorf("%q is found in %+v", word, hits[0])
		}
	}
}

// build builds the tidemark under test.
func build(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "tidemark")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/tidemark")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build tidemark: %v\n%s", err, out)
	}
	return path
}

func startCluster(ctx context.Context, t *testing.T, binary, dir string) *localcluster.Cluster {
	t.Helper()
	cluster, err := localcluster.New(binary, dir, 3, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.KillAll(); err != nil {
			t.Error(err)
		}
	})
	if err := cluster.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return cluster
}

// indexUntil indexes until the index has at least that many messages, and drops it then in
// the middle of whatever it does. It returns how many it has.
func indexUntil(ctx context.Context, t *testing.T, c *client.Client, path string, least int) int {
	t.Helper()
	index, err := OpenIndex(path)
	if err != nil {
		t.Fatal(err)
	}
	following, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- index.Follow(following, c, false) }()
	count := uint64(0)
	for int(count) < least {
		select {
		case err := <-ended:
			t.Fatalf("indexing ended with %d messages: %v", count, err)
		case <-time.After(time.Millisecond): // the index tells nobody when it grows
		}
		if count, err = index.Count(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if count, err = index.Count(); err != nil {
		t.Fatal(err)
	}
	if err := index.Close(); err != nil {
		t.Fatal(err)
	}
	return int(count)
}

func killLeader(ctx context.Context, t *testing.T, c *client.Client, cluster *localcluster.Cluster) *localcluster.Node {
	t.Helper()
	status, err := c.Cluster().Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	leader := cluster.Node(status.GetLeaderId())
	if leader == nil {
		t.Fatalf("%q leads, which is no node", status.GetLeaderId())
	}
	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	return leader
}

func key(timeline, id string) string { return timeline + "\x00" + id }

// recount reads the whole file, and takes it apart into words as the index does.
func recount(t *testing.T, input string) source {
	t.Helper()
	lines, err := exchange.Open(input)
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	analyzer := indexMapping().AnalyzerNamed("standard")
	s := source{of: make(map[string]map[string]bool)}
	for _, word := range words {
		s.of[word] = make(map[string]bool)
	}
	seen := make(map[string]bool)
	for {
		draft, _, err := lines.Next()
		if errors.Is(err, io.EOF) {
			s.total = len(seen)
			return s
		}
		if err != nil {
			t.Fatal(err)
		}
		message := key(string(draft.Timeline), string(draft.ID))
		seen[message] = true
		for _, token := range analyzer.Analyze(draft.Payload) {
			if of, asked := s.of[string(token.Term)]; asked {
				of[message] = true
			}
		}
	}
}

// compare holds the index against the recount.
func compare(ctx context.Context, t *testing.T, index *Index, want source) {
	t.Helper()
	count, err := index.Count()
	if err != nil || int(count) != want.total {
		t.Errorf("the index has %d messages, and the source %d; %v", count, want.total, err)
	}
	for _, word := range words {
		hits, total, err := index.Search(ctx, "body:"+word, want.total)
		if err != nil {
			t.Fatal(err)
		}
		found := make(map[string]bool)
		for _, h := range hits {
			found[key(h.Timeline, h.MessageID)] = true
		}
		if int(total) != len(found) || !maps.Equal(found, want.of[word]) {
			t.Errorf("%q: %d hits of %d messages, and the source has it in %d", word, total, len(found), len(want.of[word]))
		}
		t.Logf("%q: %d messages", word, total)
	}
	if len(want.of["ubuntu"]) == 0 || len(want.of["nobodysaysthis"]) > 0 {
		t.Error("the words do not tell anything")
	}
	ids := make(map[string]bool)
	for hits := range allHits(ctx, t, index) {
		for _, match := range hits {
			h := hitOf(match.Fields)
			if k := key(h.Timeline, h.MessageID); ids[k] {
				t.Errorf("message %q of %s is in the index twice", h.MessageID, h.Timeline)
			} else {
				ids[k] = true
			}
		}
	}
	if len(ids) != want.total {
		t.Errorf("the index has %d different messages, and the source %d", len(ids), want.total)
	}
}

// allHits pages over all documents.
func allHits(ctx context.Context, t *testing.T, index *Index) func(func(search.DocumentMatchCollection) bool) {
	return func(yield func(search.DocumentMatchCollection) bool) {
		request := bleve.NewSearchRequestOptions(bleve.NewMatchAllQuery(), 5000, 0, false)
		request.Fields = []string{"timeline", "message_id"}
		request.SortBy([]string{"_id"})
		for {
			found, err := index.bleve.SearchInContext(ctx, request)
			if err != nil {
				t.Fatal(err)
			}
			if len(found.Hits) == 0 || !yield(found.Hits) {
				return
			}
			request.SetSearchAfter(slices.Clone(found.Hits[len(found.Hits)-1].Sort))
		}
	}
}

func firstTimeline(ctx context.Context, t *testing.T, index *Index) string {
	t.Helper()
	for hits := range allHits(ctx, t, index) {
		return hitOf(hits[0].Fields).Timeline
	}
	t.Fatal("the index is empty")
	return ""
}
