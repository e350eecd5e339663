package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Interface holds the counters of one network interface since it was made.
type Interface struct {
	// Name is shared between readings: it costs no allocation to keep.
	Name                                    string
	RxBytes, RxPackets, RxErrors, RxDropped uint64
	TxBytes, TxPackets, TxErrors, TxDropped uint64
}

const (
	// netDevBuffer holds the header and four interfaces: almost every pod.
	netDevBuffer = 1 << 10
	// netDevMax bounds the buffer: about 30,000 interfaces.
	netDevMax = 4 << 20
	// netDevWhole: the kernel hands out whole records up to a page, and no
	// record is half a page long. A first read that is shorter than this and
	// did not fill the buffer has therefore reached the end.
	netDevWhole = 2 << 10
)

// NetDev reads the interfaces of the network namespace that a process was in
// when it was opened, also after that process has ended.
//
// It holds one descriptor until Close, and with it the network namespace
// itself: the kernel cannot release the interfaces of a dead pod before
// Close. How many are open at once is for the caller to bound.
//
// It is not safe for concurrent use.
type NetDev struct {
	path  string
	fd    int // -1 once closed
	buf   []byte
	names []string // of the last reading, in the kernel's order
}

// OpenNetDev opens /proc/PID/net/dev. errors.Is(err, ErrGone) when the
// process has ended.
func (f *FS) OpenNetDev(pid int) (*NetDev, error) {
	path := f.path(pid, "net/dev")
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, f.fail(pid, f.path(pid, "net/dev"), err)
		}
		return &NetDev{path: path, fd: fd, buf: make([]byte, netDevBuffer)}, nil
	}
}

// Read appends the interfaces to dst, in the kernel's order. It does not
// allocate once dst and its own buffer are large enough and the interfaces
// stay the same. After an error dst is returned as it was given.
func (n *NetDev) Read(dst []Interface) ([]Interface, error) {
	if n.fd < 0 {
		return dst, fmt.Errorf("read %s: %w", n.path, os.ErrClosed)
	}
	text, err := n.fill()
	if err != nil {
		return dst, fmt.Errorf("read %s: %w", n.path, err)
	}
	out, err := n.parse(dst, text)
	if err != nil {
		return dst, fmt.Errorf("parse %s: %w", n.path, err)
	}
	return out, nil
}

// Close releases the descriptor and the network namespace. It may be called
// more than once.
func (n *NetDev) Close() error {
	if n.fd < 0 {
		return nil
	}
	fd := n.fd
	n.fd, n.buf, n.names = -1, nil, nil
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close %s: %w", n.path, err)
	}
	return nil
}

// fill reads the whole file into the kept buffer.
func (n *NetDev) fill() ([]byte, error) {
	total := 0
	for {
		got, err := unix.Pread(n.fd, n.buf[total:], int64(total))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		whole := total == 0 && got < len(n.buf) && got < netDevWhole
		total += got
		if got == 0 || whole {
			return n.buf[:total], nil
		}
		if total < len(n.buf) {
			continue
		}
		if len(n.buf) >= netDevMax {
			return nil, fmt.Errorf("longer than %d bytes: %w", netDevMax, ErrTooMany)
		}
		n.buf = append(n.buf, make([]byte, len(n.buf))...)
	}
}

// parse reads lines of this kind after two of headings:
//
//	eth0: 506717578   33072    0    0    0     0          0         0  2813271   27569    0    0    0     0       0          0
//
// Received: bytes packets errors dropped fifo frame compressed multicast;
// sent: bytes packets errors dropped fifo collisions carrier compressed.
func (n *NetDev) parse(dst []Interface, text []byte) ([]Interface, error) {
	for i := 0; len(text) > 0; {
		line := text
		if end := bytes.IndexByte(text, '\n'); end >= 0 {
			line, text = text[:end], text[end+1:]
		} else {
			text = nil
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			if len(line) == 0 || bytes.IndexByte(line, '|') >= 0 {
				continue
			}
			return nil, fmt.Errorf("no interface name in %q", line)
		}
		var v [12]uint64
		if !numbers(v[:], line[colon+1:]) {
			return nil, fmt.Errorf("want 16 numbers after the name, have %q", line)
		}
		dst = append(dst, Interface{
			Name:    n.name(i, bytes.TrimLeft(line[:colon], " ")),
			RxBytes: v[0], RxPackets: v[1], RxErrors: v[2], RxDropped: v[3],
			TxBytes: v[8], TxPackets: v[9], TxErrors: v[10], TxDropped: v[11],
		})
		i++
	}
	return dst, nil
}

// name returns b as a string, the one of the last reading if interface i had
// that name then. Names are kept for as many interfaces as there were at most.
func (n *NetDev) name(i int, b []byte) string {
	switch {
	case i == len(n.names):
		n.names = append(n.names, string(b))
	case n.names[i] != string(b):
		n.names[i] = string(b)
	}
	return n.names[i]
}
