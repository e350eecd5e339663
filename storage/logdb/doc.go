// Package logdb is the embedded log store.
package logdb
