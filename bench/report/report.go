package report

import (
	"os"
	"path/filepath"
	"strings"

	"tidemark/bench/result"
)

// Write writes the report to a file of Markdown, and its plots into a directory that is
// called like the file without its ending.
func Write(r *result.Report, path string) error {
	dir := strings.TrimSuffix(path, filepath.Ext(path))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	plots := plotsOf(r)
	for _, p := range plots {
		if err := os.WriteFile(filepath.Join(dir, p.name), []byte(p.svg), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(markdown(r, filepath.Base(dir), plots)), 0o644)
}
