package client

// Reasons tells tests what each known reason is taken for.
func Reasons() map[string]string {
	names := map[verdict]string{final: "final", notApplied: "not applied", unknown: "unknown"}
	out := make(map[string]string)
	for reason, meaning := range reasons {
		out[reason] = names[meaning.verdict]
	}
	return out
}
