module example.com/embed

go 1.26

replace github.com/jackfield-dev/jackfield => ../../

require github.com/jackfield-dev/jackfield v0.0.0

require (
	github.com/goccy/go-yaml v1.19.2 // indirect
	github.com/google/jsonschema-go v0.4.3 // indirect
)
