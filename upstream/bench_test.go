package upstream

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// BenchmarkDo is a call without a network: what this package adds to one.
func BenchmarkDo(b *testing.B) {
	for name, modern := range map[string]bool{"modern": true, "legacy": false} {
		for kind, contentType := range map[string]string{"JSON": typeJSON, "stream": typeStream} {
			for whose, ask := range map[string]func(context.Context) (http.Header, error){"": nil, "/own": everOwn} {
				b.Run(name+"/"+kind+whose, func(b *testing.B) { benchmarkDo(b, modern, contentType, ask) })
			}
		}
	}
}

var own = http.Header{"Authorization": {"Bearer 0123456789"}}

func everOwn(context.Context) (http.Header, error) { return own, nil }

func benchmarkDo(b *testing.B, modern bool, contentType string, ask func(context.Context) (http.Header, error)) {
	c, end := hostile(modern)
	defer end()
	o := c.opts
	o.Header = ask
	o.Endpoint.URL = "http://bench.test/mcp"
	o.Client = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		m, err := wire.Parse(text)
		if err != nil {
			return nil, err
		}
		answer := wire.AppendResult(nil, m.ID, wire.Raw(`{"content":[{"type":"text","text":"0123456789012345678901234567890123456789012345678901234567890123"}]}`))
		if contentType == typeStream {
			answer = wire.AppendEvent(nil, wire.Event{Data: answer})
		}
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {contentType}}, Request: r,
			Body: io.NopCloser(bytes.NewReader(answer)), ContentLength: int64(len(answer)),
		}, nil
	})}
	w, err := newWeb(&o)
	if err != nil {
		b.Fatal(err)
	}
	c.link = &httpLink{web: w, c: c}
	params, err := wire.ScanObject(wire.Raw(`{"name":"echo","arguments":{"text":"hello"},"_meta":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}`), exchange.ParamKeys)
	if err != nil {
		b.Fatal(err)
	}
	r := &exchange.Request{Method: "tools/call", Params: params}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Do(context.Background(), r, nil); err != nil {
			b.Fatal(err)
		}
	}
}
