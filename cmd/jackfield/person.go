package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

const maxTries = 5 // for one field of a question

// capabilities is what the person at the terminal can be asked; nothing, when
// there is nobody.
func (s *shell) capabilities() string {
	if s.attended() {
		return `{"elicitation":{"form":{},"url":{}}}`
	}
	return "{}"
}

// attended reports whether somebody sits in front of this.
func (s *shell) attended() bool {
	_, reads := s.terminal(s.in)
	_, sees := s.terminal(s.err)
	return reads && sees
}

// person is the asker's side of a call: progress and log messages are shown, and
// questions asked.
type person struct {
	shell  *shell
	server string
	line   *live
	log    bool
}

// Notify shows progress and log messages.
func (p *person) Notify(_ context.Context, method string, params wire.Raw) error {
	var n struct {
		Progress float64  `json:"progress"`
		Total    *float64 `json:"total"`
		Message  string   `json:"message"`
		Level    string   `json:"level"`
		Data     wire.Raw `json:"data"`
	}
	if err := json.Unmarshal(params, &n); err != nil {
		return nil // it means nothing to anybody
	}
	switch {
	case method == "notifications/progress":
		p.line.show(progress(n.Progress, n.Total, n.Message))
	case method == "notifications/message" && p.log:
		text, ok := wire.String(n.Data)
		if !ok {
			text = string(n.Data)
		}
		p.line.print(printable(p.server + ": " + n.Level + ": " + text))
	}
	return nil
}

const barWidth = 20

// progress is one line of progress: a bar when the end is known.
func progress(done float64, total *float64, message string) string {
	amount := strconv.FormatFloat(done, 'f', -1, 64)
	if total == nil || *total <= 0 {
		return strings.TrimSpace(amount + "  " + message)
	}
	part := min(max(done / *total, 0), 1)
	full := int(part*barWidth + 0.5)
	return fmt.Sprintf("%s%s %3.0f%%  %s", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), part*100, message)
}

// Ask puts the questions to the person, one after the other. Without a person
// they are declined.
func (p *person) Ask(ctx context.Context, questions []exchange.Question) ([]exchange.Answer, error) {
	p.line.clear()
	answers := make([]exchange.Answer, 0, len(questions))
	for _, q := range questions {
		result := wire.Raw(`{"action":"decline"}`)
		if q.Method == "elicitation/create" && p.shell.attended() {
			var err error
			if result, err = p.elicit(ctx, q.Params); err != nil {
				return nil, err
			}
		}
		answers = append(answers, exchange.Answer{Result: result})
	}
	return answers, nil
}

// errRefused is the person's no: the end of input in place of an answer.
var errRefused = errors.New("refused")

func (p *person) elicit(ctx context.Context, params wire.Raw) (wire.Raw, error) {
	var q struct {
		Mode    string `json:"mode"`
		Message string `json:"message"`
		URL     string `json:"url"`
		Schema  schema `json:"requestedSchema"`
	}
	if err := json.Unmarshal(params, &q); err != nil {
		return wire.Raw(`{"action":"decline"}`), nil
	}
	p.say("%s asks: %s\n", p.server, q.Message)
	var content map[string]any
	var err error
	if q.Mode == "url" {
		err = p.visit(ctx, q.URL)
	} else {
		content, err = p.form(ctx, q.Schema)
	}
	switch {
	case errors.Is(err, errRefused):
		p.say("refused\n")
		return wire.Raw(`{"action":"decline"}`), nil
	case err != nil:
		return nil, err
	case q.Mode == "url":
		return wire.Raw(`{"action":"accept"}`), nil
	}
	return json.Marshal(map[string]any{"action": "accept", "content": content})
}

func (p *person) say(format string, args ...any) {
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = printable(text)
		}
	}
	fmt.Fprintf(p.shell.err, format, args...)
}

// visit asks the person to open an address and come back.
func (p *person) visit(ctx context.Context, url string) error {
	p.say("  open this address in a browser if you trust it: %s\n", url)
	p.say("  then press Enter here, or Ctrl-D to refuse: ")
	_, err := p.read(ctx)
	return err
}

