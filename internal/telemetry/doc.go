// Package telemetry turns what the parts tell through their hooks into log lines,
// metrics and traces. Nothing else in the program knows how those are written.
//
//	slog ─────────▶ Limiter ─────────▶ text or JSON, at most one line a minute of a kind
//	hooks, Status ▶ Metrics ─────────▶ /metrics (Prometheus), and OTLP when asked for
//	hooks ────────▶ Tracing ─────────▶ OTLP when asked for; nil otherwise
//
// # What holds
//
//  1. No name of a person, no session id, no secret and no address stands in a
//     metric or a span: the labels are servers, outcomes and limits.
//  2. A server that leaves the configuration takes its series along.
//  3. Without OTEL_* in the environment there is no Tracing, and a call costs what
//     it costs without this package but for some counters.
package telemetry
