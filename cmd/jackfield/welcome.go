package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackfield-dev/jackfield/app"
)

// welcome is what serve prints once clients can connect. url is where clients
// find the gateway, here where this machine does.
type welcome struct {
	URL     string   `json:"url"`
	MCP     string   `json:"mcp"`
	Address string   `json:"address"`
	Config  string   `json:"config,omitempty"`
	Data    string   `json:"data"`
	Token   bool     `json:"tokenRequired"`
	Servers []string `json:"servers"`
	Invalid []string `json:"invalid,omitempty"`
}

func (s *shell) welcome(c *app.Config, url, here string) error {
	w := welcome{URL: url, MCP: url + "/mcp", Address: here, Config: c.File, Data: c.Data, Token: !c.Auth.Open(), Servers: []string{}}
	for _, server := range c.Servers {
		if server.Invalid == "" {
			w.Servers = append(w.Servers, server.Name)
		} else {
			w.Invalid = append(w.Invalid, server.Name)
		}
	}
	if s.json {
		line, err := json.Marshal(w)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.out, "%s\n", line)
		return err
	}
	_, err := fmt.Fprint(s.out, w.text(s.painter(s.out)))
	return err
}

func (w welcome) text(colour paint) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Jackfield serves %s at %s\n", plural(len(w.Servers), "server"), colour(bold, w.MCP))
	if w.Config == "" {
		b.WriteString("These are its own, to try it out. Yours: jackfield serve --config FILE\n")
	}
	if len(w.Invalid) > 0 {
		fmt.Fprintf(&b, "%s cannot be served; jackfield servers says why\n", strings.Join(w.Invalid, ", "))
	}
	b.WriteString("\n" + colour(dim, "Claude Code") + "\n  claude mcp add --transport http jackfield " + w.MCP)
	if w.Token {
		b.WriteString(` --header "Authorization: Bearer $JACKFIELD_TOKEN"`)
	}
	b.WriteString("\n" + colour(dim, "Cursor, LibreChat, Claude and others (VS Code: servers in place of mcpServers)") + "\n  " + w.snippet() + "\n")
	fmt.Fprintf(&b, "%s\n  %s/%s\n", colour(dim, "One server alone, under its own names"), w.MCP, w.one())
	fmt.Fprintf(&b, "%s\n  jackfield servers    jackfield tools    %s\n\n", colour(dim, "From another terminal"), w.example())
	return b.String()
}

// snippet is what goes into a client's configuration.
func (w welcome) snippet() string {
	entry := struct {
		Type    string            `json:"type"`
		URL     string            `json:"url"`
		Headers map[string]string `json:"headers,omitempty"`
	}{Type: "http", URL: w.MCP}
	if w.Token {
		entry.Headers = map[string]string{"Authorization": "Bearer ${JACKFIELD_TOKEN}"}
	}
	raw, err := json.Marshal(map[string]any{"mcpServers": map[string]any{"jackfield": entry}})
	if err != nil {
		return "" // strings always marshal
	}
	return string(raw)
}

func (w welcome) one() string {
	if len(w.Servers) == 0 {
		return "NAME"
	}
	return w.Servers[0]
}

func (w welcome) example() string {
	if w.Config == "" {
		return "jackfield call time now --arg zone=Asia/Tokyo"
	}
	return "jackfield call " + w.one() + " TOOL --arg NAME=VALUE"
}
