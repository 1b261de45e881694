// Package tidemark runs three nodes of Tidemark, driven by its SDK and, for appends, by the
// generated API.
package tidemark
