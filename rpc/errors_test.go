package rpc

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tidemark"
)

// Every sentinel error that the root package exports has a row in reasons, and
// reasons has no other row but those of context.
func TestEverySentinelIsMapped(t *testing.T) {
	declared := map[string]bool{}
	files, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		ast.Inspect(parse(t, file), func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				for _, name := range spec.Names {
					if name.IsExported() && strings.HasPrefix(name.Name, "Err") {
						declared[name.Name] = true
					}
				}
			}
			return true
		})
	}
	if len(declared) < 20 {
		t.Fatalf("found only %d sentinel errors in the root package; is this test looking in the right place?", len(declared))
	}
	mapped := map[string]bool{}
	ast.Inspect(parse(t, "errors.go"), func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "reasons" {
			return true
		}
		ast.Inspect(spec, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && fmt.Sprint(s.X) == "tidemark" {
				mapped[s.Sel.Name] = true
			}
			return true
		})
		return false
	})
	for name := range declared {
		if !mapped[name] {
			t.Errorf("tidemark.%s has no row in reasons, so clients are told INTERNAL", name)
		}
	}
	if len(reasons) != len(declared)+2 {
		t.Errorf("reasons has %d rows; want %d for the sentinels and 2 for contexts", len(reasons), len(declared))
	}
}

func parse(t *testing.T, file string) *ast.File {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// docs/errors.md has one row for each reason, with its code and with "no" in the
// column retry exactly if it is final.
func TestEveryReasonIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| ([A-Z_]+) \\| .* \\| (nothing|unknown[a-z ]*) \\| (.*) \\|$").FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = fmt.Sprintf("%s final=%v", row[2], strings.HasPrefix(row[4], "no"))
	}
	implemented := map[string]string{}
	for _, r := range append(slices.Clone(reasons), internal) {
		if !regexp.MustCompile(`^[A-Z][A-Z0-9_]+[A-Z0-9]$`).MatchString(r.name) || implemented[r.name] != "" {
			t.Errorf("reason %q is not stable upper case, or there twice", r.name)
		}
		var code strings.Builder // NotFound -> NOT_FOUND
		for i, letter := range r.code.String() {
			if i > 0 && letter >= 'A' && letter <= 'Z' {
				code.WriteByte('_')
			}
			code.WriteRune(letter)
		}
		implemented[r.name] = strings.Replace(strings.ToUpper(code.String()), "CANCELED", "CANCELLED", 1) + fmt.Sprintf(" final=%v", r.final)
	}
	if !maps.Equal(documented, implemented) {
		for name, want := range implemented {
			if documented[name] != want {
				t.Errorf("docs/errors.md says %q of %s; the code is %q", documented[name], name, want)
			}
		}
		for name := range documented {
			if implemented[name] == "" {
				t.Errorf("docs/errors.md has a row for %s, which does not exist", name)
			}
		}
	}
}

// An error that wraps a sentinel is told like the sentinel, however deep it is.
func TestWrappedErrorsMap(t *testing.T) {
	for _, r := range reasons {
		for _, err := range []error{r.err, fmt.Errorf("a: %w", fmt.Errorf("b: %w", r.err)), errors.Join(errors.New("x"), r.err)} {
			info, details := wantReason(t, toStatus(err).Err(), r.code, r.name)
			hasRetry := slices.ContainsFunc(details, func(d any) bool { _, ok := d.(*errdetails.RetryInfo); return ok })
			if hasRetry != (r.retryAfter > 0) {
				t.Errorf("%s: RetryInfo is there: %v", r.name, hasRetry)
			}
			item := toItem(err)
			if item.GetReason() != info.GetReason() || codes.Code(item.GetCode()) != r.code {
				t.Errorf("%s: an item is told %v", r.name, item)
			}
		}
	}
}

// What was handed in is never told as not done, whatever else the error wraps.
func TestUnknownOutcomeWins(t *testing.T) {
	for _, r := range reasons {
		wantReason(t, toStatus(errors.Join(r.err, tidemark.ErrOutcomeUnknown)).Err(), codes.Unavailable, "OUTCOME_UNKNOWN")
	}
}

func TestErrorDetails(t *testing.T) {
	info, details := wantReason(t, toStatus(fmt.Errorf("x: %w", tidemark.Invalid("payload", "has %d bytes", 9))).Err(), codes.InvalidArgument, "INVALID_ARGUMENT")
	if info.Metadata["field"] != "payload" || info.Metadata["rule"] != "has 9 bytes" {
		t.Errorf("metadata is %v", info.Metadata)
	}
	violation := details[1].(*errdetails.BadRequest).FieldViolations[0]
	if violation.Field != "payload" || violation.Description != "has 9 bytes" {
		t.Errorf("violation is %v", violation)
	}
	info, _ = wantReason(t, toStatus(&tidemark.SequenceConflictError{Expected: 3, Last: 5}).Err(), codes.Aborted, "SEQUENCE_CONFLICT")
	if info.Metadata["expected_last_seq_id"] != "3" || info.Metadata["last_seq_id"] != "5" {
		t.Errorf("metadata is %v", info.Metadata)
	}
}

// Clients see neither paths nor causes of this node's own troubles.
func TestNothingInternalLeaks(t *testing.T) {
	secret := errors.New("open /var/lib/tidemark/store/000001.sst: input/output error")
	for _, err := range []error{
		secret,
		fmt.Errorf("%w: %w", tidemark.ErrCorrupt, secret),
		fmt.Errorf("%w: %w", tidemark.ErrDiskFull, secret),
		fmt.Errorf("%w: %w", tidemark.ErrOutcomeUnknown, secret),
		fmt.Errorf("%w: %w", secret, context.Canceled),
	} {
		if text := toStatus(err).String() + toItem(err).String(); strings.Contains(text, "/var/lib") || strings.Contains(text, "input/output") {
			t.Errorf("a client is told %s", text)
		}
	}
}

// A status that is there already, such as the leader's, is not replaced.
func TestStatusPassesThrough(t *testing.T) {
	given := status.Error(codes.Unauthenticated, "who are you?")
	if got := toStatus(given); got.Code() != codes.Unauthenticated || got.Message() != "who are you?" {
		t.Errorf("got %v", got)
	}
	wantReason(t, toStatus(errors.New("x")).Err(), codes.Internal, "INTERNAL")
}
