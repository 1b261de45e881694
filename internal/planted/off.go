//go:build !plantedbugs

package planted

// Is reports whether the bug is planted in this process, which none is.
func Is(Bug) bool { return false }
