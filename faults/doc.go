// Package faults holds tests only: what servers and networks do wrong, each of it
// against a whole gateway with healthy servers beside the broken one.
//
// The user of the broken server gets one reason, in time; nobody else notices
// anything; when the fault ends, the server serves again without a restart; and
// when everything has ended, no goroutine, file, process or memory is left of it.
//
//	house_test.go   a gateway, its client, and the healthy servers that are watched
//	broken_test.go  a server with a fault that can be begun and ended
//	front_test.go   a network that can refuse, be silent, drip and show certificates
//	names_test.go   a name server
//	matrix_test.go  each fault, over each transport
//	hung_test.go    3 and 10 of 20 servers hung at once
//	killed_test.go  the gateway is killed
//	questions_test.go  questions of servers, and restarts in the middle of them
//	soak_test.go    all of it again and again: JACKFIELD_SOAK=20m, or make soak
package faults
