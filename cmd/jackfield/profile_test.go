package main

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// profilesFor starts profiles on any port of this machine and returns their address.
func profilesFor(t *testing.T) string {
	t.Helper()
	var log screen
	stop, err := profiles(t.Context(), "127.0.0.1:0", false, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	_, address, _ := strings.Cut(log.String(), "url=")
	return strings.TrimSpace(address)
}

func TestProfilesAreForThisMachineAndNotForWebPages(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("", func(t *testing.T) {
		address := profilesFor(t)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for name, c := range map[string]struct {
			host, header, value string
			want                int
		}{
			"by its address":                  {want: http.StatusOK},
			"by the name of this machine":     {host: "localhost:6060", want: http.StatusOK},
			"by a name that was rebound":      {host: "evil.example:6060", want: http.StatusForbidden},
			"by a page of another origin":     {header: "Origin", value: "http://evil.example", want: http.StatusForbidden},
			"by what a page shows":            {header: "Sec-Fetch-Site", value: "cross-site", want: http.StatusForbidden},
			"typed into a browser's address":  {header: "Sec-Fetch-Site", value: "none", want: http.StatusOK},
			"by a number that is no address":  {host: "0x7f.1:6060", want: http.StatusForbidden},
			"by an address of the other kind": {host: "[::1]:6060", want: http.StatusOK},
		} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"cmdline", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = c.host
			if c.header != "" {
				r.Header.Set(c.header, c.value)
			}
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != c.want {
				t.Errorf("%s: %s", name, resp.Status)
			}
		}
	})
}

func TestProfilesForOtherMachinesHaveToBeMeant(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:0"} {
		if _, err := profiles(context.Background(), address, false, log); err == nil || !strings.Contains(err.Error(), "--pprof-exposed") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := profiles(context.Background(), "6060", true, log); err == nil || !strings.Contains(err.Error(), "host:port") {
		t.Error(err)
	}
	stop, err := profiles(context.Background(), "0.0.0.0:0", true, log)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	stop, err = profiles(context.Background(), "", false, log)
	if err != nil {
		t.Fatal(err)
	}
	stop()
}
