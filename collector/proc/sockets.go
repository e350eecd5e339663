package proc

import (
	"bytes"
	"fmt"
	"strconv"
)

// TCPState is a state of a TCP socket, numbered as the kernel does.
type TCPState int

// The states of TCP sockets. A request that has not become a socket yet
// counts as TCPSynRecv, as the kernel shows it.
const (
	TCPEstablished TCPState = iota + 1
	TCPSynSent
	TCPSynRecv
	TCPFinWait1
	TCPFinWait2
	TCPTimeWait
	TCPClose
	TCPCloseWait
	TCPLastAck
	TCPListen
	TCPClosing
)

var tcpStateNames = [...]string{
	"", "established", "synsent", "synrecv", "finwait1", "finwait2",
	"timewait", "close", "closewait", "lastack", "listen", "closing",
}

// String returns the name without separators: "established", "finwait1".
func (s TCPState) String() string {
	if s < TCPEstablished || s > TCPClosing {
		return "state" + strconv.Itoa(int(s))
	}
	return tcpStateNames[s]
}

// TCPStates is the number of sockets by TCPState; index 0 is not used.
type TCPStates [TCPClosing + 1]uint64

// UDPStates describes the UDP sockets of a network namespace.
type UDPStates struct {
	// Listen is the number of bound sockets, connected ones included: the
	// kernel does not tell a server from a client.
	Listen uint64
	// Dropped is the number of datagrams that the present sockets dropped.
	Dropped uint64
	// RxQueued and TxQueued are bytes in the queues.
	RxQueued, TxQueued uint64
}

// TCPStates counts the TCP sockets of the network namespace of a process, for
// IPv6 when six is true. The kernel walks its whole table of sockets for it:
// milliseconds with thousands of connections. Beyond a million sockets it
// returns what it counted and ErrTooMany. It fails with fs.ErrNotExist where
// the kernel has no IPv6.
func (f *FS) TCPStates(pid int, six bool) (TCPStates, error) {
	var s TCPStates
	err := f.eachSocket(pid, file("net/tcp", six), s.add)
	return s, err
}

// UDPStates counts the UDP sockets of the network namespace of a process, for
// IPv6 when six is true. Bounds and errors are those of TCPStates.
func (f *FS) UDPStates(pid int, six bool) (UDPStates, error) {
	var s UDPStates
	err := f.eachSocket(pid, file("net/udp", six), s.add)
	return s, err
}

func file(name string, six bool) string {
	if six {
		return name + "6"
	}
	return name
}

// eachSocket calls add for each line but the heading.
func (f *FS) eachSocket(pid int, name string, add func([]byte) error) error {
	var lines uint64
	return f.eachLine(pid, name, func(line []byte) error {
		lines++
		switch {
		case lines == 1:
			return nil
		case lines-1 > f.maxEntries:
			return ErrTooMany
		}
		return add(line)
	})
}

// add counts one line of /proc/PID/net/tcp; the state is the fourth field:
//
//	0: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 552 1 00000000a12d2b91 100 0 0 10 0
func (s *TCPStates) add(line []byte) error {
	field, _ := nthField(line, 3)
	state, err := strconv.ParseUint(string(field), 16, 8)
	if err != nil || state < uint64(TCPEstablished) || state > uint64(TCPClosing) {
		return fmt.Errorf("want a state from 01 to 0B as the fourth field, have %q", line)
	}
	s[state]++
	return nil
}

// add counts one line of /proc/PID/net/udp. The fifth field is what waits to
// be sent and to be received, in bytes; the last one, drops:
//
//	sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
//	12: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 2112 2 0000000000000000 0
func (s *UDPStates) add(line []byte) error {
	queues, rest := nthField(line, 4)
	sent, received, ok := bytes.Cut(queues, []byte(":"))
	tx, txErr := strconv.ParseUint(string(sent), 16, 64)
	rx, rxErr := strconv.ParseUint(string(received), 16, 64)
	if !ok || txErr != nil || rxErr != nil {
		return fmt.Errorf("want tx_queue:rx_queue as the fifth field, have %q", line)
	}
	last, _ := nthField(rest, 7)
	drops, _, ok := number(last)
	if !ok {
		return fmt.Errorf("want drops as field 13, have %q", line)
	}
	s.Listen++
	s.TxQueued += tx
	s.RxQueued += rx
	s.Dropped += drops
	return nil
}

// nthField returns field n (from 0) of a line and what follows it; nothing if
// there are fewer.
func nthField(line []byte, n int) (field, rest []byte) {
	for ; n >= 0; n-- {
		line = bytes.TrimLeft(line, " \t")
		end := bytes.IndexAny(line, " \t")
		if end < 0 {
			end = len(line)
		}
		field, line = line[:end], line[end:]
	}
	return field, line
}
