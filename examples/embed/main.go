// Command embed is somebody else's program with a gateway in it: under /mcp clients
// find two servers, and its own page calls one of them. Usage: embed 127.0.0.1:8421
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/app"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

func server(name, command string, args ...string) jackfield.Server {
	return jackfield.Server{ID: jackfield.ServerID(name), Name: name, Endpoint: jackfield.Endpoint{
		Transport: jackfield.TransportStdio, Command: command, Args: args,
	}}
}

// newGateway keeps its key in the data directory. It connects to nobody yet.
func newGateway(data string) (*app.App, error) {
	return app.New(app.Options{Config: &app.Config{Data: data, Servers: []jackfield.Server{
		server("time", "jackfield", "demo", "time"),
		server("text", "jackfield", "demo", "text"),
	}}})
}

func routes(gateway *app.App) http.Handler {
	repository := gateway.Repository(jackfield.User("ann")) // Ann's connections
	mux := http.NewServeMux()
	mux.Handle("/mcp", gateway.Handler())
	mux.Handle("/mcp/", gateway.Handler())
	mux.HandleFunc("GET /now", func(w http.ResponseWriter, r *http.Request) {
		lease, err := repository.Get(r.Context(), "time") // dials, if nobody did before
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer lease.Release()
		params, _ := wire.ScanObject(wire.Raw(`{"name":"now","arguments":{"zone":"Asia/Tokyo"}}`), exchange.ParamKeys)
		result, err := lease.Conn().Do(r.Context(), &exchange.Request{Method: "tools/call", Params: params}, nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		_, _ = w.Write(result.Raw)
	})
	return mux
}

func main() {
	gateway, err := newGateway(os.TempDir())
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(os.Args[1], routes(gateway)))
}
