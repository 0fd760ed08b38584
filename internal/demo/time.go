package demo

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the binary runs where no zone database is installed
)

func timeOffer() *offer {
	return &offer{
		name:        "time",
		title:       "Time",
		description: "What time it is anywhere, conversion between time zones, and date arithmetic",
		instructions: "Use these tools whenever a question depends on the current time, on a time zone " +
			"or on the distance between two dates; do not calculate these by heart.",
		tools: []tool{
			define("now", "Current time", "Tells the current date and time in a time zone.", hints{}, now),
			define("convert", "Convert between time zones",
				"Says what a date and time in one time zone is in another one.", hints{}, convert),
			define("difference", "Time between two moments",
				"Measures the time between two moments. Negative when the second is before the first.", hints{}, difference),
			define("add", "Add to a moment",
				"Adds years, months, days, hours and minutes to a moment, by the calendar of its time zone. "+
					"Use negative numbers to go back.", hints{}, add),
		},
	}
}

// moment is how the tools tell a point in time.
type moment struct {
	Time    string `json:"time" jsonschema:"date and time as in RFC 3339"`
	Zone    string `json:"zone" jsonschema:"the time zone that it is told in"`
	Offset  string `json:"offset" jsonschema:"distance from UTC, such as +02:00"`
	Weekday string `json:"weekday"`
	Week    int    `json:"week" jsonschema:"number of the week as in ISO 8601"`
	Unix    int64  `json:"unix" jsonschema:"seconds since 1970-01-01T00:00:00Z"`
}

func (m moment) String() string {
	return fmt.Sprintf("%s, %s (%s)", m.Weekday, m.Time, m.Zone)
}

func tell(t time.Time) moment {
	_, week := t.ISOWeek()
	return moment{
		Time: t.Format(time.RFC3339), Zone: t.Location().String(), Offset: t.Format("-07:00"),
		Weekday: t.Weekday().String(), Week: week, Unix: t.Unix(),
	}
}

func told(t time.Time) (reply[moment], error) {
	m := tell(t)
	return reply[moment]{text: m.String(), data: m}, nil
}

type nowIn struct {
	Zone string `json:"zone,omitempty" jsonschema:"IANA time zone such as Europe/Berlin" default:"\"UTC\""`
}

func now(_ context.Context, _ *call, in nowIn) (reply[moment], error) {
	zone, err := zoneOf(in.Zone)
	if err != nil {
		return reply[moment]{}, err
	}
	return told(time.Now().In(zone))
}

type convertIn struct {
	Time string `json:"time" jsonschema:"a moment, such as 2026-03-01T15:04:05Z or 2026-03-01 15:04 or 15:04 (today)"`
	From string `json:"from,omitempty" jsonschema:"IANA time zone of time, unless time says it" default:"\"UTC\""`
	To   string `json:"to" jsonschema:"IANA time zone to convert to"`
}

func convert(_ context.Context, _ *call, in convertIn) (reply[moment], error) {
	t, err := parseMoment(in.Time, in.From)
	if err != nil {
		return reply[moment]{}, err
	}
	to, err := zoneOf(in.To)
	if err != nil {
		return reply[moment]{}, err
	}
	return told(t.In(to))
}

type differenceIn struct {
	From string `json:"from" jsonschema:"the first moment, such as 2026-03-01T15:04:05Z or 2026-03-01"`
	To   string `json:"to,omitempty" jsonschema:"the second moment; now when left out"`
	Zone string `json:"zone,omitempty" jsonschema:"IANA time zone of moments that name none" default:"\"UTC\""`
}

type differenceOut struct {
	Seconds int64   `json:"seconds"`
	Days    float64 `json:"days"`
	Words   string  `json:"words" jsonschema:"the same in words"`
}