// form asks for each property of the schema.
func (p *person) form(ctx context.Context, s schema) (map[string]any, error) {
	content := map[string]any{}
	p.say("  (Enter takes what stands in brackets, Ctrl-D refuses)\n")
	for _, name := range s.all() {
		property := s.property(name)
		value, given, err := p.field(ctx, name, property, slices.Contains(s.Required, name))
		if err != nil {
			return nil, err
		}
		if given {
			content[name] = value
		}
	}
	return content, nil
}

// field asks for one property until the answer fits.
func (p *person) field(ctx context.Context, name string, s schema, required bool) (value any, given bool, err error) {
	title := s.Title
	if title == "" {
		title = name
	}
	if s.Description != "" {
		title += " – " + s.Description
	}
	choices := s.choices()
	for i, c := range choices {
		p.say("    %d  %s\n", i+1, c.Title)
	}
	for range maxTries {
		p.say("  %s%s: ", title, s.hint(choices, required))
		text, err := p.read(ctx)
		if err != nil {
			return nil, false, err
		}
		if text == "" {
			switch {
			case s.Default != nil:
				return s.Default, true, nil
			case !required:
				return nil, false, nil
			}
		}
		if value, err = s.answer(text, choices); err == nil {
			return value, true, nil
		}
		p.say("  %s\n", err.Error())
	}
	return nil, false, fmt.Errorf("%q was not answered in %d tries", name, maxTries)
}

// hint is what may be answered, in brackets.
func (s schema) hint(choices []constant, required bool) string {
	hint := ""
	switch {
	case len(choices) > 0 && slices.Contains(s.Type, "array"):
		hint = "numbers with commas"
	case len(choices) > 0:
		hint = "a number"
	case slices.Contains(s.Type, "boolean"):
		hint = "y/n"
	}
	switch {
	case s.Default != nil && hint == "y/n":
		hint = map[bool]string{true: "Y/n", false: "y/N"}[s.Default == true]
	case s.Default != nil:
		hint = strings.TrimPrefix(fmt.Sprintf("%s, else %v", hint, s.Default), ", else ")
	case !required:
		hint = strings.TrimPrefix(hint+", else nothing", ", else ")
	}
	if hint == "" {
		return ""
	}
	return " [" + hint + "]"
}

// choices are the values of an enumeration, with titles.
func (s schema) choices() []constant {
	if slices.Contains(s.Type, "array") && s.Items != nil {
		return s.Items.choices()
	}
	if titled := append(slices.Clone(s.OneOf), s.AnyOf...); len(titled) > 0 {
		return titled
	}
	var all []constant
	for _, v := range s.Enum {
		all = append(all, constant{Const: v, Title: fmt.Sprint(v)})
	}
	return all
}

// answer is what was typed, in the type of the schema.
func (s schema) answer(text string, choices []constant) (any, error) {
	switch {
	case len(choices) > 0 && slices.Contains(s.Type, "array"):
		values := []any{}
		for part := range strings.SplitSeq(text, ",") {
			v, err := choose(strings.TrimSpace(part), choices)
			if err != nil {
				return nil, err
			}
			values = append(values, v)
		}
		return values, nil
	case len(choices) > 0:
		return choose(text, choices)
	case slices.Contains(s.Type, "boolean"):
		switch strings.ToLower(text) {
		case "y", "yes", "true":
			return true, nil
		case "n", "no", "false":
			return false, nil
		}
		return nil, errors.New("please answer y or n")
	case text == "":
		return nil, errors.New("this cannot be left out")
	}
	raw, err := s.scalar(text)
	return json.RawMessage(raw), err
}

func choose(text string, choices []constant) (any, error) {
	if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= len(choices) {
		return choices[n-1].Const, nil
	}
	for _, c := range choices {
		if text == fmt.Sprint(c.Const) || text == c.Title {
			return c.Const, nil
		}
	}
	return nil, fmt.Errorf("please choose a number from 1 to %d", len(choices))
}

// read is the next line that the person types.
func (p *person) read(ctx context.Context) (string, error) { return p.shell.readLine(ctx) }
