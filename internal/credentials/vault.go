package credentials

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxAnswer is how much of what Vault says is read.
const maxAnswer = 1 << 20

// vault reads secrets of a Vault or OpenBao, with its key/value engine in version 2
// or 1. It is set up by the variables that Vault's own programs know.
type vault struct {
	client *http.Client
	env    func(string) (string, bool)
}

func newVault(client *http.Client, env func(string) (string, bool)) vault {
	own := *client
	// The token would go along to wherever it leads.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return vault{client: &own, env: env}
}

// vaultAnswer is the fields of one secret, or why there are none.
type vaultAnswer struct {
	fields map[string]json.RawMessage
	err    error
}

// away says that Vault does not answer at all, so that asking it more is in vain.
type away struct{ error }

func (a away) Unwrap() error { return a.error }

// read reads mount/path#field. pass keeps what was answered.
func (v vault) read(ctx context.Context, name string, pass map[string]vaultAnswer) (string, error) {
	path, field, _ := strings.Cut(name, "#")
	mount, secret, _ := strings.Cut(path, "/")
	if mount == "" || secret == "" || field == "" {
		return "", errors.New("write vault:mount/path#field")
	}
	answer, ok := pass[path]
	if out := pass[""]; !ok && out.err != nil {
		answer, ok = out, true
	}
	if !ok {
		answer.fields, answer.err = v.fields(ctx, mount, secret)
		if pass != nil {
			pass[path] = answer
			if errors.As(answer.err, new(away)) {
				pass[""] = answer
			}
		}
	}
	if answer.err != nil {
		return "", answer.err
	}
	raw, ok := answer.fields[field]
	if !ok {
		return "", fmt.Errorf("Vault has it without the field %q", field) //nolint:staticcheck // a name
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	switch raw[0] {
	case '{', '[', 'n':
		return "", fmt.Errorf("the field %q is no text", field)
	}
	return string(raw), nil // a number or a truth, as it is written
}

// fields asks for all fields of a secret: in version 2 of the engine, and in version
// 1, whose path a token may read that may not read the other.
func (v vault) fields(ctx context.Context, mount, secret string) (map[string]json.RawMessage, error) {
	var body struct {
		Data map[string]json.RawMessage `json:"data"`
	}
	text, status, err := v.get(ctx, mount, "data", secret)
	if err == nil && (status == http.StatusNotFound || status == http.StatusForbidden) {
		one, other, failed := v.get(ctx, mount, secret)
		if failed == nil && other == http.StatusOK && json.Unmarshal(one, &body) == nil && body.Data != nil {
			return body.Data, nil
		}
	}
	switch {
	case err != nil:
		return nil, err
	case status != http.StatusOK:
		return nil, statusError(status)
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &body) != nil || json.Unmarshal(body.Data["data"], &fields) != nil || fields == nil {
		return nil, errors.New("what Vault answered is no secret")
	}
	return fields, nil
}

func statusError(status int) error {
	hint := "is it sealed, or not the active node?"
	switch status {
	case http.StatusForbidden, http.StatusUnauthorized:
		hint = "its token may not read this, or has expired; see VAULT_TOKEN and VAULT_TOKEN_FILE"
	case http.StatusNotFound:
		hint = "there is no such secret, or its newest version is deleted"
	case http.StatusBadRequest:
		hint = "is it the right mount, and VAULT_NAMESPACE?"
	}
	err := fmt.Errorf("Vault answered %d: %s", status, hint) //nolint:staticcheck // a name
	if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests || status < http.StatusBadRequest {
		return away{err}
	}
	return err
}

// get asks Vault once.
func (v vault) get(ctx context.Context, path ...string) (text []byte, status int, err error) {
	address, _ := v.env("VAULT_ADDR")
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, 0, away{errors.New("VAULT_ADDR is not set to the address of a Vault, such as https://vault.example:8200")}
	}
	token, err := v.token()
	if err != nil {
		return nil, 0, away{err}
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("v1").String(), nil)
	if err != nil {
		return nil, 0, away{errors.New("VAULT_ADDR cannot be used")}
	}
	for _, part := range path {
		for segment := range strings.SplitSeq(part, "/") {
			request.URL.RawPath = request.URL.EscapedPath() + "/" + url.PathEscape(segment)
			request.URL.Path += "/" + segment
		}
	}
	request.Header.Set("X-Vault-Token", token)
	request.Header.Set("X-Vault-Request", "true") // which an agent may ask for
	if namespace, _ := v.env("VAULT_NAMESPACE"); namespace != "" {
		request.Header.Set("X-Vault-Namespace", namespace)
	}
	answer, err := v.client.Do(request)
	if err != nil {
		if of, ok := errors.AsType[*url.Error](err); ok {
			err = of.Err // which repeats no address
		}
		return nil, 0, away{fmt.Errorf("Vault at %s does not answer: %w", base.Host, err)} //nolint:staticcheck // a name
	}
	defer func() { _ = answer.Body.Close() }() // what was read is complete
	text, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, 0, away{fmt.Errorf("Vault at %s did not answer to the end: %w", base.Host, err)} //nolint:staticcheck // a name
	case len(text) > maxAnswer:
		return nil, 0, fmt.Errorf("Vault answered with more than %d KiB", maxAnswer>>10) //nolint:staticcheck // a name
	}
	return text, answer.StatusCode, nil
}

// token is what Vault lets us in with. A file is read each time, because agents put
// new tokens there.
func (v vault) token() (string, error) {
	token, _ := v.env("VAULT_TOKEN")
	if token = strings.TrimSpace(token); token != "" {
		return token, nil
	}
	path, _ := v.env("VAULT_TOKEN_FILE")
	if path == "" {
		return "", errors.New("neither VAULT_TOKEN nor VAULT_TOKEN_FILE is set")
	}
	token, err := readFile(path)
	if err != nil {
		return "", fmt.Errorf("the token of Vault cannot be read: %w", err)
	}
	if token = strings.TrimSpace(token); token == "" {
		return "", errors.New("VAULT_TOKEN_FILE is empty")
	}
	return token, nil
}