func difference(_ context.Context, _ *call, in differenceIn) (reply[differenceOut], error) {
	from, err := parseMoment(in.From, in.Zone)
	if err != nil {
		return reply[differenceOut]{}, err
	}
	to, err := parseMoment(in.To, in.Zone)
	if err != nil {
		return reply[differenceOut]{}, err
	}
	seconds := to.Unix() - from.Unix() // a Duration would end after 292 years
	words := inWords(seconds)
	return reply[differenceOut]{
		text: words,
		data: differenceOut{Seconds: seconds, Days: float64(seconds) / 86400, Words: words},
	}, nil
}

// inWords is a number of seconds as "3 days 4 hours".
func inWords(seconds int64) string {
	sign, rest := "", seconds
	if rest < 0 {
		sign, rest = "minus ", -rest
	}
	var parts []string
	for _, u := range []struct {
		name string
		size int64
	}{{"day", 86400}, {"hour", 3600}, {"minute", 60}, {"second", 1}} {
		n := rest / u.size
		rest %= u.size
		switch {
		case n == 1:
			parts = append(parts, "1 "+u.name)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", n, u.name))
		}
	}
	if parts == nil {
		return "no time at all"
	}
	return sign + strings.Join(parts, " ")
}

type addIn struct {
	Time    string `json:"time,omitempty" jsonschema:"the moment to start from; now when left out"`
	Zone    string `json:"zone,omitempty" jsonschema:"IANA time zone to calculate in" default:"\"UTC\""`
	Years   int    `json:"years,omitempty"`
	Months  int    `json:"months,omitempty"`
	Days    int    `json:"days,omitempty"`
	Hours   int    `json:"hours,omitempty"`
	Minutes int    `json:"minutes,omitempty"`
}

const maxAdd = 1_000_000 // of any unit: far beyond every calendar, far from overflow

func add(_ context.Context, _ *call, in addIn) (reply[moment], error) {
	for _, n := range []int{in.Years, in.Months, in.Days, in.Hours, in.Minutes} {
		if n > maxAdd || n < -maxAdd {
			return reply[moment]{}, fmt.Errorf("%d is too much: at most %d of each unit can be added", n, maxAdd)
		}
	}
	zone, err := zoneOf(in.Zone)
	if err != nil {
		return reply[moment]{}, err
	}
	t, err := parseMoment(in.Time, in.Zone)
	if err != nil {
		return reply[moment]{}, err
	}
	t = t.In(zone).AddDate(in.Years, in.Months, in.Days)
	t = t.Add(time.Duration(in.Hours)*time.Hour + time.Duration(in.Minutes)*time.Minute)
	if t.Year() < 0 || t.Year() > 9999 {
		return reply[moment]{}, fmt.Errorf("the year %d cannot be written as a date: stay between 0 and 9999", t.Year())
	}
	return told(t)
}

func zoneOf(name string) (*time.Location, error) {
	switch strings.ToLower(name) {
	case "", "utc", "z":
		return time.UTC, nil
	case "local":
		return time.Local, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("there is no time zone %q: use a name such as Europe/Berlin or America/New_York", name)
	}
	return zone, nil
}

var layouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04",
	"2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly, time.RFC1123Z, time.RFC1123,
}

// parseMoment reads a moment, in the zone called zone unless it names its own.
// Nothing at all means now.
func parseMoment(text, zone string) (time.Time, error) {
	loc, err := zoneOf(zone)
	if err != nil {
		return time.Time{}, err
	}
	text = strings.TrimSpace(text)
	if text == "" || strings.EqualFold(text, "now") {
		return time.Now().In(loc), nil
	}
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, text, loc); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			y, m, d := time.Now().In(loc).Date()
			return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, loc), nil
		}
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > -62135596800 && n < 253402300800 { // the years 1 to 9999
		return time.Unix(n, 0).In(loc), nil
	}
	return time.Time{}, fmt.Errorf("%.40q is not a moment: write it as 2026-03-01T15:04:05Z, 2026-03-01 15:04, 2026-03-01 or 15:04", text)
}
