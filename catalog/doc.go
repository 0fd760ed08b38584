// Package catalog remembers what each server offers.
package catalog
