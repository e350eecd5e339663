package collector

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// deviceNames turns device numbers into names such as /dev/sda. It is used
// when a series is made only.
type deviceNames struct {
	sysRoot string
	known   map[[2]uint32]string
}

// maxDeviceNames bounds the names remembered; device numbers come and go with
// loop and device-mapper devices.
const maxDeviceNames = 4096

// name returns /dev/NAME as the kernel calls the device, or MAJOR:MINOR.
func (d *deviceNames) name(major, minor uint32) string {
	key := [2]uint32{major, minor}
	if name, ok := d.known[key]; ok {
		return name
	}
	numbers := strconv.FormatUint(uint64(major), 10) + ":" + strconv.FormatUint(uint64(minor), 10)
	name := numbers
	if uevent, err := os.ReadFile(filepath.Join(d.sysRoot, "dev/block", numbers, "uevent")); err == nil {
		for line := range strings.Lines(string(uevent)) {
			if dev, ok := strings.CutPrefix(line, "DEVNAME="); ok {
				name = "/dev/" + strings.TrimSpace(dev)
			}
		}
	}
	if d.known == nil || len(d.known) >= maxDeviceNames {
		d.known = make(map[[2]uint32]string)
	}
	d.known[key] = name
	return name
}
