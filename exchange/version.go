package exchange

import "slices"

// The protocol revisions in use, oldest first.
const (
	V20241105 = "2024-11-05" // HTTP+SSE
	V20250326 = "2025-03-26" // Streamable HTTP, batches
	V20250618 = "2025-06-18" // elicitation, structured content
	V20251125 = "2025-11-25" // URL elicitation, tasks
	V20260728 = "2026-07-28" // stateless
)

// LatestLegacy is the newest revision that begins with initialize.
const LatestLegacy = V20251125

// Modern is the revision without initialize and sessions.
const Modern = V20260728

// LegacyVersions are the revisions that begin with initialize, newest first.
var LegacyVersions = []string{V20251125, V20250618, V20250326, V20241105}

// Versions are all revisions, newest first.
var Versions = []string{V20260728, V20251125, V20250618, V20250326, V20241105}

// IsLegacy reports whether version is a revision that begins with initialize.
func IsLegacy(version string) bool {
	return slices.Contains(LegacyVersions, version)
}
