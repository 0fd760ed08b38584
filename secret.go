package jackfield

import "log/slog"

const redacted = "[redacted]"

// Secret is text that must never be shown: it prints, logs and marshals as
// "[redacted]". Reveal gives the text itself.
type Secret string

// Reveal returns the secret text, for the one place that sends it.
func (s Secret) Reveal() string { return string(s) }

// String hides the text.
func (Secret) String() string { return redacted }

// GoString hides the text from %#v.
func (Secret) GoString() string { return redacted }

// LogValue hides the text from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the text from every encoder, encoding/json included.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
